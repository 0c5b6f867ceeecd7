"""The life of a node process, from the fork to its last word.

The zygote calls `start` in the new process. The node binds its socket, says hello to the
controller, is told what to run, runs it, and ends with it.

Invariants
----------
* What the controller does not welcome within 30 s ends; so does what outlives the controller,
  within milliseconds.
* The class to run comes over the wire and is checked: it is a `Behaviour`, or nothing runs.
* The last word of a node is `Exiting` or `StartFailed`; what killed it is for others to say.
* SIGTERM ends it as a stop does. A second one changes nothing; the stop ladder goes on.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from importlib import import_module
from typing import Any

import msgspec
import trio

from runtime import context
from runtime import envelope as wire
from runtime.address import Address
from runtime.behaviour import Behaviour, handlers_of
from runtime.cell import Cell
from runtime.errors import WireError
from runtime.exchange import Exchange
from runtime.exits import ExitReason, fit
from runtime.guard import Guard
from runtime.newborn import CONTROLLER_FD
from runtime.orders import Order
from runtime.pair import Peer
from runtime.run_folder import page_path, raise_open_file_limit, socket_path
from runtime.signature import Parameters
from runtime.status_page import StatusPage
from runtime.zmq_transport import ZmqTransport

WELCOME_S = 30.0
MAX_PEERS = 4096
GRACE_S = 0.5
"""How long the running handler may go on after a stop."""
START = "runtime.life:start"


class Boot(msgspec.Struct, frozen=True, array_like=True):
    """What a node must know before it can say hello."""

    system: str
    controller: Address
    boot_id: str


def boot_id() -> str:
    """The same for all processes that share this machine's CLOCK_MONOTONIC."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def clock_offset() -> float:
    """What to subtract from trio's clock to get CLOCK_MONOTONIC."""
    return trio.current_time() - time.monotonic()


def start(order: Order, folder: str) -> None:
    """Be the node that ``order`` describes. Ends by returning, or by SystemExit."""
    raise_open_file_limit()
    reason = trio.run(_live, order, folder)
    sys.exit(0 if reason.planned else 1)


async def _live(order: Order, folder: str) -> ExitReason:
    boot = msgspec.msgpack.decode(order.boot, type=Boot)
    page = StatusPage(page_path(folder, order.incarnation), order.incarnation)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_outlive_nobody)
        endpoint = f"ipc://{socket_path(folder, order.incarnation)}"
        transport = ZmqTransport(endpoint, order.incarnation, nursery, MAX_PEERS)
        transport.connect(boot.controller.endpoint)  # while we build the rest
        node = Node(order, boot, folder, page, transport)
        try:
            reason = await node.run()
            node.exchange.flush()
        finally:
            transport.close(farewell=boot.controller.endpoint)
            nursery.cancel_scope.cancel()
    return reason


async def _outlive_nobody() -> None:
    """End when the controller has."""
    await trio.lowlevel.wait_readable(CONTROLLER_FD)
    os._exit(1)


class Node:
    """One node process, while it lives."""

    def __init__(
        self,
        order: Order,
        boot: Boot,
        folder: str,
        page: StatusPage,
        transport: ZmqTransport,
    ) -> None:
        self.address = Address(boot.system, order.name, order.incarnation, transport.endpoint)
        self._order = order
        self._page = page
        self._controller = boot.controller
        self.exchange = Exchange(
            self.address,
            transport,
            boot_id=boot.boot_id,
            clock_offset=clock_offset(),
            controller=boot.controller.endpoint,
        )
        # At once: the controller answers while we build the rest.
        self.exchange.ready(self.exchange.controller)
        control = self.exchange.control
        control[wire.Welcome] = self._welcome
        control[wire.Stop] = self._stop
        control[wire.Down] = lambda peer, down, _: self.exchange.down(down.endpoint, down.reason)
        control[wire.Verdict] = self._verdict
        self.exchange.linked = self._watch
        self.guard = Guard(self.exchange, self._report, folder)
        self._welcomed = trio.Event()
        self._life: tuple[wire.Welcome, bytes] | None = None
        self._stopping = trio.Event()
        self._stop_reason = ExitReason(kind="shutdown")
        self._cell: Cell | None = None

    async def run(self) -> ExitReason:
        """Live, and return how it ended."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.exchange.run)
            nursery.start_soon(self._hear_signals)
            nursery.start_soon(self._tick)
            with trio.fail_after(WELCOME_S):
                await self._welcomed.wait()
            nursery.start_soon(self.guard.run)
            nursery.start_soon(self._end_politely)
            reason = await self._run_actor()
            nursery.cancel_scope.cancel()
        return reason

    async def _run_actor(self) -> ExitReason:
        assert self._life is not None
        welcome, args = self._life
        say = self.exchange.say
        controller = self.exchange.controller
        try:
            actor_class = resolve_behaviour(welcome.entry)
            self._cell = cell = Cell(
                self.exchange,
                self.address,
                handlers_of(actor_class),
                mailbox_messages=welcome.mailbox_messages,
                mailbox_bytes=welcome.mailbox_bytes,
                page=self._page,
            )
            cell.parent = welcome.parent
            context.root.set(cell)
            actor = actor_class.__new__(actor_class)
            construct(actor, args)
            reason = await cell.run(actor, self._up)
        except (Exception, SystemExit) as failure:
            text = "".join(traceback.format_exception(failure))
            said = wire.StartFailed(type(failure).__name__, fit(str(failure)), fit(text))
            say(controller, said)
            print(text, file=sys.stderr)
            return ExitReason(kind="crashed", error=said.type_name, message=said.message)
        if reason.kind == "crashed":
            print(reason.traceback or reason, file=sys.stderr)
        say(controller, wire.Exiting(reason))
        self._page.leave()
        return reason

    def _up(self) -> None:
        self.exchange.say(self.exchange.controller, wire.Started(self.address.endpoint))
        self.exchange.flush()  # somebody waits for it

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
            cell = self.exchange.cells.get(stop.incarnation)
            if cell is not None:
                cell.stop(stop.force, stop.reason)
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
        if self._cell is None:
            return
        self._cell.end(self._stop_reason)
        await trio.sleep(GRACE_S)
        self._cell.interrupt()

    async def _hear_signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                self._stopping.set()

    async def _tick(self) -> None:
        while True:
            self._page.tick()
            await trio.sleep(0.1)


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


def construct(actor: Behaviour, args: bytes) -> None:
    """Call the constructor with arguments from the wire.

    Raises:
        WireError: they do not fit it.
        Exception: whatever it raises.
    """
    parameters = constructor_of(type(actor))
    if parameters is None:
        return
    parameters.run(actor, *parameters.decode(args, (), ()))


_constructors: dict[type[Behaviour], Parameters | None] = {}


def constructor_of(behaviour: type[Behaviour]) -> Parameters | None:
    """What a class's constructor takes; None if it has none of its own.

    Raises:
        TypeError: one of its parameters cannot travel.
    """
    if behaviour not in _constructors:
        own = behaviour.__init__ is not object.__init__
        _constructors[behaviour] = Parameters(behaviour.__init__) if own else None
    return _constructors[behaviour]
