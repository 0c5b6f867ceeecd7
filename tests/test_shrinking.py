"""From many faults to few, and from numbers to those that a person would write."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.testing.shrinking import Trying, rounder, shortest, simpler, simplest
from actors.testing.strikes import Freeze, Kill
from runtime.weather.weather import Delay, Drop, Duplicate, Fault, Reorder

SETS = st.lists(st.sets(st.integers(0, 30), min_size=1), min_size=1, max_size=4)
SECONDS = st.floats(0.0, 1000.0, exclude_min=True, allow_subnormal=False)


@settings(deadline=None)
@given(size=st.integers(1, 40), wanted=SETS)
def test_what_is_left_fails_and_nothing_can_be_left_out(size: int, wanted: list[set[int]]) -> None:
    items = list(range(size))
    asked: list[tuple[int, ...]] = []

    def fails(candidate: Sequence[int]) -> bool:
        asked.append(tuple(candidate))
        return any(each <= set(candidate) for each in wanted)

    trying = Trying(fails, most=10_000)
    if not trying(items):
        return
    few = shortest(items, trying)
    assert fails(few)
    assert few == sorted(few)
    assert not any(fails(few[:n] + few[n + 1 :]) for n in range(len(few)))
    assert trying.tries == len(set(asked[: trying.tries]))


@settings(deadline=None)
@given(size=st.integers(1, 12), seed=st.integers(0, 10_000))
def test_no_item_can_be_left_out_however_wildly_lists_fail(size: int, seed: int) -> None:
    items = list(range(size))

    def fails(candidate: Sequence[int]) -> bool:
        return candidate == items or Random(f"{seed} {candidate}").random() < 0.3

    few = shortest(items, Trying(fails, most=10_000))
    assert fails(few)
    assert not any(fails(few[:n] + few[n + 1 :]) for n in range(len(few)))


@settings(deadline=None)
@given(size=st.integers(1, 40), wanted=SETS, most=st.integers(1, 30))
def test_with_few_tries_what_is_left_has_failed_all_the_same(
    size: int, wanted: list[set[int]], most: int
) -> None:
    asked = 0

    def fails(candidate: Sequence[int]) -> bool:
        nonlocal asked
        asked += 1
        return any(each <= set(candidate) for each in wanted)

    items = list(range(size))
    if not fails(items):
        return
    asked = 0
    few = shortest(items, Trying(fails, most))
    assert asked <= most
    assert fails(few)
    assert set(few) <= set(items)


def test_one_of_a_thousand_takes_few_tries() -> None:
    trying = Trying[int](lambda candidate: 617 in candidate, most=10_000)
    assert shortest(range(1000), trying) == [617]
    assert trying.tries < 30


def test_what_fails_without_faults_needs_none() -> None:
    trying = Trying[int](lambda candidate: True, most=10)
    assert (shortest([1, 2, 3], trying), trying.tries) == ([], 1)


@settings(deadline=None)
@given(SECONDS, SECONDS)
def test_a_delay_ends_as_the_shortest_round_one_that_fails(is_s: float, least_s: float) -> None:
    def fails(candidate: Sequence[Delay]) -> bool:
        return candidate[0].delay_s >= least_s

    given = [Delay("a", "b", "ask", 1, is_s)]
    if fails(given):
        (found,) = simplest(given, Trying(fails, most=10_000), simpler)
        assert fails([found])
        assert not any(fails([each]) for each in simpler(found))


@settings(deadline=None)
@given(SECONDS)
def test_rounder_numbers_come_to_an_end(value: float) -> None:
    for each in rounder(value):
        assert each > 0.0
        assert len(rounder(each)) < 50
        assert each not in rounder(each)


@pytest.mark.parametrize(
    ("value", "first", "last"),
    [
        (0.7342891, [0.001, 0.01, 0.1, 0.7, 0.8, 1.0, 0.73, 0.74], 0.735),
        (2.0, [0.001, 0.01, 0.1, 1.0], 1.0),
        (1.5, [0.001, 0.01, 0.1, 1.0, 2.0, 10.0], 10.0),
        (0.001, [], None),
        (0.0, [], None),
    ],
)
def test_these_numbers_are_rounder(value: float, first: list[float], last: float | None) -> None:
    found = rounder(value)
    assert found[: len(first)] == first
    assert (found[-1] if found else None) == last


@pytest.mark.parametrize(
    ("fault", "first"),
    [
        (Reorder("a", "b", "tell", 3, 0.5), Delay("a", "b", "tell", 3, 0.5)),
        (Duplicate("a", "b", "tell", 3, 0.51), Duplicate("a", "b", "tell", 3, 0.001)),
        (Kill("a", 2.345), Kill("a", 0.001)),
        (Freeze("a", 0.001, 2.0), Freeze("a", 0.001, 0.001)),
    ],
    ids=["reorder", "duplicate", "kill", "freeze"],
)
def test_what_is_simpler_than_a_fault(fault: Fault | Kill, first: Fault | Kill) -> None:
    assert next(iter(simpler(fault))) == first
    assert fault not in list(simpler(fault))


def test_nothing_is_simpler_than_a_loss() -> None:
    assert list(simpler(Drop("a", "b", "tell", 3))) == []
