"""A start whose parent ends meanwhile: it ends too, at once, and nothing is left."""

from contextlib import suppress

import pytest
import trio
from trio.lowlevel import checkpoint

from actors import Actor, ActorDeadError, SpawnError
from actors.testing.virtual import VirtualSystem, open_virtual_system


class Parent(Actor):
    async def leave(self) -> None:
        self.finish()


@pytest.mark.parametrize("steps", range(40))
async def test_a_start_is_overtaken_by_the_end_of_its_parent(
    steps: int, system: VirtualSystem
) -> None:
    parent = await system.spawn(Parent, name="parent")
    refusals = []

    async def start() -> None:
        try:
            await system.spawn(Parent, name="child", parent=parent)
        except (ActorDeadError, LookupError) as error:
            refusals.append(str(error))

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(start)
            for _ in range(steps):
                await checkpoint()
            await parent.stop()
    assert await system.tree() == []
    assert {*refusals} <= {"parent is not alive", "no actor is named parent"}


@pytest.mark.parametrize("steps", range(40))
async def test_a_restart_is_overtaken_by_the_end_of_its_parent(
    steps: int, system: VirtualSystem
) -> None:
    parent = await system.spawn(Parent, name="parent")
    child = await system.spawn(Parent, name="child", parent=parent)
    await system.spawn(Parent, name="grandchild", parent=child)
    await child.kill()

    async def restart() -> None:
        with suppress(ActorDeadError, SpawnError, LookupError):
            await child.restart()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(restart)
            for _ in range(steps):
                await checkpoint()
            await parent.stop()
    assert await system.tree() == []
    assert not system.nodes.records
    await system.spawn(Parent, name="child")


class Slow(Actor):
    async def on_start(self) -> None:
        await trio.sleep(1)


async def test_a_start_under_way_is_told_how_its_parent_ended(system: VirtualSystem) -> None:
    parent = await system.spawn(Parent, name="parent")
    await parent.tell(Parent.leave)
    with pytest.raises(ActorDeadError, match="parent is not alive") as raised:
        await system.spawn(Slow, parent=parent)
    assert str(raised.value.reason) == "normal"


@pytest.mark.regrow
async def test_a_start_under_way_does_not_hold_up_the_end_of_a_runtime_that_failed() -> None:
    async def fail() -> None:
        await trio.sleep(0.5)
        raise ValueError("the runtime is at fault")

    async def start_in_it() -> None:
        async with open_virtual_system() as system:
            system.nodes._tasks.start_soon(fail)
            with suppress(trio.ClosedResourceError):
                await system.spawn(Slow)
            await trio.sleep_forever()

    with trio.fail_after(5), pytest.raises(ValueError, match="at fault"):
        await start_in_it()
