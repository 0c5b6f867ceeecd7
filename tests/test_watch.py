"""The guardian's table on plain numbers: silences begin once and end once."""

import math
import random

import pytest

from runtime.detection.detector import DeadlineDetector, Detector, PhiDetector
from runtime.detection.watch import Acknowledged, Silence, Watch


def beats(watch: Watch, name: str, incarnation: int, *instants: float) -> list[bool]:
    return [watch.beat(name, incarnation, now) for now in instants]


def test_a_silence_is_told_once_and_its_end_once() -> None:
    watch = Watch(1.0)
    watch.guard("a", 2, 0.0)
    watch.guard("b", 3, 0.5)
    assert beats(watch, "a", 2, 1.0, 2.0) == [False, False]
    assert beats(watch, "b", 3, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5) == [False] * 6
    assert watch.check(6.0, 0.0) == []
    assert watch.check(6.5, 0.0) == [Silence("a", 2, 2.0)]
    assert watch.check(7.0, 0.0) == []
    assert watch.silent() == ["a"]
    assert beats(watch, "a", 2, 7.5, 8.5) == [True, False]
    assert watch.silent() == []
    assert watch.last_heard("a") == 8.5


def test_a_node_that_never_beat_is_silent_since_it_was_guarded() -> None:
    watch = Watch(1.0)
    watch.guard("a", 2, 10.0)
    assert watch.last_heard("a") == 10.0
    assert watch.check(14.5, 0.0) == [Silence("a", 2, 10.0)]


def test_beats_of_another_incarnation_are_no_beats() -> None:
    watch = Watch(1.0)
    watch.guard("a", 5, 0.0)
    assert beats(watch, "a", 4, 4.0) + beats(watch, "a", 6, 4.0) + beats(watch, "x", 5, 4.0) == [
        False,
        False,
        False,
    ]
    assert watch.last_heard("a") == 0.0
    assert watch.check(4.5, 0.0) == [Silence("a", 5, 0.0)]


def test_stale_orders_change_nothing() -> None:
    watch = Watch(1.0)
    watch.guard("a", 5, 0.0)
    watch.guard("a", 4, 1.0)
    watch.guard("a", 5, 1.0)
    watch.unguard("a", 4)
    watch.unguard("x", 4)
    assert "a" in watch
    assert watch.last_heard("a") == 0.0
    watch.guard("a", 6, 2.0)
    assert watch.last_heard("a") == 2.0
    watch.unguard("a", 6)
    assert len(watch) == 0
    assert watch.check(100.0, 0.0) == []
    with pytest.raises(LookupError, match="a is not guarded here"):
        watch.last_heard("a")


def test_the_next_incarnation_begins_without_silence() -> None:
    watch = Watch(1.0)
    watch.guard("a", 2, 0.0)
    assert watch.check(5.0, 0.0) == [Silence("a", 2, 0.0)]
    watch.guard("a", 3, 6.0)
    assert watch.silent() == []
    assert beats(watch, "a", 3, 7.0) == [False]


def test_a_guardian_that_stood_still_suspects_nobody_who_beat_meanwhile() -> None:
    watch = Watch(1.0)
    for name in "abc":
        watch.guard(name, 2, 0.0)
    assert watch.check(1.0, 0.0) == []
    beats(watch, "a", 2, *[11.0] * 10)  # read at once, after ten seconds in state T
    assert watch.check(11.0, 9.0) == []
    beats(watch, "b", 2, 11.5)
    assert watch.check(15.5, 0.0) == [Silence("c", 2, 0.0), Silence("a", 2, 11.0)]


def test_a_new_period_forgives_until_now_and_keeps_what_was_told() -> None:
    watch = Watch(0.25)
    watch.guard("a", 2, 0.0)
    watch.guard("b", 3, 5.0)
    assert watch.check(5.0, 0.0) == [Silence("a", 2, 0.0)]
    watch.set_period(0.01, 5.2)
    watch.guard("c", 4, 5.2)
    assert watch.check(5.23, 0.0) == []
    assert watch.check(5.246, 0.0) == [Silence("b", 3, 5.0), Silence("c", 4, 5.2)]
    assert watch.silent() == ["a", "b", "c"]


