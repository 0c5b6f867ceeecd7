"""A cell: the running frame around one actor.

It has a mailbox, a nursery and one service task that takes the messages one at a time. The
service task awaits the handlers itself; a handler that does not suspend costs no scope, no
task and no switch. One that suspends is given its deadline then, and is from then on in
flight: it can be cancelled.

Invariants
----------
* One message at a time, in the order of arrival; reentrant handlers alone overlap.
* Every message that was delivered gets exactly one fate in its pair's ledger.
* A scope that was cancelled is left and replaced before another message starts, and the
  deadline of one message never outlives it: nobody else's ask is cancelled.
* An exception of an asked handler goes to the asker; one of a told handler ends the cell.
* A handler starts only if its deadline has not passed.

Source: Erlang's process and mailbox; one scope a service task instead of one a message,
because a CancelScope costs 7 us and a handler that does not suspend 0.2.
"""

from __future__ import annotations

import math
import time
import traceback
from collections import deque
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import trio

from runtime import envelope as wire
from runtime.codec import Part, weigh
from runtime.credit import Fate
from runtime.errors import WireError
from runtime.exits import ExitReason
from runtime.reading import Seat

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.address import Address
    from runtime.behaviour import Behaviour
    from runtime.exchange import Exchange
    from runtime.pair import Inbound, Outbound
    from runtime.signature import Signature
    from runtime.status_page import StatusPage

MAILBOX_MESSAGES = 8192
MAILBOX_BYTES = 32 * 1024 * 1024
SLICE_S = 0.0002
SLICES_BETWEEN_CHECKPOINTS = 4
ON_STOP_S = 1.0


class Call:
    """One message that is being handled."""

    __slots__ = ("cell", "done", "inbound", "message", "scope")

    def __init__(self, cell: Cell, inbound: Inbound | None, message: Any) -> None:
        self.cell = cell
        self.inbound = inbound
        self.message = message
        self.scope: trio.CancelScope | None = None
        self.done = False

    @property
    def id(self) -> int:
        """The ask's number; 0 for a tell."""
        return getattr(self.message, "id", 0)

    @property
    def chain(self) -> tuple[str, ...]:
        """The cells that wait while this call runs, the first asker first."""
        if self.done or self.message is None:
            return ()
        if type(self.message) is wire.Ask:
            return (*self.message.chain, self.cell.address.name)
        return (self.cell.address.name,)

    def suspended(self) -> None:
        """Give a handler that has suspended its deadline, and make it cancellable."""
        cell = self.cell
        self.scope = cell.scope
        cell.in_flight = self
        if type(self.message) is wire.Ask and self.message.deadline:
            assert cell.scope is not None
            cell.scope.deadline = cell.trio_deadline(self.message.deadline)


current: ContextVar[Call | None] = ContextVar("current", default=None)


