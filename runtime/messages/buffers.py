"""What travels beside a payload: large buffers, and the data of arrays, in frames of their own.

A top-level argument, result or item of a type in `BUFFERS`, of 4 KiB and more, is left out of the
payload and named by its position.

Invariants
----------
* What may change is copied once, at the call: a ``bytearray``, a writable ``memoryview``. ``bytes``
  and a read-only ``memoryview`` are not copied: the view is taken as a promise that nobody writes
  to what is under it until the message has left, or by `runtime.wires.reliable` until it has
  arrived.
* A view of other items than bytes, or that is not contiguous, arrives as its bytes in C order.
* Who says ``memoryview`` in his annotation gets the frame itself, read-only; who says ``bytes`` or
  ``bytearray`` gets a copy.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from runtime.errors import WireError
from runtime.messages.arrays import ArrayHead, ArrayKind
from runtime.messages.codec import Buffer

OWN_FRAME_BYTES = 4096
BUFFERS = (bytes, bytearray, memoryview)

Kind = Callable[[Buffer], Buffer]


def set_apart(
    args: Sequence[Any], arrays: Mapping[int, ArrayKind], whole: bool
) -> tuple[tuple[Any, ...], Sequence[int], Sequence[Buffer]]:
    """What goes into the payload instead of ``args``, and positions and buffers of the rest.

    ``whole``: nothing is to travel beside it.

    Raises:
        TypeError: an array cannot travel, or is none.
        ValueError: a view was released.
    """
    kept = list(args)
    positions: list[int] = []
    buffers: list[Buffer] = []
    for position, arg in enumerate(args):
        data: Buffer | None = None
        kind = arrays.get(position)
        if kind is not None and arg is not None:
            inline_bytes = float("inf") if whole else OWN_FRAME_BYTES
            kept[position], data = kind.pack(arg, inline_bytes)
        elif type(arg) in BUFFERS and not whole and size_of(arg) >= OWN_FRAME_BYTES:
            kept[position], data = b"", solid(arg)
        elif type(arg) is memoryview and not arg.c_contiguous:
            kept[position] = bytes(arg)
        if data is not None:
            positions.append(position)
            buffers.append(data)
    return tuple(kept), tuple(positions), tuple(buffers)


def size_of(buffer: Buffer) -> int:
    """How many bytes it has."""
    return buffer.nbytes if type(buffer) is memoryview else len(buffer)


def solid(buffer: Buffer) -> Buffer:
    """The same bytes, which nobody changes any more."""
    if type(buffer) is bytes:
        return buffer
    if type(buffer) is memoryview and buffer.readonly and buffer.c_contiguous:
        return buffer if buffer.ndim == 1 and buffer.format == "B" else buffer.cast("B")
    return bytes(buffer)


def put_back(
    args: Sequence[Any],
    positions: Sequence[int],
    buffers: Sequence[memoryview],
    kinds: Sequence[Kind | None],
    arrays: Mapping[int, ArrayKind],
) -> tuple[Any, ...]:
    """The arguments again, from what went into the payload and what came beside it.

    Raises:
        WireError: something came beside it that nobody takes, or an array is none.
    """
    whole = list(args)
    for position, buffer in zip(positions, buffers, strict=True):
        kind = kinds[position] if 0 <= position < len(kinds) else None
        head = whole[position] if position in arrays else None
        if type(head) is ArrayHead:
            whole[position] = arrays[position].unpack(head, buffer)
        elif kind is not None:
            whole[position] = as_kind(kind, buffer)
        else:
            raise WireError(f"argument {position} takes no bytes")
    for position, array in arrays.items():
        if type(head := whole[position]) is ArrayHead:
            whole[position] = array.unpack(head, head.data)
    return tuple(whole)


def as_kind(kind: Kind, buffer: Buffer) -> Buffer:
    """What came beside a payload, of the annotated type."""
    if kind is memoryview:
        return memoryview(buffer)
    owner = buffer.obj if type(buffer) is memoryview else buffer
    if kind is bytes and type(owner) is bytes and len(owner) == len(buffer):
        return owner  # it came by memory alone
    return kind(buffer)


def kind_of(hint: Any) -> Kind | None:
    """What an annotation makes of bytes; None if it takes none."""
    if hint is Any:
        return bytes
    if get_origin(hint) is Annotated:
        return kind_of(get_args(hint)[0])
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for kind in (memoryview, bytearray, bytes):
        if kind in options:
            return kind
    return None
