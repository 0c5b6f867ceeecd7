"""Detectors on plain numbers: tables first, then hours that never pass."""

import math
import random
from collections.abc import Callable

import pytest

from runtime.detection.detector import DeadlineDetector, Detector, PhiDetector

Make = Callable[[float, float], Detector]
both = pytest.mark.parametrize("make", [DeadlineDetector, PhiDetector])
PERIOD_S = 0.25


def beating(make: Make, period_s: float, beats: int = 40) -> tuple[Detector, float]:
    """A detector that has heard that many regular beats, and when the last came."""
    detector = make(period_s, 0.0)
    for beat in range(1, beats + 1):
        detector.heartbeat(beat * period_s)
        assert not detector.suspects(beat * period_s)
    return detector, beats * period_s


def verdict_at(detector: Detector, now: float) -> float:
    """Ask as `next_at` says until the peer is suspected."""
    for _ in range(20):
        if detector.suspects(now):
            return now
        now = detector.next_at(now)
    raise AssertionError(f"no verdict at {now}")


@both
@pytest.mark.parametrize("period_s", [0.01, 0.1, 0.25, 30.0])
@pytest.mark.parametrize("beats", [0, 1, 40, 500])
def test_the_verdict_falls_between_4_and_5_beats(make: Make, period_s: float, beats: int) -> None:
    detector, last = beating(make, period_s, beats)
    silence = (verdict_at(detector, last) - last) / period_s
    assert 4.0 <= silence < 5.0
    assert detector.last_heard == last


@both
def test_suspicion_ends_with_the_next_heartbeat_and_not_before(make: Make) -> None:
    detector, last = beating(make, PERIOD_S)
    now = last + 100.0
    assert detector.suspects(now)
    assert detector.suspects(now + 50.0, late_s=49.0)
    detector.set_period(60.0, now + 50.0)
    assert detector.suspects(now + 50.0)
    assert detector.next_at(now + 50.0) == now + 110.0
    detector.heartbeat(now + 51.0)
    assert not detector.suspects(now + 51.0)


@both
def test_next_at_is_at_most_one_beat_away_and_never_in_the_past(make: Make) -> None:
    detector, last = beating(make, PERIOD_S)
    assert detector.next_at(last) == last + PERIOD_S
    assert last < detector.next_at(last + 4.0 * PERIOD_S) < last + 5.0 * PERIOD_S
    assert detector.next_at(last + 100.0) == last + 100.0


@both
def test_beats_that_waited_for_an_observer_are_no_silence(make: Make) -> None:
    detector, last = beating(make, PERIOD_S)
    now = last + 10.0
    for _ in range(40):
        detector.heartbeat(now)
    assert not detector.suspects(now, late_s=10.0 - PERIOD_S)
    # The gap was over with those beats: a death right after it is seen as soon as ever.
    assert 4.0 <= (verdict_at(detector, now) - now) / PERIOD_S < 5.0


@both
def test_a_peer_that_stood_still_with_its_observer_gets_time_to_be_heard(make: Make) -> None:
    detector, last = beating(make, PERIOD_S)
    now = last + 10.0
    assert not detector.suspects(now, late_s=10.0 - PERIOD_S)
    assert not detector.suspects(now + 2 * PERIOD_S)
    assert 2.5 < (verdict_at(detector, now) - now) / PERIOD_S < 4.5


@both
def test_a_gap_extends_the_allowance_once(make: Make) -> None:
    detector, last = beating(make, PERIOD_S)
    assert not detector.suspects(last + 3.0, late_s=2.5)
    for _ in range(100):  # the same instant asked about again is the same gap
        assert not detector.suspects(last + 3.0, late_s=2.5)
    assert 4.0 <= (verdict_at(detector, last + 3.0) - last - 2.5) / PERIOD_S < 5.0


@both
def test_an_observer_that_is_always_late_still_comes_to_a_verdict(make: Make) -> None:
    detector, last = beating(make, PERIOD_S)
    now, awake_s = last, 0.0
    while not detector.suspects(now, late_s=1.0 if now > last else 0.0):
        awake_s += detector.next_at(now) - now
        now = detector.next_at(now) + 1.0
        assert now < last + 10.0
    assert 4.0 <= awake_s / PERIOD_S < 5.0


@both
def test_lateness_of_less_than_a_beat_is_no_gap(make: Make) -> None:
    detector, last = beating(make, PERIOD_S)
    now = last
    while not detector.suspects(now, late_s=0.3 * PERIOD_S):
        now = detector.next_at(now) + 0.02 * PERIOD_S
        assert now < last + 5.0 * PERIOD_S
    assert now >= last + 4.0 * PERIOD_S


