"""The service of a cell: its mailbox, and the task that takes the messages one at a time.

The service task awaits the handlers itself; a handler that does not suspend costs no scope, no
task and no switch. One that suspends is given its deadline then, and is from then on in
flight: it can be cancelled. A slice of handlers lasts 200 us; then what has arrived is routed,
so that control waits no longer than that.

Invariants
----------
* One message at a time, in the order of arrival; reentrant handlers alone overlap.
* Every message that was delivered gets exactly one fate in its pair's ledger.
* What no handler is named like is refused when it comes, and waits for nobody.
* A scope that was cancelled is left and replaced before another message starts, and the
  deadline of one message never outlives it: nobody else's ask is cancelled.
* An exception of an asked handler goes to the asker; one of a told handler ends the cell.
* A handler starts only if its deadline has not passed, and never in the tick in which the
  process noticed that it had stood still.

Source: Erlang's process and mailbox; one scope a service task instead of one a message,
because a CancelScope costs 7 us and a handler that does not suspend 0.2.
"""

from __future__ import annotations

import math
import time
import traceback
from collections import deque
from typing import TYPE_CHECKING

import trio

from runtime import envelope as wire
from runtime.call import Call, current
from runtime.codec import Part, weigh
from runtime.credit import Fate
from runtime.errors import WireError
from runtime.exits import ExitReason, fit
from runtime.reading import Seat
from runtime.reentrant import let_reentrant_in, take_apart
from runtime.signature import MISFIT

if TYPE_CHECKING:
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


