"""The clock of every process of a system in lockstep: one number, that one of them writes.

It lies in a file of 8 bytes in the run folder, mapped by all.

Invariants
----------
* It is written by the conductor, and only while all others are idle: no step of a task sees
  it change. (One that was stopped while time moved does, as it would in a real one.)
* No wait for a deadline is given to the kernel: who decides to wake the loop is told the deadline.
* The conductor's own clock is a real one, that begins at 0, but while it conducts.
"""

from __future__ import annotations

import math
import mmap
import os
import time
from typing import Final

import trio

FOREVER_S: Final = 3600.0
"""trio cuts an infinite wait short to a day; what is shorter than this is `wait_all_tasks_blocked`,
which waits for a little real time: a loop in it is not idle."""
_BYTES: Final = 8


def clock_path(folder: str) -> str:
    return f"{folder}/clock"


class LockstepClock(trio.abc.Clock):
    """For `trio.run`, or the fixture of a test that opens a system in lockstep.

    ``deadline``: the next one of this loop, when it was last about to wait.
    """

    def __init__(self) -> None:
        self.deadline = math.inf
        self._offset = time.monotonic()
        self._map: mmap.mmap | None = None
        self._page: memoryview[float] | None = None

    @classmethod
    def following(cls, folder: str) -> LockstepClock:
        """The clock of a process that follows."""
        clock = cls()
        with open(clock_path(folder), "rb") as file:
            clock._take(mmap.mmap(file.fileno(), _BYTES, prot=mmap.PROT_READ))
        return clock

    def conduct(self, folder: str) -> None:
        """Stand still from now on, and write the time for all."""
        now = self.current_time()
        fd = os.open(clock_path(folder), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, _BYTES)
            self._take(mmap.mmap(fd, _BYTES))
        finally:
            os.close(fd)
        self.move(now)

    def release(self) -> None:
        """Be a real clock again, from this instant on."""
        if self._page is not None and self._map is not None:
            self._offset = time.monotonic() - self.current_time()
            self._page.release()
            self._map.close()
            self._page = self._map = None

    def _take(self, page: mmap.mmap) -> None:
        self._map, self._page = page, memoryview(page).cast("d")

    @property
    def stands(self) -> bool:
        """Whether it moves by `move` alone."""
        return self._page is not None

    def move(self, now: float) -> None:
        """It is ``now``, everywhere."""
        assert self._page is not None
        self._page[0] = now

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        if self._page is None:
            return time.monotonic() - self._offset
        return self._page[0]

    def deadline_to_sleep_time(self, deadline: float) -> float:
        self.deadline = deadline
        left_s = deadline - self.current_time()
        return math.inf if self._page is not None and left_s > 0 else left_s
