"""Whenever something is cancelled, no process is left of it; deadlines hold between processes.

The same as in `tests.test_cancellation`, with real processes, at the first points only: what comes
by the wire comes at its own times.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Awaitable, Callable, Sequence

import pytest
import trio

from actors import Actor, ActorRef
from actors.system import System
from runtime.hosts.process_host import ProcessHost
from tests.axe import cut
from tests.census import tasks
from tests.real import ANSWER_S, begun, is_spare, until

pytestmark = [pytest.mark.real, pytest.mark.regrow(on="real")]

STEPS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 30)


class Cook(Actor):
    def __init__(self) -> None:
        self.running = 0
        self.owned: list[ActorRef[Cook]] = []

    async def pid(self) -> int:
        return os.getpid()

    async def state(self) -> int:
        return self.running

    async def simmer(self, seconds: float) -> None:
        self.running += 1
        try:
            await trio.sleep(seconds)
        finally:
            self.running -= 1

    async def simmer_elsewhere(self, other: ActorRef[Cook], seconds: float) -> None:
        await other.ask(Cook.simmer, seconds)

    async def grow(self) -> None:
        self.owned.append(await self.spawn(Cook))

    async def drop(self) -> None:
        while self.owned:
            await self.owned.pop().stop()

    async def deadline_s(self, through: Sequence[ActorRef[Cook]]) -> float:
        if through:
            return await through[0].ask(Cook.deadline_s, through[1:])
        return trio.current_effective_deadline() - trio.current_time()


class Kitchen:
    def __init__(self, system: System, first: ActorRef[Cook], second: ActorRef[Cook]) -> None:
        self.system, self.first, self.second = system, first, second
        self.owned: list[ActorRef[Cook]] = []


async def spawn(kitchen: Kitchen) -> None:
    kitchen.owned.append(await kitchen.system.spawn(Cook, name="third"))


async def spawn_elsewhere(kitchen: Kitchen) -> None:
    await kitchen.first.ask(Cook.grow)


async def spawn_and_stop(kitchen: Kitchen) -> None:
    ref = await kitchen.system.spawn(Cook)
    kitchen.owned.append(ref)
    await ref.stop()


async def ask(kitchen: Kitchen) -> None:
    await kitchen.first.ask(Cook.simmer, 0.05)


async def ask_through_another(kitchen: Kitchen) -> None:
    await kitchen.first.ask(Cook.simmer_elsewhere, kitchen.second, 0.05)


@pytest.mark.parametrize(
    "operation",
    [spawn, spawn_elsewhere, spawn_and_stop, ask, ask_through_another],
    ids=lambda operation: operation.__name__,
)
async def test_whenever_it_is_cancelled_no_process_task_or_entry_is_left(
    operation: Callable[[Kitchen], Awaitable[None]], system: System
) -> None:
    kitchen = Kitchen(system, await system.spawn(Cook), await system.spawn(Cook))
    await operation(kitchen)
    await clean_up(kitchen)
    pids = {await kitchen.first.ask(Cook.pid), await kitchen.second.ask(Cook.pid)}
    assert isinstance(system.host, ProcessHost)
    pids.add(system.host.keeper.pid)
    before = tasks()
    for step in STEPS:
        await cut(functools.partial(operation, kitchen), step)
        await clean_up(kitchen)
        await until(lambda: {pid for pid in begun() if not is_spare(pid)} == pids)
        await until(lambda: tasks() == before)
        with trio.fail_after(ANSWER_S):
            while len(await system.tree()) > 2:  # noqa: ASYNC110
                await trio.sleep(0.002)
            for ref in (kitchen.first, kitchen.second):
                while await ref.ask(Cook.state):  # noqa: ASYNC110
                    await trio.sleep(0.002)
        assert not system.exchange.pending
    with trio.fail_after(ANSWER_S):
        await operation(kitchen)
        await clean_up(kitchen)


async def clean_up(kitchen: Kitchen) -> None:
    """What somebody owns has ended."""
    while kitchen.owned:
        await kitchen.owned.pop().stop()
    with trio.fail_after(ANSWER_S):
        await kitchen.first.ask(Cook.drop)


async def test_a_deadline_travels_through_every_process_of_a_chain(system: System) -> None:
    """None of the handlers suspends before it asks the next."""
    cooks = [await system.spawn(Cook) for _ in range(3)]
    near = await system.spawn(Cook, local=True)
    for through in ([], cooks[1:2], cooks[1:], [near], [near, cooks[1]]):
        with trio.fail_after(100):
            left_s = await cooks[0].ask(Cook.deadline_s, through)
        assert 100 - ANSWER_S < left_s <= 100
