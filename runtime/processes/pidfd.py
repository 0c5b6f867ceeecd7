"""A process, held by a descriptor: its end can be waited for, and no other gets its signals.

A pidfd opened by the process's parent before it reaps is proof; one opened by number
proves nothing until something else has shown who the number belongs to.

Invariants
----------
* None of these blocks; none starts a thread.
* A process that is gone is an answer (False, None), never an exception.
* The exit status of somebody else's child is there once it is reaped, not while it is a
  zombie, and only from Linux 6.15 on. Before, and elsewhere, it is None.

Source: ``pidfd_open(2)``; ``PIDFD_GET_INFO`` in the kernel's ``include/uapi/linux/pidfd.h``.
"""

import fcntl
import os
import select
import signal
import struct
from typing import Final

import trio

_INFO: Final = struct.Struct("=QQ11Ii")  # mask, cgroup, ids, exit code: the 64 bytes of version 0
_EXIT: Final = 1 << 3
_GET_INFO: Final = (3 << 30) | (_INFO.size << 16) | (0xFF << 8) | 11  # _IOWR(0xFF, 11, info)


def open_pidfd(pid: int) -> int:
    """A descriptor of that process, closed on exec. `ProcessLookupError` if there is none."""
    return os.pidfd_open(pid)


async def wait_exited(pidfd: int) -> None:
    """Return once the process has ended, reaped or not.

    Raises:
        trio.ClosedResourceError: `close_pidfd` was called meanwhile.
    """
    await trio.lowlevel.wait_readable(pidfd)


def close_pidfd(pidfd: int) -> None:
    """Close it, waking whoever waits on it. For use inside a trio run."""
    trio.lowlevel.notify_closing(pidfd)
    os.close(pidfd)


def has_exited(pidfd: int) -> bool:
    """Whether the process has ended, reaped or not."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def send_signal(pidfd: int, number: int = signal.SIGKILL) -> bool:
    """Send it a signal; False if it is gone."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    return True


def exit_status(pidfd: int) -> int | None:
    """The wait status of a process that has been reaped, by whomever; None if not known."""
    info = bytearray(_INFO.size)
    _INFO.pack_into(info, 0, _EXIT, *(0,) * 13)
    try:
        fcntl.ioctl(pidfd, _GET_INFO, info)
    except OSError:  # ENOTTY before Linux 6.13, EINVAL or ESRCH before 6.15
        return None
    mask, *_, status = _INFO.unpack(info)
    return int(status) if mask & _EXIT else None


async def wait_status(pidfd: int) -> int | None:
    """The wait status of a process that is somebody else's child, at most 1 s after its end.

    The kernel has no event for "reaped" that trio could wait on, so this looks every 10 ms.
    """
    await wait_exited(pidfd)
    with trio.move_on_after(1.0):
        while (status := exit_status(pidfd)) is None:  # noqa: ASYNC110
            await trio.sleep(0.01)
        return status
    return None
