"""How large can a tree be? ``python -m actors.simulation.simulate [--nodes N ...] [--fan-out N|flat
...]``.

Trees are run in virtual time, in this process: those of up to ``--real`` nodes of real parts, and
each of them by a cheap model, too (`actors.simulation.measuring`). Tables on stdout, progress on
stderr, a picture if asked for.

Invariants
----------
* The same options give the same tables, but for the last, which is of this machine.
* Ctrl-C ends it at once: there is nothing outside of this process.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import trio
from trio.testing import MockClock

from actors.simulation.figures import FLAT, Figures
from actors.simulation.measuring import Plan, measure_model, measure_real
from actors.simulation.plot import check_plot, draw
from actors.simulation.sheet import sheet
from actors.simulation.toll import measure_toll
from runtime.detection.guard import BEAT_S

SIZES = (1_000, 10_000, 100_000)
QUICK_SIZES = (200, 1_000, 10_000)
FAN_OUTS = (2, 16, 256, FLAT)
LOSSES = (0.001, 0.01, 0.05)
REAL = 10_000
QUICK_REAL = 200
LOSING_REAL = 200
"""Larger ones do not live for long enough to be suspected falsely: that is left to the model."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for; returns the exit status."""
    options = _parse(arguments)
    if options.plot:
        try:
            check_plot()
        except ImportError as error:
            print(f"simulate: {error}", file=sys.stderr)
            return 1
    figures = list(_measure(options))
    toll = trio.run(measure_toll)
    print(sheet(figures, toll), flush=True)
    if options.plot:
        draw(figures, options.plot)
        _say(f"drawn: {options.plot}")
    return 0


def _measure(options: argparse.Namespace) -> Iterator[Figures]:
    for nodes in options.nodes:
        for fan_out in options.fan_out:
            if fan_out >= nodes:
                continue  # it would be the flat tree
            plan = Plan(
                nodes=nodes,
                fan_out=fan_out,
                seed=options.seed,
                steady_s=1.0,
                losses=options.loss,
                losing_s=max(1, round(60 * options.minutes / BEAT_S)) * BEAT_S,
                samples=100,
            )
            name = f"{nodes:,} nodes, {f'fan-out {fan_out}' if fan_out else 'flat'}"
            yield measure_model(plan, _Progress(f"{name}, model"))
            if nodes <= options.real:
                if nodes > LOSING_REAL:
                    plan = msgspec.structs.replace(plan, losses=())
                tell = _Progress(f"{name}, real parts")
                yield trio.run(measure_real, plan, tell, clock=MockClock(autojump_threshold=0))


class _Progress:
    """Says what was done, and how long after the beginning."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._began = time.monotonic()

    def __call__(self, line: str) -> None:
        _say(f"{self._name}: {line} ({time.monotonic() - self._began:.1f} s)")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m actors.simulation.simulate", description="How large can a tree be?"
    )
    parser.add_argument("--nodes", type=_count, nargs="+", help="sizes of trees")
    parser.add_argument(
        "--fan-out", type=_fan_out, nargs="+", default=FAN_OUTS, help="children of each; or flat"
    )
    parser.add_argument(
        "--loss", type=_share, nargs="*", default=LOSSES, help="shares of the signs of life, 0 to 1"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=_minutes, help="virtual ones, under each loss")
    parser.add_argument("--real", type=int, help="up to this size of real parts, too")
    parser.add_argument("--quick", action="store_true", help="smaller trees; about a minute")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the figures")
    options = parser.parse_args(arguments)
    options.nodes = options.nodes or (QUICK_SIZES if options.quick else SIZES)
    if options.real is None:
        options.real = QUICK_REAL if options.quick else REAL
    options.minutes = options.minutes or 0.1
    return options


def _count(text: str) -> int:
    """
    Raises:
        argparse.ArgumentTypeError: it is no number above 1.
    """
    try:
        count = int(text.replace(",", "").replace("_", ""))
    except ValueError:
        count = 0
    if count < 2:
        raise argparse.ArgumentTypeError(f"a number of at least 2, not {text!r}")
    return count


def _fan_out(text: str) -> int:
    return FLAT if text == "flat" else _count(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"a share from 0 to 1, not {text!r}")
    return share


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 < minutes < math.inf:
        raise argparse.ArgumentTypeError(f"minutes above 0, not {text!r}")
    return minutes


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(main())
