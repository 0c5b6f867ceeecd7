"""Row: the items of a stream between two nodes.

The floor is our own tells of the same round: the same payload one way, one message an item, with
the same promises of order and backpressure.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from actors.actor import Actor
from actors.ref import ActorRef
from actors.system import open_system
from tests.bench_actors import Caller, Echo
from tests.bench_calls import take_turns
from tests.bench_row import TEXT, Round, Row, at_least


class Spring(Actor):
    """Yields without a rest."""

    async def items(self, count: int, text: str) -> AsyncIterator[str]:
        for _ in range(count):
            yield text


class Drinker(Actor):
    """Consumes what a `Spring` yields."""

    async def items_per_s(self, spring: ActorRef[Spring], count: int) -> float:
        """From entering the stream until its end was seen."""
        began = time.perf_counter()
        taken = 0
        async with spring.stream(Spring.items, count, TEXT) as items:
            async for _ in items:
                taken += 1
        if taken != count:
            raise RuntimeError(f"{taken} of {count} items came")
        return count / (time.perf_counter() - began)


class Items(Row):
    """A handler iterates over what another node's handler yields without a rest."""

    name = "stream items per second"
    floor_name = "our tells, until handled"
    unit = "/s"
    must = at_least(0.5)
    aim = at_least(1)

    async def round(self) -> Round:
        count = 10_000 if self.quick else 30_000
        async with open_system(signals=False) as system:
            caller, echo = await system.spawn(Caller), await system.spawn(Echo)
            drinker, spring = await system.spawn(Drinker), await system.spawn(Spring)
            ours, tells = await take_turns(
                self.turns,
                lambda: drinker.ask(Drinker.items_per_s, spring, count),
                lambda: caller.ask(Caller.tells_per_s, echo, count),
            )
        return Round(ours, tells)


ROWS: list[type[Row]] = [Items]
