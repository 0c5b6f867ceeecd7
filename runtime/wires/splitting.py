"""Large frames in pieces, for wires where strangers can knock.

libzmq takes frames of up to one size from everybody, also from who has not shown a key yet, and
keeps what has come of one in memory. So on a network that size is small, and what is larger
travels in pieces.

A message with a frame of more than `PIECE_BYTES` is sent as: an empty frame, the sizes of its
frames (4 bytes each, big-endian), then the frames, each in as many pieces as it takes, an empty
one in none. So is a message that begins with an empty frame. Any other is sent as it is.

Invariants
----------
* `join` undoes `split`. What nobody has split, though it looks like it, it returns as it is.
* `join` allocates at most `MAX_MESSAGE_BYTES`, and no more than has arrived.
* What was not cut is not copied.
"""

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final

from runtime.messages.codec import MAX_MESSAGE_BYTES, Buffer

PIECE_BYTES: Final = 128 * 1024
_SIZE: Final = Struct(">I")


def split(frames: Sequence[Buffer]) -> Sequence[Buffer]:
    """The frames to send, none of more than `PIECE_BYTES`."""
    if len(frames[0]) and max(map(len, frames)) <= PIECE_BYTES:
        return frames
    return [b"", b"".join(_SIZE.pack(len(frame)) for frame in frames), *_pieces(frames)]


def _pieces(frames: Sequence[Buffer]) -> Iterator[Buffer]:
    for frame in frames:
        if len(frame) <= PIECE_BYTES:
            if len(frame):
                yield frame
            continue
        view = memoryview(frame)
        for start in range(0, len(view), PIECE_BYTES):
            yield view[start : start + PIECE_BYTES]


def join(frames: Sequence[Buffer]) -> Sequence[Buffer]:
    """The frames that were given to `split`."""
    if len(frames[0]) or len(frames) < 2 or len(frames[1]) % _SIZE.size:
        return frames
    sizes = [size for (size,) in _SIZE.iter_unpack(frames[1])]
    arrived = sum(map(len, frames)) - len(frames[1])
    if sum(sizes) != arrived or arrived > MAX_MESSAGE_BYTES:
        return frames
    pieces = iter(frames[2:])
    joined: list[Buffer] = []
    for size in sizes:
        piece: Buffer = next(pieces) if size else b""
        if len(piece) < size:
            whole = bytearray(size)
            filled = 0
            while True:
                if filled + len(piece) > size:
                    return frames
                whole[filled : filled + len(piece)] = piece
                filled += len(piece)
                if filled == size:
                    break
                piece = next(pieces)
            piece = memoryview(whole).toreadonly()
        elif len(piece) > size:
            return frames
        joined.append(piece)
    return joined
