"""Who reads the socket, the fast way: leader and followers.

A reader task of its own costs two task switches a message, one to it and one from it. So
whoever waits for the wire reads it: one of the waiting tasks, the leader, waits on the
socket and routes all that arrives, until what it waits for is there. It leaves the lead
vacant then, and a sequential asker takes it again with its next ask, without a wake-up. What
is still vacant at the end of the tick is given to a follower. An asker takes the lead from one
who only waits for whatever may come: else each answer would cost a tick more (20 of 120 us).
Who only waits leaves the lead to those it wakes, for what comes next is likely theirs again: else
each message would cost its receiver a tick more (650 of 3,400 bytecodes, and a turn of epoll).

The end of the tick is also when the batches leave: an instrument's ``before_io_wait`` runs
after all tasks and before trio sleeps. Its ``after_task_step`` is how a handler that
suspends is noticed, at no cost to one that does not.

Invariants
----------
* There is at most one leader; it alone waits on the transport, and it drains the transport
  before every wait.
* `Leader.run` is a follower that never leaves, so a vacant lead always finds somebody.
* A leader that leaves, also by cancellation, leaves the lead vacant or to its successor
  before anything else can run.
* The instrument never raises (trio would remove it, and nothing would be sent again): a
  failure is kept and raised by `Leader.run`. So is what the transport raises, whoever reads at that
  moment: it is no fault of theirs, and a handler's error would end nothing.

Source: D. Schmidt et al., "Leader/Followers" (POSA 2); ``trio.abc.Instrument``.
"""

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import trio

from runtime.wires.reading import Drain, Seat
from runtime.wires.transport import Transport

if TYPE_CHECKING:
    from outcome import Outcome

VACANT_TICKS = 8
"""So many busy ticks may end without a leader before one is named."""
STALL_S = 0.25
"""A wait that lasts this much longer than it was meant to: the process stood still."""


class Leader(trio.abc.Instrument):
    """Shares one inbox among the tasks that wait for it.

    ``suspended`` is called after every task step; ``stalled``
    when the process seems to have stood still.
    """

    notices = True

    def __init__(
        self,
        transport: Transport,
        drain: Drain,
        flush: Callable[[], bool],
        suspended: Callable[[], None],
        stalled: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._drain = drain
        self._flush = flush
        self._suspended = suspended
        self._stalled = stalled
        self._awake_by = math.inf
        self._leader: Seat | None = None
        self._followers: dict[Seat, None] = {}
        self._vacant = 0
        self._woke = False  # somebody, since the leader began to drain
        # A busy tick is followed by another. Not so on a clock that jumps when all are idle: it
        # says timeout 0 then as well.
        clock = trio.lowlevel.current_clock()
        self._vacant_ticks = VACANT_TICKS if type(clock).__name__ == "SystemClock" else 1
        self._failure: Exception | None = None
        self._runs = False
        self._standby = Seat()
        self._token = trio.lowlevel.current_trio_token()

    async def until(self, seat: Seat) -> None:
        seat.task = trio.lowlevel.current_task()
        followers = self._followers

        def give_up(_: object) -> trio.lowlevel.Abort:
            followers.pop(seat, None)
            return trio.lowlevel.Abort.SUCCEEDED

        try:
            while not seat.ready:
                leader = self._leader
                if leader is None:
                    self._leader = seat
                elif seat.asks and not leader.asks:
                    self._leader = seat
                    self._transport.interrupt()
                if self._leader is not seat:
                    followers[seat] = None
                    await trio.lowlevel.wait_task_rescheduled(give_up)
                    continue
                try:
                    self._woke = False
                    self._drain(seat)
                    if self._woke and not seat.ready and not seat.asks:
                        self._leader = None
                        followers[seat] = None
                        await trio.lowlevel.wait_task_rescheduled(give_up)
                    elif not seat.ready:
                        await self._transport.wait()
                        if time.monotonic() > self._awake_by:
                            self._stalled()
                except Exception as failure:
                    if seat is self._standby or not (self._runs or self._failure):
                        raise
                    self._leader = None  # and this task waits until it is cancelled with all others
                    self._fail(failure)
                    followers[seat] = None
                    await trio.lowlevel.wait_task_rescheduled(give_up)
        finally:
            if self._leader is seat:
                self._leader = None

    def wake(self, seat: Seat) -> None:
        seat.ready = True
        if seat in self._followers:
            del self._followers[seat]
            self._woke = True
            assert seat.task is not None
            trio.lowlevel.reschedule(seat.task, _WOKEN)
        elif seat is self._leader and trio.lowlevel.current_task() is not seat.task:
            self._transport.interrupt()

    def posted(self) -> None:
        pass  # it leaves at the end of the tick

    async def run(self) -> None:
        trio.lowlevel.add_instrument(self)
        self._runs = True
        try:
            await self.until(self._standby)
            if self._failure is not None:
                raise self._failure
        finally:
            self._runs = False
            trio.lowlevel.remove_instrument(self)

    # -- the instrument

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        try:
            self._suspended()
        except Exception as failure:
            self._fail(failure)

    def before_io_wait(self, timeout: float) -> None:
        try:
            if not self._flush():
                self._token.run_sync_soon(_nothing, idempotent=True)
        except Exception as failure:
            self._fail(failure)
        if self._leader is None and self._followers:
            self._vacant += 1
            if timeout > 0 or self._vacant >= self._vacant_ticks:
                self._token.run_sync_soon(self._name_leader, idempotent=True)
        self._awake_by = time.monotonic() + timeout + STALL_S

    def _name_leader(self) -> None:
        self._vacant = 0
        if self._leader is None and self._followers:
            seat, _ = self._followers.popitem()
            self._leader = seat
            assert seat.task is not None
            trio.lowlevel.reschedule(seat.task)

    def _fail(self, failure: Exception) -> None:
        if self._failure is None:
            self._failure = failure
            self._token.run_sync_soon(self.wake, self._standby)


class _Woken:
    """What a task is sent that waited: nothing. `outcome.Value` is spent by its first use."""

    __slots__ = ()

    def unwrap(self) -> None:
        """What its wait returns."""


_WOKEN = cast("Outcome[None]", _Woken())


def _nothing() -> None:
    """Runs in the next tick, so that there is one."""
