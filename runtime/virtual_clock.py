"""CLOCK_MONOTONIC of a simulated process.

Invariants
----------
* No clock but trio's is read.
* It moves with each reading: what is bounded by time ends after so many steps, the same each
  time, though virtual time stands still meanwhile.
"""

from typing import Final

import trio

STEP_S: Final = 1e-6


class VirtualClock:
    """trio's time, and `STEP_S` more for each reading within one instant."""

    def __init__(self) -> None:
        self._at = 0.0
        self._steps = 0

    def __call__(self) -> float:
        now = trio.current_time()
        if now != self._at:
            self._at, self._steps = now, 0
        self._steps += 1
        return now + self._steps * STEP_S
