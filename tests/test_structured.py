"""Structured concurrency between processes: cancellation, deadlines and failures of what is asked.

Over a whole system in virtual time, of an actor in a process of its own and of one in the
program's.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Actor, ActorRef, reentrant
from actors.testing.virtual import VirtualSystem
from runtime.errors import ActorDeadError, RemoteError
from tests.small_world import ask, open_small_world, stream


class Clerk(Actor):
    """``log``: what has happened to its handlers, of all of its lives."""

    log: list[str] = []  # noqa: RUF012

    def _note(self, what: str) -> None:
        self.log.append(f"{trio.current_time():g} {what}")

    async def nothing(self) -> None:
        pass

    async def work(self, seconds: float, cleanup_s: float) -> None:
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            self._note("cancelled")
            raise
        finally:
            with trio.move_on_after(1, shield=True):
                await trio.sleep(cleanup_s)
            self._note("cleaned up")

    async def ignore(self, seconds: float) -> str:
        """Returns all the same when it is cancelled."""
        with suppress(trio.Cancelled):
            await trio.sleep(seconds)
        return "done"

    async def deadline_s(self) -> float:
        """How long it has, before anything else is done."""
        return trio.current_effective_deadline() - trio.current_time()

    @reentrant
    async def deadline_beside_s(self) -> float:
        return trio.current_effective_deadline() - trio.current_time()

    async def deadline_later_s(self) -> float:
        await trio.sleep(1)
        return trio.current_effective_deadline() - trio.current_time()

    async def deadlines(self) -> AsyncIterator[float]:
        yield trio.current_effective_deadline() - trio.current_time()

    async def deadline_there_s(self, other: ActorRef[Clerk]) -> float:
        """How long another has that it asks, before anything else is done."""
        return await other.ask(Clerk.deadline_s)

    async def deadline_there_within_s(self, other: ActorRef[Clerk], seconds: float) -> float:
        with trio.move_on_after(seconds):
            return await other.ask(Clerk.deadline_s)
        raise AssertionError

    async def employ(self, seconds: float) -> None:
        """A task of its own, in the background."""
        self.nursery.start_soon(self._task, seconds)

    async def _task(self, seconds: float) -> None:
        try:
            await trio.sleep(seconds)
            raise LookupError("lost")
        except trio.Cancelled:
            self._note("task cancelled")
            raise

    async def leave(self) -> None:
        self.finish()

    async def fail_as_a_group(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fail, "left")
            nursery.start_soon(self._fail_deeper)
            nursery.start_soon(trio.sleep_forever)

    async def _fail(self, where: str) -> None:
        try:
            raise KeyError(f"the cause, {where}")
        except KeyError as cause:
            error = ValueError(f"in the {where} task")
            error.add_note(f"a note, {where}")
            raise error from cause

    async def _fail_deeper(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fail, "right")
            nursery.start_soon(self._fail, "middle")

    async def count(self) -> int:
        return 1

    async def hold(self, asker: ActorRef[Clerk]) -> None:
        """Ends in its own time, and asks the asker's next life meanwhile."""
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
            self._note(f"counted {await asker.following().ask(Clerk.count)}")

    async def have_held(self, other: ActorRef[Clerk]) -> None:
        await other.ask(Clerk.hold, self.ref)


@pytest.fixture(autouse=True)
def _log() -> None:
    Clerk.log = []


everywhere = pytest.mark.parametrize("local", [False, True], ids=["far", "near"])


async def clerks(system: VirtualSystem, local: bool) -> tuple[ActorRef[Clerk], ActorRef[Clerk]]:
    return (
        await system.spawn(Clerk, name="a", local=local, restart="permanent"),
        await system.spawn(Clerk, name="b", restart="permanent"),
    )


# Cancellation.


async def test_nobody_waits_for_the_clean_up_of_what_he_cancelled_but_the_next_in_line(
    system: VirtualSystem,
) -> None:
    ref, _ = await clerks(system, False)
    began = trio.current_time()
    with trio.move_on_after(1):
        await ref.ask(Clerk.work, 100.0, 0.5)
    assert trio.current_time() - began == 1
    await ref.ask(Clerk.nothing)
    assert trio.current_time() - began == 1.5
    assert Clerk.log == [f"{began + 1:g} cancelled", f"{began + 1.5:g} cleaned up"]


async def test_in_place_the_clean_up_is_the_askers_own(system: VirtualSystem) -> None:
    """It runs in his task, and ends within the bound that it has given itself."""
    ref, _ = await clerks(system, True)
    began = trio.current_time()
    with trio.move_on_after(1):
        await ref.ask(Clerk.work, 100.0, 100.0)
    assert Clerk.log == [f"{began + 1:g} cancelled", f"{began + 2:g} cleaned up"]
    await ref.ask(Clerk.nothing)
    assert trio.current_time() - began == 2


@everywhere
async def test_a_handler_that_does_not_mind_its_cancellation_cancels_nobody_else(
    local: bool, system: VirtualSystem
) -> None:
    ref, _ = await clerks(system, local)
    with trio.move_on_after(1):
        await ref.ask(Clerk.ignore, 3.0)
        await trio.lowlevel.checkpoint()
    with trio.fail_after(100):
        assert await ref.ask(Clerk.ignore, 3.0) == "done"
        assert await ref.ask(Clerk.deadline_s) == pytest.approx(97)


# Deadlines.


