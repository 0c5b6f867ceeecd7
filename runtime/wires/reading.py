"""Who reads the socket: the seam, and the simple way to do it.

Whoever waits for something that arrives by the wire takes a `Seat` and awaits
`Reading.until`. The simple way has one task that reads and wakes them, and sends every
batch at once. The fast way, `runtime.wires.leader`, keeps the same promises.

Invariants
----------
* Everything that arrives is routed, however many seats are taken, also when nobody waits.
* A seat whose `Reading.wake` was called returns from `Reading.until`, once.
* Reading routes; it never runs a handler.
"""

from collections.abc import Callable
from typing import Protocol

import trio

from runtime.wires.transport import Transport


class Seat:
    """Somebody who waits for something to arrive. ``asks``: who has asked for it."""

    __slots__ = ("ready", "task")
    asks = False

    def __init__(self) -> None:
        self.ready = False
        self.task: trio.lowlevel.Task | None = None


class Drain(Protocol):
    """Routes what has arrived, all of it or until the seat is ready."""

    def __call__(self, seat: Seat | None = None) -> None: ...


class Reading(Protocol):
    """How one process's tasks share one inbox."""

    notices: bool
    """Whether it notices that a handler suspends; else every handler is taken to."""

    async def until(self, seat: Seat) -> None:
        """Return once ``seat.ready``. Cancellation: the seat is given up."""

    def wake(self, seat: Seat) -> None:
        """Make the seat ready."""

    def posted(self) -> None:
        """Note that some peer's batch is no longer empty."""

    async def run(self) -> None:
        """Keep the promises until cancelled."""


class Reader:
    """One task reads; every batch leaves when it is posted."""

    notices = False

    def __init__(self, transport: Transport, drain: Drain, flush: Callable[[], bool]) -> None:
        self._transport = transport
        self._drain = drain
        self._flush = flush

    async def until(self, seat: Seat) -> None:
        while not seat.ready:
            seat.task = trio.lowlevel.current_task()

            def give_up(_: object) -> trio.lowlevel.Abort:
                seat.task = None
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(give_up)

    def wake(self, seat: Seat) -> None:
        seat.ready = True
        if seat.task is not None:
            trio.lowlevel.reschedule(seat.task)
            seat.task = None

    def posted(self) -> None:
        self._flush()

    async def run(self) -> None:
        while True:
            self._drain()
            await self._transport.wait()
