"""The compute node: an actor that keeps a stopwatch, through its deaths too if it is restarted."""

import trio

from actors.actor import Actor
from actors.stopwatch import Stopwatch


class ComputeNode(Actor):
    """One node of the shell's tree. Its verbs are its handlers."""

    def __init__(self) -> None:
        self._stopwatch = Stopwatch()

    def snapshot(self) -> tuple[float, bool]:
        """The total in seconds, and whether the timer runs."""
        return self._stopwatch.elapsed_s(trio.current_time()), self._stopwatch.running

    def restore(self, state: tuple[float, bool], age_s: float) -> None:
        """Go on counting: a timer that ran has run meanwhile."""
        total_s, running = state
        now = trio.current_time()
        self._stopwatch = Stopwatch(total_s, now - age_s if running else None)

    async def start(self) -> None:
        """Start the timer, or restart its present stretch."""
        self._stopwatch.start(trio.current_time())

    async def stop(self) -> None:
        """Stop the timer and add the stretch to the total."""
        self._stopwatch.stop(trio.current_time())

    async def time(self) -> int:
        """The total in whole milliseconds, with the stretch that runs."""
        return int(self._stopwatch.elapsed_s(trio.current_time()) * 1000)
