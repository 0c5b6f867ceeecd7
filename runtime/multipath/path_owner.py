"""Who decides on the paths of a network namespace: its kernel, or a program in userspace.

Invariants
----------
* It holds for connections whose sockets are made later; those that are there keep what they have.
* What was there before is there again afterwards. It is noted in a file meanwhile, for who cleans
  up after a process that was killed.
* Nobody takes it who cannot hear of the connections: with nobody listening the kernel refuses every
  further subflow.

Source: ``Documentation/networking/mptcp-sysctl.rst`` of Linux 6.18: ``path_manager``, and
``pm_type`` of kernels before 6.15.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, Literal

Owner = Literal["kernel", "userspace"]
_FOLDER: Final = "/proc/sys/net/mptcp"
_NAMED: Final = f"{_FOLDER}/path_manager"
_NUMBERED: Final = f"{_FOLDER}/pm_type"
_CAP_NET_ADMIN: Final = 1 << 12
_NUMBERS: Final = {"0": "kernel", "1": "userspace"}


def path_owner() -> str:
    """That of this process's network namespace, "" if there is no Multipath TCP."""
    with suppress(OSError):
        return _read(_NAMED)
    with suppress(OSError):
        return _NUMBERS.get(_read(_NUMBERED), "")
    return ""


@contextmanager
def owned_by_us(note: str = "") -> Iterator[str]:
    """While the block lasts we manage the paths of new connections, or it is said why not.

    ``note``: a file that is there meanwhile if there is something to be put back.
    """
    before = path_owner()
    try:
        if not _may_listen():
            raise PermissionError(errno.EPERM, "no CAP_NET_ADMIN")
        if note and before != "userspace":
            with open(note, "w") as file:
                file.write(f"{_namespace()} {before}")
        _own("userspace")
    except OSError as error:
        yield f"net.mptcp.path_manager cannot be set here ({error.strerror})"
        return
    try:
        yield ""
    finally:
        with suppress(OSError):  # who may set it may set it back, while there is such a kernel
            _own(before)
        if note:
            with suppress(OSError):
                os.unlink(note)


def put_back(note: str) -> None:
    """What that file says is there again, if it is of this process's network namespace.

    For who cleans up: without the file, or without leave to change it, nothing happens.
    """
    with suppress(OSError, ValueError):
        namespace, before = _read(note).split()
        if namespace == _namespace() and before in _NUMBERS.values():
            _own(before)


def _namespace() -> str:
    """One of those that there are now."""
    found = os.stat("/proc/thread-self/ns/net")
    return f"{found.st_dev}:{found.st_ino}"


def _may_listen() -> bool:
    with open("/proc/thread-self/status") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name == "CapEff":
                return bool(int(value, 16) & _CAP_NET_ADMIN)
    return False


def _read(path: str) -> str:
    with open(path) as file:
        return file.read().strip()


def _own(owner: str) -> None:
    if os.path.exists(_NAMED):
        path, value = _NAMED, owner
    else:
        path, value = _NUMBERED, "1" if owner == "userspace" else "0"
    if path_owner() == owner:
        return
    with open(path, "w") as file:
        file.write(value)
