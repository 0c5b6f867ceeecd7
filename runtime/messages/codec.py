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

from collections.abc import Sequence
from typing import Any

import msgspec

from runtime.errors import WireError
from runtime.messages import envelope
from runtime.messages.batch import FRONT, LENGTH, Batch
from runtime.messages.batch import Buffer as Buffer
from runtime.messages.envelope import Envelope

Payload = memoryview | bytearray
Part = tuple[Any, Payload, Sequence[memoryview]]
"""(envelope, payload, buffers), as `decode` gives them."""

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
MAX_PAYLOAD_BYTES = MAX_MESSAGE_BYTES - 128 * 1024
MAX_HEAD_BYTES = 1024 * 1024
MAX_FRAMES = 1024
_FRONT_BYTES, _LENGTH_BYTES = FRONT.size, LENGTH.size
_decoder: msgspec.msgpack.Decoder[list[Envelope]] = msgspec.msgpack.Decoder(
    list[envelope.type_union]
)
_NOTHING: tuple[memoryview, ...] = ()
_EMPTY = memoryview(b"")
_SIZED = frozenset(
    {
        envelope.Tell, envelope.Tells, envelope.Ask, envelope.Asks, envelope.Reply,
        envelope.Replies, envelope.Item, envelope.Welcome, envelope.Run, envelope.Snapshot,
        envelope.Traced,
    }
)  # fmt: skip


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
    split = LENGTH.unpack_from(batch)[0] + _LENGTH_BYTES
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
        if type(each) is envelope.Asks or type(each) is envelope.Replies:
            _check_sizes(each)
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


def _check_sizes(run: envelope.Asks | envelope.Replies) -> None:
    sizes = run.sizes
    if len(sizes) != len(run.ids) or sum(sizes) != run.size or min(sizes, default=0) < 0:
        raise WireError(f"{type(run).__name__} of {run.size} bytes does not say whose they are")
