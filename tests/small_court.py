"""A small world with a controller's side: who watches whom, who is linked, who holds a name.

For tests in virtual time. The controller's process has incarnation 1, as in a real system; it
hears of a cell's end by `wire.Exiting`, and ends others by the real ladder.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from actors.actor import Actor
from actors.control.fates import Fates
from actors.supervision.record import Record
from runtime.address import CONTROLLER, CONTROLLER_INCARNATION, Address
from runtime.cells.cell import Cell
from runtime.exits import ExitReason
from runtime.messages import envelope as wire
from runtime.messages.behaviour import handlers_of
from runtime.traffic.exchange import Exchange
from runtime.traffic.pair import Peer
from runtime.traffic.registrar import Answer, Refusal, Registrar, Spec
from tests.small_world import SmallWorld, open_small_world


class Names(Registrar, Actor):
    """The controller's actor: it can only look up."""

    def __init__(self, court: SmallCourt) -> None:
        self.court = court
        self.asked: list[str] = []
        self.delay_s = 0.0

    async def look_up(self, name: str) -> Answer:
        self.asked.append(name)
        await trio.sleep(self.delay_s)
        record = self.court.named(name)
        if record is None:
            return Answer(refusal=Refusal(kind="unknown", message=f"no actor is named {name}"))
        if record.reason is not None:
            why = f"{name} is not alive"
            return Answer(refusal=Refusal(kind="dead", message=why, reason=record.reason))
        return Answer(address=record.address)


class SmallCourt:
    """A controller's process, and others that look up to it."""

    def __init__(self, world: SmallWorld, tasks: trio.Nursery) -> None:
        self.world = world
        self.tasks = tasks
        self.records: dict[int, Record] = {}  # the oldest first

    async def open(self) -> None:
        self.controller = await self.world.process(CONTROLLER)
        assert self.controller.address.incarnation == CONTROLLER_INCARNATION
        self.controller.control[wire.Exiting] = self._exiting
        self.fates = Fates(self.controller, self.known, self.tasks)
        self.names = Names(self)
        root = Cell(self.controller, self.controller.address, handlers_of(Names))
        up = trio.Event()
        self.tasks.start_soon(root.run, self.names, up.set)
        await up.wait()

    async def process(self, name: str) -> Exchange:
        """A process of this system."""
        process = await self.world.process(name)
        process.controller = process.peer(self.controller.address.endpoint)

        def stop(peer: Peer, envelope: wire.Stop, _: Any) -> None:
            cell = process.cells.get(envelope.incarnation)
            if cell is not None:
                cell.stop(envelope.force, envelope.reason)

        process.control[wire.Stop] = stop
        process.ready(process.controller)  # so that it is known there
        return process

    async def cell(
        self, process: Exchange, name: str, actor: Actor, mailbox_messages: int = 8192
    ) -> Cell:
        """A cell whose end the controller will hear of."""
        cell = self.world.mute(process, name)
        cell.handlers = handlers_of(type(actor))
        cell.mailbox_messages = mailbox_messages
        spec = Spec(entry="", parent=CONTROLLER, local=True)
        self.records[cell.address.incarnation] = Record(cell.address, spec, b"")
        up = trio.Event()

        async def live() -> None:
            reason = await cell.run(actor, up.set)
            process.say(process.controller, wire.Exiting(reason, cell.address.incarnation))

        self.tasks.start_soon(live)
        await up.wait()
        return cell

    def kill(self, process: Exchange) -> None:
        """Nothing comes from it any more, and the controller knows why."""
        self.world.kill(process)
        for record in self.records.values():
            if record.address.endpoint == process.address.endpoint:
                self._ended(record, ExitReason(kind="killed", signal=9))
        self.fates.forget(process.address.endpoint)

    def named(self, name: str) -> Record | None:
        """The last of that name."""
        return next((r for r in reversed(self.records.values()) if r.name == name), None)

    def known(self, who: Address) -> Record | None:
        if who.system != self.controller.address.system:
            return None
        return self.records.get(who.incarnation) if who.incarnation else self.named(who.name)

    def _exiting(self, peer: Peer, exiting: wire.Exiting, _: Any) -> None:
        self._ended(self.records[exiting.incarnation], exiting.reason)

    def _ended(self, record: Record, reason: ExitReason) -> None:
        if record.reason is None:
            record.reason = reason
            record.gone.set()
            record.ended.set()
            self.fates.ended(record, reason)


@asynccontextmanager
async def open_small_court() -> AsyncIterator[SmallCourt]:
    async with open_small_world() as world, trio.open_nursery() as tasks:
        court = SmallCourt(world, tasks)
        await court.open()
        yield court
        tasks.cancel_scope.cancel()
