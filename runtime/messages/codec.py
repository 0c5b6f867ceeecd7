"""Envelopes and payloads as frames of bytes, and back.

frames: [batch, *buffers]; the batch is [length of the head: 4 bytes, big-endian][head][body].
The head is one msgpack array of envelopes; the body is their payloads, one after the other,
each as long as its envelope's ``size`` says; every buffer is a large argument that its
envelope's ``buffers`` names by position.

Head and body share a frame although they are two things: a frame of its own for the body cost
6 of 124 us in a round trip, and nothing was gained by it.

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

from runtime.errors import WireError
from runtime.messages import envelope
from runtime.messages.envelope import Envelope

Buffer = bytes | bytearray | memoryview
Payload = memoryview | bytearray
Part = tuple[Any, Payload, Sequence[memoryview]]
"""(envelope, payload, buffers), as `decode` gives them."""

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
MAX_PAYLOAD_BYTES = MAX_MESSAGE_BYTES - 128 * 1024
MAX_HEAD_BYTES = 1024 * 1024
MAX_FRAMES = 1024
MAX_RUN = 64
"""So many tells share an envelope at most: credits come back as often as without runs."""
FLUSH_BYTES = 64 * 1024
"""A batch this large leaves at once."""

_FRONT = struct.Struct(">IBI")  # length of the head, msgpack's array 32, its length
_LENGTH = struct.Struct(">I")
_FRONT_BYTES, _LENGTH_BYTES = _FRONT.size, _LENGTH.size
_ARRAY_32 = 0xDD
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[list[Envelope]] = msgspec.msgpack.Decoder(
    list[envelope.type_union]
)
_NOTHING: tuple[memoryview, ...] = ()
_EMPTY = memoryview(b"")
_SIZED = frozenset(
    {
        envelope.Tell, envelope.Tells, envelope.Ask, envelope.Reply, envelope.Item,
        envelope.Welcome, envelope.Run, envelope.Snapshot, envelope.Traced,
    }
)  # fmt: skip


class OpenRun:
    """Tells of one pair for one handler, the last in a batch: they share an envelope."""

    __slots__ = ("count", "handler", "pair", "size")

    def __init__(self, pair: int, handler: str, size: int) -> None:
        self.pair = pair
        self.handler = handler
        self.size = size
        self.count = 1


class Batch:
    """Envelopes on their way to one peer. ``run``: what has no envelope yet."""

    __slots__ = (
        "_append", "body", "buffer_bytes", "buffers", "count", "head", "patient", "run",
    )  # fmt: skip

    def __init__(self) -> None:
        self.head = bytearray(_FRONT_BYTES)
        self.body = bytearray()
        self.buffers: list[Buffer] = []
        self.buffer_bytes = 0
        self.count = 0
        self.patient = True
        """Nothing is in it but tells: nobody waits for what it brings."""
        self.run: OpenRun | None = None
        self._append = _encoder.encode_into

    def add(self, envelope: Envelope | tuple[Any, ...]) -> bool:
        """Append an envelope (or the array that encodes to one); True when it is time to leave.

        The payload must stand in ``body`` already.
        """
        if self.run is not None:
            self._close_run(self.run)
        head = self.head
        start = len(head)
        try:
            self._append(envelope, head, -1)
        except Exception:
            del head[start:]
            raise
        self.count += 1
        self.patient = False
        return len(head) + len(self.body) + self.buffer_bytes >= FLUSH_BYTES

    def tell(self, pair: int, handler: str, size: int) -> bool:
        """Append a call that nobody waits for; True when it is time to leave.

        Those that follow each other for one handler share an envelope (`runtime.cells.runs`).
        """
        run = self.run
        if run is not None:
            if run.handler is handler and run.pair == pair and run.count < MAX_RUN:
                run.count += 1
                run.size += size
                return len(self.body) >= FLUSH_BYTES
            self._close_run(run)
        self.run = OpenRun(pair, handler, size)
        self.count += 1
        return len(self.head) + len(self.body) + self.buffer_bytes >= FLUSH_BYTES

    def _close_run(self, run: OpenRun) -> None:
        self.run = None
        if run.count == 1:
            envelope: tuple[Any, ...] = (2, run.pair, run.handler, run.size)
        else:
            envelope = (11, run.pair, run.handler, run.size, run.count)
        self._append(envelope, self.head, -1)

    def add_buffers(self, buffers: Sequence[Buffer]) -> None:
        """Append large arguments, to be named by the next envelope."""
        self.buffers.extend(buffers)
        self.buffer_bytes += sum(map(len, buffers))

    def take(self) -> list[Buffer]:
        """Hand over the frames and begin anew."""
        if self.run is not None:
            self._close_run(self.run)
        batch, buffers = self.head, self.buffers
        _FRONT.pack_into(batch, 0, len(batch) - _LENGTH_BYTES, _ARRAY_32, self.count)
        batch += self.body
        self.head = bytearray(_FRONT_BYTES)
        self.body.clear()
        self.count = 0
        self.patient = True
        if not buffers:
            return [batch]
        self.buffers = []
        self.buffer_bytes = 0
        return [batch, *buffers]


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
    if not 1 <= len(frames) <= MAX_FRAMES:
        raise WireError(f"a message has 1 to {MAX_FRAMES} frames, not {len(frames)}")
    batch = memoryview(frames[0])
    size = len(batch)
    if not _FRONT_BYTES <= size <= MAX_MESSAGE_BYTES:
        raise WireError(f"{size} bytes are no batch")
    split = _LENGTH.unpack_from(batch)[0] + _LENGTH_BYTES
    if not _FRONT_BYTES <= split <= size or split > MAX_HEAD_BYTES:
        raise WireError(f"a batch of {size} bytes has no head of {split}")
    head, body = batch[_LENGTH_BYTES:split], batch[split:]
    end = size - split
    try:
        envelopes = _decoder.decode(head)
    except (RecursionError, ValueError) as cause:  # DecodeError, UnicodeDecodeError
        raise WireError(f"no envelopes: {cause}") from cause
    parts: list[Part] = []
    at = 0
    next_buffer = 1
    for each in envelopes:
        if type(each) not in _SIZED:
            parts.append((each, _EMPTY, _NOTHING))
            continue
        until = at + each.size  # type: ignore[attr-defined]
        if not at <= until <= end:
            raise WireError(f"{type(each).__name__} speaks of bytes that did not come with it")
        payload = body[at:until]
        at = until
        if not each.buffers:  # type: ignore[attr-defined]
            parts.append((each, payload, _NOTHING))
            continue
        wanted = len(each.buffers)  # type: ignore[attr-defined]
        if next_buffer + wanted > len(frames):
            raise WireError(f"{type(each).__name__} speaks of frames that did not come with it")
        buffers = [memoryview(f) for f in frames[next_buffer : next_buffer + wanted]]
        next_buffer += wanted
        parts.append((each, payload, buffers))
    return parts
