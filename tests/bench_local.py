"""Rows: asks and tells to a cell of the same process, with nothing else to do.

These are judged in microseconds, for what a caller gives up by writing an actor in the place
of an object is a sum, not a factor; the bare method stands beside them.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from actors.ref import ActorRef
from actors.system import open_system
from tests.bench_actors import Echo
from tests.bench_row import TEXT, Round, Row, figure_at_most

ASKS = 2000
BURST = 1000
BURSTS = 5


@asynccontextmanager
async def open_local() -> AsyncIterator[ActorRef[Echo]]:
    """A cell of this process."""
    async with open_system(signals=False) as system:
        yield await system.spawn(Echo, local=True)


class LocalAsk(Row):
    """One ask after the other."""

    name = "local ask"
    floor_name = "await of the bare method"
    unit = "us"
    must = figure_at_most(15)
    aim = figure_at_most(5)

    async def round(self) -> Round:
        bare = Echo()
        async with open_local() as local:
            for _ in range(ASKS):
                await local.ask(Echo.echo, TEXT)
            began = time.perf_counter()
            for _ in range(ASKS):
                await local.ask(Echo.echo, TEXT)
            asked = time.perf_counter()
            for _ in range(ASKS):
                await bare.echo(TEXT)
            awaited = time.perf_counter()
        return Round((asked - began) / ASKS * 1e6, (awaited - asked) / ASKS * 1e6)


class LocalTell(Row):
    """Bursts of 1,000, each with an ask behind it: until handled, shared out over the burst."""

    name = "local tell, until handled"
    floor_name = "await of the bare method"
    unit = "us"
    must = figure_at_most(5)
    aim = figure_at_most(2)

    async def round(self) -> Round:
        bare = Echo()
        async with open_local() as local:
            await self._burst(local)
            began = time.perf_counter()
            for _ in range(BURSTS):
                await self._burst(local)
            told = time.perf_counter()
            for number in range(BURST * BURSTS):
                await bare.note(number, TEXT)
            awaited = time.perf_counter()
        each = 1e6 / (BURST * BURSTS)
        return Round((told - began) * each, (awaited - told) * each)

    async def _burst(self, local: ActorRef[Echo]) -> None:
        for number in range(BURST):
            await local.tell(Echo.note, number, TEXT)
        if await local.ask(Echo.noted) != BURST:
            raise RuntimeError(f"not all of {BURST} tells were handled")


ROWS: list[type[Row]] = [LocalAsk, LocalTell]
