"""Tasks that start jobs in a given order and wait for them side by side.

A job's first steps must happen in the order of the lines, but trio runs new tasks in
either order, and a task for each of 20,000 jobs a second costs too much. So workers are
kept, and no job belongs to one beforehand: whichever worker runs next takes the next job and
drives it by hand until the job either ends (most do when nothing is waited for) or
suspends. A suspension belongs to the task it happened in, so that worker goes on waiting
for that job, and another takes its turn.

Several workers are awake at a time, so that a tick starts many jobs and what they send
leaves together: with one, every line took a tick and a message of its own (13,000 lines
a second; with 64, 30,000).

Invariants
----------
* Jobs take their first steps in the order of ``take``: each within one step of a task.
* While there is something to take, a worker is awake that will.
* A job has a deadline in its own cancel scope, which is reused: 1 us, not 15.
* A job that is cancelled by its deadline is reported to ``late``, once.
* No worker runs longer than ``SLICE`` jobs without a checkpoint.
"""

import functools
import math
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, Generic, TypeVar

import trio

SLICE: Final = 64
AWAKE: Final = 64

J = TypeVar("J")


class Workers(Generic[J]):
    """Runs what ``take`` gives.

    Args:
        take: the next job and the seconds it may last (infinity for ever), or None.
        run: does a job, all of it; it handles its own exceptions.
        late: what to do with a job whose time is over.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        take: Callable[[], tuple[J, float] | None],
        run: Callable[[J], Coroutine[Any, Any, None]],
        late: Callable[[J], None],
    ) -> None:
        self._nursery = nursery
        self._take = take
        self._run = run
        self._late = late
        self._awake = 0  # workers that are to take
        self._idle = trio.lowlevel.ParkingLot()

    def poke(self) -> None:
        """There may be one more thing to take."""
        if self._awake >= AWAKE:
            return
        self._awake += 1
        if self._idle:
            self._idle.unpark()
        else:
            self._nursery.start_soon(self._work)

    async def _work(self) -> None:
        current: list[J] = []
        while True:
            with trio.CancelScope() as scope:
                await self._shift(scope, current)
            if scope.cancelled_caught and current:
                self._late(current.pop())
            await self._idle.park()

    async def _shift(self, scope: trio.CancelScope, current: list[J]) -> None:
        """Take and wait, in turns, until ``scope`` is used up."""
        streak = 0
        while True:
            taken = self._take()
            if taken is None:
                self._awake -= 1
                scope.deadline = math.inf
                await self._idle.park()
                continue
            job, patience_s = taken
            scope.deadline = trio.current_time() + patience_s
            coroutine = self._run(job)
            try:
                trap = coroutine.send(None)
            except StopIteration:
                streak += 1
                if streak % SLICE == 0:
                    scope.deadline = math.inf
                    await trio.lowlevel.checkpoint()
                continue
            current.append(job)
            self._awake -= 1
            self.poke()
            await _go_on(coroutine, trap)
            current.clear()
            if scope.cancel_called:
                return
            if self._awake < AWAKE:
                self._awake += 1
            else:
                scope.deadline = math.inf
                await self._idle.park()


@types.coroutine
def _go_on(coroutine: Coroutine[Any, Any, None], trap: Any) -> Generator[Any, Any, None]:
    """Await the rest of a coroutine whose first step has been made."""
    while True:
        try:
            value = yield trap
        except BaseException as error:
            resume = functools.partial(coroutine.throw, error)
        else:
            resume = functools.partial(coroutine.send, value)
        try:
            trap = resume()
        except StopIteration:
            return
