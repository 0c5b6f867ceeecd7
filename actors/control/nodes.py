"""The nodes of a system: how the controller starts them, hears of them, and ends them.

It gives out incarnations, has their host start them, welcomes them, keeps the table of
places and guardians, and tells everybody who should know what has become of whom.

Invariants
----------
* A name is reserved before anything is started for it, and free again if that fails; then
  nothing is left of it.
* A node is dead when its host says so, and by nothing else.
* Whoever watches an incarnation gets its Down once, at once if it is dead already.
* No wait in here is unbounded: a start takes at most ``start_s``, the end of a node 2 s and
  SIGKILL.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from signal import SIGKILL
from typing import Any

import msgspec
import trio

from actors.control.fates import Fates
from actors.control.guardians import Guardians
from actors.control.hanging import Hanging
from actors.control.ladder import tell_local
from actors.control.losing import Losing
from actors.supervision.certificate import certify
from actors.supervision.places import State
from actors.supervision.record import Happened, Record
from actors.supervision.roll import Roll
from runtime.address import Address
from runtime.exits import ExitReason
from runtime.hosts.host import Body, Host
from runtime.messages import envelope as wire
from runtime.processes.evidence import Evidence
from runtime.processes.orders import Exited
from runtime.traffic.exchange import Exchange
from runtime.traffic.pair import Peer
from runtime.traffic.registrar import Refusal

ZYGOTE_S = 0.02
"""How long a death waits for the word on how it came, and a status for what goes with it."""
LAST_WORD_S = 1.0
_GIVEN_UP = "its start was given up"
_WORD = re.compile(r"\w")  # the ruler under a group's traceback has none


class Nodes:
    """Every node of one system. ``tasks`` must outlive all of them."""

    def __init__(self, exchange: Exchange, host: Host, tasks: trio.Nursery) -> None:
        self.roll = Roll(exchange.address, host.endpoint)
        self.places = self.roll.places
        self.records = self.roll.records
        self.listeners: list[Callable[[Happened], None]] = []
        self.guardians = Guardians(exchange, self.roll, self._judged, host.look)
        self.fates = Fates(exchange, self.roll.known, tasks)
        self._hanging = Hanging(host.look, tasks)
        self.losing = Losing(exchange, self._ended, tasks)
        self.on_end: Callable[[Record], None] = _nothing
        self._exchange = exchange
        self._host = host
        self._tasks = tasks
        exchange.linked = self._linked
        control = exchange.control
        control[wire.Hello] = self._hello
        control[wire.Started] = self._started
        control[wire.StartFailed] = self._start_failed
        control[wire.Exiting] = self._exiting
        control[wire.Snapshot] = self._snapshot
        control[wire.Watch] = self._watch
        control[wire.Unwatch] = self._unwatch
        control[wire.Verdict] = lambda peer, verdict, _: self._judged(verdict)

    # -- starting

    async def bring_up(self, record: Record) -> Refusal | None:
        """The node, or the local cell once more, has started, or why not."""
        spec = record.spec
        with trio.move_on_after(spec.start_s) as patience:
            if spec.local:
                self._order_cell(record)
            else:
                try:
                    body = record.body or await self._host.start(record.address, spec)
                except ValueError as misuse:
                    return Refusal(kind="misuse", message=str(misuse))
                except Exception as failure:
                    return Refusal(kind="spawn", message=str(failure))
                record.body = body
                self._tasks.start_soon(self._await_end, record, body)
                if record.planned:  # meanwhile: it would not be welcome
                    return Refusal(kind="spawn", message=_GIVEN_UP)
                # Connected by the time it says hello.
                self._exchange.ready(self._exchange.peer(record.address.endpoint))
            await record.settled.wait()
        if record.started:
            return None  # whatever became of it since
        if record.gone.is_set():  # the word on how it came may be a moment later
            with trio.move_on_after(LAST_WORD_S):
                await record.ended.wait()
        if patience.cancelled_caught:
            why = f"node {record.name} did not start within {spec.start_s:g} s"
            return Refusal(kind="spawn", message=why)
        if record.gone.is_set() and not record.failure:
            last = next((line for line in reversed(_output(record)) if _WORD.search(line)), "")
            reason = record.known_reason
            record.failure = f"it ended before it was up: {reason}{': ' * bool(last)}{last}"
        if record.failure:
            return Refusal(kind="spawn", message=record.failure)
        return None

    def _order_cell(self, record: Record) -> None:
        """Have the process of a local cell run it."""
        run = wire.Run(record.address, record.before, len(record.kept), token=record.spec.token)
        self._exchange.say(self._exchange.peer(record.address.endpoint), run, record.kept)

    async def undo(self, record: Record) -> None:
        """Nothing is left of a start that failed."""
        await self.scrap(record)
        self.forget(record)

    async def scrap(self, record: Record) -> None:
        """Nothing is left of a start that failed but the place."""
        record.failure = record.failure or _GIVEN_UP
        record.settled.set()
        reason = ExitReason(
            kind="crashed",
            error="SpawnError",
            message=record.failure,
            traceback=record.traceback,
        )
        if record.said is None and not record.started:
            record.said = reason
        if record.body is not None:
            record.signal(SIGKILL, record.failure)
            await record.gone.wait()
        else:
            if record.spec.local:
                tell_local(record, self._exchange, force=True)
            self._ended(record, reason)

    def forget(self, record: Record) -> None:
        """Its name and place are free."""
        if self.roll.strike(record) and record.started:
            self._tell_listeners("removed", record, trio.current_time())

    # -- what nodes say

    def _hello(self, peer: Peer, hello: wire.Hello, _: Any) -> None:
        record = self.roll.present(hello.address.endpoint)
        if record is None or record.address != hello.address or record.planned:
            self._exchange.strays["uninvited"] += 1
            return
        if record.settled.is_set():
            return  # it has only connected anew
        record.peer = peer
        spec = record.spec
        welcome = wire.Welcome(
            spec.entry,
            len(record.args) + len(record.kept),
            self.guardians.address_of(self.places.guardian(record.name)),
            record.sequence,
            self.guardians.beat_s,
            spec.mailbox_messages,
            spec.mailbox_bytes,
            kept=len(record.kept),
            parent=self.roll.address_of(spec.parent),
            snapshot_every_s=spec.snapshot_every_s,
        )
        self._exchange.say(peer, welcome, record.args + record.kept)

    def _started(self, peer: Peer, said: wire.Started, _: Any) -> None:
        record = self._speaker(peer, said.incarnation)
        if record is not None and not record.settled.is_set():
            self.started(record)

    def started(self, record: Record) -> None:
        """It is up: its guardian listens, and who had lost it comes back."""
        record.started = True
        record.up_at = trio.current_time()
        if self.places.place(record.name).incarnation == record.incarnation:
            self.guardians.assign(self.places.guardian(record.name), record)
        else:
            for change in self.places.revived(record.name, record.incarnation):
                self.guardians.change(change)
        record.settled.set()
        self._tell_listeners("started", record, record.up_at)

    def _start_failed(self, peer: Peer, failed: wire.StartFailed, _: Any) -> None:
        record = self._speaker(peer, failed.incarnation)
        if record is not None and not record.settled.is_set():
            record.failure = f"{failed.type_name}: {failed.message}"
            record.traceback = failed.traceback
            record.settled.set()

    def _speaker(self, peer: Peer, incarnation: int) -> Record | None:
        """Who says something of itself: a node, or a local cell of its process."""
        if not incarnation:
            return self.roll.present(peer.endpoint)
        record = self.roll.incarnation(incarnation)
        if record is None or record.address.endpoint != peer.endpoint:
            self._exchange.strays["word for another"] += 1
            return None
        return record if self.roll.holds(record) and not record.gone.is_set() else None

    def _snapshot(self, peer: Peer, snapshot: wire.Snapshot, payload: memoryview) -> None:
        record = self.roll.incarnation(snapshot.incarnation)
        if record is None or record.address.endpoint != peer.endpoint:
            self._exchange.strays["word for another"] += 1
        else:
            record.kept = bytes(payload)

    def keep(self, who: Address, kept: bytes) -> None:
        """Keep a snapshot of that incarnation."""
        record = self.roll.incarnation(who.incarnation)
        if record is not None:
            record.kept = kept

    def _exiting(self, peer: Peer, exiting: wire.Exiting, _: Any) -> None:
        record = self.roll.at(peer.endpoint)
        if record is not None:
            record.said = exiting.reason
            record.spoke.set()

    def _watch(self, peer: Peer, watch: wire.Watch, _: Any) -> None:
        record = self.roll.at(watch.endpoint)
        if record is None or record.gone.is_set():
            reason = record.reason if record is not None else None
            down = wire.Down(watch.endpoint, reason or ExitReason(kind="unknown"))
            self._exchange.say(peer, down)
            return
        record.watchers[peer] = None
        if record.verdict != "ok":
            self._exchange.say(peer, wire.Verdict(watch.endpoint, record.verdict))

    def _unwatch(self, peer: Peer, unwatch: wire.Unwatch, _: Any) -> None:
        record = self.roll.at(unwatch.endpoint)
        if record is not None:
            record.watchers.pop(peer, None)

    def _linked(self, peer: Peer) -> None:
        """This process has turned to another one, by a ref that may be older than the system."""
        if self.roll.at(peer.endpoint) is None:
            self._exchange.down(peer.endpoint, ExitReason(kind="unknown"))

    def _judged(self, verdict: wire.Verdict) -> None:
        record = self.roll.present(verdict.endpoint)
        if record is None or record.verdict == verdict.kind:
            return
        was, record.verdict = record.verdict, verdict.kind
        self.places.mark(record.name, record.incarnation, State(verdict.kind))
        unreachable = verdict.kind if verdict.kind in ("frozen", "cut off") else ""
        self._exchange.verdict(verdict.endpoint, unreachable)
        for watcher in record.watchers:
            self._exchange.say(watcher, verdict)
        self.fates.judged(verdict)
        silent_s = verdict.silent_s if was == "ok" else 0.0
        self._hanging.judged(record, silent_s)
        self.losing.judged(record, silent_s)
        now = trio.current_time()
        self.guardians.stand_in(record)
        if verdict.kind == "ok":
            self._tell_listeners("heard", record, now)
        elif was == "ok":
            self._tell_listeners("silent", record, now - verdict.silent_s)

    # -- deaths

    def hear_exit(self, exited: Exited) -> None:
        """The host's word on how it came."""
        record = self.roll.incarnation(exited.incarnation)
        if record is None:
            return
        self.losing.gone(record.incarnation)
        if record.reason is not None:
            self._host.forget(record.incarnation)
        elif record.said is None and record.body is not None and record.body.left:
            self._tasks.start_soon(self._end_after_last_word, record, record.body, exited)
        else:
            self._ended(record, exited.reason)

    async def _end_after_last_word(self, record: Record, body: Body, exited: Exited) -> None:
        await _hear_out(record, body)
        self._ended(record, exited.reason)

    async def _await_end(self, record: Record, body: Body) -> None:
        """Its certain death, in case there is no word yet on how it came."""
        try:
            await body.wait_gone()
            if not await record.goes_within(ZYGOTE_S):
                await _hear_out(record, body)  # once it is gone nothing is heard of it
                self._gone(record, self._certify(record, ExitReason(kind="unknown")))
                exited = await body.exited()  # it was reaped: by the zygote, which says more
                with trio.move_on_after(ZYGOTE_S):
                    await record.ended.wait()
                self.hear_exit(exited)
        finally:
            if not record.gone.is_set():  # the runtime ends, and the host kills all that it has:
                record.gone.set()  # nobody is to wait for this who would hold that up
                record.ended.set()
            body.close()

    def _ended(self, record: Record, seen: ExitReason) -> None:
        """The whole truth about its end."""
        if record.reason is not None:
            return
        reason = self._certify(record, seen)
        if not record.spec.local:
            reason = msgspec.structs.replace(reason, output=_output(record))
            self._host.forget(record.incarnation)
        self._gone(record, reason)
        record.reason = reason
        record.ended.set()
        self.roll.remember(record)
        if not record.spec.local:
            for local in self.roll.locals_of(record):
                self._ended(local, reason)
        self.fates.ended(record, reason)
        if record.started:
            self.on_end(record)

    def _certify(self, record: Record, seen: ExitReason) -> ExitReason:
        """Its certificate, but for what it printed."""
        if record.spec.local:
            return certify(record, seen, Evidence())
        if record.left is None:  # at the first word of its death, for its handler grows no older
            record.left = self._host.look(record.incarnation, record.pid)
        return certify(record, seen, record.left, record.body.oom if record.body else str)

    def _gone(self, record: Record, reason: ExitReason) -> None:
        """It is certainly dead: everybody is told, whatever may still be learned of it."""
        if record.gone.is_set():
            return
        record.gone.set()
        if not record.settled.is_set():
            record.settled.set()
        changes = self.places.died(record.name, record.incarnation)
        if not record.spec.local:  # else its process lives on, and closes its pairs itself
            self._exchange.down(record.address.endpoint, reason)
            down = wire.Down(record.address.endpoint, reason)
            for watcher in record.watchers:
                self._exchange.say(watcher, down)
            record.watchers.clear()
            self.fates.forget(record.address.endpoint)
        for change in changes:
            self.guardians.change(change)
        self.guardians.release(record)
        if record.started:
            self._tell_listeners("died", record, trio.current_time())

    def local_ended(self, who: Address, reason: ExitReason) -> None:
        """A local cell is no more."""
        record = self.roll.incarnation(who.incarnation)
        if record is not None:
            self._ended(record, reason)

    def _tell_listeners(self, what: str, record: Record, at: float) -> None:
        for listener in self.listeners:
            listener(Happened(what, record.name, record.incarnation, at))


async def _hear_out(record: Record, body: Body) -> None:
    """The last word of a dead node has come, if it has said one."""
    if record.said is None and body.left:
        with trio.move_on_after(LAST_WORD_S):
            await record.spoke.wait()


def _output(record: Record) -> tuple[str, ...]:
    """The last lines that it printed."""
    return record.body.last_lines() if record.body is not None else ()


def _nothing(record: Record) -> None:
    """Nobody wants to know."""
