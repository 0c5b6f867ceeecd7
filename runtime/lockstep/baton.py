"""What the conductor of a lockstep and those who follow say to each other.

Over a SOCK_SEQPACKET connection of its own beside the messages: nothing of it counts as one.
A follower joins, reports that it is idle or what holds it, and answers waves. The conductor asks,
and tells whose deadline has come.

Invariants
----------
* Decoding is total: any bytes give a message or `WireError`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from runtime.errors import WireError

MAX_BYTES: Final = 4096


class Said(msgspec.Struct, frozen=True, array_like=True, tag=str.lower):
    """Any of the messages below."""


class Joined(Said, frozen=True):
    incarnation: int


class Idle(Said, frozen=True):
    """It is idle for the ``number``-th time; ``deadline`` None: nothing is ever due."""

    number: int
    deadline: float | None


class Still(Said, frozen=True):
    """It is in the same idleness still, and its poll finds nothing."""

    wave: int
    number: int


class Held(Said, frozen=True):
    """It would be idle, but for something of the outer world."""

    why: str


class Late(Said, frozen=True):
    """A message from ``sender`` was read at ``read_at``, though it was sent at ``sent_at``."""

    sender: int
    sent_at: float
    read_at: float


class Wave(Said, frozen=True):
    number: int


class Due(Said, frozen=True):
    """The clock has moved to its deadline."""


ToConductor = Joined | Idle | Still | Held | Late
ToFollower = Wave | Due

_encoder = msgspec.msgpack.Encoder()
_from_followers: msgspec.msgpack.Decoder[ToConductor] = msgspec.msgpack.Decoder(ToConductor)
_from_conductor: msgspec.msgpack.Decoder[ToFollower] = msgspec.msgpack.Decoder(ToFollower)


def line_path(folder: str) -> str:
    """Where the conductor listens."""
    return f"{folder}/lockstep"


def encode(said: ToConductor | ToFollower) -> bytes:
    return _encoder.encode(said)


def decode_follower(data: bytes) -> ToConductor:
    """What a follower says, or `WireError`."""
    try:
        return _from_followers.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise WireError(f"no word of a follower: {error}") from error


def decode_conductor(data: bytes) -> ToFollower:
    """What the conductor says, or `WireError`."""
    try:
        return _from_conductor.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise WireError(f"no word of the conductor: {error}") from error
