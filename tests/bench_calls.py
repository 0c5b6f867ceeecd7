"""Rows: asks and tells between two nodes.

A round starts the nodes and the floors once and lets them measure in turns, a fraction of a
second each: on a machine with other work, one long stretch a round is a lottery.
"""

from __future__ import annotations

import os
import secrets
import statistics
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from actors.ref import ActorRef
from actors.system import open_system
from tests.bench_actors import Caller, Echo
from tests.bench_process import floor_command, open_child
from tests.bench_row import TEXT, Note, Round, Row, at_least, at_most

IN_FLIGHT = 64
ECHO = "bench_floors.py"
TELLS = "bench_floors_tells.py"

Measure = Callable[[], Awaitable[float]]


@asynccontextmanager
async def open_pair() -> AsyncIterator[tuple[ActorRef[Caller], ActorRef[Echo]]]:
    """Two nodes of a system of their own."""
    async with open_system(signals=False) as system:
        yield await system.spawn(Caller), await system.spawn(Echo)


def new_endpoint() -> str:
    """Nobody has ever bound it; its folder is removed at the end of the benchmark."""
    folder = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    return f"ipc://{folder}/{secrets.token_hex(4)}.floor"


@asynccontextmanager
async def open_floor(
    script: str, server: str, client: str, *arguments: object
) -> AsyncIterator[Measure]:
    """A server and a client of a floor; the function lets the client measure once."""
    endpoint = new_endpoint()
    async with open_child(*floor_command(script, server, endpoint, *arguments)) as serving:
        await serving.line()
        async with open_child(*floor_command(script, client, endpoint, *arguments)) as measuring:

            async def measure() -> float:
                await measuring.send(b"\n")
                return float(await measuring.line())

            yield measure


async def take_turns(turns: int, *measures: Measure) -> list[float]:
    """The median of each after so many turns, so that all see the same moods of the machine.

    One more turn comes first, to warm up, and does not count.
    """
    found = [[await measure() for measure in measures] for _ in range(turns + 1)]
    return [statistics.median(each) for each in zip(*found[1:], strict=True)]


class Ask(Row):
    """A handler asks another node's handler in a loop."""

    name = "ask between two nodes, p50"
    floor_name = "bare trio + pyzmq echo, p50"
    unit = "us"
    must = at_most(1.5)
    aim = at_most(1.25)

    async def round(self) -> Round:
        async with (
            open_floor(ECHO, "serve", "ask", len(TEXT), self.turn_s) as bare,
            open_pair() as (caller, echo),
        ):
            ours, floor = await take_turns(
                self.turns, lambda: caller.ask(Caller.round_trip_us, echo, self.turn_s), bare
            )
        return Round(ours, floor)


class AsksInFlight(Row):
    """64 tasks of a handler ask another node's handler.

    The floor is what a trio user writes without us: 64 tasks, each awaiting its own echo on its
    own DEALER. One loop that keeps 64 echoes outstanding on one socket gives its caller
    nothing to await, and is a reference only.
    """

    name = "64 asks in flight"
    floor_name = "64 tasks, a DEALER each"
    unit = "/s"
    must = at_least(2)
    aim = at_least(4)

    async def round(self) -> Round:
        size = len(TEXT)
        async with (
            open_floor(ECHO, "serve", "tasks", size, self.turn_s, IN_FLIGHT) as tasks,
            open_floor(ECHO, "serve", "pipeline", size, self.turn_s, IN_FLIGHT) as pipeline,
            open_pair() as (caller, echo),
        ):
            ours, floor, pipelined = await take_turns(
                self.turns,
                lambda: caller.ask(Caller.asks_per_s, echo, IN_FLIGHT, self.turn_s),
                tasks,
                pipeline,
            )
        return Round(ours, floor, {"one socket, one loop, 64 outstanding": Note(pipelined, "/s")})


class Tells(Row):
    """A handler tells another node's handler, and asks at the end whether all was handled."""

    name = "tells, until handled"
    floor_name = "pyzmq, encoded, one by one"
    unit = "/s"
    must = at_least(3)
    aim = at_least(5)

    async def round(self) -> Round:
        count = 10_000 if self.quick else 30_000
        async with (
            open_floor(TELLS, "receive", "send", "encoded", count, TEXT) as encoded,
            open_floor(TELLS, "receive", "send", "raw", count, TEXT) as raw,
            open_pair() as (caller, echo),
        ):
            ours, floor, unencoded = await take_turns(
                self.turns, lambda: caller.ask(Caller.tells_per_s, echo, count), encoded, raw
            )
        return Round(ours, floor, {"pyzmq, nothing encoded or decoded": Note(unencoded, "/s")})


ROWS: list[type[Row]] = [Ask, AsksInFlight, Tells]
