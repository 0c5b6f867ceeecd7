"""Rows: asks and tells between two nodes."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from actors.ref import ActorRef
from actors.system import open_system
from tests.bench_actors import WARM_TELLS, Caller, Echo
from tests.bench_process import floor, open_child
from tests.bench_row import TEXT, Note, Round, Row, at_least, at_most

IN_FLIGHT = 64


@asynccontextmanager
async def open_pair() -> AsyncIterator[tuple[ActorRef[Caller], ActorRef[Echo]]]:
    """Two nodes of a system of their own."""
    async with open_system(signals=False) as system:
        yield await system.spawn(Caller), await system.spawn(Echo)


def new_endpoint() -> str:
    """Nobody has ever bound it; its folder is removed at the end of the benchmark."""
    folder = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    return f"ipc://{folder}/{secrets.token_hex(4)}.floor"


async def asks_in_flight(seconds: float) -> float:
    """Our own asks per second, 64 tasks of one node that ask another."""
    async with open_pair() as (caller, echo):
        return await caller.ask(Caller.asks_per_s, echo, IN_FLIGHT, seconds)


async def bare_echo(role: str, *arguments: object) -> float:
    """The figure of one of the clients in ``bench_floors``."""
    endpoint = new_endpoint()
    async with open_child(*floor("bench_floors.py", "serve", endpoint)) as server:
        await server.line()
        client = floor("bench_floors.py", role, endpoint, len(TEXT), *arguments)
        async with open_child(*client) as measuring:
            return float(await measuring.line())


async def bare_tells(kind: str, count: int) -> float:
    """Messages per second that pyzmq alone sends, receives and, if encoded, handles."""
    endpoint = new_endpoint()
    script = "bench_floors_tells.py"
    counts = (WARM_TELLS, count)
    async with open_child(*floor(script, "receive", endpoint, kind, *counts)) as receiver:
        await receiver.line()
        sender = floor(script, "send", endpoint, kind, TEXT, *counts)
        async with open_child(*sender) as sending:
            return float(await sending.line())


class Ask(Row):
    """A handler asks another node's handler in a loop."""

    name = "ask between two nodes, p50"
    floor_name = "bare trio + pyzmq echo, p50"
    unit = "us"
    must = at_most(1.5)
    aim = at_most(1.25)

    async def round(self) -> Round:
        bare = await bare_echo("ask", self.seconds)
        async with open_pair() as (caller, echo):
            return Round(await caller.ask(Caller.round_trip_us, echo, self.seconds), bare)


class AsksInFlight(Row):
    """64 tasks of a handler ask another node's handler.

    The floor is what a trio user writes without us: 64 tasks, each awaiting its own echo on its
    own DEALER. One loop that keeps 64 echoes outstanding on one socket gives its
    caller nothing to await, and is a reference only.
    """

    name = "64 asks in flight"
    floor_name = "64 tasks, a DEALER each"
    unit = "/s"
    must = at_least(2)
    aim = at_least(4)

    async def round(self) -> Round:
        bare = await bare_echo("tasks", self.seconds, IN_FLIGHT)
        ours = await asks_in_flight(self.seconds)
        pipelined = await bare_echo("pipeline", self.seconds, IN_FLIGHT)
        return Round(ours, bare, {"one socket, one loop, 64 outstanding": Note(pipelined, "/s")})


class Tells(Row):
    """A handler tells another node's handler, and asks at the end whether all was handled."""

    name = "tells, until handled"
    floor_name = "pyzmq, encoded, one by one"
    unit = "/s"
    must = at_least(3)
    aim = at_least(5)

    async def round(self) -> Round:
        count = 10_000 if self.quick else 100_000
        bare = await bare_tells("encoded", count)
        async with open_pair() as (caller, echo):
            ours = await caller.ask(Caller.tells_per_s, echo, count)
        raw = await bare_tells("raw", count)
        return Round(ours, bare, {"pyzmq, nothing encoded or decoded": Note(raw, "/s")})


ROWS: list[type[Row]] = [Ask, AsksInFlight, Tells]
