"""Reading an MPTCP socket's statistics: the socket calls; `statistics` says what they mean.

Three of the four options take an input structure, so they go through libc's ``getsockopt``.

Invariants
----------
* None of these waits. One `full_info` costs about 24 us.
* What the kernel refuses is an `OSError` with its errno, naming the option. A socket that is plain
  TCP, from the start or after a fallback, is refused too: `speaks_mptcp` asks without raising.

Source: ``net/mptcp/sockopt.c`` of Linux 6.18.
"""

import ctypes
import errno
import os
import socket
import struct
import sys
from typing import Final, Protocol

from runtime.multipath.layout import decode
from runtime.multipath.statistics import (
    FULL,
    HEADER,
    MPTCP_INFO_BYTES,
    SUBFLOW_ADDRS_BYTES,
    SUBFLOW_INFO_BYTES,
    TCP_INFO_BYTES,
    Elements,
    FullInfo,
    MptcpInfo,
    SubflowAddresses,
    TcpInfo,
    decode_addresses,
    decode_full_info,
    split_elements,
)
from runtime.network.type_of_service import check_tos

SOL_MPTCP: Final = 284
_COOKIE: Final = 57  # SO_COOKIE
MPTCP_INFO: Final = 1
MPTCP_TCPINFO: Final = 2
MPTCP_SUBFLOW_ADDRS: Final = 3
MPTCP_FULL_INFO: Final = 4
_NAMES: Final = {
    MPTCP_INFO: "MPTCP_INFO",
    MPTCP_TCPINFO: "MPTCP_TCPINFO",
    MPTCP_SUBFLOW_ADDRS: "MPTCP_SUBFLOW_ADDRS",
    MPTCP_FULL_INFO: "MPTCP_FULL_INFO",
}
PLAIN_TCP: Final = (errno.EOPNOTSUPP, errno.ENOPROTOOPT)
_ROOM: Final = 8
"""Subflows asked for at first: the most that the kernel's own path manager makes."""


class Socket(Protocol):
    """Whatever holds a socket: the standard library's, or trio's."""

    def fileno(self) -> int: ...


_libc: Final = ctypes.CDLL(None, use_errno=True)


def read_option(sock: Socket, option: int, value: bytearray) -> bytes:
    """Hand the value in, and return what the kernel made of it: as many bytes as it says.

    Raises:
        OSError: the kernel refused; for bad sizes and reserved fields EINVAL.
    """
    held = (ctypes.c_char * len(value)).from_buffer(value)
    size = ctypes.c_uint32(len(value))
    if _libc.getsockopt(sock.fileno(), SOL_MPTCP, option, held, ctypes.byref(size)) == -1:
        number = ctypes.get_errno()
        name = _NAMES.get(option, str(option))
        raise OSError(number, f"getsockopt {name}: {os.strerror(number)}")
    return bytes(value[: size.value])


def mptcp_info(sock: Socket) -> MptcpInfo:
    """The connection as a whole. `OSError` EOPNOTSUPP: it is plain TCP."""
    return decode(MptcpInfo, read_option(sock, MPTCP_INFO, bytearray(MPTCP_INFO_BYTES)))


def speaks_mptcp(sock: Socket) -> bool:
    """Whether the connection is MPTCP now. SO_PROTOCOL says so of a client after a fallback too."""
    try:
        return not mptcp_info(sock).fallback
    except OSError as error:
        if error.errno in PLAIN_TCP:
            return False
        raise


def tcp_info(sock: socket.socket) -> TcpInfo:
    """Of a connection that is plain TCP, from the start or after a fallback."""
    return decode(TcpInfo, sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES))


def cookie(sock: socket.socket) -> int:
    """What no other socket of this machine ever has; all descriptors of one have the same."""
    return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, _COOKIE, 8), sys.byteorder)


def tcp_infos(sock: Socket) -> tuple[TcpInfo, ...]:
    """Every subflow, those that have closed too, in the kernel's order."""
    return tuple(decode(TcpInfo, item) for item in _array(sock, MPTCP_TCPINFO, TCP_INFO_BYTES))


def subflow_addresses(sock: Socket) -> tuple[SubflowAddresses, ...]:
    """The addresses of every subflow, in the same order."""
    return tuple(map(decode_addresses, _array(sock, MPTCP_SUBFLOW_ADDRS, SUBFLOW_ADDRS_BYTES)))


def _array(sock: Socket, option: int, size: int) -> tuple[memoryview, ...]:
    room = _ROOM
    while True:
        value = bytearray(HEADER.size + room * size)
        HEADER.pack_into(value, 0, HEADER.size, 0, 0, size)
        elements: Elements = split_elements(read_option(sock, option, value))
        if elements.count <= room:
            return elements.items
        room = elements.count


def full_info(sock: Socket) -> FullInfo:
    """The connection and all of its subflows, read at one instant. Linux 6.5 and later."""
    room = _ROOM
    while True:
        subflows = bytearray(room * SUBFLOW_INFO_BYTES)
        tcp = bytearray(room * TCP_INFO_BYTES)
        value = bytearray(FULL.size + MPTCP_INFO_BYTES)
        FULL.pack_into(
            value,
            0,
            *(0, TCP_INFO_BYTES, 0, SUBFLOW_INFO_BYTES, 0, room),
            *(_address(subflows), _address(tcp)),
        )
        full = decode_full_info(read_option(sock, MPTCP_FULL_INFO, value), subflows, tcp)
        if full.count <= room:
            return full
        room = full.count


def _address(buffer: bytearray) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def set_tos(sock: socket.socket, tos: int) -> bool:
    """Mark the packets of all subflows. Return whether those over IPv6 are marked too.

    Linux 6.18 has no IPV6_TCLASS on MPTCP sockets: an IPv6 socket takes the value for what it sends
    over IPv4 alone.

    Raises:
        ValueError: see `check_tos`.
    """
    check_tos(tos)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
    if sock.family != socket.AF_INET6:
        return True
    try:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, tos)
    except OSError as error:
        if error.errno not in PLAIN_TCP:
            raise
        return False
    return True


def tos(sock: socket.socket) -> int:
    """What `set_tos` has set, 0 if nothing: one byte."""
    return struct.unpack("=B", sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS, 1))[0]  # type: ignore[no-any-return]
