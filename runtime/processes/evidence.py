"""What can be learned of a node that says nothing, from beside it.

Invariants
----------
* Looking asks nothing of the node, never waits and never raises.
* What cannot be learned is None, -1 or "": never a guess.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic

import msgspec

from runtime.processes import procfs
from runtime.processes.run_folder import page_path
from runtime.processes.status_page import Status, age_s, read_status


class Evidence(msgspec.Struct, frozen=True):
    """One look. The counts only grow; -1 is not known.

    ``state`` is the letter of ``/proc/PID/stat``, None if there is none to be read.
    """

    state: str | None = None
    cpu_ticks: int = -1
    loop_ticks: int = -1
    handler: str = ""
    handler_age_s: float = 0.0


Look = Callable[[int, int], Evidence]
"""(incarnation, pid) -> what can be learned now."""


def see_nothing(incarnation: int, pid: int) -> Evidence:
    """The look of one who is too far away."""
    return Evidence()


def looking_into(folder: str, clock: Callable[[], float] = monotonic) -> Look:
    """How processes of this machine look at each other: procfs, and the pages in ``folder``.

    ``clock``: by which the pages are written.
    """

    def look(incarnation: int, pid: int) -> Evidence:
        stat = procfs.stat(pid)
        page = read_page(folder, incarnation)
        return Evidence(
            state=stat.state if stat is not None else _state_of_none(pid),
            cpu_ticks=stat.cpu_ticks if stat is not None else -1,
            loop_ticks=page.ticks if page is not None else -1,
            handler=page.handler if page is not None else "",
            handler_age_s=age_s(page, clock()) if page is not None else 0.0,
        )

    return look


def _state_of_none(pid: int) -> str | None:
    """The state of one whose stat cannot be read: ended (X) where nobody has its number."""
    gone = pid > 0 and os.path.exists("/proc/self") and not os.path.exists(f"/proc/{pid}")
    return "X" if gone else None


def read_page(folder: str, incarnation: int) -> Status | None:
    """Its status page, None if that tells nothing."""
    try:
        return read_status(page_path(folder, incarnation))
    except ValueError:  # somebody has overwritten it
        return None
