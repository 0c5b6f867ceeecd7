"""Connections that break: every TCP connection of this process, at once, with all that is in it.

What lies in the kernel at this end is thrown away, and the other end gets a reset.

Source: connect(2), AF_UNSPEC; tcp(7).
"""

import ctypes
import os
import socket
import stat
from contextlib import suppress
from typing import Final

_UNSPEC: Final = bytes(16)
_libc: Final = ctypes.CDLL(None, use_errno=True)


def cut_all() -> int:
    """Break them, and say how many there were."""
    cut = 0
    for fd in map(int, os.listdir("/proc/self/fd")):
        with suppress(OSError):
            if stat.S_ISSOCK(os.fstat(fd).st_mode) and _is_connected(fd):
                _libc.connect(fd, _UNSPEC, len(_UNSPEC))
                cut += 1
    return cut


def _is_connected(fd: int) -> bool:
    """Whether it is a TCP socket that has a peer."""
    with socket.socket(fileno=os.dup(fd)) as one:
        if one.family not in (socket.AF_INET, socket.AF_INET6) or one.type != socket.SOCK_STREAM:
            return False
        one.getpeername()
        return True
