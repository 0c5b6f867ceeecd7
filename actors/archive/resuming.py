"""Resumption: a tree comes back from what was kept of it.

First every place is seated, empty, as after the death of whoever lived there; then they live
again, parents before their children. A parent that spawns its children in ``on_start`` finds them
by their names, as after any restart, and they have their state; what nobody has spawned by then
is started from what was kept.

Invariants
----------
* Names, places and the order of creation are as they were; incarnations are new, and greater.
* Siblings come back one after the other, in the order of creation; cousins side by side.
* Who does not come back is given up, and that is logged; the rest comes back all the same.
* A temporary actor does not come back. Its place does, if somebody comes back under it; whoever
  spawns it again takes them back.
* Local cells come back when they are spawned again: only their process has their class.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import Final

import msgspec
import trio

from actors.archive.stored import Held
from actors.control.nodes import Nodes
from actors.control.regrowth import Regrowth
from actors.supervision.places import State
from actors.supervision.roll import Roll
from runtime.address import CONTROLLER
from runtime.exits import ExitReason

log = logging.getLogger("regrow")

_GONE: Final = ExitReason(kind="unknown", message="its controller ended")
_FINISHED: Final = ExitReason(kind="exited", code=0)  # what a transient one keeps its place after


def seat(roll: Roll, held: Iterable[Held]) -> None:
    """Every place is there again, and nobody lives there."""
    environ = dict(os.environ)
    for each in held:
        place = each.place
        spec = place.spec
        if not spec.local:
            spec = msgspec.structs.replace(spec, environ=environ)
        record = roll.seat(place.name, spec, place.args, place.incarnation)
        record.kept = each.kept
        record.reason = _GONE if place.returns or spec.restart == "temporary" else _FINISHED
        if place.returns and not spec.local:
            roll.mark(place.name, State.RESTARTING)


class Resuming:
    """Of one system, once; with nothing seated it does nothing."""

    def __init__(self, nodes: Nodes, regrowth: Regrowth) -> None:
        self._nodes = nodes
        self._regrowth = regrowth
        self._room = trio.CapacityLimiter(max(2, os.cpu_count() or 1))

    async def run(self) -> None:
        """All have come back, or are given up."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._bring_back_under, CONTROLLER, nursery)

    async def _bring_back_under(self, parent: str, nursery: trio.Nursery) -> None:
        if parent not in self._nodes.places:
            return
        for name in self._nodes.places.children(parent):
            await self._bring_back(name)
            nursery.start_soon(self._bring_back_under, name, nursery)

    async def _bring_back(self, name: str) -> None:
        roll = self._nodes.roll
        record = roll.records.get(name)
        if record is None:
            return
        if not record.resumed:  # its parent has spawned it
            await record.settled.wait()
            return
        if self._nodes.places.state(name) is not State.RESTARTING:
            return
        async with self._room:
            if not roll.holds(record):
                return
            fresh = await self._regrowth.again(record)
        if not fresh.started and roll.holds(fresh):
            roll.mark(name, State.GIVEN_UP)
            log.warning("%s given up: it did not come back: %s", name, fresh.failure)
