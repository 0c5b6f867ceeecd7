"""Orderly ends: a node and all that hangs under it, deepest first.

Invariants
----------
* What is stopped takes its subtree along, deepest first, cousins at the same time.
* What is being stopped is marked as planned before anything ends, so that nobody restarts it.
* `Stopping.stop` forgets the place too; `Stopping.halt` keeps it for another life.
"""

from __future__ import annotations

import trio

from actors.ladder import end
from actors.nodes import Nodes
from actors.record import Record
from runtime.exchange import Exchange
from runtime.exits import ExitReason


class Stopping:
    """Of the nodes of one system."""

    def __init__(self, nodes: Nodes, exchange: Exchange) -> None:
        self._nodes = nodes
        self._exchange = exchange

    async def stop(self, record: Record) -> None:
        """It and all under it have ended and are forgotten, unless its place has another holder."""
        if self._nodes.roll.holds(record):
            record.unwanted = True
            await self.halt(record)
            self._nodes.forget(record)

    async def halt(self, record: Record) -> None:
        """It has ended, and all under it are forgotten; its place stays."""
        records = self._nodes.records
        for each in self._nodes.places.subtree(record.name):
            records[each].planned = True
        await self.stop_under(record.name)
        await end(record, self._exchange)

    async def stop_under(self, name: str) -> None:
        """All that hang under it, if it has a place, are ended and forgotten."""
        if name in self._nodes.places:
            await self._stop_all(self._nodes.places.children(name))

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
                nursery.start_soon(self.stop, self._nodes.records[name])

    async def end_alone(self, record: Record, reason: ExitReason | None = None) -> None:
        """It has ended, for this reason if it can be told; those under it go on."""
        await end(record, self._exchange, reason)
