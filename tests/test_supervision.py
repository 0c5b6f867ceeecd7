"""Plans, budgets and waits of a supervisor, on plain values: no clock, no tasks."""

from __future__ import annotations

import pytest

from actors.supervision.backoff import Backoff
from actors.supervision.intensity import Intensity
from actors.supervision.supervision import Child, Plan, lives_again, plan
from runtime.exits import ExitReason
from runtime.messages.behaviour import Restart, Strategy

ENDS = {
    "normal": ExitReason(kind="normal"),
    "shutdown": ExitReason(kind="shutdown"),
    "crashed": ExitReason(kind="crashed", error="ValueError"),
    "exited-0": ExitReason(kind="exited", code=0),
    "exited-3": ExitReason(kind="exited", code=3),
    "killed": ExitReason(kind="killed", signal=9),
    "lost": ExitReason(kind="lost"),
    "unknown": ExitReason(kind="unknown"),
}
AS_IT_SHOULD = {"normal", "shutdown", "exited-0"}


@pytest.mark.parametrize("end", ENDS)
def test_a_permanent_child_lives_again_after_every_end(end: str) -> None:
    assert lives_again("permanent", ENDS[end])


@pytest.mark.parametrize("end", ENDS)
def test_a_transient_child_lives_again_unless_it_ended_as_it_should(end: str) -> None:
    assert lives_again("transient", ENDS[end]) == (end not in AS_IT_SHOULD)


@pytest.mark.parametrize("end", ENDS)
def test_a_temporary_child_never_lives_again(end: str) -> None:
    assert not lives_again("temporary", ENDS[end])


def children(*restarts: Restart) -> list[Child]:
    return [Child(name, restart) for name, restart in zip("abcd", restarts, strict=False)]


FOUR = children("permanent", "transient", "temporary", "permanent")


@pytest.mark.parametrize(
    ("strategy", "ended", "expected"),
    [
        ("one_for_one", "a", Plan((), ("a",))),
        ("one_for_one", "d", Plan((), ("d",))),
        ("rest_for_one", "a", Plan(("d", "c", "b"), ("a", "b", "d"))),
        ("rest_for_one", "b", Plan(("d", "c"), ("b", "d"))),
        ("rest_for_one", "d", Plan((), ("d",))),
        ("one_for_all", "a", Plan(("d", "c", "b"), ("a", "b", "d"))),
        ("one_for_all", "d", Plan(("c", "b", "a"), ("a", "b", "d"))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_who_is_stopped_and_who_lives_again(strategy: Strategy, ended: str, expected: Plan) -> None:
    assert plan(strategy, FOUR, ended) == expected


@pytest.mark.parametrize(
    ("limit", "times", "answers"),
    [
        pytest.param(0, [0.0], [False], id="no-budget-fails-at-once"),
        pytest.param(2, [0.0, 1.0, 2.0], [True, True, False], id="burst"),
        pytest.param(1, [0.0, 5.0], [True, False], id="aged-exactly-one-period"),
        pytest.param(1, [0.0, 5.1, 10.2], [True, True, True], id="slow-enough"),
    ],
)
def test_a_budget_is_spent(limit: int, times: list[float], answers: list[bool]) -> None:
    intensity = Intensity(limit, period_s=5.0)
    assert [intensity.spend(at) for at in times] == answers


def test_the_log_of_a_crash_loop_stays_bounded() -> None:
    intensity = Intensity(3, period_s=1e9)
    assert sum(intensity.spend(float(at)) for at in range(10_000)) == 3
    assert len(intensity._log) == 4


@pytest.mark.parametrize(
    ("limit", "period_s"), [(-1, 10.0), (5, 0.0), (5, -1.0), (5, float("inf")), (5, float("nan"))]
)
def test_a_budget_that_makes_no_sense_is_refused(limit: int, period_s: float) -> None:
    with pytest.raises(ValueError, match=f"not {limit if limit < 0 else period_s}"):
        Intensity(limit, period_s)


def test_the_first_restart_is_at_once_and_the_bound_doubles_to_ten_seconds() -> None:
    backoff = Backoff()
    waits = [backoff.next_s(1.0, chance=1.0) for _ in range(10)]
    assert waits == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_chance_takes_a_share_of_the_bound() -> None:
    backoff = Backoff()
    assert [backoff.next_s(1.0, chance) for chance in (0.5, 0.5, 0.0, 0.25)] == [
        0.0,
        0.05,
        0.0,
        0.1,
    ]


def test_a_minute_of_life_makes_good() -> None:
    backoff = Backoff()
    waits = [backoff.next_s(lived_s, chance=1.0) for lived_s in (0.0, 0.0, 59.9, 60.0, 0.0)]
    assert waits == [0.0, 0.1, 0.2, 0.0, 0.1]
