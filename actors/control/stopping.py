"""Orderly ends: a node and all that hangs under it, deepest first.

Invariants
----------
* What is stopped takes its subtree along, deepest first, cousins at the same time.
* What is being stopped is marked as planned before anything ends, so that nobody restarts it.
* `Stopping.stop` forgets the place too; `Stopping.halt` keeps it for another life.
"""

from __future__ import annotations

import trio

from actors.control.ladder import end
from actors.control.nodes import Nodes
from actors.supervision.record import Record
from runtime.exits import ExitReason
from runtime.traffic.exchange import Exchange


class Stopping:
    """Of the nodes of one system. ``tasks`` must outlive whoever wants something stopped."""

    def __init__(self, nodes: Nodes, exchange: Exchange, tasks: trio.Nursery) -> None:
        self._nodes = nodes
        self._exchange = exchange
        self._tasks = tasks
        self._under_way: dict[Record, trio.Event] = {}

    async def stop(self, record: Record) -> None:
        """It and all under it have ended and are forgotten, unless its place has another holder.

        Cancellation: it is finished all the same, for half of a tree is nobody's wish.
        """
        done = self._under_way.get(record)
        if done is None:
            if not self._nodes.roll.holds(record):
                return
            done = self._under_way[record] = trio.Event()
            record.unwanted = True
            self._plan(record)
            self._tasks.start_soon(self._stop, record, done)
        await done.wait()

    async def _stop(self, record: Record, done: trio.Event) -> None:
        try:
            if self._nodes.roll.holds(record):  # else its start has failed meanwhile
                await self.halt(record)
                self._nodes.forget(record)
        finally:
            del self._under_way[record]
            done.set()

    async def halt(self, record: Record) -> None:
        """It has ended, and all under it are forgotten; its place stays."""
        self._plan(record)
        await self.stop_under(record.name)
        await end(record, self._exchange)

    def _plan(self, record: Record) -> None:
        for each in self._nodes.places.subtree(record.name):
            self._nodes.records[each].planned = True

    async def stop_under(self, name: str, but: str = "") -> None:
        """All that hang under it, if it has a place, are ended and forgotten; ``but`` one."""
        places = self._nodes.places
        while name in places and (rest := [each for each in places.children(name) if each != but]):
            await self._stop_all(rest)  # one who was just about to live again is there still

    async def stop_unnamed_under(self, name: str) -> None:
        """The same for those who were given no name: they belong to one incarnation of it."""
        nodes = self._nodes
        if name in nodes.places:
            children = nodes.places.children(name)
            await self._stop_all([each for each in children if not nodes.records[each].spec.name])

    async def _stop_all(self, names: list[str]) -> None:
        if not names:
            return
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(self._stop_holder, name)

    async def _stop_holder(self, name: str) -> None:
        holder = self._nodes.records.get(name)
        if holder is not None:
            await self.stop(holder)

    async def end_alone(self, record: Record, reason: ExitReason | None = None) -> None:
        """It has ended, for this reason if it can be told; those under it go on."""
        await end(record, self._exchange, reason)
