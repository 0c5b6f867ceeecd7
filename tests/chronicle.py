"""What became of whom, and when: for tests of regrowth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from actors.record import Happened
from actors.system import System

Line = tuple[float, str, str]


class Chronicle:
    """Lines of (instant, what, name), the instants from when it was opened."""

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
        """It has become of it so often; the instant of the last."""
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