@both
@pytest.mark.parametrize(("old_s", "new_s"), [(0.25, 0.01), (0.01, 0.25), (0.25, 0.1)])
def test_a_new_period_counts_from_the_order(make: Make, old_s: float, new_s: float) -> None:
    detector, last = beating(make, old_s)
    order = last + 0.9 * old_s
    detector.set_period(new_s, order)
    assert not detector.suspects(order)
    assert detector.last_heard == last
    assert 4.0 <= (verdict_at(detector, order) - order) / new_s < 5.0


@both
def test_the_same_period_again_postpones_nothing(make: Make) -> None:
    detector, last = beating(make, PERIOD_S)
    detector.set_period(PERIOD_S, last + 4.0 * PERIOD_S)
    assert 4.0 <= (verdict_at(detector, last + 4.0 * PERIOD_S) - last) / PERIOD_S < 5.0


@both
@pytest.mark.parametrize("period_s", [0.0, -1.0, math.nan, math.inf])
def test_a_period_that_is_none_is_refused(make: Make, period_s: float) -> None:
    with pytest.raises(ValueError, match="period_s must be > 0"):
        make(period_s, 0.0)
    detector, last = beating(make, PERIOD_S)
    with pytest.raises(ValueError, match="period_s must be > 0"):
        detector.set_period(period_s, last)
    assert detector.next_at(last) == last + PERIOD_S


@both
@pytest.mark.parametrize("period_s", [0.01, 0.25])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_hours_of_weather_give_no_false_verdict(make: Make, period_s: float, seed: int) -> None:
    """1 % of beats late by two periods, in order; an observer that is late, and twice absent."""
    chance = random.Random(seed)
    hours_s = 2 * 3600 * period_s / 0.25  # as many beats at either period
    detector = make(period_s, 0.0)
    now, due, arrives, absent = 0.0, 0.0, period_s, [hours_s / 3, hours_s / 2]
    beat = 1
    while now < hours_s:
        late_s = chance.expovariate(20.0) * period_s
        if absent and now > absent[0]:
            late_s += 10.0
            absent.pop(0)
        now = due + late_s
        while arrives <= now:
            detector.heartbeat(now)  # read when the observer wakes, not when it came
            beat += 1
            delay_s = chance.uniform(0.0, 0.2) + (2.0 if chance.random() < 0.01 else 0.0)
            arrives = max(arrives, (beat + delay_s) * period_s)
        assert not detector.suspects(now, late_s), f"at {now}"
        due = detector.next_at(now)
    # And after all that, an end is seen in time.
    last = detector.last_heard
    assert 4.0 <= (verdict_at(detector, now) - last) / period_s < 5.0


@pytest.mark.parametrize(
    ("beats_of_silence", "phi"),
    [
        pytest.param(0.0, 0.0, id="just-heard"),
        pytest.param(4.0, -math.log10(0.5), id="the-mean-and-the-pause"),
        pytest.param(4.0 + 0.1 * 5.612001244, 8.0, id="the-threshold"),
        pytest.param(50.0, math.inf, id="beyond-numbers"),
    ],
)
def test_phi_of_a_regular_peer(beats_of_silence: float, phi: float) -> None:
    detector = PhiDetector(1.0, 0.0, window=50)
    for beat in range(1, 101):
        detector.heartbeat(float(beat))
    assert detector.phi(100.0 + beats_of_silence) == pytest.approx(phi, abs=1e-6)


def test_phi_waits_longer_for_an_irregular_peer_but_not_past_the_fifth_beat() -> None:
    def waits(jitter: float) -> float:
        detector = PhiDetector(1.0, 0.0)
        for beat in range(1, 301):
            detector.heartbeat(beat + (jitter if beat % 2 else 0.0))
        return verdict_at(detector, 300.0) - 300.0

    assert [round(waits(jitter), 2) for jitter in (0.0, 0.12, 0.3)] == [4.56, 4.67, 4.9]


def test_phi_remembers_a_bounded_past_and_no_outages() -> None:
    detector = PhiDetector(1.0, 0.0, window=10)
    now = 0.0
    for interval_s in [2.0] * 50 + [1.0] * 9 + [1000.0, 1.0]:
        now += interval_s
        detector.heartbeat(now)
    assert len(detector._samples_us) == 10
    assert verdict_at(detector, now) - now == pytest.approx(4.56, abs=0.01)


def test_phi_needs_two_samples() -> None:
    with pytest.raises(ValueError, match="window must be >= 2, not 1"):
        PhiDetector(1.0, 0.0, window=1)


def test_phi_forgets_the_intervals_of_another_period() -> None:
    detector = PhiDetector(1.0, 0.0)
    for beat in range(1, 301):
        detector.heartbeat(float(beat))
    detector.set_period(4.0, 300.0)
    assert detector.phi(300.0 + 4.0 * 4.0) == pytest.approx(-math.log10(0.5))