class Cell(Seat):
    """The frame around one actor. Without an actor it can only send."""

    __slots__ = (
        "_bytes",
        "_ending",
        "_handler",
        "_handler_since",
        "actor",
        "address",
        "apart",
        "exchange",
        "handlers",
        "in_flight",
        "inbounds",
        "mailbox",
        "mailbox_bytes",
        "mailbox_messages",
        "nursery",
        "outbounds",
        "page",
        "scope",
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
        self.handlers = handlers
        self.mailbox_messages = mailbox_messages
        self.mailbox_bytes = mailbox_bytes
        self.page = page
        self.actor: Behaviour | None = None
        self.mailbox: deque[tuple[Inbound, Part]] = deque()
        self.inbounds: list[Inbound] = []
        self.outbounds: dict[int, Outbound] = {}
        self.scope: trio.CancelScope | None = None
        self.in_flight: Call | None = None
        self.apart: dict[tuple[Inbound, int], trio.CancelScope] = {}
        self.nursery: trio.Nursery | None = None
        self._bytes = 0
        self._ending: ExitReason | None = None
        self._handler = ""
        self._handler_since = 0.0

    def trio_deadline(self, deadline: float) -> float:
        """A deadline from the wire, on trio's clock."""
        if deadline < 0:
            return trio.current_time() - deadline
        return deadline + self.exchange.clock_offset

    # -- the mailbox

    def deliver(self, inbound: Inbound, part: Part) -> None:
        """Take a message in, or refuse it. Never waits, never raises."""
        message = part[0]
        weight = weigh(part)
        mailbox = self.mailbox
        if mailbox and (
            len(mailbox) >= self.mailbox_messages or self._bytes + weight > self.mailbox_bytes
        ):
            why = f"mailbox of {self.address.name} is full ({len(mailbox)})"
            self.exchange.fail(inbound, part, "full", why)
            return
        if self._ending is not None:
            self.exchange.fail(inbound, part, "dead", f"{self.address} is ending")
            return
        if type(message) is wire.Ask and message.chain and self.address.name in message.chain:
            signature = self.handlers.get(message.handler)
            if signature is None or not signature.reentrant:
                cycle = " -> ".join((*message.chain, self.address.name))
                self.exchange.fail(inbound, part, "cycle", f"ask cycle: {cycle}")
                return
        mailbox.append((inbound, part))
        self._bytes += weight
        if not self.ready:
            self.exchange.reading.wake(self)

    def cancel(self, inbound: Inbound, id: int) -> None:
        """Nobody waits for that ask any more: unqueue it, or cancel its handler."""
        call = self.in_flight
        if call is not None and call.inbound is inbound and call.id == id:
            assert call.scope is not None
            call.scope.cancel()
            return
        apart = self.apart.get((inbound, id))
        if apart is not None:
            apart.cancel()
            return
        for number, (its_inbound, part) in enumerate(self.mailbox):
            message = part[0]
            if its_inbound is inbound and type(message) is wire.Ask and message.id == id:
                del self.mailbox[number]
                self._bytes -= weigh(part)
                self.exchange.settle(inbound, Fate.EXPIRED, part)
                return

    def orphan(self, inbound: Inbound) -> None:
        """The sender is no more: its asks are cancelled, its tells are handled."""
        self.inbounds.remove(inbound)
        for its_inbound, part in list(self.mailbox):
            if its_inbound is inbound and type(part[0]) is wire.Ask:
                self.cancel(inbound, part[0].id)
        call = self.in_flight
        if call is not None and call.inbound is inbound and call.id:
            self.cancel(inbound, call.id)
        for its_inbound, id in list(self.apart):
            if its_inbound is inbound:
                self.cancel(inbound, id)

    # -- the life

    async def run(self, actor: Behaviour, started: Callable[[], None]) -> ExitReason:
        """Run ``actor`` until it ends; ``started`` is called once ``on_start`` has returned.

        Raises:
            Exception: whatever ``on_start`` raised; then the cell never took a message.
        """
        self.actor = actor
        actor._cell = self
        failed_start: Exception | None = None
        try:
            async with trio.open_nursery() as nursery:
                self.nursery = nursery
                current.set(Call(self, None, None))
                try:
                    await actor.on_start()
                except Exception as failure:
                    failed_start = failure
                else:
                    self.exchange.cells[self.address.incarnation] = self
                    started()
                    await self._serve()
                    if self._ending is None or self._ending.planned:
                        await self._stop_hook(actor)
                nursery.cancel_scope.cancel()
        except Exception as crash:
            self._crashed(crash)
        finally:
            self.nursery = None
            self.leave()
        if failed_start is not None:
            raise failed_start
        assert self._ending is not None
        return self._ending

    async def _stop_hook(self, actor: Behaviour) -> None:
        assert self._ending is not None
        with trio.move_on_after(ON_STOP_S):
            await actor.on_stop(self._ending)

    def end(self, reason: ExitReason) -> None:
        """End after the current handler. The first reason stands."""
        if self._ending is None:
            self._ending = reason
            self.exchange.reading.wake(self)

    def interrupt(self) -> None:
        """Cancel the handlers that are in flight."""
        if self.in_flight is not None and self.in_flight.scope is not None:
            self.in_flight.scope.cancel()
        for scope in self.apart.values():
            scope.cancel()

    def leave(self) -> None:
        """Be known no more; what was not handled is refused."""
        self.exchange.cells.pop(self.address.incarnation, None)
        if self._ending is None:
            self._ending = ExitReason(kind="shutdown")
        while self.mailbox:
            inbound, part = self.mailbox.popleft()
            self.exchange.fail(inbound, part, "dead", f"{self.address} has ended")
        for inbound in self.inbounds:
            inbound.cell = None
            if inbound.outbound is not None:
                self.exchange.close(inbound.outbound, self._ending)
        self.inbounds.clear()
        for outbound in list(self.outbounds.values()):
            self.exchange.close(outbound, self._ending)

    def _crashed(self, crash: BaseException) -> None:
        if self._ending is not None and self._ending.kind == "crashed":
            return
        while isinstance(crash, BaseExceptionGroup) and len(crash.exceptions) == 1:
            crash = crash.exceptions[0]
        age = time.monotonic() - self._handler_since if self._handler else 0.0
        self._ending = ExitReason(
            kind="crashed",
            error=type(crash).__name__,
            message=str(crash),
            traceback="".join(traceback.format_exception(crash)),
            handler=self._handler,
            handler_age_s=age,
        )

    # -- the service task

    async def _serve(self) -> None:
        while self._ending is None:
            with trio.CancelScope() as self.scope:
                await self._serve_under(self.scope)

    async def _serve_under(self, scope: trio.CancelScope) -> None:
        """Take messages until the cell ends or the scope is spent."""
        exchange, mailbox = self.exchange, self.mailbox
        slice_began, slices = time.monotonic(), 0
        while self._ending is None:
            if not mailbox:
                self.ready = False
                await exchange.reading.until(self)
                slice_began, slices = time.monotonic(), 0
                continue
            inbound, part = mailbox.popleft()
            message = part[0]
            self._bytes -= weigh(part)
            if exchange.hold_until:
                await exchange.let_everything_in()
            signature = self.handlers.get(message.handler)
            if signature is None:
                why = f"{self.address.name} has no handler {message.handler[:100]!r}"
                exchange.fail(inbound, part, "wire", why)
            elif signature.reentrant:
                assert self.nursery is not None
                self.nursery.start_soon(self._handle_apart, signature, inbound, part)
            else:
                call = Call(self, inbound, message)
                try:
                    await self._handle(call, signature, part)
                finally:
                    exchange.running = None
                    call.done = True
                    if call.scope is not None:
                        self.in_flight = None
                        scope.deadline = math.inf
                if call.scope is not None and scope.cancel_called:
                    return
            now = time.monotonic()
            if now - slice_began > SLICE_S:
                exchange.drain()
                slices += 1
                if slices >= SLICES_BETWEEN_CHECKPOINTS:
                    await trio.lowlevel.checkpoint()
                    slices = 0
                slice_began = time.monotonic()

    async def _handle_apart(self, signature: Signature, inbound: Inbound, part: Part) -> None:
        """A reentrant handler: its own task and its own scope."""
        message = part[0]
        asked = type(message) is wire.Ask
        call = Call(self, inbound, message)
        with trio.CancelScope() as call.scope:
            if asked:
                self.apart[inbound, message.id] = call.scope
                if message.deadline:
                    call.scope.deadline = self.trio_deadline(message.deadline)
            try:
                await self._handle(call, signature, part, watched=False)
            finally:
                call.done = True
                if asked:
                    del self.apart[inbound, message.id]

    async def _handle(
        self, call: Call, signature: Signature, part: Part, watched: bool = True
    ) -> None:
        """Run one handler and settle its message. Only what ends the cell gets out."""
        exchange, inbound = self.exchange, call.inbound
        message, payload, buffers = part
        assert inbound is not None
        asked = type(message) is wire.Ask
        if asked and message.deadline and self._too_late(message.deadline):
            why = f"{signature.qualified}: the deadline passed"
            exchange.fail(inbound, part, "late", why, Fate.EXPIRED)
            return
        try:
            args = signature.decode(payload, message.buffers, buffers)
        except WireError as misfit:
            exchange.fail(inbound, part, "wire", str(misfit))
            return
        current.set(call)
        self._handler = signature.name
        self._handler_since = time.monotonic()
        if self.page is not None:
            self.page.begin(signature.label, self._handler_since)
        if watched:
            if exchange.reading.notices:
                exchange.running = call
            else:
                call.suspended()
        try:
            result = await signature.run(self.actor, *args)
            exchange.running = None
            if asked:
                exchange.reply(inbound, part, *signature.encode_result(result))
            else:
                exchange.settle(inbound, Fate.HANDLED, part)
        except BaseException as raised:
            exchange.running = None
            self._raised(inbound, part, raised)
        finally:
            if self.page is not None:
                self.page.end()
            self._handler = ""

    def _too_late(self, deadline: float) -> bool:
        return self.trio_deadline(deadline) <= trio.current_time()

    def _raised(self, inbound: Inbound, part: Part, raised: BaseException) -> None:
        """Tell the asker; what nobody asked for ends the cell."""
        name, why = type(raised).__name__, str(raised)
        if isinstance(raised, trio.Cancelled):
            self.exchange.fail(inbound, part, "cancelled", "the handler was cancelled", Fate.FAILED)
            raise raised
        if isinstance(raised, Exception) and type(part[0]) is wire.Ask:
            text = "".join(traceback.format_exception(raised))
            self.exchange.fail(
                inbound, part, "raised", why, Fate.FAILED, type_name=name, traceback=text
            )
            return
        self.exchange.fail(inbound, part, "raised", why, Fate.FAILED, type_name=name)
        if isinstance(raised, SystemExit) and raised.code in (0, None):
            self.end(ExitReason(kind="normal"))
            return
        self._crashed(raised)
        if not isinstance(raised, SystemExit):
            raise raised
