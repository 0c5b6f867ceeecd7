"""One run of a test's body: it ends, is a function of its seed, and says what it waited for."""

from __future__ import annotations

import random

import pytest
import trio

from actors import Actor, ActorRef
from actors.testing.trial import run_trial
from actors.testing.virtual import VirtualSystem


class Sleeper(Actor):
    """Keeps whoever asks it waiting."""

    async def sleep(self) -> None:
        await trio.sleep_forever()

    async def ask_to_sleep(self, other: ActorRef[Sleeper]) -> None:
        await other.ask(Sleeper.sleep)


def test_a_body_that_returns_has_no_failure() -> None:
    async def body(system: VirtualSystem) -> None:
        await system.spawn(Sleeper)
        await trio.sleep(60)

    outcome = run_trial(body, seed=3)
    assert (outcome.seed, outcome.failure, outcome.took_s) == (3, None, 60.0)


def test_what_a_body_raises_is_its_failure_as_itself() -> None:
    async def body(system: VirtualSystem) -> None:
        pytest.fail("as told")

    outcome = run_trial(body)
    assert str(outcome.failure) == "as told"


def test_a_body_that_hangs_says_what_everybody_waits_for() -> None:
    async def body(system: VirtualSystem) -> None:
        first = await system.spawn(Sleeper, name="first")
        second = await system.spawn(Sleeper, name="second")
        await first.ask(Sleeper.ask_to_sleep, second)

    failure = run_trial(body, deadline_s=30.0).failure
    assert isinstance(failure, trio.TooSlowError)
    text = str(failure)
    assert text.startswith("it was not done after 30 s of its clock; then there were\n")
    assert "test_trial.py" in text
    assert "in body: await first.ask(Sleeper.ask_to_sleep, second)" in text
    assert "in Sleeper.sleep: await trio.sleep_forever()" in text
    assert "  first: ok, handler ask_to_sleep for 30 s\n" in text
    assert "  second: ok, handler sleep for 30 s\n" in text
    assert "  controller asks first: ask_to_sleep\n  first asks second: sleep" in text


def test_a_body_that_spins_while_time_stands_still_ends_too() -> None:
    async def body(system: VirtualSystem) -> None:
        while True:
            await trio.lowlevel.checkpoint()

    failure = run_trial(body, wall_s=0.05).failure
    assert "not done after 0.05 real seconds, at 0 s of its clock" in str(failure)


def test_what_a_late_body_raises_in_its_end_is_told_too() -> None:
    async def body(system: VirtualSystem) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("meanwhile")

    failure = run_trial(body, deadline_s=1.0).failure
    assert isinstance(failure, trio.TooSlowError)
    assert "cancelled, it raised KeyError('meanwhile')" in str(failure)


def test_a_seed_decides_the_order_of_tasks_and_the_dice_of_actors() -> None:
    def history(seed: int) -> list[object]:
        log: list[object] = []

        async def note(number: int) -> None:
            await trio.sleep(1)
            log.append((number, random.random()))

        async def body(system: VirtualSystem) -> None:
            async with trio.open_nursery() as nursery:
                for number in range(10):
                    nursery.start_soon(note, number)

        state = random.getstate()
        assert run_trial(body, seed=seed).failure is None
        assert random.getstate() == state
        return log

    assert history(1) == history(1) != history(2)


def test_a_world_is_opened_as_it_is_asked_for() -> None:
    async def body(system: VirtualSystem) -> None:
        with trio.fail_after(10):
            await system.spawn(Sleeper)

    outcome = run_trial(body, fault=lambda source, target, frames: ())
    assert isinstance(outcome.failure, trio.TooSlowError)
    assert outcome.took_s >= 10.0
