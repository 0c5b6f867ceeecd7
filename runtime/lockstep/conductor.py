"""The process that owns the clock of a lockstep: it moves it, whenever its own loop is idle.

All of it happens in the instant in which trio would wait: in an instrument's ``before_io_wait``,
which returns once there is something for the loop to do. So while it conducts nothing of this
process runs, and while anything of it runs time stands still.

Invariants
----------
* It waits nowhere else than in one poll, which ends by whatever would have woken the loop: that
  wait is trio's own, moved here.
* Time moves only if `Lockstep` says so, the host owes nothing, nothing of the outer world holds
  this process, and the loop's poll, looked at last, finds nothing.
* Where time has not moved for ``patience_s`` real seconds `run` raises; the clock is real again.
* What this process does voids a wave that has begun.
* A message that was read at another instant than it was sent at, though neither end was ever
  stopped, is an error that `run` raises: the argument was wrong, or the contract was broken.

See `runtime.lockstep.lockstep` for why that is right.
"""

from __future__ import annotations

import math
import select
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

from runtime.lockstep.baton import Due, Late, Wave
from runtime.lockstep.clock import FOREVER_S, LockstepClock
from runtime.lockstep.followers import Followers
from runtime.lockstep.lockstep import Lockstep
from runtime.lockstep.outside import Outside, find_loop

LOOK_S: Final = 0.002
"""So long nobody is thought to be stopped; then the kernel is asked."""
_HELD_S: Final = 0.0001
_SOON: Final = 20


class Conductor(trio.abc.Instrument):
    """Made by `open_conductor`.

    Args:
        owed: what the host has still to do or to hear, "" if nothing.
        doing: what that incarnation seems to be doing, for messages; "" if that is not known.
    """

    def __init__(
        self,
        clock: LockstepClock,
        folder: str,
        patience_s: float,
        owed: Callable[[], str],
        doing: Callable[[int], str],
    ) -> None:
        self.clock = clock
        self.moves = 0
        self.patience_s = patience_s
        self._looks = 0
        self._owed = owed
        self._doing = doing
        self._outside: Outside
        self._lockstep = Lockstep()
        self.followers = Followers(self._lockstep, folder, self.late)
        self._failure: Exception | None = None
        self._failed = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        self._loop = select.poll()

    def watch(self, loop: int, outside: Outside) -> None:
        """Stand between this process's loop and its poll."""
        self._outside = outside
        self._loop.register(loop, select.POLLIN)
        self.followers.wake_by(loop)

    async def run(self) -> None:
        """Raise what went wrong, as soon as something has.

        Raises:
            RuntimeError: time has stood still for too long, and who held it.
        """
        await self._failed.wait()
        assert self._failure is not None
        raise self._failure

    # -- the instrument

    def before_io_wait(self, timeout: float) -> None:
        if timeout > FOREVER_S and self.clock.stands:
            try:
                self._conduct()
            except Exception as failure:  # trio would only log it, and time stand still for good
                self._fail(failure)

    def _conduct(self) -> None:
        patience = time.monotonic() + self.patience_s
        stands_at = self.clock.current_time()
        self._lockstep.void()
        hold = self._outside.hold()
        while not self._loop.poll(0):
            if hold:
                self.followers.wait(LOOK_S)
                self._lockstep.void()
                hold = self._outside.hold()
            else:
                if self._step():
                    return
                if self.clock.current_time() != stands_at:
                    stands_at = self.clock.current_time()
                    patience = time.monotonic() + self.patience_s
            if time.monotonic() > patience:
                raise RuntimeError(self._complaint(stands_at, hold))

    def _step(self) -> bool:
        """Do what can be done now, or wait a little; whether this loop has to run."""
        if self._owed():  # a wave would be void
            self._await_host()
            return False
        self._looks = 0
        wave, asked = self._lockstep.begin_wave()
        for incarnation in asked:
            self.followers.say(incarnation, Wave(wave))
        if not self._lockstep.quiet:
            self.followers.wait(LOOK_S)
            return False
        if self.followers.some_go_on() or self._loop.poll(0):
            return False
        return self._move()

    def _await_host(self) -> None:
        """Most often the zygote is about to wait again, and nothing will tell."""
        self._looks += 1
        if self._looks > _SOON:
            self.followers.wait(LOOK_S)
        elif not self.followers.hear(0.0):
            time.sleep(_HELD_S)

    def _move(self) -> bool:
        """Nothing happens any more at this instant: on to the next."""
        deadline = min(self.clock.deadline, self._lockstep.deadline)
        if deadline == math.inf:
            self.followers.wait(LOOK_S)
            return False
        now = max(deadline, self.clock.current_time())
        self.clock.move(now)
        self.moves += 1
        for incarnation in self._lockstep.move(now):
            self.followers.say(incarnation, Due())
        if self.clock.deadline > now:
            return False
        self._token.run_sync_soon(_nothing, idempotent=True)
        return True

    def _fail(self, failure: Exception) -> None:
        self._failure = self._failure or failure
        self.clock.release()
        self._token.run_sync_soon(self._failed.set)

    def late(self, reader: int, late: Late) -> None:
        """Time has moved past a message, or who was stopped has gone on."""
        if not self.followers.ever_stopped & {reader, late.sender}:
            what = f"a message from incarnation {late.sender} to {reader}"
            when = f"sent at {late.sent_at!r} s and read at {late.read_at!r} s"
            self._fail(RuntimeError(f"time has moved past {what}, {when}"))

    def _complaint(self, stands_at: float, hold: str) -> str:
        whose = [f"this process: {hold}"] if hold else []
        whose += self.followers.whose(self._doing)
        if not whose:
            whose = [self._owed() or "all wait, and no deadline is set anywhere"]
        since = f"time has stood still at {stands_at:.3f} s for {self.patience_s:g} real seconds"
        return f"{since}: {'; '.join(whose)}"

    def close(self) -> None:
        """Conduct no more; the clock is a real one again."""
        self.clock.release()
        self.followers.close()


@asynccontextmanager
async def open_conductor(
    clock: LockstepClock,
    folder: str,
    patience_s: float,
    *,
    owed: Callable[[], str],
    doing: Callable[[int], str],
    outside: Callable[[tuple[int, int]], Outside],
) -> AsyncIterator[Conductor]:
    """In the block ``clock`` stands still but for its moves; after it it is a real one.

    ``outside``: what this process has to do with the outer world, given its loop's descriptors.
    """
    conductor = Conductor(clock, folder, patience_s, owed, doing)
    try:
        loop = await find_loop()
        conductor.watch(loop[0], outside(loop))
        trio.lowlevel.add_instrument(conductor)
        try:
            clock.conduct(folder)
            yield conductor
        finally:
            trio.lowlevel.remove_instrument(conductor)
    finally:
        conductor.close()


def _nothing() -> None:
    """Runs in the next turn of the loop, so that there is one."""
