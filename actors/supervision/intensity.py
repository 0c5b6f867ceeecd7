"""How many restarts a supervisor may spend before it gives up.

A sliding window over the times of restarts. Before every restart it is asked to `spend`;
False means: stop the children and exit, so that the next supervisor up decides.

Invariants
----------
* The log holds only times in ``[now - period_s, now]``, oldest first.
* The log never holds more than ``limit + 1`` times, however long the crash loop.
* Time is an argument. This module never reads a clock.

Source: Erlang/OTP ``supervisor``, "Restart intensity and period"; a restart aged exactly one
period still counts, as it does there.
"""

from __future__ import annotations

import math
from collections import deque

LIMIT = 5
PERIOD_S = 10.0


class Intensity:
    """A budget of ``limit`` restarts in any window of ``period_s`` seconds.

    ``limit`` 0: the first failure is final.

    Raises:
        ValueError: the limit is negative, or the period is not a positive number of seconds.
    """

    def __init__(self, limit: int = LIMIT, period_s: float = PERIOD_S) -> None:
        if limit < 0:
            raise ValueError(f"a restart intensity is 0 or more, not {limit}")
        if not 0 < period_s < math.inf:
            raise ValueError(f"a restart period is a positive number of seconds, not {period_s}")
        self.limit = limit
        self.period_s = period_s
        self._log: deque[float] = deque(maxlen=limit + 1)  # one more than the limit tells

    def spend(self, now: float) -> bool:
        """Record a restart at ``now``, and say whether the budget allows it.

        Args:
            now: seconds on a clock that does not go back.
        """
        self._log.append(now)
        while self._log[0] < now - self.period_s:
            self._log.popleft()
        return len(self._log) <= self.limit

    def __str__(self) -> str:
        return f"{self.limit} restarts in {self.period_s:g} s"
