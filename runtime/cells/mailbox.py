"""The mailbox of a cell: what has arrived for it, and what may still be taken back.

Invariants
----------
* It never holds more than its bounds, but for one message of any size, and the cell's own hooks.
* What no handler is named like is refused when it comes, and waits for nobody; where the actor is
  not known yet, as soon as it is.
* An ask that could never be served, for its asker keeps the cell busy, is refused at once.
* What is cancelled or orphaned is unqueued, or its handler is cancelled; tells stay.

Source: Erlang's mailbox; bounded as in design, so that credits can promise room.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from runtime.cells import runs
from runtime.messages import envelope as wire
from runtime.messages.codec import Part, weigh
from runtime.traffic.credit import Fate
from runtime.traffic.run_routing import asks_of
from runtime.wires.reading import Seat

if TYPE_CHECKING:
    from runtime.address import Address
    from runtime.cells.call import Call
    from runtime.cells.keeping import Keeping
    from runtime.cells.runs import Run
    from runtime.cells.source import Source
    from runtime.exits import ExitReason
    from runtime.messages.behaviour import Behaviour
    from runtime.messages.signature import Signature
    from runtime.processes.status_page import StatusPage
    from runtime.traffic.exchange import Exchange
    from runtime.traffic.pair import Inbound, Outbound

MAILBOX_MESSAGES = 8192
MAILBOX_BYTES = 32 * 1024 * 1024


class Mailbox(Seat):
    """A cell as its senders see it."""

    __slots__ = (
        "_reentrant",
        "_release",
        "_slices",
        "actor",
        "address",
        "apart",
        "ending",
        "exchange",
        "expected",
        "handler",
        "handler_since",
        "handlers",
        "in_flight",
        "inbounds",
        "keeping",
        "key",
        "last",
        "mailbox",
        "mailbox_bytes",
        "mailbox_messages",
        "more",
        "nursery",
        "outbounds",
        "own",
        "page",
        "parent",
        "reentrants",
        "scope",
        "served",
        "serving",
        "slice_began",
        "sources",
        "taken",
        "waiting_bytes",
    )

    def __init__(
        self,
        exchange: Exchange,
        address: Address,
        handlers: dict[str, Signature],
        *,
        mailbox_messages: int = MAILBOX_MESSAGES,
        mailbox_bytes: int = MAILBOX_BYTES,
        page: StatusPage | None = None,
    ) -> None:
        super().__init__()
        self.exchange = exchange
        self.address = address
        self.key = str(address)  # as chains name it
        self.know(handlers)
        self.mailbox_messages = mailbox_messages
        self.mailbox_bytes = mailbox_bytes
        self.page = page
        self.actor: Behaviour | None = None
        self.mailbox: deque[tuple[Inbound, Part]] = deque()
        self.inbounds: list[Inbound] = []
        self.outbounds: dict[int, Outbound] = {}
        self.own: Inbound | None = None  # of hooks, see runtime.cells.hooks
        self.parent: Address | None = None
        self.scope: trio.CancelScope | None = None
        self.in_flight: Call | None = None
        self.apart: dict[tuple[Inbound, int], trio.CancelScope] = {}
        self.sources: dict[tuple[Inbound, int], Source] = {}  # of the streams that run
        self.nursery: trio.Nursery | None = None
        self.ending: ExitReason | None = None
        self.expected = False  # whose handlers these will be is not known yet
        self.serving = False  # parked at an empty mailbox, or about to be
        self.taken = False  # an asker of this process runs a handler
        self._release: trio.Event | None = None  # for which somebody waits
        self.keeping: Keeping | None = None
        self.reentrants = 0  # messages of the mailbox that are for reentrant handlers
        self.more = 0  # messages of the mailbox beyond one an entry: those of runs
        self.served: Run | None = None  # that is being served
        self.slice_began = 0.0
        self._slices = 0
        # What was handled last, until `Exchange` looks for what is idle: freed at once, 8 MiB there
        # and back went from 6 to 17 ms, for the heap gave its top away each time.
        self.last: object = None
        self.waiting_bytes = 0
        self.handler = ""
        self.handler_since = 0.0

    def know(self, handlers: dict[str, Signature]) -> None:
        """Have these handlers. A traced ask has one of its own, see `runtime.traffic.stations`."""
        self.handlers = handlers.copy()
        self._reentrant = any(each.reentrant for each in handlers.values())

    def trio_deadline(self, deadline: float) -> float:
        """A deadline from the wire, on trio's clock."""
        if deadline < 0:
            return trio.current_time() - deadline
        return deadline + self.exchange.clock_offset

    def deliver(self, inbound: Inbound, part: Part) -> None:
        """Take a message in, or refuse it. Never waits, never raises."""
        message, _, buffers = part
        weight = weigh(part) if buffers else message.size
        mailbox = self.mailbox
        if self.ending is not None:
            why = f"{self.address} is ending"
            self.exchange.fail(inbound, part, "dead", why, type_name=self.ending.kind)
        elif message.handler not in self.handlers and not self.expected:
            why = f"{self.address.name} has no handler {message.handler[:100]!r}"
            self.exchange.fail(inbound, part, "wire", why)
        elif mailbox and (
            len(mailbox) + self.more >= self.mailbox_messages
            or self.waiting_bytes + weight > self.mailbox_bytes
        ):
            why = f"mailbox of {self.address.name} is full ({len(mailbox)})"
            self.exchange.fail(inbound, part, "full", why)
        elif (
            type(message) is wire.Ask
            and self.key in message.chain  # its asker keeps us busy
            and self._could_never_run(message.handler)
        ):
            cells = (*message.chain, self.key)
            cycle = " -> ".join(each.rpartition(".")[0] for each in cells)
            self.exchange.fail(inbound, part, "cycle", f"ask cycle: {cycle}")
        elif not (self._reentrant and self._let_in_at_once(inbound, part)):
            mailbox.append((inbound, part))
            self.waiting_bytes += weight
            if not self.ready and not self.taken:
                self.exchange.reading.wake(self)

    def deliver_run(self, inbound: Inbound, part: Part) -> None:
        """Take a run of tells in, or refuse it. Never waits, never raises."""
        message, payload, _ = part
        signature = self.handlers.get(message.handler)
        waiting = len(self.mailbox) + self.more
        if not runs.is_run(message):
            tell = wire.Tell(message.pair, message.handler, message.size)
            self.deliver(inbound, (tell, payload, ()))
        elif (
            self.ending is not None
            or (signature is None and not self.expected)
            or (
                self.mailbox
                and (
                    waiting + message.count > self.mailbox_messages
                    or self.waiting_bytes + message.size > self.mailbox_bytes
                )
            )
        ):
            self.exchange.settle(inbound, Fate.REJECTED, part, self._refusal(message.handler))
        elif signature is not None and (signature.reentrant or signature.streams or self.confirms):
            for each in runs.take_apart(part):
                self.deliver(inbound, each)
        else:
            self.mailbox.append((inbound, part))
            self.waiting_bytes += message.size
            self.more += message.count - 1
            if not self.ready and not self.taken:
                self.exchange.reading.wake(self)

    def deliver_asks(self, inbound: Inbound, run: wire.Asks, payload: memoryview) -> None:
        """Take a run of asks in, or refuse them. Never waits, never raises."""
        signature = self.handlers.get(run.handler)
        mailbox, count = self.mailbox, len(run.ids)
        if not count:
            return
        if (
            self.ending is not None
            or signature is None
            or signature.reentrant
            or len(mailbox) + self.more + count > self.mailbox_messages
            or self.waiting_bytes + run.size > self.mailbox_bytes
            or (run.chain and self.key in run.chain)
        ):
            for part in asks_of(run, payload):
                self.deliver(inbound, part)
            return
        if signature.prompt and not self.confirms:
            mailbox.append((inbound, (run, payload, ())))
            self.more += count - 1
        else:
            mailbox.extend([(inbound, part) for part in asks_of(run, payload)])
        self.waiting_bytes += run.size
        if not self.ready and not self.taken:
            self.exchange.reading.wake(self)

    def deliver_here(self, inbound: Inbound, handler: str, arguments: bytearray) -> None:
        """Take in a tell of this process, or refuse it. See `runtime.cells.tells`."""
        signature = self.handlers.get(handler)
        alone = signature is None or signature.reentrant or signature.streams or self.confirms
        payload = memoryview(arguments) if alone else arguments  # to a view nothing is added
        self.deliver(inbound, (wire.Tell(inbound.number, handler, len(arguments)), payload, ()))

    def _refusal(self, handler: str) -> str:
        """Why a run is not taken in."""
        if self.ending is not None:
            return f"{self.address} is ending"
        if handler not in self.handlers:
            return f"{self.address.name} has no handler {handler[:100]!r}"
        return f"mailbox of {self.address.name} is full ({len(self.mailbox)})"

    def _let_reentrant_in(self) -> None:
        """Start what need not wait for the handler that is suspended."""
        raise NotImplementedError

    def _let_in_at_once(self, inbound: Inbound, part: Part) -> bool:
        """Start a message that has just come, if it need not wait at all."""
        raise NotImplementedError

    @property
    def confirms(self) -> bool:
        """Whether a reply waits until the state is kept."""
        return self.keeping is not None and self.keeping.every_s == 0.0

    @property
    def empty_handed(self) -> bool:
        """Whether every message that came has its fate; False where that is not known."""
        return (
            self.serving
            and not self.taken
            and not self.mailbox
            and self.in_flight is None
            and not self._reentrant
        )

    @property
    def busy(self) -> bool:
        """Whether an ordinary handler is suspended."""
        return self.in_flight is not None

    def suspended(self, call: Call) -> None:
        """An ordinary handler waits from now on: reentrant ones may start."""
        self.in_flight = call
        if self.reentrants:
            self._let_reentrant_in()

    async def released(self) -> None:
        """No asker runs a handler here any more."""
        while self.taken:
            if self._release is None:
                self._release = trio.Event()
            await self._release.wait()

    def release(self) -> None:
        """The handler that an asker ran has ended."""
        self.taken = False
        if self._release is not None:
            self._release.set()
            self._release = None

    def unqueued(self, part: Part) -> None:
        """A message has been taken out of the mailbox."""
        self.waiting_bytes -= weigh(part)

    def _could_never_run(self, handler: str) -> bool:
        """Whether a handler waits for the one that is suspended."""
        signature = self.handlers.get(handler)
        return signature is None or not signature.reentrant

    def cancel(self, inbound: Inbound, id: int) -> None:
        """Nobody waits for that ask any more: unqueue it, or cancel its handler."""
        source = self.sources.get((inbound, id))
        if source is not None:
            source.call.left = True
        call = self.in_flight
        if call is not None and call.inbound is inbound and call.id == id:
            assert call.scope is not None
            call.scope.cancel()
            return
        apart = self.apart.get((inbound, id))
        if apart is not None:
            apart.cancel()
            return
        self._take_asks_apart(inbound)
        for number, (its_inbound, part) in enumerate(self.mailbox):
            message = part[0]
            if its_inbound is inbound and type(message) is wire.Ask and message.id == id:
                del self.mailbox[number]
                self.waiting_bytes -= weigh(part)
                self.exchange.settle(inbound, Fate.EXPIRED, part)
                signature = self.handlers.get(message.handler)
                self.reentrants -= signature is not None and signature.reentrant
                if self.busy and self.reentrants:
                    self._let_reentrant_in()  # it may have stood in somebody's way
                return

    def _take_asks_apart(self, inbound: Inbound) -> None:
        """Those of the pair that wait together wait each for itself from now on."""
        if not self.more:
            return
        parted: list[tuple[Inbound, Part]] = []
        for entry in self.mailbox:
            run, payload, _ = entry[1]
            if entry[0] is inbound and type(run) is wire.Asks:
                parted += [(inbound, part) for part in asks_of(run, payload)]
                self.more -= len(run.ids) - 1
            else:
                parted.append(entry)
        self.mailbox.clear()
        self.mailbox.extend(parted)

    def orphan(self, inbound: Inbound) -> None:
        """The sender is no more: its asks are cancelled, its tells are handled."""
        self.inbounds.remove(inbound)
        self.exchange.regrant(self)
        self._take_asks_apart(inbound)
        asked = [
            part[0].id
            for its_inbound, part in self.mailbox
            if its_inbound is inbound and type(part[0]) is wire.Ask
        ]
        asked += [id for its_inbound, id in self.apart if its_inbound is inbound]
        if self.in_flight is not None and self.in_flight.inbound is inbound:
            asked.append(self.in_flight.id)
        for id in filter(None, asked):
            self.cancel(inbound, id)
