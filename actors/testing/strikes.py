"""What befalls nodes while a test runs: kills and freezes, at given instants or drawn by a seed.

    with struck(system, [Kill("worker", at_s=1.5), Freeze("worker", at_s=2.0, for_s=0.5)]) as done:
        ...

A *strike* is to a node what a fault of the weather is to a message. It names no life: it strikes
whoever holds the name at its instant.

Invariants
----------
* What is drawn follows from the seed alone; whom it hits, from that and from who is up then. Who
  has yet to start is spared by chance, for its start would only fail; not by a list.
* ``done`` holds what has struck, so that the same run with it in place of the dice is the same run.
* Nothing strikes after the block.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from heapq import heapify, heappop, heappush
from random import Random
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import Final

import msgspec
import trio

from actors.testing.virtual import VirtualSystem
from runtime.hosts.memory_body import MemoryBody

LONGEST_S: Final = 5.0
"""No drawn freeze is longer."""


class Strike(msgspec.Struct, frozen=True):
    """What befalls the node ``name``, so long after the system was opened."""

    name: str
    at_s: float


class Kill(Strike, frozen=True):
    """As by ``kill -9``."""


class Freeze(Strike, frozen=True):
    """As by SIGSTOP, and SIGCONT so much later."""

    for_s: float


class Chance(msgspec.Struct, frozen=True):
    """How often nodes are struck.

    Args:
        kills, freezes: at most so many of each in a run.
        victims: names; () for any node.
        within_s: they strike in so many seconds from the opening, early rather than late.

    Raises:
        ValueError: a figure that makes no sense, or victims of nothing.
    """

    kills: int = 0
    freezes: int = 0
    victims: tuple[str, ...] = ()
    within_s: float = 10.0

    def __post_init__(self) -> None:
        for name in ("kills", "freezes"):
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= 0):
                raise ValueError(f"{name} is a number of nodes, not {value!r}")
        if self.victims and not self.kills and not self.freezes:
            raise ValueError(
                f"victims={self.victims!r} without kills and without freezes: nobody would be"
                " struck; ask for kills=1, or leave the victims out"
            )
        if not 0.0 < self.within_s < math.inf:
            raise ValueError(f"within_s is a number of seconds, not {self.within_s!r}")

    def draw(self, seed: int) -> list[Drawn]:
        """What is to strike."""
        dice = Random(f"strikes {seed}")
        sorts = [False] * dice.randint(0, self.kills) + [True] * dice.randint(0, self.freezes)
        return [
            Drawn(
                round(self.within_s * dice.random() ** 2, 3),
                round(LONGEST_S * dice.random() ** 2, 3) if freezes else None,
                self.victims,
                dice.random(),
            )
            for freezes in sorts
        ]


class Drawn(msgspec.Struct, frozen=True):
    """A strike whose victim is drawn among those that live then. ``for_s``: of a freeze."""

    at_s: float
    for_s: float | None
    victims: tuple[str, ...]
    which: float

    def at(self, names: list[str]) -> Strike | None:
        """It, if there is a victim among these names."""
        there = [name for name in names if not self.victims or name in self.victims]
        if not there:
            return None
        name = there[int(self.which * len(there))]
        return Kill(name, self.at_s) if self.for_s is None else Freeze(name, self.at_s, self.for_s)


@contextmanager
def struck(system: VirtualSystem, strikes: Iterable[Strike | Drawn]) -> Iterator[list[Strike]]:
    """These befall the nodes of ``system`` for the length of the block."""
    done: list[Strike] = []
    scope = trio.CancelScope()
    trio.lowlevel.spawn_system_task(_strike, system, list(strikes), done, scope, name="strikes")
    try:
        yield done
    finally:
        scope.cancel()


async def _strike(
    system: VirtualSystem,
    strikes: list[Strike | Drawn],
    done: list[Strike],
    scope: trio.CancelScope,
) -> None:
    """One task for all: how many there are must not change the order of other tasks."""
    due: list[tuple[float, int, Strike | Drawn | MemoryBody]]
    due = [(system.opened_at + each.at_s, number, each) for number, each in enumerate(strikes)]
    heapify(due)
    with scope:
        while due:
            at, number, it = heappop(due)
            await trio.sleep_until(at)
            if isinstance(it, MemoryBody):
                it.signal(SIGCONT)
                continue
            bodies = [body for body in system.host.bodies.values() if body.status is None]
            if isinstance(it, Drawn):
                up = [body.name for body in bodies if _is_up(system, body)]
                strike = it.at(up)
            else:
                strike = it
            body = next((each for each in bodies if strike and each.name == strike.name), None)
            if strike is None or body is None:
                continue
            done.append(strike)
            if isinstance(strike, Freeze):
                body.signal(SIGSTOP)
                heappush(due, (at + strike.for_s, number, body))
            else:
                body.signal(SIGKILL)


def _is_up(system: VirtualSystem, body: MemoryBody) -> bool:
    record = system.nodes.roll.incarnation(body.incarnation)
    return record is not None and record.started
