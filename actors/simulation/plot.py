"""The figures of a simulation as a picture: PNG, by matplotlib (``pip install 'regrow[plot]'``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actors.simulation.figures import FLAT, Figures, by_arithmetic
from runtime.detection.guard import BEAT_S

LOSSES = [10 ** (-3 + 2.5 * step / 50) for step in range(51)]


def check_plot() -> None:
    """It can be drawn here.

    Raises:
        ImportError: there is no matplotlib; says how to get it.
    """
    try:
        import matplotlib
    except ImportError as cause:
        raise ImportError("a plot takes matplotlib: pip install 'regrow[plot]'") from cause
    matplotlib.use("Agg")


def draw(all_figures: Sequence[Figures], path: Path) -> None:
    """Messages by size, and false suspicions by loss, measured and by arithmetic.

    Raises:
        OSError: the file cannot be written.
    """
    check_plot()
    from matplotlib import pyplot

    picture, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    _draw_messages(left, all_figures)
    _draw_losses(right, all_figures)
    picture.savefig(path, dpi=110)
    pyplot.close(picture)


def _draw_messages(axes: Any, all_figures: Sequence[Figures]) -> None:
    shapes = sorted({each.fan_out for each in all_figures})
    for number, fan_out in enumerate(shapes):
        mine = sorted(
            (each for each in all_figures if each.fan_out == fan_out), key=lambda each: each.nodes
        )
        label = "flat" if fan_out == FLAT else f"fan-out {fan_out}"
        sizes = [each.nodes for each in mine]
        rates = [each.busiest_per_s for each in mine]
        axes.loglog(sizes, rates, color=f"C{number}", marker="o", label=label)
    axes.set(xlabel="nodes", ylabel="messages a second", title="at the busiest process")
    axes.grid(alpha=0.3)
    axes.legend()


def _draw_losses(axes: Any, all_figures: Sequence[Figures]) -> None:
    rates = [by_arithmetic(loss, BEAT_S) for loss in LOSSES]
    axes.loglog(LOSSES, rates, color="0.6", label="by arithmetic")
    for real, mark in ((False, "o"), (True, "x")):
        found = [
            losing
            for each in all_figures
            if each.real is real
            for losing in each.losing
            if losing.suspicions
        ]
        if found:
            label = "real parts" if real else "model"
            x = [losing.loss for losing in found]
            axes.loglog(x, [each.per_node_hour for each in found], mark, label=label)
    axes.set(
        xlabel="share of the signs of life that is lost",
        ylabel="in a node-hour",
        title="suspicions of nodes that live",
    )
    axes.grid(alpha=0.3)
    axes.legend()
