"""The tables that `actors.simulation.simulate` prints.

Invariants
----------
* What only holds for this machine stands in the last table alone.
* A figure that its tree does not have is ``-``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from actors.simulation.figures import FLAT, Figures, Spread, by_arithmetic
from actors.simulation.toll import Toll
from runtime.detection.guard import BEAT_S

Row = Sequence[str]


def sheet(all_figures: Sequence[Figures], toll: Toll) -> str:
    """All tables, one blank line between two."""
    parts = [messages(all_figures), deaths(all_figures)]
    if any(figures.losing for figures in all_figures):
        parts.append(losses(all_figures))
    return "\n\n".join([*parts, costs(all_figures, toll)])


def messages(all_figures: Sequence[Figures]) -> str:
    """What passes in a tree that is left alone."""
    return _table(
        "messages a second, sent and received, of a tree that only beats",
        (*_HEAD, "levels", "controller", "busiest", "whole tree", "for a start"),
        [
            (
                *_whose(each),
                str(each.depth),
                f"{each.controller_per_s:,.0f}",
                f"{each.busiest_per_s:,.0f}",
                f"{each.all_per_s:,.0f}",
                _or_none(each.start_messages, "{:.1f}"),
            )
            for each in all_figures
        ],
    )


def deaths(all_figures: Sequence[Figures]) -> str:
    """How long until the controller knows, and until the wards of a dead node are at home."""
    return _table(
        "in beats: until a death is known, by the host's word and by silence alone; recovery",
        (*_HEAD, "word", "silence", "p99", "worst", "wards", "adopted", "regrown", "messages"),
        [
            (
                *_whose(each),
                _worst(each.word),
                f"{each.silence.median:.2f}",
                f"{each.silence.p99:.2f}",
                f"{each.silence.worst:.2f}",
                *_recovery(each),
            )
            for each in all_figures
        ],
    )


def losses(all_figures: Sequence[Figures]) -> str:
    """Who is suspected falsely when signs of life are lost."""
    return _table(
        "suspicions of nodes that live, when signs of life are lost",
        (*_HEAD, "lost", "suspicions", "node-hours", "in one", "expected", "controller"),
        [
            (
                *_whose(each),
                f"{losing.loss:.1%}",
                str(losing.suspicions),
                f"{losing.node_hours:,.1f}",
                f"{losing.per_node_hour:.2g}",
                f"{by_arithmetic(losing.loss, BEAT_S):.2g}",
                f"{losing.controller_per_s:,.0f}/s",
            )
            for each in all_figures
            for losing in each.losing
        ],
    )


def costs(all_figures: Sequence[Figures], toll: Toll) -> str:
    """What it takes of this machine."""
    title = (
        f"in CPU time of this machine: a beat takes its guardian {toll.beat_s * 1e6:.1f} us without"
        f" any socket, a check {toll.check_s * 1e9:.0f} ns a ward; and the simulation took"
    )
    return _table(
        title,
        (*_HEAD, "controller's share", "ms a start", "us a beat", "ms a recovery"),
        [
            (
                *_whose(each),
                f"{share_of_controller(each, toll):.2%}",
                f"{each.start_cpu_s * 1e3:.3g}",
                f"{each.beat_cpu_s * 1e6:.3g}",
                _or_none(each.recovery.cpu_s * 1e3 if each.recovery else None, "{:.1f}"),
            )
            for each in all_figures
        ],
    )


def share_of_controller(figures: Figures, toll: Toll) -> float:
    """Of one core, for beats alone: what is heard, answered and checked, at this machine's cost."""
    beats_per_s = figures.controller_per_s / 2
    wards = figures.nodes if figures.fan_out == FLAT else min(figures.nodes, figures.fan_out)
    return beats_per_s * toll.beat_s + wards * toll.check_s / BEAT_S


_HEAD = ("nodes", "fan-out", "parts")


def _whose(figures: Figures) -> Row:
    fan_out = "flat" if figures.fan_out == FLAT else str(figures.fan_out)
    return f"{figures.nodes:,}", fan_out, "real" if figures.real else "model"


def _worst(found: Spread | None) -> str:
    return "-" if found is None else f"{found.worst:.2f}"


def _recovery(figures: Figures) -> Row:
    found = figures.recovery
    if found is None:
        return "-", "-", "-", "-"
    return (
        str(found.wards),
        f"{found.adopted_beats:.2f}",
        f"{found.regrown_beats:.2f}",
        str(found.messages),
    )


def _or_none(value: float | None, form: str) -> str:
    return "-" if value is None or math.isnan(value) else form.format(value)


def _table(title: str, head: Row, rows: Sequence[Row]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def aligned(row: Row) -> str:
        return "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))

    return "\n".join([title, aligned(head), *map(aligned, rows)])
