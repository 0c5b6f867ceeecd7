"""Real processes in virtual time: `actors.testing.lockstep.open_lockstep_system`."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Coroutine
from itertools import accumulate
from typing import Any

import pytest
import trio

from actors import ActorDeadError, ActorRef, UnreachableError
from actors.supervision.backoff import Backoff
from actors.supervision.record import Happened
from actors.system import System
from actors.testing.lockstep import open_lockstep_system
from runtime.lockstep.clock import LockstepClock
from tests.lockstep_actors import Clockmaker, Diary, Mayfly, Worldly

BOUND_S = 30
"""Of what takes a second on a machine of one's own."""
pytestmark = [pytest.mark.real, pytest.mark.usefixtures("home")]


@pytest.fixture
def lockstep_clock() -> LockstepClock:
    return LockstepClock()


def silent(name: str, line: str) -> None:
    """Nobody reads what nodes print here."""


def pid_of(system: System, name: str) -> int:
    return system.nodes.records[name].pid


async def test_a_minute_of_backoff_passes_at_once_and_each_instant_is_exact(
    lockstep_clock: LockstepClock,
) -> None:
    lives_s, seed = 0.5, 7
    happened: list[Happened] = []
    enough = trio.Event()

    def hear(what: Happened) -> None:
        happened.append(what)
        if sum(waits_s[: len(happened) // 2]) > 60:
            enough.set()

    backoff, chance = Backoff(), random.Random(seed).random
    waits_s = [backoff.next_s(lives_s, chance()) for _ in range(100)]
    async with open_lockstep_system(seed=seed, intensity=(1000, 10.0), output=silent) as system:
        began, real = trio.current_time(), time.monotonic()
        with system.listen(hear), trio.fail_after(1000):
            await system.spawn(Mayfly, lives_s, name="mayfly", restart="permanent")
            await enough.wait()
        took_s, real_s = trio.current_time() - began, time.monotonic() - real
    steps_s = [0.0]
    for wait_s in waits_s:
        steps_s += [lives_s, wait_s]
    assert [each.what for each in happened] == [
        ("started", "died")[number % 2] for number in range(len(happened))
    ]
    instants = list(accumulate(steps_s, initial=began))[1 : len(happened) + 1]
    assert [each.at for each in happened] == pytest.approx(instants, abs=1e-9)
    assert took_s > 60
    assert real_s < BOUND_S


async def test_timers_of_three_processes_fire_in_their_order_and_at_their_instants(
    lockstep_clock: LockstepClock,
) -> None:
    paces_s = {"a": 0.030, "b": 0.0317, "c": 2.0}
    async with open_lockstep_system() as system:
        diary = await system.spawn(Diary, name="diary")
        makers = {name: await system.spawn(Clockmaker, name=name) for name in paces_s}
        began = trio.current_time()
        for name, pace_s in paces_s.items():
            await makers[name].tell(Clockmaker.strike, diary, name, pace_s, int(4.5 / pace_s))
        with trio.fail_after(60):
            await trio.sleep(5)
            entries = await diary.ask(Diary.read)
    expected = sorted(
        (instant - began, f"{name} {number}")
        for name, pace_s in paces_s.items()
        for number, instant in enumerate(
            accumulate([pace_s] * int(4.5 / pace_s), initial=began), start=0
        )
        if number
    )
    assert [at - began for at, _ in entries] == pytest.approx([at for at, _ in expected], abs=1e-9)
    assert len({at for at, _ in entries}) == len(entries)
    assert [what for _, what in entries] == [what for _, what in expected]


async def test_a_chain_of_asks_takes_what_its_pauses_take_and_deadlines_are_kept(
    lockstep_clock: LockstepClock,
) -> None:
    async with open_lockstep_system() as system:
        first, *others = [await system.spawn(Clockmaker, name=f"link-{n}") for n in range(3)]
        began = trio.current_time()
        at = await first.ask(Clockmaker.relay, others, 8.0)
        assert at == trio.current_time() == began + 24
        with pytest.raises(trio.TooSlowError), trio.fail_after(20):
            await first.ask(Clockmaker.relay, others, 8.0)
        assert trio.current_time() == began + 44
        assert await first.ask(Clockmaker.now) == began + 44


async def test_a_killed_node_is_dead_at_that_instant(lockstep_clock: LockstepClock) -> None:
    async with open_lockstep_system() as system:
        worldly = await system.spawn(Worldly, name="worldly")
        other = await system.spawn(Clockmaker, name="other")
        for _ in range(5):
            began = trio.current_time()
            ended_at: list[float] = []

            async def wait(who: ActorRef[Worldly], ended_at: list[float] = ended_at) -> None:
                with pytest.raises(ActorDeadError) as dead:
                    await who.ask(Worldly.sleep, 1000.0)
                assert dead.value.reason is not None
                assert (dead.value.reason.kind, dead.value.reason.signal) == ("killed", 9)
                ended_at.append(trio.current_time())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait, worldly)
                await trio.sleep(3.0)
                os.kill(pid_of(system, "worldly"), signal.SIGKILL)
                await trio.sleep(5.0)
            assert ended_at == [began + 3.0]
            assert await other.ask(Clockmaker.now) == began + 8.0
            worldly = await system.spawn(Worldly, name="worldly")


async def test_a_stopped_node_is_called_frozen_and_goes_on_in_the_present(
    lockstep_clock: LockstepClock,
) -> None:
    happened: list[Happened] = []
    async with open_lockstep_system() as system:
        worldly = await system.spawn(Worldly, name="worldly")
        await trio.sleep(10.0)
        began = trio.current_time()
        with system.listen(happened.append):
            os.kill(pid_of(system, "worldly"), signal.SIGSTOP)
            with pytest.raises(UnreachableError, match="frozen"):
                await worldly.ask(Worldly.sleep, 0.0)
            assert 0.75 <= trio.current_time() - began <= 1.25  # since the last beat: 4 to 5
            await trio.sleep(20.0)
            thawed_at = trio.current_time()
            os.kill(pid_of(system, "worldly"), signal.SIGCONT)
            await trio.sleep(0.5)  # it is heard again
            with trio.fail_after(5):
                assert await worldly.ask(Worldly.sleep, 1.0) == thawed_at + 1.5
    assert [each.what for each in happened][:2] == ["silent", "heard"]


async def test_a_zygote_that_is_killed_is_replaced(lockstep_clock: LockstepClock) -> None:
    async with open_lockstep_system() as system:
        await system.spawn(Worldly, name="first")
        zygote = system.host.keeper.pid  # type: ignore[attr-defined]
        began = trio.current_time()
        os.kill(zygote, signal.SIGKILL)
        second = await system.spawn(Worldly, name="second")
        assert await second.ask(Worldly.sleep, 20.0) - began < 21
        assert system.host.keeper.pid not in (0, zygote)  # type: ignore[attr-defined]


async def test_a_zygote_lives_while_it_answers_and_is_replaced_when_it_is_stopped(
    lockstep_clock: LockstepClock,
) -> None:
    async with open_lockstep_system() as system:
        zygote = system.host.keeper.pid  # type: ignore[attr-defined]
        await trio.sleep(10.0)
        assert system.host.keeper.pid == zygote  # type: ignore[attr-defined]
        began = trio.current_time()
        os.kill(zygote, signal.SIGSTOP)
        await system.spawn(Worldly, name="worldly")
        assert 1.0 < trio.current_time() - began < 4.0
        assert system.host.keeper.pid not in (0, zygote)  # type: ignore[attr-defined]


# -- the contract


def be_impatient(system: System) -> None:
    """From now on: to start a process takes longer on a busy machine."""
    system.host.conductor.patience_s = 1.5  # type: ignore[attr-defined]


async def test_a_computation_takes_no_time(lockstep_clock: LockstepClock) -> None:
    async with open_lockstep_system() as system:
        worldly = await system.spawn(Worldly, name="worldly")
        with trio.fail_after(0.1):
            assert await worldly.ask(Worldly.compute, 1.5) == 0.0
        assert [row.state for row in await system.tree()] == ["ok"]


@pytest.mark.parametrize(
    "work",
    [
        Worldly.run_a_process,
        Worldly.run_a_thread,
        Worldly.leave_a_process,
        Worldly.wait_until_blocked,
        Worldly.talk_to_the_world,
    ],
    ids=["process", "thread", "grandchild", "blocked", "pipe"],
)
async def test_time_waits_for_what_is_done_outside(
    lockstep_clock: LockstepClock,
    work: Callable[[Worldly, float, float], Coroutine[Any, Any, tuple[float, bool]]],
) -> None:
    async with open_lockstep_system() as system:
        worldly = await system.spawn(Worldly, name="worldly")
        with trio.fail_after(1):
            took_s, gave_up = await worldly.ask(work, 0.5, 0.1)
        assert not gave_up
        assert took_s < 0.06  # it looked once more after half its patience


async def test_who_waits_for_the_world_for_ever_is_named(lockstep_clock: LockstepClock) -> None:
    with pytest.raises(  # noqa: PT012
        RuntimeError,
        match=r"^time has stood still at [\d.]+ s for 1\.5 real seconds: worldly \(pid \d+\): "
        r"a task waits for descriptor \d+ \(socket:\[\d+\]\)$",
    ):
        async with open_lockstep_system() as system:
            worldly = await system.spawn(Worldly, name="worldly")
            await system.spawn(Worldly, name="other")
            be_impatient(system)
            await worldly.tell(Worldly.wait_for_nothing)
            await trio.sleep(3600)


@pytest.mark.parametrize(
    ("does", "said"),
    [
        (Worldly.keep_a_process, r"its child process \d+ runs"),
        (Worldly.compute, "handler compute runs"),
    ],
    ids=["child", "computation"],
)
async def test_who_holds_time_is_named(
    lockstep_clock: LockstepClock,
    does: Callable[[Worldly, float], Coroutine[Any, Any, object]],
    said: str,
) -> None:
    with pytest.raises(RuntimeError, match=rf"worldly \(pid \d+\): {said}$"):  # noqa: PT012
        async with open_lockstep_system() as system:
            worldly = await system.spawn(Worldly, name="worldly")
            be_impatient(system)
            await worldly.tell(does, 12.0)
            await trio.sleep(3600)


async def test_time_that_has_moved_past_a_message_is_an_error(
    lockstep_clock: LockstepClock,
) -> None:
    with pytest.raises(  # noqa: PT012
        RuntimeError, match=r"^time has moved past a message from incarnation \d+ to \d+, sent at"
    ):
        async with open_lockstep_system() as system:
            worldly = await system.spawn(Worldly, name="worldly")
            await worldly.tell(Worldly.antedate, 0.25)
            await trio.sleep(10)


async def test_what_this_process_waits_for_in_the_world_is_named(
    lockstep_clock: LockstepClock,
) -> None:
    read, write = os.pipe()
    try:
        with pytest.raises(RuntimeError, match="this process: a task waits for"):  # noqa: PT012
            async with open_lockstep_system() as system:
                await system.spawn(Worldly, name="worldly")
                be_impatient(system)
                await trio.lowlevel.wait_readable(read)
    finally:
        os.close(read)
        os.close(write)


async def test_the_clock_is_a_real_one_outside_the_block(lockstep_clock: LockstepClock) -> None:
    for _ in range(2):
        before, real = trio.current_time(), time.monotonic()
        await trio.sleep(0.2)
        assert time.monotonic() - real >= 0.19
        async with open_lockstep_system() as system:
            await system.spawn(Worldly, name="worldly")
            await trio.sleep(10)
        assert trio.current_time() > before + 10
