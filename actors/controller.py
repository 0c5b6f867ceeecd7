"""The controller: the actor at the root of a system.

Everybody asks it to start, find, stop and kill; `actors.nodes` is how it does that. Its
children are temporary: what dies stays dead.

Invariants
----------
* What is stopped takes its subtree along, deepest first, cousins at the same time; what dies
  unplanned leaves it to another guardian.
* A start whose asker is cancelled, or dies, leaves nothing.
"""

from __future__ import annotations

from signal import SIGKILL

import trio

from actors.actor import Actor, reentrant
from actors.ladder import POLITE_S, end, tell_local
from actors.nodes import Nodes
from actors.record import Record
from runtime.address import CONTROLLER, Address
from runtime.exits import ExitReason
from runtime.registrar import Answer, Refusal, Registrar, Row, Spec


class Controller(Registrar, Actor):
    """The root supervisor."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        nodes.planned_end = self._take_along

    # -- starting

    @reentrant
    async def spawn_child(self, spec: Spec, args: bytes) -> Answer:
        parent = self.nodes.records.get(spec.parent)
        if spec.parent not in self.nodes.places:
            return Answer(
                refusal=Refusal(kind="unknown", message=f"no actor is named {spec.parent}")
            )
        if not self.nodes.places.lives(spec.parent) or (parent is not None and parent.planned):
            reason = parent.reason if parent is not None else None
            return Answer(
                refusal=Refusal(kind="dead", message=f"{spec.parent} is not alive", reason=reason)
            )
        name = spec.name or self.nodes.next_name(spec.stem)
        if spec.local:
            name = f"{spec.parent.partition('/')[0]}/{name}"
        if name in self.nodes.places:
            return Answer(refusal=Refusal(kind="spawn", message=f"the name {name} is taken"))
        record = self.nodes.reserve(name, spec, args)
        if spec.local:
            record.started = True
            return Answer(address=record.address)
        try:
            refusal = await self.nodes.bring_up(record)
            await trio.lowlevel.checkpoint_if_cancelled()  # else nobody would own it
        except BaseException:
            with trio.CancelScope(shield=True):
                await self.nodes.undo(record)
            raise
        if refusal is not None:
            await self.nodes.undo(record)
            return Answer(refusal=refusal)
        return Answer(address=record.address)

    @reentrant
    async def abandon(self, token: str) -> None:
        for record in list(self.nodes.records.values()):
            if record.spec.token == token and record.started:
                await self._stop(record)

    # -- stopping

    @reentrant
    async def stop_tree(self, who: Address) -> Answer:
        record = self._known(who)
        if isinstance(record, Refusal):
            return Answer(refusal=record)
        await self._stop(record)
        return Answer(reason=record.known_reason)

    async def _stop(self, record: Record) -> None:
        """It and all under it are ended and forgotten, unless its place has another holder."""
        records, places = self.nodes.records, self.nodes.places
        if records.get(record.name) is not record:
            return
        for each in places.subtree(record.name):
            records[each].planned = True
        await self._stop_under(record.name)
        await end(record, self._cell.exchange)
        self.nodes.forget(record)

    async def _stop_under(self, name: str) -> None:
        async with trio.open_nursery() as nursery:
            for child in self.nodes.places.children(name):
                nursery.start_soon(self._stop, self.nodes.records[child])

    @reentrant
    async def kill_one(self, who: Address) -> Answer:
        record = self._known(who)
        if isinstance(record, Refusal):
            return Answer(refusal=record)
        if record.spec.local and not record.gone.is_set():
            tell_local(record, self._cell.exchange, force=True)
            await record.goes_within(POLITE_S)
        elif record.pid and not record.gone.is_set():
            record.signal(SIGKILL)
            await record.gone.wait()
            return Answer(reason=record.reason or ExitReason(kind="killed", signal=SIGKILL))
        return Answer(reason=record.known_reason)

    @reentrant
    async def wait_for(self, who: Address) -> Answer:
        record = self._known(who)
        if isinstance(record, Refusal):
            return Answer(refusal=record)
        await record.ended.wait()
        return Answer(reason=record.known_reason)

    @reentrant
    async def local_ended(self, who: Address, reason: ExitReason) -> None:
        self.nodes.local_ended(who, reason)

    def _take_along(self, record: Record) -> None:
        if self._cell.nursery is not None:
            self._cell.nursery.start_soon(self._follow_down, record)

    async def _follow_down(self, record: Record) -> None:
        """A planned end takes the subtree along."""
        if self.nodes.records.get(record.name) is record:
            await self._stop(record)

    # -- looking

    def _known(self, who: Address) -> Record | Refusal:
        record = self.nodes.known(who)
        if record is None:
            return Refusal(kind="unknown", message=f"no actor is or was {who}")
        return record

    @reentrant
    async def look_up(self, name: str) -> Answer:
        record = self.nodes.records.get(name)
        if name == CONTROLLER:
            return Answer(address=self.ref)
        if record is None:
            return Answer(refusal=Refusal(kind="unknown", message=f"no actor is named {name}"))
        if record.gone.is_set() or not record.started:
            why = f"{name} is not alive"
            return Answer(refusal=Refusal(kind="dead", message=why, reason=record.reason))
        return Answer(address=record.address)

    @reentrant
    async def rows(self) -> list[Row]:
        return [self.nodes.row(name) for name in self.nodes.places.subtree(CONTROLLER)[1:]]

    async def _stop_everything(self) -> None:
        """Every child has been stopped."""
        await self._stop_under(CONTROLLER)