class Service(Seat):
    """A mailbox and what serves it. Without an actor it can only send."""

    __slots__ = (
        "_bytes",
        "_reentrant",
        "actor",
        "address",
        "apart",
        "ending",
        "exchange",
        "handler",
        "handler_since",
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
        "serving",
        "taken",
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
        self.ending: ExitReason | None = None
        self.serving = False  # parked at an empty mailbox, or about to be
        self.taken: trio.Event | None = None  # an asker of this process runs a handler
        self._reentrant = any(each.reentrant for each in handlers.values())
        self._bytes = 0
        self.handler = ""
        self.handler_since = 0.0

    def trio_deadline(self, deadline: float) -> float:
        """A deadline from the wire, on trio's clock."""
        if deadline < 0:
            return trio.current_time() - deadline
        return deadline + self.exchange.clock_offset

    # -- the mailbox

    def deliver(self, inbound: Inbound, part: Part) -> None:
        """Take a message in, or refuse it. Never waits, never raises."""
        message, _, buffers = part
        weight = weigh(part) if buffers else message.size
        mailbox = self.mailbox
        if self.ending is not None:
            self.exchange.fail(inbound, part, "dead", f"{self.address} is ending")
        elif message.handler not in self.handlers:
            why = f"{self.address.name} has no handler {message.handler[:100]!r}"
            self.exchange.fail(inbound, part, "wire", why)
        elif mailbox and (
            len(mailbox) >= self.mailbox_messages or self._bytes + weight > self.mailbox_bytes
        ):
            why = f"mailbox of {self.address.name} is full ({len(mailbox)})"
            self.exchange.fail(inbound, part, "full", why)
        elif type(message) is wire.Ask and message.chain and self.waits_for_itself(message):
            cycle = " -> ".join((*message.chain, self.address.name))
            self.exchange.fail(inbound, part, "cycle", f"ask cycle: {cycle}")
        else:
            mailbox.append((inbound, part))
            self._bytes += weight
            if self.busy and self._reentrant:
                let_reentrant_in(self)
            elif not self.ready and self.taken is None:
                self.exchange.reading.wake(self)

    @property
    def busy(self) -> bool:
        """Whether an ordinary handler is suspended."""
        return self.in_flight is not None

    def suspended(self, call: Call) -> None:
        """An ordinary handler waits from now on: reentrant ones may start."""
        self.in_flight = call
        if self._reentrant and self.mailbox:
            let_reentrant_in(self)

    def unqueued(self, part: Part) -> None:
        """A message has been taken out of the mailbox."""
        self._bytes -= weigh(part)

    def waits_for_itself(self, message: wire.Ask) -> bool:
        """Whether this ask could never be served, for its asker keeps us busy."""
        if self.address.name not in message.chain:
            return False
        signature = self.handlers.get(message.handler)
        return signature is None or not signature.reentrant

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
        self.exchange.regrant(self)
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

    # -- the service task

    async def _serve(self) -> None:
        while self.ending is None:
            with trio.CancelScope() as self.scope:
                await self._serve_under(self.scope)
        while self.taken is not None:
            await self.taken.wait()

    async def _serve_under(self, scope: trio.CancelScope) -> None:
        """Take messages until the cell ends or the scope is spent."""
        exchange, mailbox, page = self.exchange, self.mailbox, self.page
        until, handlers, notices = exchange.reading.until, self.handlers, exchange.reading.notices
        task = trio.lowlevel.current_task()
        now = slice_began = time.monotonic()
        slices = 0
        while self.ending is None:
            if not mailbox or self.taken is not None:
                if page is not None:
                    page.pause(now)
                exchange.flush()  # an answer need not wait for the end of the tick: 10 us
                self.ready, self.serving = False, True
                await until(self)
                self.serving = False
                now = slice_began = time.monotonic()
                slices = 0
                continue
            if exchange.hold_until:
                await exchange.let_everything_in()
                continue
            inbound, part = mailbox.popleft()
            message, payload, buffers = part
            weight = weigh(part) if buffers else message.size
            self._bytes -= weight
            signature = handlers[message.handler]
            if signature.reentrant:
                take_apart(self, signature, inbound, part)
                continue
            asked = type(message) is wire.Ask
            if asked and message.deadline and self.too_late(signature, inbound, part):
                continue
            try:
                args = (
                    signature.decode(payload, message.buffers, buffers)
                    if buffers
                    else signature.decode_plain(payload)
                )
            except (WireError, *MISFIT):
                self._refuse_misfit(signature, inbound, part)
                continue
            call = Call(self, inbound, message, task)
            current.set(call)
            self.handler, self.handler_since = signature.name, now
            if page is not None:
                page.begin(signature.label, now)
            if notices:
                exchange.running = call
            else:
                call.suspended()
            try:
                result = await signature.run(self.actor, *args)
                exchange.running = None
                if asked:
                    exchange.reply(inbound, part, *signature.encode_result(result))
                else:
                    exchange.handled(inbound, weight)
            except BaseException as raised:
                exchange.running = None
                self.raised(inbound, part, raised)
            finally:
                self.handler = ""
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
                now = slice_began = time.monotonic()

    @property
    def idle(self) -> bool:
        """Whether an asker of this process may run a handler itself."""
        return self.serving and self.taken is None and not self.mailbox and self.ending is None

    def _refuse_misfit(self, signature: Signature, inbound: Inbound, part: Part) -> None:
        """Say what is wrong with the arguments."""
        message, payload, buffers = part
        try:
            signature.decode(payload, message.buffers, buffers)
        except WireError as misfit:
            self.exchange.fail(inbound, part, "wire", str(misfit))

    def too_late(self, signature: Signature, inbound: Inbound, part: Part) -> bool:
        """Whether the deadline of an ask has passed; then it is settled."""
        if self.trio_deadline(part[0].deadline) > trio.current_time():
            return False
        why = f"{signature.qualified}: the deadline passed"
        self.exchange.fail(inbound, part, "late", why, Fate.EXPIRED)
        return True

    def raised(self, inbound: Inbound, part: Part, raised: BaseException) -> None:
        """Tell the asker; what nobody asked for ends the cell."""
        fail = self.exchange.fail
        cancelled, rest = sort_out(raised)
        if rest is None:
            asked = part[0] if type(part[0]) is wire.Ask else None
            late = (
                asked is not None
                and asked.deadline
                and (self.trio_deadline(asked.deadline) <= trio.current_time())
            )
            kind = "late" if late else "cancelled"
            fail(inbound, part, kind, "the handler was cancelled", Fate.FAILED)
            raise raised
        name, why = type(rest).__name__, str(rest)
        if cancelled is not None and type(part[0]) is wire.Ask:
            text = "".join(traceback.format_exception(rest))
            fail(inbound, part, "raised", why, Fate.FAILED, type_name=name, traceback=text)
            raise cancelled
        if isinstance(raised, Exception) and type(part[0]) is wire.Ask:
            if isinstance(raised, WireError):
                fail(inbound, part, "wire", why)
                return
            text = "".join(traceback.format_exception(raised))
            fail(inbound, part, "raised", why, Fate.FAILED, type_name=name, traceback=text)
            return
        fail(inbound, part, "raised", why, Fate.FAILED, type_name=name)
        if isinstance(raised, SystemExit) and raised.code in (0, None):
            self.end(ExitReason(kind="normal"))
            return
        self.crashed(raised)
        if not isinstance(raised, SystemExit):
            raise raised

    # -- the end

    def end(self, reason: ExitReason) -> None:
        """End after the current handler. The first reason stands."""
        if self.ending is None:
            self.ending = reason
            self.exchange.reading.wake(self)

    def stop(self, force: bool) -> None:
        """End as a supervisor's stop does; with ``force``, as a kill."""
        self.end(ExitReason(kind="killed" if force else "shutdown"))
        if force:
            self.interrupt()

    def interrupt(self) -> None:
        """Cancel the handlers that are in flight."""
        if self.in_flight is not None and self.in_flight.scope is not None:
            self.in_flight.scope.cancel()
        for scope in self.apart.values():
            scope.cancel()

    def crashed(self, crash: BaseException) -> None:
        """End now, for this."""
        if self.ending is not None and self.ending.kind == "crashed":
            return
        while isinstance(crash, BaseExceptionGroup) and len(crash.exceptions) == 1:
            crash = crash.exceptions[0]
        self.ending = ExitReason(
            kind="crashed",
            error=type(crash).__name__,
            message=fit(str(crash)),
            traceback=fit("".join(traceback.format_exception(crash))),
            handler=self.handler,
            handler_age_s=time.monotonic() - self.handler_since if self.handler else 0.0,
        )


def sort_out(raised: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """What is cancellation in an exception, and what is not."""
    if isinstance(raised, trio.Cancelled):
        return raised, None
    if isinstance(raised, BaseExceptionGroup):
        return raised.split(trio.Cancelled)
    return None, raised
