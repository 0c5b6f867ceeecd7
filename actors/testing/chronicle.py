"""What became of whom, and when: for tests of supervision, on any kind of system.

    with chronicle(system) as written:
        system.kill(counter)
        await written.until("started", "counter")
    assert written.lines == [(0.0, "died", "counter"), (0.0, "started", "counter")]

Invariants
----------
* Of one thing that happened there is one line, in the order of the controller's records.
* Instants are on the test's clock, in seconds since the block began.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from actors.supervision.record import Happened
from actors.system import System

Line = tuple[float, str, str]


class Chronicle:
    """``lines``: (instant, what, name), of what `actors.supervision.record.Happened` tells.

    ``began_at``: when the block began, on trio's clock.
    """

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.began_at = trio.current_time()
        self._bell = trio.Event()

    def hear(self, news: Happened) -> None:
        self.lines.append((round(news.at - self.began_at, 9), news.what, news.name))
        self._bell.set()

    def times(self, what: str, name: str) -> list[float]:
        """The instants at which this became of it."""
        return [at for at, its, whose in self.lines if (its, whose) == (what, name)]

    def names(self, what: str) -> str:
        """Of whom this became, in order."""
        return " ".join(name for _, its, name in self.lines if its == what)

    async def until(self, what: str, name: str, count: int = 1) -> float:
        """It has become of it so often, in all; the instant of the last.

        It may have before; else it waits, for as long as that takes.
        """
        while len(self.times(what, name)) < count:
            self._bell = trio.Event()
            await self._bell.wait()
        return self.times(what, name)[count - 1]


@contextmanager
def chronicle(system: System) -> Iterator[Chronicle]:
    """It is written as long as the block lasts."""
    written = Chronicle()
    with system.listen(written.hear):
        yield written
