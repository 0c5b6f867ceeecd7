"""A gate for listening sockets that take no filter, as MPTCP's do not.

Beside each of them a plain TCP socket, the wall, is bound to the same address. When the gate is
shut the wall listens too, and a program of one instruction has the kernel choose it for every
newcomer; a filter on it drops what it gets. So newcomers knock again by themselves, as they do at a
gate of `runtime.network.listening.shut`.

Invariants
----------
* Connections that are open do not notice, but that a path which is to join one of them knocks until
  the gate is open.
* A wall costs a descriptor, and that from the start: to shut the gate needs none.
* While the gate is shut, the address is shared with processes of the same user who ask to share it
  (SO_REUSEPORT): nobody does who asks for a port by its number.

Source: socket(7), SO_ATTACH_REUSEPORT_CBPF: the result is an index into those who share an address,
in the order in which they began to listen. Linux 6.18: SO_ATTACH_FILTER on an MPTCP socket is
EOPNOTSUPP.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import Final

from runtime.network.listening import shut

_ATTACH_CHOICE: Final = 51
_CHOOSE_SECOND: Final = struct.pack("HBBI", 0x06, 0, 0, 1)  # BPF_RET | BPF_K
_SHARED: Final = socket.SO_REUSEPORT


class Wall:
    """Beside ``listening``. ``plain``: a TCP socket of its family and network, ours from now on."""

    def __init__(self, listening: socket.socket, plain: socket.socket) -> None:
        self._listening = listening
        self._plain = plain
        self._is_shared = listening.getsockopt(socket.SOL_SOCKET, _SHARED)
        for option in (_SHARED, socket.SO_REUSEADDR):
            plain.setsockopt(socket.SOL_SOCKET, option, 1)
        if plain.family == socket.AF_INET6:
            both = listening.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            plain.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, both)
        self._share(1)
        plain.bind(listening.getsockname())
        self._share(self._is_shared)
        shut([plain])

    def shut(self) -> None:
        """Nobody new gets in. Idempotent."""
        self._share(1)
        self._plain.listen(1)
        choice = ctypes.create_string_buffer(_CHOOSE_SECOND)
        program = struct.pack("HxxxxxxP", 1, ctypes.addressof(choice))
        self._plain.setsockopt(socket.SOL_SOCKET, _ATTACH_CHOICE, program)

    def open(self) -> None:
        """After `shut`."""
        self._plain.shutdown(socket.SHUT_RD)  # it listens no more, and stays bound
        self._share(self._is_shared)

    def close(self) -> None:
        self._plain.close()

    def _share(self, value: int) -> None:
        self._listening.setsockopt(socket.SOL_SOCKET, _SHARED, value)