def test_next_at_is_the_first_moment_at_which_somebody_may_fall_silent() -> None:
    watch = Watch(1.0)
    assert watch.next_at(3.0) == 4.0
    watch.guard("a", 2, 0.0)
    watch.guard("b", 2, 0.2)
    assert watch.next_at(1.0) == 2.0
    assert watch.next_at(4.0) == 4.5
    watch.check(4.5, 0.0)
    assert watch.next_at(4.5) == 4.7


def test_those_who_miss_two_beats_are_quiet_until_they_are_silent() -> None:
    watch = Watch(1.0)
    watch.guard("a", 2, 0.0)
    watch.guard("b", 2, 0.5)
    assert [watch.quiet(now) for now in (1.9, 2.0, 2.5)] == [[], ["a"], ["a", "b"]]
    beats(watch, "a", 2, 3.0)
    assert watch.quiet(3.0) == ["b"]
    watch.check(5.0, 0.0)
    assert watch.quiet(5.0) == ["a"]


def test_a_ward_may_have_another_detector() -> None:
    watch = Watch(1.0)
    watch.guard("a", 2, 0.0, detector=PhiDetector)
    assert watch.check(4.5, 0.0) == []
    assert watch.check(4.9, 0.0) == [Silence("a", 2, 0.0)]


def test_a_period_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="period_s must be > 0"):
        Watch(0.0)
    watch = Watch(1.0)
    with pytest.raises(ValueError, match="period_s must be > 0"):
        watch.set_period(-1.0, 0.0)
    assert watch.next_at(0.0) == 1.0


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("made", [DeadlineDetector, PhiDetector])
def test_who_is_not_looked_at_would_not_be_suspected(
    made: type[DeadlineDetector], seed: int
) -> None:
    dice = random.Random(seed)
    period = dice.choice([0.25, 1.0, 1 / 3])
    watch = Watch(period)
    all_asked: dict[str, Detector] = {}
    told: set[str] = set()
    loss = dice.choice([0.0, 0.1, 0.6])
    names = [f"w{number}" for number in range(12)]
    now = due = 0.0
    beat_at = {name: dice.random() * period for name in names}
    for name in names:
        watch.guard(name, 2, now, detector=made)
        all_asked[name] = made(period, now)
    for _ in range(400):
        due = watch.next_at(now)
        assert due == min(each.next_at(now) for each in all_asked.values())
        late_s = dice.choice([0.0] * 8 + [0.9 * period, 6.0 * period * dice.random()])
        now = max(now, due + late_s)
        heard = sorted((at, name) for name, at in beat_at.items() if at <= now)
        for at, name in heard:
            beat_at[name] = at + period * math.ceil((now - at) / period + 0.001)
            if dice.random() < loss:
                continue
            read_at = now if late_s else at  # the inbox is read before anybody is judged
            assert watch.beat(name, 2, read_at) == (name in told)
            all_asked[name].heartbeat(read_at)
            told.discard(name)
        if dice.random() < 0.02:
            period = dice.choice([0.25, 1.0])
            watch.set_period(period, now)
            for each in all_asked.values():
                each.set_period(period, now)
        suspected = {name for name in names if all_asked[name].suspects(now, late_s)}
        assert {silence.name for silence in watch.check(now, late_s)} == suspected - told
        told |= suspected
        assert set(watch.silent()) == told


def test_two_periods_without_an_acknowledgement_are_unheeded() -> None:
    heeded = Acknowledged(0.25, 0.0)
    assert [heeded.unheeded(now) for now in (0.0, 0.25, 0.49, 0.5, 9.0)] == [
        False,
        False,
        False,
        True,
        True,
    ]
    heeded.acknowledged(9.0)
    assert not heeded.unheeded(9.25)
    heeded.set_period(0.01, 9.3)
    assert not heeded.unheeded(9.31)
    assert heeded.unheeded(9.33)
