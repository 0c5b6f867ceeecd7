"""What the kernel's path manager may use: endpoints and limits, as values and as attributes.

An endpoint is a local address. With `SUBFLOW` a connection opens a subflow from it; with `SIGNAL`
it is announced to the peer. Endpoints are per network namespace: one of them serves all of its
connections.

Source: ``include/uapi/linux/mptcp_pm.h`` of Linux 6.18; ``ip-mptcp(8)``.
"""

import ipaddress
import socket
from collections.abc import Mapping
from enum import IntFlag
from typing import Final

import msgspec

from runtime.multipath import message
from runtime.multipath.message import number, split_attributes


class Flags(IntFlag):
    """``LAMINAR`` came with Linux 6.18: an older kernel leaves it out, as `get` then shows."""

    SIGNAL = 1
    SUBFLOW = 2
    BACKUP = 4
    FULLMESH = 8
    IMPLICIT = 16
    LAMINAR = 32


class Endpoint(msgspec.Struct, frozen=True):
    """``id`` 0: the kernel picks; ``port`` 0: that of the connection; ``interface``: an index."""

    address: str = ""
    flags: Flags = Flags(0)
    id: int = 0
    port: int = 0
    interface: int = 0

    def __str__(self) -> str:
        return self.address or f"id {self.id}"


class Limits(msgspec.Struct, frozen=True):
    """Per connection: announced addresses to accept, and subflows beyond the initial one."""

    add_addr_accepted: int
    subflows: int


_FAMILY: Final = 1
_ID: Final = 2
_ADDRESS4: Final = 3
_ADDRESS6: Final = 4
_PORT: Final = 5
_FLAGS: Final = 6
_INTERFACE: Final = 7


def encode_endpoint(type: int, endpoint: Endpoint) -> bytes:
    """The nested attribute that names an endpoint.

    Raises:
        ValueError: the address is no numeric address, or a number does not fit.
    """
    parts: list[bytes] = []
    if endpoint.address:
        address = ipaddress.ip_address(endpoint.address)
        v4 = address.version == 4
        parts.append(message.u16(_FAMILY, socket.AF_INET if v4 else socket.AF_INET6))
        parts.append(message.attribute(_ADDRESS4 if v4 else _ADDRESS6, address.packed))
    parts.append(message.u8(_ID, within(endpoint.id, 255, "endpoint id")))
    if endpoint.port:
        parts.append(message.u16(_PORT, within(endpoint.port, 65535, "port")))
    parts.append(message.u32(_FLAGS, endpoint.flags))
    if endpoint.interface:
        parts.append(message.s32(_INTERFACE, endpoint.interface))
    return message.nested(type, *parts)


def within(value: int, highest: int, what: str) -> int:
    """The value. `ValueError` unless it is in 0 to ``highest``."""
    if not 0 <= value <= highest:
        raise ValueError(f"{what} {value} is not within 0 to {highest}")
    return value


def decode_endpoint(data: bytes) -> Endpoint:
    """What such an attribute holds."""
    held = split_attributes(data)
    return Endpoint(
        address=host(held, _ADDRESS4, _ADDRESS6),
        flags=Flags(number(held, _FLAGS, "=I")),
        id=number(held, _ID, "=B"),
        port=number(held, _PORT, "=H"),
        interface=number(held, _INTERFACE, "=i"),
    )


def host(held: Mapping[int, bytes], type4: int, type6: int) -> str:
    """The address in either of two attributes, "" if it is in neither."""
    if len(data := held.get(type4, b"")) == 4:
        return socket.inet_ntop(socket.AF_INET, data)
    if len(data := held.get(type6, b"")) >= 16:
        return socket.inet_ntop(socket.AF_INET6, data[:16])
    return ""
