"""The exchange: where all messages of one process come by.

It owns the process's transport, its cells, its peers and the asks that wait for an
answer. Everything that arrives is routed here, at once and without running any handler:
messages to the mailboxes of cells, replies to those who wait, control to the functions
that registered for it. So control never waits behind user messages.

Invariants
----------
* Routing is total: no input raises. What is no envelope, or names a pair, an ask or a cell
  that is not here, is counted in ``strays`` and dropped.
* Every ask in ``pending`` and every stream in ``streams`` ends in a reply, a failure, its peer's
  death or verdict, or its caller's cancellation; whichever comes first removes it.
* When `run` ends, every wait for an answer or for credit ends with `trio.ClosedResourceError`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import trio

from runtime.errors import WireError
from runtime.messages import envelope as wire
from runtime.messages.codec import Buffer, decode
from runtime.traffic.answer_routing import answered, replies_came
from runtime.traffic.auditing import Auditing
from runtime.traffic.books import Books
from runtime.traffic.endings import Endings
from runtime.traffic.item_routing import item_came, more_granted, stream_ended
from runtime.traffic.letters import Letters
from runtime.traffic.link_reporting import LinkReporting
from runtime.traffic.pair import Inbound, Outbound, Peer
from runtime.traffic.pings import Pings
from runtime.traffic.run_routing import asks_came, tells_came
from runtime.traffic.slot import Slot
from runtime.traffic.stations import Stations
from runtime.traffic.vigil import Vigil
from runtime.wires.leader import Leader
from runtime.wires.reading import Reader, Reading, Seat
from runtime.wires.transport import IDLE_S

if TYPE_CHECKING:
    from runtime.address import Address
    from runtime.cells.local_cells import LocalCells
    from runtime.cells.service import Service
    from runtime.cells.stream import Stream
    from runtime.wires.transport import Transport

HOLD_S = 0.02

Control = Callable[[Peer, Any, memoryview], None]


class Exchange(Endings):
    """The messages of one process.

    ``controller``: the endpoint of the controller's process, where this is another one.
    ``clock_offset``: what to subtract from trio's clock to get CLOCK_MONOTONIC.
    ``simple``: read by a task of its own rather than by leader and followers.
    """

    def __init__(
        self,
        address: Address,
        transport: Transport,
        *,
        boot_id: str,
        clock_offset: float = 0.0,
        controller: str = "",
        simple: bool = False,
    ) -> None:
        super().__init__(address, transport, boot_id)
        self.clock_offset = clock_offset
        self.cells: dict[int, Service] = {}
        self.pending: dict[int, Slot] = {}
        self.streams: dict[int, Stream[Any]] = {}
        self.outbounds: dict[int, Outbound] = {}
        self.control: dict[type, Control] = {}
        self.running: Any = None  # the call whose handler is in its first step
        self.tells = 0  # since the last checkpoint of a telling loop, which was
        self.breathed_at = 0.0
        self.hold_until = 0.0  # no handler starts before this instant
        self._callers: dict[int, Peer] = {}  # by incarnation
        self.last_id = 0
        self.nursery: trio.Nursery | None = None  # for local cells
        self.local_cells: LocalCells | None = None
        self.by_reference: Callable[[type], str] | None = None  # names classes, if all share them
        self.closed = False
        self.controller = self.peer(controller) if controller else self.here
        self.vigil = Vigil(self)
        self.letters = Letters(self)
        self.books = Books(self)
        self.auditing = Auditing(self)
        self.pings = Pings(self)
        self.stations = Stations(self)
        self.links = LinkReporting(self)
        self.holders: dict[str, Address] = {}  # of names that are followed
        self.reading: Reading = (
            Reader(transport, self.drain, self.flush)
            if simple
            else Leader(transport, self.drain, self.flush, self._suspended, self.stalled)
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read, and report what has been handled, until cancelled."""
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            nursery.start_soon(self.reading.run)
            nursery.start_soon(self._keep_closing_idle)
            task_status.started()
            try:
                await self._keep_reporting()
            finally:
                self._shut()

    async def _keep_closing_idle(self) -> None:
        while True:
            await trio.sleep(IDLE_S / 4)
            self.close_idle()
            for cell in self.cells.values():
                cell.last = None

    def _shut(self) -> None:
        """Nothing will arrive any more: whoever waits is told so."""
        self.closed = True
        for slot in list(self.pending.values()):
            self.reading.wake(slot)
        self.pending.clear()
        for id in list(self.streams):
            stream_ended(self, id, None)
        for outbound in list(self.outbounds.values()):
            outbound.goes_on = False
            outbound.wake_all()

    @property
    def monotonic(self) -> float:
        """CLOCK_MONOTONIC, by trio's clock."""
        return trio.current_time() - self.clock_offset

    def next_id(self) -> int:
        """A number for a pair, an ask or a stream, never given twice."""
        self.last_id += 1
        return self.last_id

    def say(self, peer: Peer, envelope: wire.Envelope, payload: bytes = b"") -> None:
        """Send a control envelope, if need be to this process itself."""
        if peer is self.here:
            _control(self, peer, envelope, memoryview(payload))
        else:
            super().say(peer, envelope, payload)

    # -- receiving

    def drain(self, seat: Seat | None = None) -> None:
        """Route everything that has arrived, or what comes until ``seat`` is ready."""
        receive = self.transport.receive
        while (message := receive()) is not None:
            self._route(*message)
            if seat is not None and seat.ready:
                return

    def _route(self, incarnation: int, frames: Sequence[Buffer]) -> None:
        try:
            parts = decode(frames)
        except WireError:
            self.strays["no envelope"] += 1
            return
        peer = self._callers.get(incarnation)
        if peer is None:
            peer = self._stranger(incarnation, parts)
            if peer is None:
                self.unheard(incarnation)
                return
        inbounds = peer.inbounds
        for part in parts:
            envelope = part[0]
            kind = type(envelope)
            if kind is wire.Tell or kind is wire.Ask:
                inbound = inbounds.get(envelope.pair)
                if inbound is None:
                    self.strays["unknown pair"] += 1
                    continue
                inbound.received += 1
                if inbound.cell is None:
                    self.refuse(inbound, part)
                else:
                    inbound.cell.deliver(inbound, part)
            elif kind is wire.Reply or kind is wire.Fail:
                self._answered(peer, part)
            elif kind is wire.Item:
                item_came(self, peer, part)
            else:
                self._routine.get(kind, _control)(self, peer, envelope, part[1])

    _answered = answered

    def _stranger(self, incarnation: int, parts: Sequence[Any]) -> Peer | None:
        first = parts[0][0] if parts else None
        if type(first) is wire.Join and self.joining is not None:
            self.joining(first)
            return None
        if (
            type(first) is not wire.Hello
            or first.address.incarnation != incarnation
            or first.address.system != self.address.system
            or first.version != wire.VERSION
        ):
            self.strays["no hello"] += 1
            return None
        peer = self.peer(first.address.endpoint)
        if peer is self.here:
            self.strays["own endpoint"] += 1
            return None
        if peer.dead is not None:
            self.strays["from the dead"] += 1
            return None
        peer.address = first.address
        peer.shares_clock |= first.boot_id == self.boot_id
        self._callers[incarnation] = peer
        return peer

    def _opened(self, peer: Peer, envelope: wire.Open, _: memoryview) -> None:
        if envelope.pair in peer.inbounds:
            self.strays["opened twice"] += 1
            return
        cell = self.cells.get(envelope.target_incarnation)
        inbound = Inbound(
            envelope.pair,
            envelope.source,
            envelope.source_incarnation,
            envelope.target,
            cell,
            peer,
        )
        peer.inbounds[envelope.pair] = inbound
        if cell is not None:
            cell.inbounds.append(inbound)
            self.regrant(cell)

    def _closed(self, peer: Peer, envelope: wire.Close, _: memoryview) -> None:
        inbound = peer.inbounds.pop(envelope.pair, None)
        if inbound is not None and inbound.cell is not None:
            inbound.cell.orphan(inbound)

    def refuse(self, inbound: Inbound, part: Any) -> None:
        """A message for a cell that is not here (any more)."""
        self.strays["no such cell"] += 1
        self.fail(inbound, part, "dead", f"{inbound.target} is not here")

    def _credited(self, peer: Peer, envelope: wire.Credit, _: memoryview) -> None:
        outbound = self.outbounds.get(envelope.pair)
        if outbound is None or outbound.peer is not peer:
            self.strays["credit to nobody"] += 1
            return
        outbound.window.acknowledge(
            envelope.handled, envelope.failed, envelope.expired, envelope.rejected,
            envelope.done_bytes,
        )  # fmt: skip
        outbound.window.grant(envelope.messages, envelope.bytes)
        outbound.wake()

    def _cancelled(self, peer: Peer, envelope: wire.Cancel, _: memoryview) -> None:
        inbound = peer.inbounds.get(envelope.pair)
        if inbound is not None and inbound.cell is not None:
            inbound.cell.cancel(inbound, envelope.id)

    def _greeted(self, peer: Peer, envelope: wire.Hello, _: memoryview) -> None:
        handler = self.control.get(wire.Hello)
        if handler is not None:
            handler(peer, envelope, _)

    _routine: ClassVar[dict[type, Callable[..., None]]] = {
        wire.Asks: asks_came,
        wire.Replies: replies_came,
        wire.Tells: tells_came,
        wire.Open: _opened,
        wire.Close: _closed,
        wire.Credit: _credited,
        wire.Cancel: _cancelled,
        wire.More: more_granted,
        wire.Hello: _greeted,
    }

    def stalled(self) -> None:
        """This process stood still: what waits on the wire is to be read before anything starts.

        A message and the cancel that followed it may reach us apart, for ZMQ's own thread
        stood still as well.
        """
        self.hold_until = trio.current_time() + HOLD_S

    async def let_everything_in(self) -> None:
        """Wait until all that arrived while this process stood still has been routed."""
        await trio.sleep_until(self.hold_until)
        self.drain()
        self.hold_until = 0.0

    def _suspended(self) -> None:
        call = self.running
        if call is not None:
            self.running = None
            call.suspended()


def _control(exchange: Exchange, peer: Peer, envelope: wire.Envelope, payload: memoryview) -> None:
    handler = exchange.control.get(type(envelope))
    if handler is None:
        exchange.strays[f"unexpected {type(envelope).__name__}"] += 1
    else:
        handler(peer, envelope, payload)
