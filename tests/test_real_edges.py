"""Local cells, refs of other systems, hooks that leave, spare children: rare cases."""

import random

import pytest
import trio

from actors.actor import Actor
from actors.ref import ActorRef
from actors.system import System, open_system
from runtime.errors import ActorDeadError, RemoteError, SpawnError
from runtime.exits import ExitReason
from tests.real import ANSWER_S, alive, freeze, is_spare, open_console, until
from tests.real_actors import Counter

pytestmark = pytest.mark.regrow(on="real")
on_both = pytest.mark.regrow(on=["virtual", "real"])


class Host(Actor):
    """Has cells of its own process, handlers that take long, and hooks that leave."""

    def __init__(self, leave_in: str = "") -> None:
        self.leave_in = leave_in
        self.leave("constructor")

    def leave(self, where: str) -> None:
        if self.leave_in == where:
            raise SystemExit(3)

    async def on_start(self) -> None:
        self.leave("on_start")

    async def on_stop(self, reason: ExitReason) -> None:
        self.leave("on_stop")

    async def hold(self, name: str) -> ActorRef[Counter]:
        return await self.spawn(Counter, name=name, local=True)

    async def start(self, name: str) -> ActorRef[Counter]:
        return await self.spawn(Counter, name=name)

    async def sleep(self) -> None:
        await trio.sleep_forever()


@on_both
@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_the_end_of_a_local_cell_is_not_the_end_of_its_process(
    end: str, system: System
) -> None:
    host = await system.spawn(Host, name="host")
    first, second = await host.ask(Host.hold, "first"), await host.ask(Host.hold, "second")
    await getattr(first, end)()
    with trio.fail_after(ANSWER_S):
        assert await second.ask(Counter.add, 1) == 1
        assert await (await host.ask(Host.start, "third")).ask(Counter.add, 1) == 1
    assert {"host/second", "third"} <= {row.name for row in await system.tree()}
    began_at = trio.current_time()
    assert (await host.stop()).kind == "shutdown"
    assert trio.current_time() - began_at < 0.9


@on_both
async def test_the_end_of_a_local_cell_of_the_program_ends_no_other(system: System) -> None:
    first = await system.spawn(Counter, name="first", local=True)
    second = await system.spawn(Counter, name="second", local=True)
    await first.stop()
    assert [row.name for row in await system.tree()] == ["controller/second"]
    assert await second.ask(Counter.add, 1) == 1


@pytest.mark.parametrize("used", [True, False])
async def test_a_ref_of_an_earlier_system_reaches_nobody(used: bool) -> None:
    async with open_system() as system:
        old = await system.spawn(Counter, 10, name="old")
    async with open_system() as system:
        new = await system.spawn(Counter, 20, name="new")
        if used:
            assert await new.ask(Counter.add, 1) == 21
        with trio.fail_after(ANSWER_S):
            with pytest.raises((ActorDeadError, RuntimeError)):
                await old.ask(Counter.add, 1)
            with pytest.raises((ActorDeadError, RuntimeError)):
                await old.tell(Counter.add, 1)
            with pytest.raises((ActorDeadError, RuntimeError, LookupError)):
                await old.kill()
            assert await new.ask(Counter.add, 0) == 20 + used


async def test_a_second_system_in_the_same_block_is_refused() -> None:
    async with open_system() as system:
        ref = await system.spawn(Counter)
        with pytest.raises(RuntimeError):
            async with open_system():
                pass
        assert await ref.ask(Counter.add, 1) == 1


@on_both
@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_an_asker_with_a_deadline_hears_of_an_end_at_once(end: str, system: System) -> None:
    async with trio.open_nursery() as nursery:
        ref = await system.spawn(Host)

        async def ask() -> None:
            began_at = trio.current_time()
            with trio.fail_after(20), pytest.raises((RemoteError, ActorDeadError)):
                await ref.ask(Host.sleep)
            assert trio.current_time() - began_at < 5.0

        nursery.start_soon(ask)
        await trio.sleep(0.1)
        await getattr(ref, end)()


async def test_every_cancelled_spawn_leaves_nothing(system: System) -> None:
    chance = random.Random("cancelled spawns")
    await (await system.spawn(Counter, name="child")).stop()
    for _ in range(100):
        with trio.move_on_after(chance.uniform(0.002, 0.02)) as scope:
            child = await system.spawn(Counter, name="child")
        if not scope.cancelled_caught:
            await child.stop()
        with trio.fail_after(ANSWER_S):
            while await system.tree():  # noqa: ASYNC110
                await trio.sleep(0.005)


@on_both
@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("where", ["constructor", "on_start", "on_stop"])
async def test_an_actor_that_leaves_in_a_hook_ends_alone(
    where: str, local: bool, system: System
) -> None:
    if where != "on_stop":
        with pytest.raises(SpawnError, match=r"SystemExit: 3"):
            await system.spawn(Host, where, local=local)
    else:
        ref = await system.spawn(Host, where, local=local)
        reason = await ref.stop()
        assert (reason.kind, reason.error, reason.message) == ("crashed", "SystemExit", "3")


async def test_a_frozen_spare_child_costs_no_start() -> None:
    async with open_console() as console:
        await console.create(1)
        spares: list[int] = []

        def there() -> bool:
            from runtime.processes import procfs

            spares[:] = [pid for pid in procfs.children(console.zygote) if is_spare(pid)]
            return bool(spares)

        await until(there)
        await trio.sleep(0.1)
        await freeze(*spares)
        await console.create(2)
        assert not any(map(alive, spares))  # they were of no use


async def test_a_script_that_cannot_be_read_is_wrong_usage() -> None:
    async with open_console("--script", "/tmp") as console:
        assert await console.status() == 2
        assert console.errors() == "regrow: --script /tmp: Is a directory\n"
