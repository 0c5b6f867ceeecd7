"""Failure detection from the arrival of heartbeats.

A detector watches one peer for an observer, who asks at `next_at`, tells how late its
own loop was, and has read everything that waited before it asks: beats that lie in
the socket of an observer that stood still are no silence.

Invariants
----------
* A detector suspects; it never knows. Suspicion ends with the next heartbeat, and with
  nothing else.
* The verdict falls between 4 and 5 beats after the last heartbeat, if the observer asks
  when `next_at` says; later by as much as the observer stood still.
* A lateness of the observer of more than one beat moves the silence's beginning by that
  much: what counts is silence that somebody was awake to hear. Each gap counts once,
  only as far as it lies in the present silence, and is over with the next heartbeat.
  So a peer that was stopped together with its observer gets time to be heard
  again, and an observer that is late every time still comes to a verdict.
* An order to beat at another period begins a new silence, for the peer cannot know of it
  earlier.
* Time is an argument, in seconds on the observer's clock, and never goes back. The
  peer's clock is never compared with ours.

Source: Akka's ``DeadlineFailureDetector`` and ``PhiAccrualFailureDetector``; N. Hayashibara
et al., "The phi accrual failure detector", 2004. We differ in that the answer is held
between 4 and 5 beats: with jitter, phi alone would let a dead peer live for as long as
its past was irregular.
"""

import math
from collections import deque
from statistics import NormalDist
from typing import Final, Protocol

DEADLINE_BEATS: Final = 4.5
EARLIEST_BEATS: Final = 4.0
LATEST_BEATS: Final = 4.9  # and some room for the observer to wake up in
OUTAGE_BEATS: Final = 5.0


def checked_period(period_s: float) -> float:
    """Return ``period_s`` if it can be a period.

    Raises:
        ValueError: it is not above 0, or not finite.
    """
    if not 0 < period_s < math.inf:
        raise ValueError(f"period_s must be > 0, not {period_s}")
    return period_s


class Detector(Protocol):
    @property
    def last_heard(self) -> float:
        """When the last heartbeat came, or when watching began."""

    def heartbeat(self, now: float) -> None:
        """Note that the peer was heard from at ``now``; a suspicion ends."""

    def suspects(self, now: float, late_s: float = 0.0) -> bool:
        """Whether the peer has been silent for too long.

        Args:
            now: after everything that waited has been read.
            late_s: by how much the observer asks later than it meant to.
        """

    def next_at(self, now: float) -> float:
        """When to ask again, at most one beat from ``now``."""

    def set_period(self, period_s: float, now: float) -> None:
        """From ``now`` on expect a beat every ``period_s`` seconds; a suspicion stays."""


class DeadlineDetector:
    """Suspects a peer that has been silent for 4.5 beats.

    Args:
        period_s: seconds between two heartbeats of a healthy peer.
        now: when watching began; counts as the first heartbeat.
    """

    def __init__(self, period_s: float, now: float) -> None:
        self.last_heard = now
        self._period_s = checked_period(period_s)
        self._since = now  # when the silence began, less the time we could not listen
        self._awake_at = now
        self._suspected = False

    def heartbeat(self, now: float) -> None:
        self.last_heard = self._since = self._awake_at = now
        self._suspected = False

    def suspects(self, now: float, late_s: float = 0.0) -> bool:
        if late_s > self._period_s:
            self._since += min(late_s, now - self._awake_at)
        self._awake_at = now
        self._suspected = self._suspected or now >= self._since + self._allowance_s()
        return self._suspected

    def next_at(self, now: float) -> float:
        # A beat at most: the observer could not tell a longer sleep from standing still.
        soon = now + self._period_s
        return soon if self._suspected else max(now, min(soon, self._since + self._allowance_s()))

    def set_period(self, period_s: float, now: float) -> None:
        if checked_period(period_s) == self._period_s:
            return
        self._period_s = period_s
        self._since = self._awake_at = now

    def _allowance_s(self) -> float:
        return DEADLINE_BEATS * self._period_s


class PhiDetector(DeadlineDetector):
    """Suspects a peer whose silence would be a 10 ** -threshold chance, given its past.

    The intervals are taken as normally distributed. Until some are known, they are
    thought to vary by a quarter of the period.

    Args:
        threshold: the phi at which the peer is suspected.
        window: how many intervals are remembered.
        min_std_beats: the least standard deviation believed, in periods.
        pause_beats: silence to forgive beyond the mean interval, in periods.
    """

    def __init__(
        self,
        period_s: float,
        now: float,
        *,
        threshold: float = 8.0,
        window: int = 200,
        min_std_beats: float = 0.1,
        pause_beats: float = 3.0,
    ) -> None:
        if window < 2:
            raise ValueError(f"window must be >= 2, not {window}")
        super().__init__(period_s, now)
        self._deviations = -NormalDist().inv_cdf(10**-threshold)
        self._min_std_beats = min_std_beats
        self._pause_beats = pause_beats
        self._samples_us: deque[int] = deque(maxlen=window)
        self._forget()

    def heartbeat(self, now: float) -> None:
        interval_s = now - self.last_heard
        if interval_s < OUTAGE_BEATS * self._period_s:  # a longer one is no sample
            self._learn(interval_s)
        super().heartbeat(now)

    def set_period(self, period_s: float, now: float) -> None:
        changed = period_s != self._period_s
        super().set_period(period_s, now)
        if changed:
            self._forget()

    def phi(self, now: float) -> float:
        """How surprising the silence is: ``-log10`` of its probability; infinite at the end."""
        mean_s, std_s = self._distribution()
        expected_s = mean_s + self._pause_beats * self._period_s
        chance = 0.5 * math.erfc((now - self._since - expected_s) / std_s / math.sqrt(2))
        return -math.log10(chance) if chance > 0 else math.inf

    def _allowance_s(self) -> float:
        mean_s, std_s = self._distribution()
        wanted_s = mean_s + self._pause_beats * self._period_s + self._deviations * std_s
        earliest_s = EARLIEST_BEATS * self._period_s
        return max(earliest_s, min(wanted_s, LATEST_BEATS * self._period_s))

    def _distribution(self) -> tuple[float, float]:
        count = len(self._samples_us)
        variance_us2 = (count * self._squares_us2 - self._sum_us**2) / count**2
        least_s = self._min_std_beats * self._period_s
        return self._sum_us / count / 1e6, max(least_s, math.sqrt(variance_us2) / 1e6)

    def _forget(self) -> None:
        self._samples_us.clear()
        self._sum_us = self._squares_us2 = 0  # integers: they do not drift in years
        self._learn(0.75 * self._period_s)
        self._learn(1.25 * self._period_s)

    def _learn(self, interval_s: float) -> None:
        if len(self._samples_us) == self._samples_us.maxlen:
            oldest = self._samples_us[0]
            self._sum_us -= oldest
            self._squares_us2 -= oldest**2
        newest = round(interval_s * 1e6)
        self._samples_us.append(newest)
        self._sum_us += newest
        self._squares_us2 += newest**2
