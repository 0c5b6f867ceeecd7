"""What actors in chaos have sent, received, awaited and watched: the plain side of every account.

One for each process; where all share one, as in a virtual system, one for all.

Invariants
----------
* Whatever contradicts itself is a fault at once: a number out of its order, a message for another
  incarnation, a second Down.
* What died with a process is known to nobody, and missed by no check.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import trio

Pair = tuple[int, int]
"""(sender, receiver): incarnations; the receiver is 0 for whoever holds a name."""
BUSY_S = 10.0
"""How late a process of a busy machine may be; in virtual time nothing is."""


class Wait(msgspec.Struct):
    """Somebody waits for something that ends by ``due``."""

    who: int
    what: str
    due: float


class Watched(msgspec.Struct):
    """A monitor, and what came of it."""

    target: int
    at: float
    downs: int = 0
    kind: str = ""
    given_up: bool = False


class Tied(msgspec.Struct, frozen=True):
    """One has linked itself to another."""

    one: int
    other: int
    at: float


class Report(msgspec.Struct):
    """A journal, as it travels: pairs and monitors as lists."""

    faults: list[str]
    attempted: list[tuple[Pair, int]]
    accepted: list[tuple[Pair, int]]
    received: list[tuple[Pair, int]]
    monitors: list[tuple[Pair, Watched]]
    links: list[Tied]
    overdue: list[str]


class Journal:
    """See the module. Counts are of tells."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.attempted: Counter[Pair] = Counter()
        self.accepted: Counter[Pair] = Counter()
        self.received: Counter[Pair] = Counter()
        self.monitors: dict[Pair, Watched] = {}  # by watcher and number
        self.links: list[Tied] = []
        self.starts: Counter[str] = Counter()
        self.waits: dict[int, Wait] = {}
        self.slack_s = BUSY_S  # a process that nobody has told otherwise is on the real clock
        self._numbers: Counter[Pair] = Counter()
        self._last: dict[Pair, int] = {}
        self._waits = 0

    def begin(self, slack_s: float) -> None:
        """Forget everything. What is due may be ``slack_s`` late."""
        self.__init__()  # type: ignore[misc]
        self.slack_s = slack_s

    def number(self, pair: Pair) -> int:
        """Of the next message of the pair."""
        self._numbers[pair] += 1
        return self._numbers[pair]

    def came(self, here: int, pair: Pair, number: int, told: bool) -> None:
        """A message has arrived at the incarnation ``here``."""
        sender, receiver = pair
        if not receiver:
            return
        if receiver != here:
            self.faults.append(f"a message from {sender} to {receiver} has reached {here}")
        last = self._last.get(pair, 0)
        if number <= last:
            self.faults.append(f"{sender} to {receiver}: number {number} came after {last}")
        self._last[pair] = number
        self.received[pair] += told

    @contextmanager
    def waiting(self, who: int, what: str, seconds: float) -> Iterator[None]:
        """The block is to be left within so many seconds."""
        self._waits = key = self._waits + 1
        self.waits[key] = Wait(who, what, trio.current_time() + seconds)
        try:
            yield
        finally:
            wait = self.waits.pop(key, None)
            late_s = trio.current_time() - wait.due if wait is not None else 0.0
            if late_s > self.slack_s:
                self.faults.append(f"{what} of {who} ended {late_s:.3f} s late")

    def overdue(self) -> list[str]:
        """What should have ended by now."""
        now = trio.current_time() - self.slack_s
        return [f"{each.what} of {each.who}" for each in self.waits.values() if each.due < now]

    def watching(self, watcher: int, number: int, target: int) -> None:
        """The incarnation ``watcher`` monitors ``target``."""
        self.monitors.setdefault((watcher, number), Watched(target, trio.current_time()))

    def down(self, watcher: int, number: int, target: int, kind: str) -> None:
        """A monitor has brought its Down."""
        watched = self.monitors.setdefault((watcher, number), Watched(target, trio.current_time()))
        watched.downs += 1
        watched.kind = kind
        if watched.downs > 1:
            self.faults.append(f"{watcher} got {watched.downs} Downs of its monitor of {target}")
        if watched.target != target:
            self.faults.append(f"{watcher} monitors {watched.target} and got a Down of {target}")
        if watched.given_up:
            self.faults.append(f"{watcher} got a Down of {target} after it gave the monitor up")

    def report(self) -> Report:
        """All of it."""
        return Report(
            self.faults,
            list(self.attempted.items()),
            list(self.accepted.items()),
            list(self.received.items()),
            list(self.monitors.items()),
            self.links,
            self.overdue(),
        )

    def add(self, report: Report) -> None:
        """Take over what the journal of another process says."""
        self.faults += report.faults
        self.attempted.update(dict(report.attempted))
        self.accepted.update(dict(report.accepted))
        self.received.update(dict(report.received))
        self.monitors.update(dict(report.monitors))
        self.links += report.links
        self.faults += [f"overdue: {each}" for each in report.overdue]


JOURNAL = Journal()