@everywhere
async def test_a_handler_has_the_deadline_of_its_asker(local: bool, system: VirtualSystem) -> None:
    ref, _ = await clerks(system, local)
    with trio.fail_after(10):
        assert await ref.ask(Clerk.deadline_s) == pytest.approx(10)
        assert await ref.ask(Clerk.deadline_beside_s) == pytest.approx(10)
        assert await ref.ask(Clerk.deadline_later_s) == pytest.approx(9)
        async with ref.stream(Clerk.deadlines) as items:
            assert await anext(items) == pytest.approx(9)
    assert await ref.ask(Clerk.deadline_s) == math.inf
    assert await ref.ask(Clerk.deadline_later_s) == math.inf


@everywhere
async def test_whom_a_handler_asks_has_the_sooner_of_its_deadline_and_its_askers(
    local: bool, system: VirtualSystem
) -> None:
    first, second = await clerks(system, local)
    with trio.fail_after(10):
        assert await first.ask(Clerk.deadline_there_s, second) == pytest.approx(10)
        assert await second.ask(Clerk.deadline_there_s, first) == pytest.approx(10)
    third = await system.spawn(Clerk)
    for seconds, least in ((3.0, 3), (30.0, 10)):
        with trio.fail_after(10):
            took_s = await first.ask(Clerk.deadline_there_within_s, third, seconds)
        assert took_s == pytest.approx(least)


@pytest.mark.parametrize("simple", [True, False], ids=["simple", "leader"])
@pytest.mark.regrow
async def test_a_handler_has_its_deadline_from_its_first_line_on(simple: bool) -> None:
    async with open_small_world(simple) as world:
        near, far = await world.process("near"), await world.process("far")
        source, target = world.mute(near, "source"), await world.cell(far, "target", Clerk())
        with trio.fail_after(10):
            assert await ask(source, target, Clerk.deadline_s) == 10
            async with stream(source, target, Clerk.deadlines) as items:
                assert await anext(items) == 10
        assert await ask(source, target, Clerk.deadline_s) == math.inf
        with trio.fail_after(5):
            await ask(source, target, Clerk.nothing)
        await ask(source, target, Clerk.work, 10.0, 0.0)  # that deadline is nobody else's


# Tasks of an actor.


@everywhere
@pytest.mark.parametrize("end", ["stop", "kill", "finish"])
async def test_the_tasks_of_an_actor_end_with_its_incarnation(
    end: str, local: bool, system: VirtualSystem
) -> None:
    ref = await system.spawn(Clerk, local=local)
    await ref.ask(Clerk.employ, 1000.0)
    await wait_all_tasks_blocked()
    if end == "finish":
        await ref.tell(Clerk.leave)
        await ref.wait()
    else:
        await (ref.stop() if end == "stop" else ref.kill())
    assert [entry.partition(" ")[2] for entry in Clerk.log] == ["task cancelled"]


@everywhere
async def test_an_exception_of_an_actors_task_crashes_it_and_it_lives_again(
    local: bool, system: VirtualSystem
) -> None:
    ref, _ = await clerks(system, local)
    await ref.ask(Clerk.employ, 1.0)
    with pytest.raises(ActorDeadError):  # its end is the end of what is asked of it
        await ref.ask(Clerk.work, 100.0, 0.0)
    reason = await ref.wait()
    assert (reason.kind, reason.error, reason.message) == ("crashed", "LookupError", "lost")
    await trio.sleep(1)
    again = await system.lookup(ref.name, Clerk)
    assert again.incarnation > ref.incarnation
    assert await again.ask(Clerk.count) == 1


# Failures.

TREE = [
    "Exception Group Traceback",
    "KeyError: 'the cause, left'",
    "The above exception was the direct cause of the following exception:",
    "ValueError: in the left task",
    "a note, left",
    "ExceptionGroup: Exceptions from Trio nursery (2 sub-exceptions)",
    "ValueError: in the right task",
    "a note, right",
    "ValueError: in the middle task",
]


@everywhere
async def test_a_group_of_exceptions_comes_as_text_with_its_whole_tree(
    local: bool, system: VirtualSystem
) -> None:
    ref, _ = await clerks(system, local)
    with pytest.raises(RemoteError) as caught:
        await ref.ask(Clerk.fail_as_a_group)
    assert caught.value.type_name == "ExceptionGroup"
    assert not isinstance(caught.value.__cause__, BaseExceptionGroup)
    for line in TREE:
        assert line in caught.value.traceback_text
    assert "Cancelled" not in caught.value.traceback_text
    assert await ref.ask(Clerk.count) == 1


async def test_a_group_that_nobody_asked_for_is_in_the_exit_reason(system: VirtualSystem) -> None:
    ref = await system.spawn(Clerk)
    await ref.tell(Clerk.fail_as_a_group)
    reason = await ref.wait()
    assert (reason.kind, reason.error) == ("crashed", "ExceptionGroup")
    for line in TREE:
        assert line in reason.traceback


# Cycles.


@everywhere
async def test_the_next_life_of_an_asker_waits_for_nothing(
    local: bool, system: VirtualSystem
) -> None:
    """So what a handler asks it, that the last life asked, is no cycle."""
    first, second = await clerks(system, local)
    await first.tell(Clerk.have_held, second)
    await trio.sleep(1)
    await first.kill()
    await trio.sleep(10)
    assert [entry.partition(" ")[2] for entry in Clerk.log] == ["counted 1"]
