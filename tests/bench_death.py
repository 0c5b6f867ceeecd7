"""Rows: how soon a death or a silence is known, and how soon everything is gone."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time

import trio

from actors import Actor, ActorDeadError, ActorRef, open_system, reentrant
from actors.supervision.record import Happened
from runtime.detection.guard import BEAT_S
from tests.bench_row import Note, Round, Row, figure_at_most
from tests.real import GONE_S, open_console

LIVES = 50
CLEANUPS = 10


class Asker(Actor):
    """Waits for others until they are dead."""

    async def pid(self) -> int:
        return os.getpid()

    async def wait(self) -> None:
        await trio.sleep_forever()

    @reentrant
    async def outlive(self, other: ActorRef[Asker]) -> float:
        """When an ask to it has ended, on the clock that all processes share."""
        try:
            await other.ask(Asker.wait)
        except ActorDeadError:
            return time.monotonic()
        raise RuntimeError(f"{other.name} has answered")


class DeathSeen(Row):
    """From ``kill -9`` of a node, from outside, to the error of an ask in another node."""

    name = "death seen by a waiting asker"
    floor_name = "kill -9 to its pidfd, a plain process"
    unit = "ms"
    must = None
    aim = figure_at_most(50.0)

    async def round(self) -> Round:
        seen: list[float] = []
        bare: list[float] = []
        async with open_system(signals=False) as system:
            asker = await system.spawn(Asker)
            for _ in range(5 if self.quick else LIVES):
                bare.append(await _pidfd_ms())
                seen.append(await self._seen_ms(asker, await system.spawn(Asker)))
        worst = Note(max(seen), "ms")
        return Round(statistics.median(seen), statistics.median(bare), {"the worst of 50": worst})

    async def _seen_ms(self, asker: ActorRef[Asker], victim: ActorRef[Asker]) -> float:
        pid = await victim.ask(Asker.pid)
        told: list[float] = []
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                told.append(await asker.ask(Asker.outlive, victim))

            nursery.start_soon(ask)
            await trio.sleep(0.02)
            began = time.monotonic()
            os.kill(pid, signal.SIGKILL)
        return (told[0] - began) * 1e3


async def _pidfd_ms() -> float:
    with subprocess.Popen(["sleep", "60"]) as process:  # noqa: ASYNC220
        pidfd = os.pidfd_open(process.pid)
        try:
            began = time.monotonic()
            process.kill()
            await trio.lowlevel.wait_readable(pidfd)
            return (time.monotonic() - began) * 1e3
        finally:
            os.close(pidfd)


class FrozenVerdict(Row):
    """From the last beat of a node that is frozen to the verdict, of 50 at once."""

    name = "verdict on a frozen node"
    floor_name = "-"
    unit = "beats"
    must = None
    aim = figure_at_most(5.0)

    async def round(self) -> Round:
        beats: list[float] = []
        async with open_system(signals=False) as system:
            many = 5 if self.quick else LIVES
            refs = [await system.spawn(Asker) for _ in range(many)]
            pids = [await ref.ask(Asker.pid) for ref in refs]
            all_told = trio.Event()

            def hear(happened: Happened) -> None:
                if happened.what == "silent":
                    beats.append((trio.current_time() - happened.at) / BEAT_S)
                    if len(beats) == many:
                        all_told.set()

            await trio.sleep(2 * BEAT_S)
            with system.listen(hear):
                for pid in pids:
                    os.kill(pid, signal.SIGSTOP)
                await all_told.wait()
        worst = Note(max(beats), "beats")
        return Round(statistics.median(beats), None, {"the worst of 50": worst})


class CleanUp(Row):
    """From ``kill -9`` of a controller to the end of the last of its processes and files.

    It has seven nodes in three generations.
    """

    name = "clean-up after the controller's kill -9"
    floor_name = "-"
    unit = "ms"
    must = None
    aim = figure_at_most(1000.0)

    async def round(self) -> Round:
        took: list[float] = []
        for _ in range(1 if self.quick else CLEANUPS):
            async with open_console(argv=(sys.executable, "-m", "tests.real_observer")) as console:
                if await console.line() != "ready":
                    raise RuntimeError(console.errors())
                began = time.monotonic()
                console.signal(signal.SIGKILL)
                await console.nothing_left(GONE_S)
                took.append((time.monotonic() - began) * 1e3)
        worst = Note(max(took), "ms")
        return Round(statistics.median(took), None, {f"the worst of {CLEANUPS}": worst})


ROWS: list[type[Row]] = [DeathSeen, FrozenVerdict, CleanUp]
