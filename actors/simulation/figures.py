"""What a simulated tree comes to: one row of figures, whoever has measured them.

Invariants
----------
* Durations are in beats, rates in messages a virtual second: no figure but the costs depends on
  the machine.
* A rate that was measured says over how many node-hours: none in few is no proof of none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from runtime.detection.detector import DEADLINE_BEATS

FLAT: Final = 0
"""The fan-out of a tree without levels: everybody under the controller."""


class Spread(msgspec.Struct, frozen=True):
    """How some durations are distributed; ``count`` 0: there are none."""

    count: int
    median: float
    p99: float
    worst: float


def spread(values: Iterable[float]) -> Spread:
    """The nearest ranks: each figure is one of the values."""
    ordered = sorted(values)
    if not ordered:
        return Spread(0, math.nan, math.nan, math.nan)

    def rank(share: float) -> float:
        return ordered[math.ceil(share * len(ordered)) - 1]

    return Spread(len(ordered), rank(0.5), rank(0.99), ordered[-1])


class Losing(msgspec.Struct, frozen=True):
    """A tree of which a share ``loss`` of the signs of life never comes.

    ``suspicions``: how many nodes were suspected that lived, within ``node_hours``.
    """

    loss: float
    suspicions: int
    node_hours: float
    controller_per_s: float

    @property
    def per_node_hour(self) -> float:
        return self.suspicions / self.node_hours


class Recovery(msgspec.Struct, frozen=True):
    """After the death of a node with ``wards``.

    ``adopted_beats``: until the last of them had another guardian; ``regrown_beats``: until it had
    the next life of its own again. ``messages``: sent and received by the controller for it all.
    """

    wards: int
    adopted_beats: float
    regrown_beats: float
    messages: int
    cpu_s: float


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One tree. What a model cannot say is None.

    ``start_messages``: at the controller, for each node. ``start_cpu_s``, ``run_cpu_s``: what the
    simulation itself took for a node, and for a beat.
    """

    real: bool
    nodes: int
    fan_out: int
    depth: int
    controller_per_s: float
    busiest_per_s: float
    all_per_s: float
    word: Spread | None
    silence: Spread
    recovery: Recovery | None
    start_messages: float | None
    losing: Sequence[Losing]
    start_cpu_s: float
    beat_cpu_s: float


def parent_of(number: int, fan_out: int) -> int:
    """Whose child the node of this number is; -1 for the controller. Levels are filled in turn."""
    return -1 if fan_out == FLAT or number < fan_out else number // fan_out - 1


def depth_of(nodes: int, fan_out: int) -> int:
    """How many levels there are under the controller."""
    depth, number = 1, nodes - 1
    while (number := parent_of(number, fan_out)) >= 0:
        depth += 1
    return depth


def by_arithmetic(loss: float, beat_s: float) -> float:
    """False suspicions in a node-hour, if each sign of life is lost on its own.

    A silence is suspected once so many beats in a row are lost as fit into the detector's deadline;
    it is one silence, however many are lost after that.
    """
    return 3600 / beat_s * (1 - loss) * loss ** math.floor(DEADLINE_BEATS)
