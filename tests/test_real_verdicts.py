"""Real processes that die, freeze and hang: who is told, when, and why; and that nobody is else.

``REGROW_LONG=1`` lets the hogs run for a minute.
"""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import trio

from actors import Actor, ActorRef, Down, Recovered, Suspected, System, reentrant
from actors.testing.chaos import Chaos
from tests.mortals import Mortal
from tests.real import ANSWER_S, Console, freeze, open_console, thaw

pytestmark = [pytest.mark.real, pytest.mark.regrow(on="real")]

BEAT_S = 0.25
DEATH_S = 5 * 0.05
VERDICT_S = 5 * 5 * BEAT_S
HOGS_S = 60.0 if os.environ.get("REGROW_LONG") else 4.0


class Watcher(Actor):
    """Keeps when it heard of ends, in a process of its own."""

    def __init__(self) -> None:
        self.heard: list[float] = []
        self.bell = trio.Event()

    async def watch(self, ref: ActorRef[Mortal]) -> None:
        self.monitor(ref)

    async def on_down(self, down: Down | Suspected | Recovered) -> None:
        assert isinstance(down, Down)
        self.heard.append(time.monotonic())
        self.bell.set()

    @reentrant
    async def hears(self, number: int) -> float:
        """The instant of the end with that number."""
        while len(self.heard) <= number:
            self.bell = trio.Event()
            await self.bell.wait()
        return self.heard[number]


class Sleeper(Mortal):
    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251


async def test_a_death_is_known_within_its_bound_everywhere(system: System) -> None:
    watcher = await system.spawn(Watcher)
    above = await system.spawn(Mortal, name="above")
    took: list[float] = []
    for number in range(10):
        ref = await above.ask(Mortal.bear_plainly, f"n{number}")
        await watcher.ask(Watcher.watch, ref)
        pid = await ref.ask(Mortal.ping)
        died = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        with trio.fail_after(ANSWER_S):
            await ref.wait()
            here = time.monotonic()
            there = await watcher.ask(Watcher.hears, number)
        took += (here - died, there - died)
    assert statistics.median(took) < DEATH_S


AILMENTS = {
    "frozen": ("frozen", r"its process is stopped by a signal \(state T\)"),
    "computing": ("busy", r"handler spin has run for \d\.\d s, computing"),
    "blocked": ("busy", r"handler sleep has run for \d\.\d s, blocked: it uses no CPU time"),
}


@pytest.mark.parametrize("below", [False, True], ids=["under the controller", "under a node"])
@pytest.mark.parametrize("ailment", AILMENTS)
async def test_each_verdict_has_its_evidence(
    ailment: str, below: bool, system: System, chaos: Chaos
) -> None:
    kind, evidence = AILMENTS[ailment]
    probe = await system.probe()
    above = await system.spawn(Mortal) if below else None
    ref = await system.spawn(Sleeper, parent=above)
    probe.monitor(ref, suspicions=True)
    await trio.sleep(2 * BEAT_S)
    began = trio.current_time()
    if ailment == "frozen":
        await chaos.freeze(ref)
    elif ailment == "computing":
        await ref.tell(Sleeper.spin, 2.5)
    else:
        await ref.tell(Sleeper.sleep, 2.5)
    suspected = await probe.expect(Suspected, kind=kind, within_s=ANSWER_S)
    took_s = probe.arrivals[0].at - began
    assert 3 * BEAT_S < took_s < VERDICT_S  # the last beat came up to a beat before
    assert probe.came(Suspected)[0] == suspected
    assert re.fullmatch(evidence, suspected.evidence)
    if ailment == "frozen":
        await chaos.thaw(ref)
    await probe.expect(Recovered, within_s=ANSWER_S)  # meanwhile, what it does may have changed
    assert not probe.came(Down)


# None without a reason.


@asynccontextmanager
async def open_observer() -> AsyncIterator[Console]:
    async with open_console(argv=(sys.executable, "-m", "tests.real_observer")) as console:
        assert await console.line() == "ready"
        yield console


async def suspected(console: Console) -> list[list[str]]:
    """What it has heard of its nodes since it was ready, while all of them answer."""
    told, answers = json.loads(await console.ask("?"))
    assert answers == 7
    assert isinstance(told, list)
    return told


async def test_an_observer_that_was_stopped_suspects_nobody() -> None:
    async with open_observer() as console:
        await trio.sleep(0.6)
        await freeze(console.pid)
        await trio.sleep(3)
        thaw(console.pid)
        await trio.sleep(2)
        assert await suspected(console) == []


async def test_a_guardian_that_was_stopped_suspects_none_of_its_wards() -> None:
    async with open_observer() as console:
        pids = sorted(console.node_pids())
        await trio.sleep(0.6)
        await freeze(pids[0])
        await trio.sleep(3)
        thaw(pids[0])
        await trio.sleep(2)
        assert await suspected(console) == [["silent", "n1"], ["heard", "n1"]]


@contextmanager
def hogs() -> Iterator[None]:
    """One on every core."""
    program = "while True: pass"
    many = os.cpu_count() or 1
    started = [subprocess.Popen([sys.executable, "-S", "-c", program]) for _ in range(many)]
    try:
        yield
    finally:
        for each in started:
            each.kill()
            each.wait()


@pytest.mark.regrow(deadline_s=HOGS_S + 60)
async def test_hogs_on_every_core_make_nobody_silent() -> None:
    async with open_observer() as console:
        with hogs():
            await trio.sleep(HOGS_S)
            assert await suspected(console) == []
