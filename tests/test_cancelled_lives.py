"""Whenever a spawn, a stop or the like is cancelled, all is as if it had been done or not begun.

Over a whole system in virtual time, cut at each point of its course, see `tests.axe`.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import pytest
import trio

from actors import Actor, ActorRef, reentrant
from actors.testing.virtual import VirtualSystem, open_virtual_system
from runtime.errors import SpawnError
from runtime.exits import ExitReason
from tests.axe import cut
from tests.census import census, settle, tasks


class Plain(Actor):
    def __init__(self, start: int = 0) -> None:
        self.start = start

    async def add(self, number: int) -> int:
        return number + 1


class Slow(Plain):
    """Takes its time to start and to stop."""

    async def on_start(self) -> None:
        await trio.sleep(0.05)
        await trio.sleep(0.05)

    async def on_stop(self, reason: ExitReason) -> None:
        await trio.sleep(0.05)


class Broken(Plain):
    async def on_start(self) -> None:
        await trio.sleep(0.05)
        raise ValueError("as asked")


class Family(Plain):
    """Starts with a child of its own."""

    async def on_start(self) -> None:
        await self.spawn(Slow, name=f"{self.ref.name}.child", restart="permanent")


KINDS = {kind.__name__: kind for kind in (Plain, Slow, Broken, Family)}


class Nest(Plain):
    """Spawns in its handlers, and knows what it owns."""

    async def on_start(self) -> None:
        self.owned: list[ActorRef[Plain]] = []

    async def grow(self, kind: str, local: bool) -> None:
        self.owned.append(await self.spawn(KINDS[kind], local=local))

    @reentrant
    async def grow_beside(self, kind: str, local: bool) -> None:
        self.owned.append(await self.spawn(KINDS[kind], local=local))

    async def drop(self) -> None:
        while self.owned:
            await self.owned.pop().stop()

    async def watch(self, ref: ActorRef[Plain]) -> None:
        monitor = self.monitor(ref)
        try:
            await trio.sleep(0.05)
        finally:
            self.demonitor(monitor)


class Stage:
    def __init__(self, system: VirtualSystem, nest: ActorRef[Nest], near: ActorRef[Nest]) -> None:
        self.system, self.nest, self.near = system, nest, near
        self.owned: list[ActorRef[Plain]] = []  # by the program, once the spawn has returned

    async def drop(self) -> None:
        """What was spawned has ended."""
        await trio.sleep(0.01)  # a handler that was cancelled is over
        while self.owned:
            await self.owned.pop().stop()
        await self.nest.ask(Nest.drop)
        await self.near.ask(Nest.drop)

    async def alive(self, name: str) -> ActorRef[Plain] | None:
        """It lives and works, or (None) there is nothing of it."""
        try:
            ref = await self.system.lookup(name, Plain)
        except LookupError:
            return None
        with trio.fail_after(1):
            assert await ref.ask(Plain.add, 1) == 2
        return ref


Operation = Callable[[Stage], Awaitable[object]]


async def spawn(stage: Stage) -> None:
    stage.owned.append(await stage.system.spawn(Plain, 1))


async def spawn_slow(stage: Stage) -> None:
    stage.owned.append(await stage.system.spawn(Slow, 1, name="slow", restart="permanent"))


async def spawn_family(stage: Stage) -> None:
    stage.owned.append(await stage.system.spawn(Family, restart="permanent"))


async def spawn_under_another(stage: Stage) -> None:
    stage.owned.append(await stage.system.spawn(Slow, parent=stage.nest))


async def spawn_broken(stage: Stage) -> None:
    with pytest.raises(SpawnError):
        await stage.system.spawn(Broken, name="broken", restart="permanent")


async def spawn_local(stage: Stage) -> None:
    stage.owned.append(await stage.system.spawn(Plain, local=True))


async def spawn_local_slow(stage: Stage) -> None:
    stage.owned.append(await stage.system.spawn(Slow, name="slow", local=True, restart="permanent"))


async def spawn_local_broken(stage: Stage) -> None:
    with pytest.raises(SpawnError):
        await stage.system.spawn(Broken, local=True)


async def spawn_inside(stage: Stage) -> None:
    await stage.nest.ask(Nest.grow, "Slow", False)


async def spawn_inside_reentrant(stage: Stage) -> None:
    await stage.nest.ask(Nest.grow_beside, "Slow", False)


async def spawn_inside_local(stage: Stage) -> None:
    await stage.nest.ask(Nest.grow, "Slow", True)


async def spawn_inside_in_place(stage: Stage) -> None:
    await stage.near.ask(Nest.grow, "Slow", True)


async def spawn_two_at_once(stage: Stage) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(spawn, stage)
        nursery.start_soon(spawn, stage)


async def spawn_what_is_there(stage: Stage) -> None:
    ref = await stage.system.spawn(Plain, 7, name="held", restart="permanent")
    assert ref == await stage.system.lookup("held")


async def monitor(stage: Stage) -> None:
    await stage.nest.ask(Nest.watch, stage.near)


async def wait(stage: Stage) -> None:
    with suppress(trio.TooSlowError), trio.fail_after(0.05):
        await stage.nest.wait()


SPAWNS = [
    spawn,
    spawn_slow,
    spawn_family,
    spawn_under_another,
    spawn_broken,
    spawn_local,
    spawn_local_slow,
    spawn_local_broken,
    spawn_inside,
    spawn_inside_reentrant,
    spawn_inside_local,
    spawn_inside_in_place,
    spawn_two_at_once,
    spawn_what_is_there,
    monitor,
    wait,
]


@pytest.mark.parametrize("operation", [pytest.param(each, id=each.__name__) for each in SPAWNS])
async def test_a_cancelled_spawn_leaves_nothing_that_nobody_owns(
    operation: Operation, system: VirtualSystem
) -> None:
    stage = Stage(
        system, await system.spawn(Nest), await system.spawn(Nest, local=True, name="near")
    )
    held = await system.spawn(Plain, 7, name="held", restart="permanent")
    await stage.drop()
    await trio.sleep(1)
    before = census(system)
    for step in itertools.count(1):
        over = await cut(partial(operation, stage), step)
        await stage.drop()
        await settle(system, before)
        assert await stage.alive("held") == held
        if over:
            break
        await operation(stage)
        await stage.drop()
        await settle(system, before)
    assert step > 3


async def stop(target: ActorRef[Plain], stage: Stage) -> None:
    assert (await target.stop()).kind == "shutdown"


async def stop_two_at_once(target: ActorRef[Plain], stage: Stage) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(target.stop)
        nursery.start_soon(target.stop)


async def kill(target: ActorRef[Plain], stage: Stage) -> None:
    assert (await target.kill()).kind == "killed"


async def restart(target: ActorRef[Plain], stage: Stage) -> None:
    ref = await target.restart()
    assert ref.incarnation > target.incarnation


async def replace(target: ActorRef[Plain], stage: Stage) -> None:
    """Its name is taken over by another of the same place."""
    await stage.system.spawn(Slow, 8, name="target", restart="permanent")


ENDS = [
    pytest.param(stop, id="stop"),
    pytest.param(stop_two_at_once, id="stop_two_at_once"),
    pytest.param(kill, id="kill"),
    pytest.param(restart, id="restart"),
    pytest.param(replace, id="replace"),
]


@pytest.mark.parametrize("kind", [Plain, Slow, Family])
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.regrow(intensity=(10000, 1.0))
async def test_a_cancelled_end_leaves_an_actor_whole_or_nothing_of_it(
    end: Callable[[ActorRef[Plain], Stage], Awaitable[None]],
    kind: type[Plain],
    system: VirtualSystem,
) -> None:
    stage = Stage(
        system, await system.spawn(Nest), await system.spawn(Nest, local=True, name="near")
    )
    await stage.drop()
    await trio.sleep(1)
    before = census(system)
    for step in itertools.count(1):
        target = await system.spawn(kind, name="target", restart="permanent")
        over = await cut(partial(end, target, stage), step)
        await trio.sleep(5)
        left = await stage.alive("target")
        if left is not None:
            body = [each for each in system.host.bodies.values() if each.name == "target"]
            assert [each.incarnation for each in body] == [left.incarnation]
            system.kill(left)  # it is permanent still
            await trio.sleep(5)
            again = await stage.alive("target")
            assert again is not None
            await again.stop()
        await settle(system, before)
        if over:
            break
    assert step > 3


@pytest.mark.regrow
async def test_a_block_that_is_cancelled_at_any_point_leaves_nothing() -> None:
    async def block() -> None:
        async with open_virtual_system() as system:
            near = await system.spawn(Nest, local=True)
            nest = await system.spawn(Nest)
            await nest.ask(Nest.grow, "Plain", False)
            await near.ask(Nest.grow, "Slow", False)
            await nest.tell(Nest.watch, near)

    before = tasks()
    for step in itertools.count(1):
        over = await cut(block, step)
        assert tasks() == before
        if over:
            break
    assert step > 100
