"""A row of the benchmark: a figure of ours beside the floor it is judged by.

To add a row, write a subclass of `Row` in one of the ``tests/bench_*.py`` files and name it in
that file's ``ROWS``. The table, the medians and the judgement follow from it.

Invariants
----------
* A round measures figure and floor one right after the other, or in turns; the ratio of a row is
  the median of its rounds' ratios, not the ratio of medians.
* A round starts all it needs and leaves nothing: no process, no file, no task.
* Nothing here sets a deadline: it would travel with the asks that are measured. What takes too
  long is cancelled from outside, see `tests.bench`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import msgspec

TEXT = "x" * 32
"""What every measured message carries, ours and the floors'."""


class Limit(msgspec.Struct, frozen=True):
    """A bound of a row's ratio figure/floor, or of the figure itself.

    ``offset``: what the figure may have above the floor's multiple, in the row's unit.
    """

    sense: Literal["<=", ">="]
    bound: float
    of: Literal["ratio", "figure"] = "ratio"
    offset: float = 0.0


def at_most(bound: float) -> Limit:
    """The ratio must not be more."""
    return Limit("<=", bound)


def at_least(bound: float) -> Limit:
    """The ratio must not be less."""
    return Limit(">=", bound)


def figure_at_most(bound: float) -> Limit:
    """The figure itself must not be more, whatever the floor."""
    return Limit("<=", bound, "figure")


class Note(msgspec.Struct, frozen=True):
    """A figure that is printed below its row and not judged."""

    value: float
    unit: str


class Round(msgspec.Struct, frozen=True):
    """What one round gave. ``floor`` is None where there is none; ``notes`` are by their names."""

    figure: float
    floor: float | None
    notes: dict[str, Note] = {}


class Row(ABC):
    """One line of the table.

    ``must``: None where any figure will do that came without an error. ``aim`` also says which
    way is better. ``judged``: False where nothing is promised. ``max_rounds``: for what takes long.
    ``quick``: measure less, for a first look.
    """

    name: ClassVar[str]
    floor_name: ClassVar[str]
    unit: ClassVar[str]
    must: ClassVar[Limit | None]
    aim: ClassVar[Limit]
    judged: ClassVar[bool] = True
    max_rounds: ClassVar[int] = 1000

    def __init__(self, quick: bool = False) -> None:
        self.quick = quick

    @abstractmethod
    async def round(self) -> Round:
        """Measure once.

        Raises:
            Exception: it cannot be measured; the row has failed then.
        """

    @property
    def turns(self) -> int:
        """How often figure and floor take turns within a round."""
        return 1 if self.quick else 5

    @property
    def turn_s(self) -> float:
        """How long one turn is, where something is done as often as possible."""
        return 0.2
