"""What the rounds of a row come to, and how it is printed.

Invariants
----------
* Figures are medians of the rounds, ``worst`` is the worst round's, and which way is worse is
  what the row's aim says.
* A row with an error in any round has failed: nothing of it is judged.
* No clock, no process, no output: rounds in, lines out.
"""

from __future__ import annotations

import enum
import operator
import statistics
from collections.abc import Callable, Sequence
from typing import Final

from tests.bench_row import Limit, Note, Round, Row

HEAD: Final = ("row", "ours", "worst", "floor", "ratio", "worst", "must", "aim", "", "the floor")
LEFT: Final = frozenset({0, 8, 9})
KEEPS: Final[dict[str, Callable[[float, float], bool]]] = {"<=": operator.le, ">=": operator.ge}


class Mark(enum.Enum):
    """What is to be said of a row."""

    AIM = "aim"
    MUST = "ok"
    MISSED = "MISSED"
    TOLD = ""
    FAILED = "ERROR"


class Line:
    """One row with all that was measured of it."""

    def __init__(self, row: Row, rounds: Sequence[Round], errors: Sequence[str]) -> None:
        self.row = row
        self.errors = errors
        self._rounds = rounds
        self._ratios = [r.figure / r.floor for r in rounds if r.floor]

    @property
    def mark(self) -> Mark:
        if self.errors or not self._rounds:
            return Mark.FAILED
        if not self.row.judged:
            return Mark.TOLD
        if self.row.must is not None and not self._keeps(self.row.must):
            return Mark.MISSED
        return Mark.AIM if self._keeps(self.row.aim) else Mark.MUST

    def _keeps(self, limit: Limit) -> bool:
        if limit.of == "figure":
            values = [r.figure for r in self._rounds]
        else:
            values = [(r.figure - limit.offset) / r.floor for r in self._rounds if r.floor]
        return KEEPS[limit.sense](statistics.median(values), limit.bound)

    def cells(self) -> list[str]:
        """The columns of `HEAD`."""
        row = self.row
        must = "no error" if row.must is None else shown_limit(row.must, row.unit)
        aim = shown_limit(row.aim, row.unit) if row.judged else "-"
        limits = [must, aim, self.mark.value, row.floor_name]
        if not self._rounds:
            return [row.name, *("-" for _ in range(5)), *limits]
        worst = max if row.aim.sense == "<=" else min
        figures = [r.figure for r in self._rounds]
        floors = [r.floor for r in self._rounds if r.floor is not None]
        ratios = self._ratios
        return [
            row.name,
            shown(statistics.median(figures), row.unit),
            shown(worst(figures), row.unit),
            shown(statistics.median(floors), row.unit) if floors else "-",
            shown_ratio(statistics.median(ratios), row.aim) if ratios else "-",
            shown_ratio(worst(ratios), row.aim) if ratios else "-",
            *limits,
        ]

    def notes(self) -> dict[str, Note]:
        """The medians of what is printed below the row."""
        names = list(dict.fromkeys(name for r in self._rounds for name in r.notes))
        found = {name: [r.notes[name] for r in self._rounds if name in r.notes] for name in names}
        return {
            name: Note(statistics.median(note.value for note in notes), notes[0].unit)
            for name, notes in found.items()
        }


def table(lines: Sequence[Line]) -> str:
    """The whole table."""
    rows = [HEAD, *(line.cells() for line in lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    names = [len(name) + 2 for line in lines for name in line.notes()]
    widths[0] = max(widths[0], *names, 0)
    text = [_aligned(HEAD, widths), "  ".join("-" * width for width in widths)]
    for line in lines:
        text.append(_aligned(line.cells(), widths))
        text += (
            f"  {name:<{widths[0] - 2}}  {shown(note.value, note.unit):>{widths[1]}}"
            for name, note in line.notes().items()
        )
        text += (f"  ERROR: {error}" for error in line.errors)
    return "\n".join(text)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    columns = enumerate(zip(cells, widths, strict=True))
    return "  ".join(f"{c:<{w}}" if n in LEFT else f"{c:>{w}}" for n, (c, w) in columns).rstrip()


def shown(value: float, unit: str) -> str:
    """A figure with its unit, to three digits or so."""
    if 0.0 < value < 0.1:
        return f"{value:.3g} {unit}"
    digits = 0 if value >= 1000 else 1 if value >= 100 else 2
    return f"{value:,.{digits}f} {unit}"


def shown_ratio(ratio: float, aim: Limit) -> str:
    """``1/25.0`` where the aim is a fraction, else ``1.25x``."""
    if aim.of == "ratio" and aim.sense == "<=" and aim.bound < 1 and ratio:
        return f"1/{1 / ratio:.1f}"
    return f"{ratio:.2f}x"


def shown_limit(limit: Limit, unit: str) -> str:
    if limit.of == "figure":
        return f"{limit.sense} {limit.bound:g} {unit}"
    if limit.sense == "<=" and limit.bound < 1:
        return f"<= 1/{1 / limit.bound:g}"
    more = f"+{limit.offset:g}" if limit.offset else ""
    return f"{limit.sense} {limit.bound:g}x{more}"
