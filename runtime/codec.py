"""Envelopes and payloads as frames of bytes, and back.

frames: [head, body, *buffers]. The head is one msgpack array of envelopes; the body
is their payloads, one after the other, each as long as its envelope's ``size`` says;
every buffer is a large argument that its envelope's ``buffers`` names by position.

Invariants
----------
* Decoding is total: any frames give envelopes with their payloads, or `WireError`.
* A head never nests deeper than an envelope does, so a payload that cannot be decoded
  spoils its own message and no other of its batch.
* Sizes are checked before anything is decoded.
* An envelope is encoded once, at the call that posts it: what happens to its arguments
  afterwards does not show, and what cannot be encoded raises there.

Source: ``msgspec.msgpack``; msgpack's ``array 32`` for the room kept at the front.
"""

import struct
from collections.abc import Sequence
from typing import Any

import msgspec

from runtime import envelope
from runtime.envelope import Envelope
from runtime.errors import WireError

Buffer = bytes | bytearray | memoryview
Part = tuple[Any, memoryview, Sequence[memoryview]]
"""(envelope, payload, buffers), as `decode` gives them."""

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
MAX_PAYLOAD_BYTES = MAX_MESSAGE_BYTES - 64 * 1024
MAX_HEAD_BYTES = 1024 * 1024
MAX_FRAMES = 1024
FLUSH_BYTES = 64 * 1024
"""A batch this large leaves at once."""

_ROOM = 5
_ARRAY_32 = struct.Struct(">BI")
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[list[Envelope]] = msgspec.msgpack.Decoder(
    list[envelope.type_union]
)
_NOTHING: tuple[memoryview, ...] = ()
_EMPTY = memoryview(b"")
_SIZED = frozenset({envelope.Tell, envelope.Ask, envelope.Reply, envelope.Item, envelope.Welcome})


class Batch:
    """Envelopes on their way to one peer."""

    __slots__ = ("_append", "body", "buffer_bytes", "buffers", "count", "head")

    def __init__(self) -> None:
        self.head = bytearray(_ROOM)
        self.body = bytearray()
        self.buffers: list[Buffer] = []
        self.buffer_bytes = 0
        self.count = 0
        self._append = _encoder.encode_into

    def add(self, envelope: Envelope | tuple[Any, ...]) -> bool:
        """Append an envelope (or the array that encodes to one); True when it is time to leave.

        The payload must stand in ``body`` already.
        """
        self._append(envelope, self.head, -1)
        self.count += 1
        return len(self.head) + len(self.body) + self.buffer_bytes >= FLUSH_BYTES

    def add_buffers(self, buffers: Sequence[Buffer]) -> None:
        """Append large arguments, to be named by the next envelope."""
        self.buffers.extend(buffers)
        self.buffer_bytes += sum(map(len, buffers))

    def take(self) -> list[Buffer]:
        """Hand over the frames and begin anew."""
        head, body, buffers = self.head, self.body, self.buffers
        _ARRAY_32.pack_into(head, 0, 0xDD, self.count)
        self.head = bytearray(_ROOM)
        self.body = bytearray()
        self.count = 0
        if not buffers:
            return [head, body]
        self.buffers = []
        self.buffer_bytes = 0
        return [head, body, *buffers]


def weigh(part: Part) -> int:
    """The bytes of a message that credits count: its payload and its buffers."""
    size: int = part[0].size
    return size + sum(map(len, part[2])) if part[2] else size


def encode(*envelopes: Envelope, body: bytes = b"") -> list[Buffer]:
    """Frames of a batch made in one go."""
    batch = Batch()
    batch.body += body
    for each in envelopes:
        batch.add(each)
    return batch.take()


def decode(frames: Sequence[Buffer]) -> list[Part]:
    """Read one batch.

    Raises:
        WireError: the frames are no batch; nothing of it may be used then.
    """
    if not 2 <= len(frames) <= MAX_FRAMES:
        raise WireError(f"a batch has 2 to {MAX_FRAMES} frames, not {len(frames)}")
    head, body = frames[0], memoryview(frames[1])
    end = len(body)
    if len(head) > MAX_HEAD_BYTES or end > MAX_MESSAGE_BYTES:
        raise WireError(f"a batch of {len(head)} and {end} bytes is too large")
    try:
        envelopes = _decoder.decode(head)
    except (msgspec.DecodeError, RecursionError) as cause:
        raise WireError(f"no envelopes: {cause}") from cause
    parts: list[Part] = []
    at = 0
    next_buffer = 2
    for each in envelopes:
        if type(each) not in _SIZED:
            parts.append((each, _EMPTY, _NOTHING))
            continue
        until = at + each.size  # type: ignore[attr-defined]
        if not at <= until <= end:
            raise WireError(f"{type(each).__name__} speaks of bytes that did not come with it")
        payload = body[at:until]
        at = until
        wanted = len(each.buffers)  # type: ignore[attr-defined]
        if not wanted:
            parts.append((each, payload, _NOTHING))
            continue
        if next_buffer + wanted > len(frames):
            raise WireError(f"{type(each).__name__} speaks of frames that did not come with it")
        buffers = [memoryview(f) for f in frames[next_buffer : next_buffer + wanted]]
        next_buffer += wanted
        parts.append((each, payload, buffers))
    return parts
