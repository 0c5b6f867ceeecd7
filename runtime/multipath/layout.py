"""C structures of the kernel as frozen values: the class is the layout.

A field's type says how C holds it (`U8`, `U16`, `U32`, `U64`), the order of the fields is the
kernel's, alignment and holes are the machine's own. So there is one list of fields, and no
offset is written down.

Invariants
----------
* Any bytes decode. A field that the bytes do not hold whole is 0, and `Known.knows` says so:
  kernels grow their structures at the end, and each end takes the smaller of both sizes.
* Bytes beyond the last field are left alone.
"""

import struct
from functools import cache
from typing import Annotated, Final, TypeVar, get_type_hints

import msgspec

U8 = Annotated[int, "B"]
U16 = Annotated[int, "H"]
U32 = Annotated[int, "I"]
U64 = Annotated[int, "Q"]

WORD_BYTES: Final = 8
"""What the structures decoded here are aligned to: each holds a `U64`."""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """The root of every structure: ``known_bytes`` is how much of it was there to decode."""

    known_bytes: int = 0

    def knows(self, field: str) -> bool:
        """Whether the kernel filled that field, or is too old to have it (then it reads 0)."""
        offset, code = _fields(type(self))[field]
        return offset + code.size <= self.known_bytes


S = TypeVar("S", bound=Known)


@cache
def _fields(kind: type[Known]) -> dict[str, tuple[int, struct.Struct]]:
    """Where each field is, and how it is held."""
    found: dict[str, tuple[int, struct.Struct]] = {}
    offset = 0
    hints = get_type_hints(kind, include_extras=True)
    for name in kind.__struct_fields__:
        for code in getattr(hints[name], "__metadata__", ()):
            held = struct.Struct(f"={code}")
            offset += -offset % held.size
            found[name] = offset, held
            offset += held.size
    return found


@cache
def _whole(kind: type[Known]) -> struct.Struct:
    """All fields at once, with the holes between them and at the end."""
    code, end = "=", 0
    for offset, held in _fields(kind).values():
        code += f"{offset - end}x{held.format[1:]}"
        end = offset + held.size
    return struct.Struct(f"{code}{-end % WORD_BYTES}x")


def size_bytes(kind: type[Known]) -> int:
    """The size of the structure as this module knows it."""
    return _whole(kind).size


def decode(kind: type[S], data: bytes | memoryview) -> S:
    """The structure that begins where the bytes begin."""
    whole = _whole(kind)
    known = min(len(data), whole.size)
    if known < whole.size:
        ends = [offset + held.size for offset, held in _fields(kind).values()]
        held_whole = max((end for end in ends if end <= known), default=0)
        data = bytes(data[:held_whole]).ljust(whole.size, b"\0")
    return kind(*whole.unpack_from(data), known_bytes=known)
