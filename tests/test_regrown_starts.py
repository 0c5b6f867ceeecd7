"""Starts that fail, and stops, spawns and restarts that meet a restart, in virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from actors import Actor, ActorDeadError, ActorRef, ChildSpec, SpawnError, Supervisor, child
from actors.system import System
from actors.testing.chronicle import chronicle
from actors.testing.virtual import VirtualSystem
from runtime.messages.behaviour import Strategy

OF_GROUPS = [
    pytest.param(strategy, marks=pytest.mark.regrow(strategy=strategy))
    for strategy in ("one_for_all", "rest_for_one")
]
Hook = Callable[["Child", int], Awaitable[None]]


class Child(Actor):
    """Does at each start what its test says; `starting` makes a class of it."""

    hook: Hook
    lives = 0

    async def on_start(self) -> None:
        cls = type(self)
        cls.lives += 1
        await cls.hook(self, cls.lives)

    async def bear(
        self, kind: str = "", restart: str = "permanent", local: bool = False
    ) -> ActorRef[Leaf]:
        return await self.spawn(Leaf, name=kind or None, restart=restart, local=local)  # type: ignore[arg-type]

    async def leave(self) -> None:
        self.finish()

    async def hold(self) -> None:
        await trio.sleep_forever()


class Leaf(Actor):
    async def leave(self) -> None:
        self.finish()


def starting(hook: Hook) -> type[Child]:
    return type("Child", (Child,), {"hook": staticmethod(hook)})


def failing_in(*lives: int) -> type[Child]:
    async def hook(child: Child, life: int) -> None:
        if life in lives:
            raise ValueError(f"life {life}")

    return starting(hook)


def slow_from(first: int, seconds: float = 1.0) -> type[Child]:
    async def hook(child: Child, life: int) -> None:
        if life >= first:
            await trio.sleep(seconds)

    return starting(hook)


async def states(system: System) -> dict[str, str]:
    return {row.name: row.state for row in await system.tree()}


async def kill(system: VirtualSystem, name: str) -> None:
    system.kill(await system.lookup(name))


async def nothing_stirs(system: System) -> None:
    """Nobody dies or comes back for a good while."""
    with chronicle(system) as written:
        await trio.sleep(100)
    assert written.lines == []


def seeded(count: int) -> list[Any]:
    """Numbers from 0 on, each the seed of its run as well."""
    return [pytest.param(each, marks=pytest.mark.regrow(seed=each)) for each in range(count)]


# Starts that fail.


@pytest.mark.parametrize("local", [False, True])
async def test_of_a_first_start_that_fails_nothing_is_kept(
    local: bool, system: VirtualSystem
) -> None:
    async def hook(child: Child, life: int) -> None:
        await child.bear("named")
        await child.bear()
        raise ValueError("no")

    with pytest.raises(SpawnError, match="ValueError: no"):
        await system.spawn(starting(hook), name="x", local=local, restart="permanent")
    assert await states(system) == {}
    await nothing_stirs(system)
    name = "controller/x" if local else "x"
    assert (await system.spawn(failing_in(), name="x", local=local)).name == name


async def test_the_children_of_a_supervisor_that_fails_are_gone(system: VirtualSystem) -> None:
    failing = failing_in(1)

    class Top(Supervisor):
        def children(self) -> list[ChildSpec[Any]]:
            return [child(Leaf, name="a"), child(Leaf, name="b"), child(failing, name="c")]

    with pytest.raises(SpawnError, match="SpawnError: ValueError: life 1"):
        await system.spawn(Top, name="top")
    assert await states(system) == {}
    await system.spawn(Top, name="top")
    assert list(await states(system)) == ["top", "a", "b", "c"]


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.regrow(intensity=(3, 100.0))
async def test_a_restart_that_fails_counts_as_an_end(local: bool, system: VirtualSystem) -> None:
    ref = await system.spawn(failing_in(2, 3), name="x", local=local, restart="permanent")
    with chronicle(system) as written:
        await ref.kill()
        assert 0 < await written.until("started", ref.name) < 0.3
        assert written.names("died") == ref.name
        last = await system.lookup(ref.name)
        assert last.incarnation == ref.incarnation + 3
        await last.kill()
        await trio.sleep(30)
    assert await states(system) == {ref.name: "given up"}


async def test_a_restart_that_always_fails_is_given_up(
    system: VirtualSystem, caplog: pytest.LogCaptureFixture
) -> None:
    ref = await system.spawn(failing_in(*range(2, 10)), name="x", restart="permanent")
    system.kill(ref)
    await trio.sleep(30)
    assert await states(system) == {"x": "given up"}
    (warning,) = [each.getMessage() for each in caplog.records]
    assert warning.endswith("x ended last: crashed(SpawnError: ValueError: life 6)")
    with pytest.raises(SpawnError, match="ValueError: life 7"):
        await ref.restart()
    await trio.sleep(30)  # a restart by hand that fails is an end like any other
    assert await states(system) == {"x": "ok"}


async def test_a_restart_that_fails_leaves_no_unnamed_children(system: VirtualSystem) -> None:
    async def hook(child: Child, life: int) -> None:
        await child.bear()
        await child.bear("named")
        if life in (2, 3):
            raise ValueError

    ref = await system.spawn(starting(hook), name="x", restart="permanent")
    system.kill(ref)
    await trio.sleep(10)
    rows = {row.name: row.state for row in await system.tree()}
    assert rows == {"x": "ok", "named": "ok", "leaf-4": "ok"}


async def test_one_that_dies_as_soon_as_it_is_up_has_started(system: VirtualSystem) -> None:
    async def hook(child: Child, life: int) -> None:
        async def fail() -> None:
            raise ValueError("at once")

        child.nursery.start_soon(fail)

    with chronicle(system) as written:
        ref = await system.spawn(starting(hook), name="x", restart="permanent")
        await trio.sleep(30)
    assert await states(system) == {"x": "given up"}
    assert len(written.times("started", ref.name)) == 6


@pytest.mark.parametrize("strategy", OF_GROUPS)
async def test_who_was_stopped_for_one_that_is_given_up_lives_again(
    strategy: Strategy, system: VirtualSystem
) -> None:
    a = await system.spawn(Leaf, name="a", restart="permanent")
    x = await system.spawn(failing_in(*range(2, 100)), name="x", restart="permanent")
    await system.spawn(Leaf, name="c", restart="permanent")
    system.kill(x)
    await trio.sleep(30)
    assert await states(system) == {"a": "ok", "x": "given up", "c": "ok"}
    assert (await system.lookup("a") == a) == (strategy == "rest_for_one")


@pytest.mark.parametrize("strategy", OF_GROUPS)
async def test_who_was_stopped_for_one_that_somebody_stops_lives_again(
    strategy: Strategy, system: VirtualSystem
) -> None:
    x = await system.spawn(slow_from(2, 5.0), name="x", restart="permanent")
    await system.spawn(Leaf, name="c", restart="permanent")
    system.kill(x)
    await trio.sleep(1)
    assert await states(system) == {"x": "restarting", "c": "restarting"}
    assert (await x.stop()).kind == "killed"
    await trio.sleep(1)
    assert await states(system) == {"c": "ok"}


# Stops, spawns and restarts while it is away.


def by_name(ref: ActorRef[Any]) -> ActorRef[Any]:
    return ref.following()


def exactly(ref: ActorRef[Any]) -> ActorRef[Any]:
    return ref


@pytest.mark.parametrize("meant", [by_name, exactly])
@pytest.mark.parametrize("local", [False, True])
async def test_who_is_stopped_during_its_wait_does_not_come_back(
    meant: Callable[[ActorRef[Any]], ActorRef[Any]], local: bool, system: VirtualSystem
) -> None:
    name = "controller/x" if local else "x"
    await system.spawn(failing_in(), name="x", restart="permanent", local=local)
    with chronicle(system) as written:
        await (await system.lookup(name)).kill()
        await written.until("started", name)
        ref = await system.lookup(name)
        await ref.kill()
        await trio.sleep(0.001)
        assert await states(system) == {name: "restarting"}
        assert (await meant(ref).stop()).kind == "killed"
    assert await states(system) == {}
    await nothing_stirs(system)


@pytest.mark.parametrize("meant", [by_name, exactly])
@pytest.mark.parametrize("local", [False, True])
async def test_who_is_stopped_during_its_restart_does_not_come_back(
    meant: Callable[[ActorRef[Any]], ActorRef[Any]], local: bool, system: VirtualSystem
) -> None:
    ref = await system.spawn(slow_from(2, 10.0), name="x", restart="permanent", local=local)
    await ref.kill()
    await trio.sleep(1)
    began_at = trio.current_time()
    await meant(ref).stop()
    assert trio.current_time() == began_at
    assert await states(system) == {}
    await nothing_stirs(system)


@pytest.mark.parametrize("ticks", seeded(12))
async def test_a_stop_at_any_step_of_a_restart_ends_it(ticks: int, system: VirtualSystem) -> None:
    ref = await system.spawn(failing_in(), name="x", restart="permanent")
    system.kill(ref)
    for _ in range(ticks):
        await trio.lowlevel.checkpoint()
    began_at = trio.current_time()
    await ref.following().stop()
    assert trio.current_time() == began_at
    assert await states(system) == {}
    await nothing_stirs(system)


@pytest.mark.parametrize("ticks", seeded(12))
@pytest.mark.parametrize("strategy", OF_GROUPS)
async def test_a_stop_of_a_sibling_at_any_step_of_a_group_restart_holds(
    ticks: int, strategy: Strategy, system: VirtualSystem
) -> None:
    ref = await system.spawn(failing_in(), name="x", restart="permanent")
    await system.spawn(failing_in(), name="y", restart="permanent")
    system.kill(ref)
    for _ in range(ticks):
        await trio.lowlevel.checkpoint()
    await ActorRef[Child](ref.system, "y", 0, "").stop()
    await trio.sleep(1)
    assert await states(system) == {"x": "ok"}
    await nothing_stirs(system)


@pytest.mark.regrow(strategy="one_for_all")
async def test_a_parent_that_is_removed_takes_its_waiting_children_along(
    system: VirtualSystem,
) -> None:
    top = await system.spawn(failing_in(), name="top", strategy="one_for_all")
    for name in "abc":
        await top.ask(Child.bear, name)
    for name in "abc":
        await kill(system, name)
    await top.stop()
    assert await states(system) == {}
    await nothing_stirs(system)


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
@pytest.mark.regrow(seed=0, runs=5)
async def test_all_children_at_once_over_the_budget_end_their_supervisor_once(
    strategy: Strategy, system: VirtualSystem
) -> None:
    top = await system.spawn(
        failing_in(), name="top", strategy=strategy, intensity=(0, 1.0), restart="permanent"
    )
    for name in "abc":
        await top.ask(Child.bear, name)
    with chronicle(system) as written:
        for name in "abc":
            await kill(system, name)
        await trio.sleep(10)
    assert (await top.wait()).error == "RestartIntensity"
    assert await states(system) == {"top": "ok"}
    assert written.names("started") == "top"


async def test_a_spawn_of_a_waiting_name_brings_it_back_at_once(system: VirtualSystem) -> None:
    kind = failing_in()
    await system.spawn(kind, name="x", restart="permanent")
    for _ in range(2):
        await kill(system, "x")
        await trio.sleep(0.001)
    assert await states(system) == {"x": "restarting"}
    ref = await system.spawn(kind, name="x", restart="permanent")
    assert await states(system) == {"x": "ok"}
    await nothing_stirs(system)
    assert await system.lookup("x") == ref


async def test_a_spawn_meets_a_restart_that_is_under_way(system: VirtualSystem) -> None:
    kind = slow_from(2)
    first = await system.spawn(kind, name="x", restart="permanent")
    system.kill(first)
    await trio.sleep(0.5)
    ref = await system.spawn(kind, name="x", restart="permanent")
    assert ref.incarnation == first.incarnation + 1
    assert trio.current_time() == pytest.approx(1.0)
    await nothing_stirs(system)


async def test_a_spawn_meets_a_stop_that_is_under_way(system: VirtualSystem) -> None:
    kind = failing_in()
    first = await system.spawn(kind, name="x", restart="permanent")
    await first.tell(Child.hold)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.stop)
        await trio.sleep(0.1)
        ref = await system.spawn(kind, name="x", restart="permanent")
        assert trio.current_time() == pytest.approx(0.5)
    assert ref != first
    assert await system.lookup("x") == ref
    await nothing_stirs(system)


@pytest.mark.parametrize("local", [False, True])
async def test_a_second_spawn_of_a_start_that_fails_does_not_find_it(
    local: bool, system: VirtualSystem
) -> None:
    async def hook(child: Child, life: int) -> None:
        await trio.sleep(1)
        if life == 1:
            raise ValueError("no")

    kind = starting(hook)
    found: list[object] = []

    async def spawn(system: System) -> None:
        try:
            found.append(await system.spawn(kind, name="x", local=local))
        except SpawnError as error:
            found.append(str(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(spawn, system)
        await trio.sleep(0.1)
        nursery.start_soon(spawn, system)
    name = "controller/x" if local else "x"
    assert found == ["ValueError: no", await system.lookup(name)]


async def test_a_kill_is_no_stop(system: VirtualSystem) -> None:
    ref = await system.spawn(failing_in(), name="x", restart="permanent")
    assert str(await ref.kill()) == "killed(SIGKILL)"
    await trio.sleep(0.001)
    last = await system.lookup("x")
    assert last != ref
    assert str(await ref.stop()) == "killed(SIGKILL)"  # a stale ref reaches nobody
    assert await system.lookup("x") == last
    assert str(await last.stop()) == "shutdown"
    assert await states(system) == {}


# Restarts that somebody wants.


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("restart", ["permanent", "temporary"])
async def test_whoever_lives_is_stopped_and_restarted(
    restart: str, local: bool, system: VirtualSystem
) -> None:
    ref = await system.spawn(failing_in(), name="x", restart=restart, local=local)  # type: ignore[arg-type]
    await ref.ask(Child.bear, "named")
    await ref.ask(Child.bear)
    fresh = await ref.restart()
    assert str(await ref.wait()) == "shutdown"
    assert fresh.incarnation > ref.incarnation
    assert await states(system) == {ref.name: "ok", "named": "ok"}
    assert {row.name: row.guardian for row in await system.tree()}["named"] == ref.name
    with pytest.raises(ActorDeadError, match="not the last of its name"):
        await ref.restart()
    await nothing_stirs(system)
    assert await fresh.following().restart() == await system.lookup(ref.name)


@pytest.mark.parametrize("local", [False, True])
async def test_the_dead_are_restarted(local: bool, system: VirtualSystem) -> None:
    ref = await system.spawn(failing_in(), name="x", local=local)
    await ref.kill()
    await trio.sleep(1)
    assert await states(system) == {ref.name: "dead"}
    assert await ref.restart() == await system.lookup(ref.name)
    assert await states(system) == {ref.name: "ok"}


async def test_a_restart_ends_a_wait(system: VirtualSystem) -> None:
    await system.spawn(failing_in(), name="x", restart="permanent")
    for _ in range(2):
        await kill(system, "x")
        await trio.sleep(0.001)
    began_at = trio.current_time()
    ref = await ActorRef[Child]("memory", "x", 0, "").restart()
    assert trio.current_time() == began_at
    await nothing_stirs(system)
    assert await system.lookup("x") == ref


async def test_a_restart_whose_asker_leaves_is_finished(system: VirtualSystem) -> None:
    ref = await system.spawn(slow_from(2), name="x")
    with trio.move_on_after(0.5):
        await ref.restart()
    assert await states(system) == {"x": "dead"}
    await trio.sleep(1)
    assert await states(system) == {"x": "ok"}


async def test_two_restarts_of_one_ref_are_one(system: VirtualSystem) -> None:
    ref = await system.spawn(failing_in(), name="x", restart="permanent")
    found: list[object] = []

    async def restart() -> None:
        try:
            found.append(await ref.restart())
        except ActorDeadError:
            found.append("dead")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(restart)
        nursery.start_soon(restart)
    assert sorted(found, key=str) == sorted([await system.lookup("x"), "dead"], key=str)
    await nothing_stirs(system)


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("steps", seeded(10))
async def test_a_cancelled_spawn_leaves_nothing(
    steps: int, local: bool, system: VirtualSystem
) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_spawn, system, local)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            scope.cancel()
    await trio.sleep(1)
    if scope.cancelled_caught:
        assert await states(system) == {}
    assert len(system.exchange.cells) == 1 or not scope.cancelled_caught
    await nothing_stirs(system)


async def _spawn(system: System, local: bool) -> None:
    await system.spawn(slow_from(1, 0.0), name="x", local=local, restart="permanent")


async def test_a_local_cell_lives_with_its_process_and_returns_with_its_parent(
    system: VirtualSystem,
) -> None:
    async def hook(child: Child, life: int) -> None:
        await child.bear("cell", local=True)

    top = await system.spawn(starting(hook), name="top", restart="permanent")
    cell = await system.lookup("top/cell")
    await cell.kill()
    await trio.sleep(1)
    second = await system.lookup("top/cell")
    assert second != cell
    system.kill(top)
    await trio.sleep(1)
    assert await states(system) == {"top": "ok", "top/cell": "ok"}
    third = await system.lookup("top/cell")
    assert third.endpoint != second.endpoint
    assert str(await second.wait()) == "killed(SIGKILL)"


# Parents that end while a child starts.


@pytest.mark.parametrize("restart", ["permanent", "temporary"])
async def test_a_parent_may_die_while_its_child_starts(restart: str, system: VirtualSystem) -> None:
    top = await system.spawn(failing_in(), name="top", restart=restart)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_spawn_slowly, system, top)
        await trio.sleep(0.5)
        system.kill(top)
    with chronicle(system) as written:
        await trio.sleep(20)  # whoever is its guardian now hears it
    assert written.lines == []
    fate = "ok" if restart == "permanent" else "dead"
    assert await states(system) == {"top": fate, "x": "ok"}


async def test_a_parent_that_is_stopped_takes_its_starting_child_along(
    system: VirtualSystem,
) -> None:
    top = await system.spawn(failing_in(), name="top")

    async def spawn() -> None:
        with pytest.raises(ActorDeadError, match="top is not alive"):
            await _spawn_slowly(system, top)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(spawn)
        await trio.sleep(0.5)
        await top.stop()
        assert trio.current_time() == 0.5
    assert await states(system) == {}
    await nothing_stirs(system)


async def test_a_parent_may_be_stopped_while_a_child_of_it_is_replaced(
    system: VirtualSystem,
) -> None:
    top = await system.spawn(failing_in(), name="top")
    x = await system.spawn(failing_in(), name="x", parent=top)
    await x.tell(Child.hold)

    async def spawn() -> None:
        with pytest.raises((ActorDeadError, LookupError), match="top"):
            await system.spawn(Leaf, name="x", parent=top)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(spawn)
        await trio.sleep(0.1)
        await top.stop()
    assert await states(system) == {}
    await nothing_stirs(system)


async def test_one_that_starts_can_be_killed(system: VirtualSystem) -> None:
    ref = await system.spawn(slow_from(2), name="x", restart="permanent")
    system.kill(ref)
    await trio.sleep(0.5)
    assert str(await ref.following().kill()) == "killed(SIGKILL)"
    await trio.sleep(5)
    last = await system.lookup("x")
    assert last.incarnation == ref.incarnation + 2


async def _spawn_slowly(system: System, top: ActorRef[Child]) -> None:
    await system.spawn(slow_from(1), name="x", restart="permanent", parent=top)
