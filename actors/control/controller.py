"""The controller: the actor at the root of a system.

Everybody asks it to start, find, stop and kill; `actors.control.nodes` is how it does that,
`actors.control.stopping` how it ends what is to end, `actors.control.regrowth` what it does about
ends that nobody ordered.

Invariants
----------
* A name has one holder. To spawn it again under the same parent, with the same class and
  arguments, finds the holder or brings it back; with others it replaces the holder.
* A start whose asker is cancelled, or dies, leaves nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from signal import SIGKILL

import trio

from actors.actor import Actor, reentrant
from actors.control.audits import Audits
from actors.control.ladder import POLITE_S, tell_local
from actors.control.nodes import Nodes
from actors.control.regrowth import Regrowth
from actors.control.stopping import Stopping
from actors.supervision.record import Record
from runtime.address import CONTROLLER, Address
from runtime.exits import ExitReason
from runtime.messages.accounts import Audit, DeadLetter
from runtime.traffic.registrar import Answer, Refusal, Registrar, Row, Spec

_KILL = "a kill, ordered in this system"
WHY_S = 1.0
"""Who looks up a name whose holder has just died waits so long at most to be told why it did."""


class Controller(Registrar, Actor):
    """The root supervisor."""

    def __init__(
        self, nodes: Nodes, stopping: Stopping, regrowth: Regrowth, audits: Audits
    ) -> None:
        self.nodes = nodes
        self._audits = audits
        self._stopping = stopping
        self._regrowth = regrowth
        nodes.on_end = self._ended

    def _ended(self, record: Record) -> None:
        """It lives again if it should."""
        if not record.planned and self._cell.nursery is not None:
            self._cell.nursery.start_soon(self._regrowth.ended, record)

    # -- starting

    @reentrant
    async def spawn_child(self, spec: Spec, args: bytes) -> Answer:
        nodes = self.nodes
        refusal = self._no_parent(spec.parent)
        if refusal is not None:
            return Answer(refusal=refusal)
        name = spec.name or nodes.roll.next_name(spec.stem)
        if spec.local:
            name = f"{spec.parent.partition('/')[0]}/{name}"
        while (holder := nodes.records.get(name)) is not None:
            if nodes.places.parent(name) != spec.parent:
                why = f"the name {name} is taken"
                return Answer(refusal=Refusal(kind="spawn", message=why))
            if not _same(holder, spec, args):
                await self._stopping.stop(holder)
                continue
            await holder.settled.wait()  # bounded: a start takes at most ``start_s``
            if holder.planned or not holder.started:
                await holder.gone.wait()  # somebody sees to it
            if not holder.gone.is_set():
                return Answer(address=holder.address)
            if nodes.roll.holds(holder):
                break
        refusal = self._no_parent(spec.parent)  # it may have ended meanwhile
        if refusal is not None:
            return Answer(refusal=refusal)
        if holder is None:
            return await self._start(nodes.roll.reserve(name, spec, args))
        return await self._start(nodes.roll.renew(holder, spec, args))

    def _no_parent(self, name: str) -> Refusal | None:
        if name not in self.nodes.places:
            return Refusal(kind="unknown", message=f"no actor is named {name}")
        parent = self.nodes.records.get(name)
        if parent is None or not (parent.gone.is_set() or parent.planned or parent.exhausted):
            return None
        return Refusal(kind="dead", message=f"{name} is not alive", reason=parent.reason)

    async def _start(self, record: Record) -> Answer:
        """The answer to whoever wanted it started; of a failed start nothing is left."""
        owned = False
        try:
            refusal = await self.nodes.bring_up(record)
            await trio.lowlevel.checkpoint_if_cancelled()  # else nobody would own it
            owned = refusal is None
        finally:
            if not owned:
                with trio.CancelScope(shield=True):
                    await self._undo(record)
        if refusal is not None:
            return Answer(refusal=self._overtaken(record.spec.parent) or refusal)
        return Answer(address=record.address)

    def _overtaken(self, parent: str) -> Refusal | None:
        """Whether the parent, which was there, has ended meanwhile: the start failed for that."""
        refusal = self._no_parent(parent)
        if refusal is None or refusal.kind == "dead":
            return refusal
        end = self.nodes.roll.epitaphs.get(parent)
        return Refusal(kind="dead", message=f"{parent} is not alive", reason=end)

    async def _undo(self, record: Record) -> None:
        if record.before:  # its place is older than this start
            if not record.started:
                await self._regrowth.scrap(record)
                self._ended(record)
            return
        record.planned = True
        if self.nodes.roll.holds(record):  # else it was stopped with its parent
            await self._stopping.stop_under(record.name)
        await self.nodes.undo(record)

    @reentrant
    async def abandon(self, token: str) -> None:
        for record in list(self.nodes.records.values()):
            if record.spec.token == token and record.started and not record.before:
                await self._stopping.stop(record)

    @reentrant
    async def restart_one(self, who: Address) -> Answer:
        record = self._known(who)
        if isinstance(record, Refusal):
            return Answer(refusal=record)
        if record.spec.joined:
            why = f"{record.name} has joined by hand, and can only be started where it was"
            return Answer(refusal=Refusal(kind="spawn", message=why))
        answer = Answer()
        answered = trio.Event()

        async def restart() -> None:
            nonlocal answer
            answer = await self._restart(self.nodes.roll.heir(record))
            answered.set()

        assert self._cell.nursery is not None
        self._cell.nursery.start_soon(restart)  # it is finished, whoever still waits for it
        await answered.wait()
        return answer

    async def _restart(self, record: Record) -> Answer:
        roll = self.nodes.roll
        if roll.holds(record):
            record.planned = True  # nobody else is to restart it meanwhile
            await self._stopping.end_alone(record)
            if not record.gone.is_set():
                record.planned = record.unwanted  # else nobody would restart it
                return Answer(refusal=self._lives_on(record))
            await self._stopping.stop_unnamed_under(record.name)
        if not roll.holds(record) or record.unwanted:
            why = f"{record.address} is not the last of its name"
            return Answer(refusal=Refusal(kind="dead", message=why, reason=record.reason))
        if not roll.has_host(record):
            why = f"the process of {record.name} is gone"
            return Answer(refusal=Refusal(kind="spawn", message=why))
        fresh = await self._regrowth.again(record)
        if not fresh.started:
            self._ended(fresh)
            return Answer(refusal=Refusal(kind="spawn", message=fresh.failure))
        return Answer(address=fresh.address)

    @reentrant
    async def keep(self, who: Address, kept: bytes) -> None:
        self.nodes.keep(who, kept)

    # -- stopping

    @reentrant
    async def stop_tree(self, who: Address) -> Answer:
        record = self._known(who)
        if isinstance(record, Refusal):
            return Answer(refusal=record)
        heir = self.nodes.roll.heir(record)
        await self._stopping.stop(heir)
        if not heir.gone.is_set():
            return Answer(refusal=self._lives_on(heir))
        if record.gone.is_set():
            await record.ended.wait()  # bounded: by then it is certainly dead
        return Answer(reason=record.known_reason)

    @reentrant
    async def kill_one(self, who: Address) -> Answer:
        record = self._known(who)
        if isinstance(record, Refusal):
            return Answer(refusal=record)
        if record.body is None:  # it is about to have one
            await record.settled.wait()
        if record.spec.local and not record.gone.is_set():
            record.signal(SIGKILL, _KILL)  # it has no process of its own
            tell_local(record, self._cell.exchange, force=True)
            if not await record.goes_within(POLITE_S):
                return Answer(refusal=self._lives_on(record))
        elif record.body is not None and not record.gone.is_set():
            record.signal(SIGKILL, _KILL)
            await record.gone.wait()
            return Answer(
                reason=record.reason or ExitReason(kind="killed", signal=SIGKILL, message=_KILL)
            )
        return Answer(reason=record.known_reason)

    def _lives_on(self, record: Record) -> Refusal:
        """Of a local cell, which cannot be killed but with its process."""
        home = self.nodes.roll.at(record.address.endpoint)
        verdict = "busy" if home is None or home.verdict == "ok" else home.verdict
        why = f"{record.address} lives on, for its process is {verdict}: it ends when that goes on"
        return Refusal(kind="unreachable", message=why, verdict=verdict)

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

    # -- looking

    def _known(self, who: Address) -> Record | Refusal:
        record = self.nodes.roll.known(who)
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
        if record.gone.is_set():
            with trio.move_on_after(WHY_S):
                await record.ended.wait()
        if record.gone.is_set() or not record.started:
            why = f"{name} is not alive"
            return Answer(refusal=Refusal(kind="dead", message=why, reason=record.reason))
        return Answer(address=record.address)

    @reentrant
    async def certificate(self, name: str) -> Answer:
        record = self.nodes.records.get(name)
        if record is None:
            epitaph = self.nodes.roll.epitaphs.get(name)
            if epitaph is not None:
                return Answer(reason=epitaph)
            return Answer(refusal=Refusal(kind="unknown", message=f"no actor is named {name}"))
        if record.gone.is_set():
            await record.ended.wait()  # bounded: by then it is certainly dead
        return Answer(reason=record.certificate)

    @reentrant
    async def rows(self) -> list[Row]:
        return [self.nodes.roll.row(name) for name in self.nodes.places.subtree(CONTROLLER)[1:]]

    @reentrant
    async def audit(self) -> Audit:
        return await self._audits.audit()

    @reentrant
    async def dead_letters(self) -> list[DeadLetter]:
        return await self._audits.dead_letters()

    @reentrant
    async def watch_dead_letters(self) -> AsyncIterator[DeadLetter | None]:
        async with aclosing(self._audits.watch_dead_letters()) as letters:
            async for letter in letters:
                yield letter

    async def _stop_everything(self, last: str = "") -> None:
        """Every child has been stopped, but for that one."""
        await self._stopping.stop_under(CONTROLLER, last)


def _same(holder: Record, spec: Spec, args: bytes) -> bool:
    """Whether a spawn asks for the child that is there already."""
    was = holder.spec
    # Refs in the arguments of a resumed one name the dead: it comes back with new ones.
    return (was.entry, was.local) == (spec.entry, spec.local) and (
        holder.resumed or holder.args == args
    )
