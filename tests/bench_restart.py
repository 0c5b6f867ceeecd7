"""Rows: what it takes to have an actor, to have it back, and to be heard beside a busy one."""

from __future__ import annotations

import os
import signal
import statistics
import sys
import time

import trio

from actors.actor import Actor
from actors.node import ComputeNode
from actors.supervision.record import Happened
from actors.system import System, open_system
from tests.bench_actors import Caller, Echo
from tests.bench_process import open_child
from tests.bench_row import Limit, Note, Round, Row, at_most, figure_at_most

LIVES = 20


class SpawnToReply(Row):
    """From the call of ``spawn`` to the first answer; cold interpreters are started in between."""

    name = "spawn to first reply"
    floor_name = 'python -c "import trio, zmq"'
    unit = "ms"
    must = at_most(1 / 12)
    aim = at_most(1 / 25)

    async def round(self) -> Round:
        cold: list[float] = []
        async with open_system(signals=False) as system:
            await spawn_ms(system)
            spawned = []
            for number in range(LIVES):
                if number % 5 == 0:
                    cold.append(await _cold_ms())
                spawned.append(await spawn_ms(system))
        return Round(statistics.median(spawned), statistics.median(cold))


async def spawn_ms(system: System) -> float:
    """From the call of ``spawn`` to the first answer."""
    began = time.perf_counter()
    node = await system.spawn(ComputeNode)
    await node.ask(ComputeNode.time)
    return (time.perf_counter() - began) * 1e3


async def _cold_ms() -> float:
    began = time.perf_counter()
    async with open_child(sys.executable, "-c", "import trio, zmq"):
        pass
    return (time.perf_counter() - began) * 1e3


class Restart(Row):
    """From ``kill -9`` of a permanent node to the first answer of its next incarnation.

    The first restarts after a death come at once; a life of a minute earns that again, so each is
    of another node.
    """

    name = "restart after kill -9, to its answer"
    floor_name = "our spawn to first reply"
    unit = "ms"
    must = Limit("<=", 2, offset=10.0)
    aim = at_most(1.5)

    async def round(self) -> Round:
        async with open_system(signals=False, intensity=(1000, 10.0)) as system:
            await spawn_ms(system)
            spawned, regrown = [], []
            for _ in range(LIVES):
                spawned.append(await spawn_ms(system))
                regrown.append(await self._regrow_ms(system))
        return Round(statistics.median(regrown), statistics.median(spawned))

    async def _regrow_ms(self, system: System) -> float:
        node = await system.spawn(ComputeNode, restart="permanent")
        await node.ask(ComputeNode.time)
        again = trio.Event()

        def hear(happened: Happened) -> None:
            if (happened.what, happened.name) == ("started", node.name):
                again.set()

        (pid,) = [row.pid for row in await system.tree() if row.name == node.name]
        with system.listen(hear):
            began = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            await again.wait()
            await node.following().ask(ComputeNode.time)
            return (time.perf_counter() - began) * 1e3


class Spinner(Actor):
    """Computes, and never yields for long enough to matter."""

    async def spin(self, seconds: float) -> None:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            sum(range(1000))


class BesideABusyOne(Row):
    """One node asks another, while a third computes without a rest."""

    name = "ask beside a node that computes, p50"
    floor_name = "without it, p50"
    unit = "us"
    must = None
    aim = figure_at_most(1000.0)

    async def round(self) -> Round:
        seconds = 0.5 if self.quick else 2.0
        async with open_system(signals=False) as system:
            caller, echo = await system.spawn(Caller), await system.spawn(Echo)
            spinner = await system.spawn(Spinner)
            alone = await caller.ask(Caller.round_trips_us, echo, seconds)
            await spinner.tell(Spinner.spin, seconds + 0.5)
            beside = await caller.ask(Caller.round_trips_us, echo, seconds)
        return Round(
            beside[0],
            alone[0],
            {"beside it, p99": Note(beside[1], "us"), "without it, p99": Note(alone[1], "us")},
        )


ROWS: list[type[Row]] = [SpawnToReply, Restart, BesideABusyOne]
