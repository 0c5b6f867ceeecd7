"""A gate for listening sockets that take no filter, as MPTCP's do not.

Beside each of them a plain TCP socket, the wall, is bound to the same address. When the gate is
shut the wall listens too, and a program has the kernel choose it for every newcomer; a filter on it
drops what it gets. So newcomers knock again by themselves, as they do at a gate of
`runtime.network.listening.shut`.

Invariants
----------
* Connections that are open do not notice, and get new paths: what asks to join one (MP_JOIN) passes
  the wall. The kernel resets who names none.
* A wall costs a descriptor, and that from the start: to shut the gate needs none.
* While the gate is shut, the address is shared with processes of the same user who ask to share it
  (SO_REUSEPORT): nobody does who asks for a port by its number.

Source: socket(7), SO_ATTACH_REUSEPORT_CBPF: the result is an index into those who share an address,
in the order in which they began to listen. bpf(4); RFC 8684, 3.2; RFC 9293, 3.1. Linux 6.18:
SO_ATTACH_FILTER on an MPTCP socket is EOPNOTSUPP, and options begin at multiples of 4 bytes.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import Final

from runtime.network.listening import shut

_SHARED: Final = socket.SO_REUSEPORT
_ATTACH_CHOICE: Final = 51
_OPENING, _WALL = 0, 1
_IP: Final = 0xFFF00000  # SKF_NET_OFF: where the packet's header begins
_TCP_BYTES: Final = 20
_JOIN: Final = 0x1E0C, 0x10  # kind and length of the option, and its subtype
_JOIN_BYTES: Final = 12
_LAST_OPTION: Final = 60 - _JOIN_BYTES


def _choice() -> bytes:
    """The wall for all but what asks to join. A load from behind the end would choose 0."""
    program = [
        (0x30, 0, 0, _IP),  # A = the first byte
        (0x74, 0, 0, 4),  # A >>= 4: the version
        (0x15, 0, 2, 4),  # IPv4, or skip 2
        (0xB1, 0, 0, _IP),  # X = the length of its header
        (0x05, 0, 0, 1),  # skip 1
        (0x01, 0, 0, 40),  # X = that of IPv6
        (0x50, 0, 0, _IP + 12),  # A = a byte of TCP's header
        (0x74, 0, 0, 4),
        (0x64, 0, 0, 2),  # A = its length
        (0x02, 0, 0, 0),  # M[0] = A
    ]
    for at in range(_TCP_BYTES, _LAST_OPTION + 1, 4):
        program += [
            (0x60, 0, 0, 0),  # A = M[0]
            (0x35, 1, 0, at + _JOIN_BYTES),  # long enough: skip 1
            (0x06, 0, 0, _WALL),
            (0x48, 0, 0, _IP + at),  # A = kind and length
            (0x15, 0, 4, _JOIN[0]),  # or skip 4
            (0x50, 0, 0, _IP + at + 2),
            (0x54, 0, 0, 0xF0),
            (0x15, 0, 1, _JOIN[1]),  # or skip 1
            (0x06, 0, 0, _OPENING),
        ]
    program.append((0x06, 0, 0, _WALL))
    return b"".join(struct.pack("HBBI", *each) for each in program)


_CHOICE: Final = _choice()


class Wall:
    """Beside ``listening``. ``plain``: a TCP socket of its family and network, ours from now on."""

    def __init__(self, listening: socket.socket, plain: socket.socket) -> None:
        self._listening = listening
        self._plain = plain
        self._is_shared = listening.getsockopt(socket.SOL_SOCKET, _SHARED)
        try:
            self._bind()
        except OSError:
            plain.close()
            raise

    def _bind(self) -> None:
        for option in (_SHARED, socket.SO_REUSEADDR):
            self._plain.setsockopt(socket.SOL_SOCKET, option, 1)
        if self._plain.family == socket.AF_INET6:
            alone = self._listening.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            self._plain.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, alone)
        self._share(1)
        self._plain.bind(self._listening.getsockname())
        self._share(self._is_shared)
        shut([self._plain])

    def shut(self) -> None:
        """Nobody new gets in. Idempotent."""
        self._share(1)
        self._plain.listen(1)
        choice = ctypes.create_string_buffer(_CHOICE, len(_CHOICE))
        program = struct.pack("HxxxxxxP", len(_CHOICE) // 8, ctypes.addressof(choice))
        self._plain.setsockopt(socket.SOL_SOCKET, _ATTACH_CHOICE, program)

    def open(self) -> None:
        """After `shut`."""
        self._plain.shutdown(socket.SHUT_RD)  # it listens no more, and stays bound
        self._share(self._is_shared)

    def close(self) -> None:
        self._plain.close()

    def _share(self, value: int) -> None:
        self._listening.setsockopt(socket.SOL_SOCKET, _SHARED, value)
