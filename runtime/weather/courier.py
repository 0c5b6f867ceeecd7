"""Brings what is late, in exact order.

Invariants
----------
* What is due comes in the order of (instant, when it was handed over), whatever order trio runs
  its tasks in.
* There is a task only while something is on its way.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Courier(Generic[T]):
    """``deliver`` is called with each thing at its instant."""

    def __init__(self, nursery: trio.Nursery, deliver: Callable[[T], None]) -> None:
        self._nursery = nursery
        self._deliver = deliver
        self._heap: list[tuple[float, int, T]] = []
        self._number = 0
        self._running = False
        self._earlier = trio.Event()

    def __len__(self) -> int:
        return len(self._heap)

    def is_late(self, now: float) -> bool:
        """Whether something is due that has not been delivered."""
        return bool(self._heap) and self._heap[0][0] <= now

    def bring(self, at: float, thing: T) -> None:
        """Deliver it at that instant of trio's clock."""
        self._number += 1
        if self._heap and at < self._heap[0][0]:
            self._earlier.set()
        heappush(self._heap, (at, self._number, thing))
        if not self._running:
            self._running = True
            self._nursery.start_soon(self._run)

    async def _run(self) -> None:
        heap = self._heap
        while heap:
            self._earlier = trio.Event()
            with trio.move_on_at(heap[0][0]):
                await self._earlier.wait()
            while heap and heap[0][0] <= trio.current_time():
                self._deliver(heappop(heap)[2])
        self._running = False
