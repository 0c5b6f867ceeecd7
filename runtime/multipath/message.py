"""Netlink messages: headers and attributes, as bytes and back.

Pure. A message is a 16-byte header and a body; that of a generic one has a header of 4 bytes and
then attributes: (length, type, bytes), each aligned to 4 bytes, which may hold attributes again.

Invariants
----------
* Any bytes split: a length that is too short or runs past the end ends the reading there.
* Of an attribute that comes twice the last counts. Types lose their two flag bits.

Source: ``netlink(7)``; ``include/uapi/linux/netlink.h`` and ``genetlink.h`` of Linux 6.18.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

_HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_GENERIC: Final = struct.Struct("=BBxx")  # command, version
_ATTRIBUTE: Final = struct.Struct("=HH")  # length, type
_TYPE_MASK: Final = 0x3FFF
_NESTED: Final = 0x8000

ERROR: Final = 2
DONE: Final = 3
REQUEST: Final = 0x1
ACK: Final = 0x4
DUMP: Final = 0x300
INTERRUPTED: Final = 0x10
_CAPPED: Final = 0x100
_HAS_ATTRIBUTES: Final = 0x200
_TEXT: Final = 1


class Message(msgspec.Struct, frozen=True):
    """One netlink message; the body of a generic one begins with its own header."""

    type: int
    flags: int
    sequence: int
    body: bytes

    @property
    def command(self) -> int:
        """Of a generic message; 0 if it is none."""
        return self.body[0] if len(self.body) >= _GENERIC.size else 0

    @property
    def attributes(self) -> Mapping[int, bytes]:
        """Of a generic message."""
        return split_attributes(self.body[_GENERIC.size :])


class Verdict(msgspec.Struct, frozen=True):
    """How a request ended: ``errno`` 0 is success; ``text`` is the kernel's own, often ""."""

    errno: int
    text: str = ""


def attribute(type: int, data: bytes) -> bytes:
    """One attribute, padded."""
    held = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(data), type) + data
    return held + bytes(-len(held) % 4)


def nested(type: int, *attributes: bytes) -> bytes:
    """An attribute that holds others."""
    return attribute(type | _NESTED, b"".join(attributes))


def u8(type: int, value: int) -> bytes:
    return _integer(type, "=B", value)


def u16(type: int, value: int) -> bytes:
    return _integer(type, "=H", value)


def u32(type: int, value: int) -> bytes:
    return _integer(type, "=I", value)


def s32(type: int, value: int) -> bytes:
    return _integer(type, "=i", value)


def _integer(type: int, code: str, value: int) -> bytes:
    try:
        return attribute(type, struct.pack(code, value))
    except struct.error:
        size = struct.calcsize(code)
        raise ValueError(f"{value} does not fit an attribute of {size} bytes") from None


def number(attributes: Mapping[int, bytes], type: int, code: str) -> int:
    """The integer of an attribute, in struct's code; 0 if it is missing or too short."""
    data, held = attributes.get(type, b""), struct.Struct(code)
    return int(held.unpack_from(data)[0]) if len(data) >= held.size else 0


def split_attributes(data: bytes) -> dict[int, bytes]:
    """The attributes, by type."""
    return dict(each_attribute(data))


def each_attribute(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes, in order: (type, bytes)."""
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, type = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size or offset + length > len(data):
            return
        yield type & _TYPE_MASK, data[offset + _ATTRIBUTE.size : offset + length]
        offset += length + -length % 4


def encode(type: int, flags: int, sequence: int, body: bytes) -> bytes:
    """A message, whole."""
    return _HEADER.pack(_HEADER.size + len(body), type, flags, sequence, 0) + body


def generic(command: int, attributes: bytes = b"", version: int = 1) -> bytes:
    """The body of a generic message."""
    return _GENERIC.pack(command, version) + attributes


def split_messages(data: bytes) -> Iterator[Message]:
    """The messages of one datagram."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, type, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size or offset + length > len(data):
            return
        yield Message(type, flags, sequence, data[offset + _HEADER.size : offset + length])
        offset += length + -length % 4


def verdict(message: Message) -> Verdict:
    """What an `ERROR` (which may be a success) or a `DONE` says."""
    if len(message.body) < 4:
        return Verdict(0)
    errno = -struct.unpack_from("=i", message.body)[0]
    start = 4
    if message.type == ERROR:
        start += _HEADER.size
        if not message.flags & _CAPPED and len(message.body) >= start:
            (length,) = struct.unpack_from("=I", message.body, 4)
            start += max(0, length - _HEADER.size)
            start += -start % 4
    if not message.flags & _HAS_ATTRIBUTES:
        return Verdict(errno)
    text = split_attributes(message.body[start:]).get(_TEXT, b"")
    return Verdict(errno, text.rstrip(b"\0").decode(errors="replace"))
