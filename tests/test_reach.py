"""Whether an actor can be reached is nobody's message: it is asked for nothing."""

import pytest
import trio

from actors import Actor, ActorDeadError, UnreachableError
from actors.testing.virtual import VirtualSystem
from shell.reach import reach


class Sleeper(Actor):
    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def host(self) -> "list[str]":
        child = await self.spawn(Sleeper, name="child", local=True)
        await child.tell(Sleeper.sleep, 5.0)
        await reach(child)
        await child.kill()
        try:
            await reach(child)
        except ActorDeadError as dead:
            return [str(dead.__class__.__name__)]
        return []


async def test_an_actor_is_reached_whatever_it_does_and_counts_nothing(
    system: VirtualSystem,
) -> None:
    sleeper = await system.spawn(Sleeper, mailbox_messages=2)
    for _ in range(4):
        with trio.move_on_after(0.1):
            await sleeper.tell(Sleeper.sleep, 100.0)
    before = await system.audit()
    began = trio.current_time()
    await reach(sleeper)  # without credit, with a handler that is suspended
    assert trio.current_time() == began
    assert await system.audit() == before
    assert before.in_flight


async def test_a_dead_and_a_frozen_one_cannot_be_reached(system: VirtualSystem) -> None:
    sleeper = await system.spawn(Sleeper)
    system.freeze(sleeper)
    began = trio.current_time()
    with pytest.raises(UnreachableError, match="frozen"):
        await reach(sleeper)
    assert 1.0 <= trio.current_time() - began <= 1.5
    with pytest.raises(UnreachableError):
        await reach(sleeper)
    system.thaw(sleeper)
    await trio.sleep(1)
    await reach(sleeper)
    with trio.move_on_after(1) as scope:
        system.freeze(sleeper)
        await reach(sleeper)
    assert scope.cancelled_caught
    assert not system.exchange.pending
    system.kill(sleeper)
    with pytest.raises(ActorDeadError):
        await reach(sleeper)


async def test_a_cell_that_has_ended_in_a_living_process_is_dead(system: VirtualSystem) -> None:
    host = await system.spawn(Sleeper)
    child_of = await host.ask(Sleeper.host)
    assert child_of == ["ActorDeadError"]
