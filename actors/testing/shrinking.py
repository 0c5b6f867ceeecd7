"""From a list of faults that makes a test fail to one that a person would have written.

    trying = Trying(fails, most=500)  # fails: whether the test fails with these faults alone
    few = simplest(shortest(faults, trying), trying, simpler)

Invariants
----------
* Pure: whether a list fails is asked of a function, and no list is asked about twice.
* What is returned has failed, or is what was given. `shortest` gives a part of it, in its order;
  `simplest` as many items as before.
* When the tries suffice, no item can be left out of what `shortest` returns, and none be replaced
  by a simpler one in what `simplest` returns.
* It ends: after at most ``most`` questions, for then every answer is no.

Source: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (ddmin; with
complements alone, for a part that fails by itself is soon what remains).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Generic, TypeVar

import msgspec

from runtime.weather.weather import Delay, Reorder

T = TypeVar("T", bound=Hashable)
S = TypeVar("S", bound=msgspec.Struct)


class Trying(Generic[T]):
    """Asks ``fails``, ``most`` times at most. ``tries``: how often it has."""

    def __init__(self, fails: Callable[[list[T]], bool], most: int) -> None:
        self._fails = fails
        self._known: dict[tuple[T, ...], bool] = {}
        self.most = most
        self.tries = 0

    def __call__(self, candidate: Sequence[T]) -> bool:
        key = tuple(candidate)
        known = self._known.get(key)
        if known is None:
            if self.tries >= self.most:
                return False
            self.tries += 1
            known = self._known[key] = self._fails(list(candidate))
        return known


def shortest(items: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    """A part of ``items`` that fails still, none of which can be left out."""
    kept = list(items)
    if not kept or fails([]):
        return []
    size = len(kept)
    while size := size // 2:
        while True:
            before = len(kept)
            kept = _without_blocks(kept, size, fails)
            if len(kept) == before or size > 1:
                break
    return kept


def _without_blocks(kept: list[T], size: int, fails: Callable[[Sequence[T]], bool]) -> list[T]:
    """From the end, for what struck last had least consequences."""
    end = len(kept)
    while end > 0:
        start = max(0, end - size)
        rest = kept[:start] + kept[end:]
        if rest and fails(rest):
            kept = rest
        end = start
    return kept


def simplest(
    items: Sequence[T],
    fails: Callable[[Sequence[T]], bool],
    simpler: Callable[[T], Iterable[T]],
) -> list[T]:
    """As many items that fail still, none of which can be replaced by one that is simpler.

    ``simpler`` gives some, the simplest first; by following it one gets to an end.
    """
    kept = list(items)
    again = True
    while again:
        again = False
        for index, item in enumerate(kept):
            for other in simpler(item):
                candidate = [*kept[:index], other, *kept[index + 1 :]]
                if fails(candidate):
                    kept, again = candidate, True
                    break
    return kept


def simpler(fault: S) -> Iterator[S | Delay]:
    """Faults of the same message or node, the simplest first.

    What is overtaken becomes what is late, and numbers those that a person would write.
    """
    if isinstance(fault, Reorder):
        yield Delay(fault.source, fault.target, fault.kind, fault.ordinal, fault.delay_s)
    for name in fault.__struct_fields__:
        value = getattr(fault, name)
        if isinstance(value, float):
            for other in rounder(value):
                yield msgspec.structs.replace(fault, **{name: other})


def rounder(value: float) -> list[float]:
    """Durations with fewer digits, or as many and shorter; fewest digits first, then shortest."""
    if not 0.0 < value < math.inf:
        return []
    exponent = math.floor(math.log10(value))
    found = {float(f"1e{power}") for power in range(-3, exponent + 2)}
    for digits in range(1, 4):
        unit = exponent - digits + 1
        scaled = value / 10.0**unit
        found |= {float(f"{way(scaled)}e{unit}") for way in (math.floor, math.ceil)}
    known = _effort(value)
    return sorted((each for each in found if each and _effort(each) < known), key=_effort)


def _effort(value: float) -> tuple[int, float]:
    """How many digits it takes to write it, and how long it is."""
    return len(Decimal(repr(value)).normalize().as_tuple().digits), value
