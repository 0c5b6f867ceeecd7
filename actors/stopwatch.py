"""A stopwatch: what a compute node computes until it is given something better.

Invariants
----------
* The total is the sum of the stretches from each start to the next stop, plus the stretch
  that runs now.
* Starting a running timer restarts the present stretch; stopping a stopped one adds nothing.
* Time is an argument, in seconds on any clock that does not jump.
"""


class Stopwatch:
    """The time that has run between starts and stops."""

    def __init__(self, total_s: float = 0.0, since: float | None = None) -> None:
        self._total_s = total_s
        self._since = since

    @property
    def running(self) -> bool:
        """Whether a stretch runs."""
        return self._since is not None

    def start(self, now: float) -> None:
        """Begin a stretch at ``now``."""
        self._since = now

    def stop(self, now: float) -> None:
        """End the stretch, if one runs."""
        self._total_s = self.elapsed_s(now)
        self._since = None

    def elapsed_s(self, now: float) -> float:
        """The total, with the stretch that runs."""
        return self._total_s + (now - self._since if self._since is not None else 0.0)
