"""The life of a node, from its hello to its last word, whatever it runs in.

The node says hello to the controller, is told what to run, runs it, and ends with it.

Invariants
----------
* What the controller does not welcome within 30 s ends.
* It can be spoken to from its hello on: what comes before it is told what to run waits for that.
* The class to run comes over the wire and is checked: it is a `Behaviour`, or nothing runs.
* The last word of a node is `Exiting` or `StartFailed`; what killed it is for others to say.
* `Node.stop` ends it as a stop does. A second one changes nothing; the stop ladder goes on.
"""

from __future__ import annotations

from importlib import import_module
from signal import SIGTERM
from typing import Any, Protocol

import msgspec
import trio

from runtime.address import Address
from runtime.cells import snapshot
from runtime.cells.call import Call, current
from runtime.cells.cell import Cell
from runtime.cells.crash import traceback_text
from runtime.cells.local_cells import LocalCells
from runtime.detection.guard import Guard
from runtime.errors import WireError
from runtime.exits import ExitReason, fit
from runtime.messages import envelope as wire
from runtime.messages.behaviour import Behaviour, handlers_of
from runtime.messages.constructor import construct
from runtime.network.keys import Keys
from runtime.processes.evidence import Look
from runtime.processes.status_page import StatusPage
from runtime.traffic.exchange import Exchange
from runtime.traffic.pair import Peer

WELCOME_S = 30.0
GRACE_S = 0.5
"""How long the running handler may go on after a stop."""


class Boot(msgspec.Struct, frozen=True, array_like=True):
    """What a node must know before it can say hello.

    ``keys``: None where the wire has none. They are secret, and in no text. ``tos``: the type of
    service of what it sends.
    """

    system: str
    controller: Address
    boot_id: str
    endpoint: str
    keys: Keys | None = None
    tos: int = 0


class Frame(Protocol):
    """What a node is given by what it runs in."""

    page: StatusPage | None

    def find(self, entry: str) -> type[Behaviour]:
        """The class that "module:Class" names. `WireError`: it is no `Behaviour`."""

    def settle(self, cell: Cell) -> None:
        """Take note of its cell, before anything runs in it."""

    def print(self, text: str) -> None:
        """Show this to whoever reads what it prints."""

    def leave(self) -> None:
        """It has said why it ends, and is about to."""


class Node:
    """One node, while it lives."""

    def __init__(self, exchange: Exchange, frame: Frame, look: Look) -> None:
        self.address = exchange.address
        self.exchange = exchange
        self._frame = frame
        # At once: the controller answers while we build the rest.
        self.exchange.ready(self.exchange.controller)
        control = self.exchange.control
        control[wire.Welcome] = self._welcome
        control[wire.Stop] = self._stop
        control[wire.Down] = lambda peer, down, _: self.exchange.down(down.endpoint, down.reason)
        control[wire.Verdict] = self._verdict
        self.exchange.linked = self._watch
        self._local_cells = LocalCells(self.exchange)
        self.up = trio.Event()
        """Its actor has started."""
        self.guard = Guard(self.exchange, self._report, look)
        self._welcomed = trio.Event()
        self._life: tuple[wire.Welcome, bytes] | None = None
        self._stopping = trio.Event()
        self._stop_reason = ExitReason(kind="shutdown")
        self._cell = Cell.on_order(exchange, exchange.address, frame.page)

    def stop(self, reason: ExitReason | None = None) -> None:
        """End politely, as by SIGTERM, or for another reason."""
        if not self._stopping.is_set():
            self._stop_reason = reason or ExitReason(kind="shutdown", signal=SIGTERM)
        self._stopping.set()

    async def run(self) -> ExitReason:
        """Live, and return how it ended."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.exchange.run)
            with trio.fail_after(WELCOME_S):
                await self._welcomed.wait()
            nursery.start_soon(self.guard.run)
            nursery.start_soon(self._end_politely)
            reason = await self._run_actor()
            nursery.cancel_scope.cancel()
        return reason

    async def _run_actor(self) -> ExitReason:
        assert self._life is not None
        welcome, payload = self._life
        args = payload[: len(payload) - welcome.kept]
        kept = payload[len(args) :]
        say, say_last = self.exchange.say, self.exchange.auditing.say_last
        controller = self.exchange.controller
        cell = self._cell
        try:
            actor_class = self._frame.find(welcome.entry)
            handlers = handlers_of(actor_class)
            cell.become(handlers, welcome.mailbox_messages, welcome.mailbox_bytes)
            cell.parent = welcome.parent
            self._frame.settle(cell)
            current.set(Call(cell, None, None))
            actor = actor_class.__new__(actor_class)
            construct(actor, args)
            if kept:
                snapshot.restore(actor, kept, self.exchange.monotonic, self.exchange.boot_id)
            reason = await cell.run(actor, self._up, welcome.snapshot_every_s)
        except (Exception, SystemExit) as failure:
            cell.never(failure)
            text = traceback_text(failure)
            said = wire.StartFailed(type(failure).__name__, fit(str(failure)), fit(text))
            say_last()
            say(controller, said)
            self._frame.print(text)
            return ExitReason(kind="crashed", error=said.type_name, message=said.message)
        if reason.kind == "crashed":
            self._frame.print(reason.traceback or str(reason))
        say_last()
        say(controller, wire.Exiting(reason))
        self._frame.leave()
        return reason

    def _up(self) -> None:
        self.exchange.say(self.exchange.controller, wire.Started(self.address.endpoint))
        self.exchange.flush()  # somebody waits for it
        self.up.set()

    # -- control

    def _welcome(self, peer: Peer, welcome: wire.Welcome, payload: memoryview) -> None:
        if peer is not self.exchange.controller or self._life is not None:
            return
        self._life = welcome, bytes(payload)
        self.guard.pace(welcome.beat_s)
        self.guard.beat_to(welcome.sequence, welcome.guardian)
        self._welcomed.set()

    def _stop(self, peer: Peer, stop: wire.Stop, _: Any) -> None:
        if stop.incarnation:
            self._local_cells.stop(stop.incarnation, stop.force, stop.reason)
            return
        if stop.reason is not None and not self._stopping.is_set():
            self._stop_reason = stop.reason
        self._stopping.set()

    def _verdict(self, peer: Peer, verdict: wire.Verdict, _: Any) -> None:
        kind = verdict.kind if verdict.kind in ("frozen", "cut off") else ""
        self.exchange.verdict(verdict.endpoint, kind)

    def _watch(self, peer: Peer) -> None:
        if peer is not self.exchange.controller:
            self.exchange.say(self.exchange.controller, wire.Watch(peer.endpoint))

    def _report(self, verdict: wire.Verdict) -> None:
        self.exchange.say(self.exchange.controller, verdict)

    # -- tasks

    async def _end_politely(self) -> None:
        await self._stopping.wait()
        self._cell.end(self._stop_reason)
        await trio.sleep(GRACE_S)
        self._cell.interrupt()


def resolve_behaviour(entry: str) -> type[Behaviour]:
    """The class that "module:Class" names.

    Raises:
        WireError: it is no `Behaviour`.
    """
    module, _, name = entry.partition(":")
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if not (isinstance(found, type) and issubclass(found, Behaviour)):
        raise WireError(f"{entry!r} is no actor")
    return found
