"""What the reliable layer writes beside each message: the last frame of all that it sends.

frames: [*frames of the message, header]; a packet that carries no message is [empty, header]. The
header is the last frame, so that the first is what it would be without it.

header: [kind 1][length of above 2][session 8][number 8][order 8][heard 8][upto 8][latest 8]
[above][endpoint of the sender, UTF-8, until it was heard]; big-endian.

Invariants
----------
* Decoding is total: any bytes give a packet, or `WireError`.
* Tags and places are never given to another meaning.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from runtime.errors import WireError
from runtime.messages.codec import Buffer

ANSWER: Final = 0  # nothing but what was heard of the other direction
NUMBERED: Final = 1  # a message that is sent again until it was heard
FLEETING: Final = 2  # a message that is sent once
PROBE: Final = 3  # what have you heard?

WINDOW: Final = 2048
"""So many numbered packets are under way at most."""
MAX_ENDPOINT_BYTES: Final = 1024

_FIXED: Final = struct.Struct(">BHQQQQQQ")
_MAX_ABOVE_BYTES: Final = WINDOW // 8


class Packet(NamedTuple):
    """A header.

    ``session`` (of the sender's outgoing connection), ``number`` of the message in it, ``order``
    of this transmission; ``heard``: the session of the other direction that the rest is about:
    all numbers below and including ``upto`` have come, so has ``upto + 1 + i`` for each bit i of
    ``above``; ``latest`` is the highest order that has come. ``endpoint`` is the sender's, or "".
    """

    kind: int
    session: int
    number: int = 0
    order: int = 0
    heard: int = 0
    upto: int = 0
    latest: int = 0
    above: int = 0
    endpoint: str = ""


def encode(packet: Packet) -> bytes:
    """The header as a frame."""
    kind, session, number, order, heard, upto, latest, above, endpoint = packet
    if not above and not endpoint:
        return _FIXED.pack(kind, 0, session, number, order, heard, upto, latest)
    length = (above.bit_length() + 7) // 8
    fixed = _FIXED.pack(kind, length, session, number, order, heard, upto, latest)
    return fixed + above.to_bytes(length, "big") + endpoint.encode()


def decode(frame: Buffer) -> Packet:
    """Read a header.

    Raises:
        WireError: it is none.
    """
    if len(frame) < _FIXED.size:
        raise WireError(f"{len(frame)} bytes are no header")
    kind, length, session, number, order, heard, upto, latest = _FIXED.unpack_from(frame)
    if kind > PROBE:
        raise WireError(f"no kind of packet: {kind}")
    if len(frame) == _FIXED.size and not length:
        return Packet(kind, session, number, order, heard, upto, latest)
    end = _FIXED.size + length
    if length > _MAX_ABOVE_BYTES or not end <= len(frame) <= end + MAX_ENDPOINT_BYTES:
        raise WireError(f"a header of {len(frame)} bytes, {length} of them bits")
    above = int.from_bytes(frame[_FIXED.size : end], "big")
    try:
        endpoint = bytes(frame[end:]).decode()
    except UnicodeDecodeError as cause:
        raise WireError(f"no endpoint: {cause}") from cause
    return Packet(kind, session, number, order, heard, upto, latest, above, endpoint)
