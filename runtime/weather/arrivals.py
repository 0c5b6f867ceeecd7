"""When what is sent arrives, given what befalls it.

A message queues at the throttles that are for it, then takes its latency, then what its faults add.

Invariants
----------
* Pure: instants are arguments.
* On one *lane*, nothing overtakes anything but what was reordered. A pair of processes has two
  lanes, its signs of life and all else: what holds up the one does not hold up the other.
* Only what was dropped does not arrive. It has taken its time at the throttles all the same.
* A throttled line carries one message after the other, between each two of those it is for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from runtime.messages.kinds import BEATS
from runtime.weather.weather import Delay, Drop, Duplicate, Fault, Reorder, Rule


class Arrivals:
    """Of one network."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str, bool], float] = {}
        self._free: dict[tuple[Rule, str, str], float] = {}

    def of(
        self,
        now: float,
        source: str,
        target: str,
        kind: str,
        size: int,
        rules: Iterable[Rule],
        faults: Sequence[Fault],
    ) -> list[float]:
        """The instants at which a message of ``size`` bytes arrives, one for each copy."""
        at = now
        for rule in rules:
            takes_s = max(size / rule.bytes_per_s, 1.0 / rule.messages_per_s)
            if takes_s:
                line = (rule, source, target)
                at = self._free[line] = max(at, self._free.get(line, -inf)) + takes_s
            at += rule.latency_s
        overtaken_s = after_s = -1.0
        for fault in faults:
            if isinstance(fault, Drop):
                return []
            if isinstance(fault, Delay):
                at += fault.delay_s
            elif isinstance(fault, Reorder):
                overtaken_s = fault.delay_s
            elif isinstance(fault, Duplicate):
                after_s = fault.after_s
        lane = (source, target, kind in BEATS)
        at = max(at, self._last.get(lane, -inf))
        if overtaken_s >= 0.0:
            at += overtaken_s
        else:
            self._last[lane] = at
        return [at] if after_s < 0.0 else [at, at + after_s]
