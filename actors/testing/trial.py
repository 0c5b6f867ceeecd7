"""One run of a test's body, from a seed to its outcome.

    outcome = run_trial(body, seed=7)  # body: async def body(system: VirtualSystem) -> None
    assert outcome.failure is None

The plugin gives every test such a run, and whoever looks for a bug gives it many.

Invariants
----------
* A virtual run is a function of its body and its seed: the order of tasks, the pauses between
  restarts and the dice of `random` are drawn from it, and no clock but the virtual one is read.
* A run ends: at its deadline the body is cancelled, and what everybody waited for then is known.
  A virtual one is also bounded in real seconds, for time that does not move has no deadline.
  What shields itself from cancellation, or never yields, is beyond both.
* What the run changes outside of itself, it changes back.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import trio
from trio.abc import Clock, Instrument
from trio.testing import MockClock

from actors.system import System
from actors.testing.virtual import VirtualSystem, open_virtual_system
from actors.testing.waiting import picture
from runtime.scheduling import seeded_scheduling

DEADLINE_S: Final = 600.0
"""Virtual seconds."""
WALL_S: Final = 300.0
_OF_COURSE: Final = "cancelled the test but didn't raise an error"
"""What pytest-trio says of each fixture in a run that was cancelled."""


@dataclass
class Bound:
    """How long a run may last, and what it runs into.

    ``deadline_s`` on the run's clock, ``wall_s`` in real seconds (None: no other bound).
    ``system``: of which the picture is; ``late`` is that picture, once a bound was reached.
    """

    deadline_s: float
    wall_s: float | None = None
    system: System | None = None
    late: str = ""

    async def run(self, main: Callable[[], Awaitable[object]]) -> None:
        """Await ``main()`` within the bound.

        Raises:
            trio.TooSlowError: it was reached; the message is the picture.
        """
        with trio.CancelScope() as scope:
            trio.lowlevel.spawn_system_task(self._watch, scope, name="the deadline of a test")
            wall = None if self.wall_s is None else _Wall(self, scope, self.wall_s)
            if wall is not None:
                trio.lowlevel.add_instrument(wall)
            try:
                await main()
            except BaseException as raised:
                if self.late:
                    self._add_what_else(raised)
                    raise trio.TooSlowError(self.late) from None
                raise
            finally:
                if wall is not None:
                    trio.lowlevel.remove_instrument(wall)
        if self.late:
            raise trio.TooSlowError(self.late)

    async def _watch(self, scope: trio.CancelScope) -> None:
        await trio.sleep(self.deadline_s)
        self.reach(scope, f"it was not done after {self.deadline_s:g} s of its clock")

    def reach(self, scope: trio.CancelScope, why: str) -> None:
        """A bound is reached. The first one stands."""
        if not self.late:
            self.late = f"{why}; then there were\n{picture(self.system)}"
            scope.cancel()

    def _add_what_else(self, raised: BaseException) -> None:
        """What the body raised when it was cancelled."""
        leaves = [raised]
        for each in leaves:  # grows meanwhile
            if isinstance(each, BaseExceptionGroup):
                leaves += each.exceptions
            elif not isinstance(each, trio.Cancelled) and _OF_COURSE not in str(each):
                self.late += f"\ncancelled, it raised {each!r}"


class _Wall(Instrument):
    """Looks at the real clock in each of trio's ticks, for virtual time may stand still."""

    def __init__(self, bound: Bound, scope: trio.CancelScope, seconds: float) -> None:
        self._bound = bound
        self._scope = scope
        self._seconds = seconds
        self._until = time.monotonic() + seconds

    def after_io_wait(self, timeout: float) -> None:
        if time.monotonic() > self._until:
            now = trio.current_time()
            why = f"it was not done after {self._seconds:g} real seconds, at {now:g} s of its clock"
            self._bound.reach(self._scope, why)


@contextmanager
def loaded_dice(seed: int) -> Iterator[None]:
    """Trio's order of tasks, and `random`, are functions of ``seed``."""
    state = random.getstate()
    random.seed(seed)
    try:
        with seeded_scheduling(seed):
            yield
    finally:
        random.setstate(state)


def run_virtually(
    main: Callable[[], Awaitable[object]],
    bound: Bound,
    *,
    seed: int = 0,
    clock: Clock | None = None,
    instruments: Sequence[Instrument] = (),
) -> None:
    """Run ``main`` in a trio run of its own, in virtual time from 0 on, or by ``clock``.

    Raises:
        trio.TooSlowError: it did not end within the bound.
    """
    with loaded_dice(seed):
        clock = MockClock(autojump_threshold=0.0) if clock is None else clock
        trio.run(bound.run, main, clock=clock, instruments=instruments)


@dataclass(frozen=True)
class Outcome:
    """What became of one trial. ``took_s``: virtual seconds. ``failure``: None if there is none."""

    seed: int
    took_s: float
    failure: BaseException | None


def run_trial(
    body: Callable[[VirtualSystem], Awaitable[object]],
    *,
    seed: int = 0,
    deadline_s: float = DEADLINE_S,
    wall_s: float | None = WALL_S,
    opening: Callable[..., AbstractAsyncContextManager[VirtualSystem]] = open_virtual_system,
    **world: Any,
) -> Outcome:
    """Run ``body`` on a fresh virtual system, and tell what became of it.

    Args:
        deadline_s, wall_s: bounds in virtual and in real seconds; reached, the failure is a
            `trio.TooSlowError` with a picture of who waited for what.
        opening, world: what opens the system, and keywords of it, beside ``seed``.

    Raises:
        KeyboardInterrupt, SystemExit: these are nobody's outcome.
    """
    bound = Bound(deadline_s, wall_s)
    took_s = 0.0

    async def main() -> None:
        nonlocal took_s
        try:
            async with opening(seed=seed, **world) as system:
                bound.system = system
                await body(system)
        finally:
            took_s = trio.current_time()

    try:
        run_virtually(main, bound, seed=seed)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as failure:  # what a test raises need be no Exception
        return Outcome(seed, took_s, failure)
    return Outcome(seed, took_s, None)
