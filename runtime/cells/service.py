"""The service of a cell: the task that takes the messages of its mailbox, one at a time.

The service task awaits the handlers itself; a handler that does not suspend costs no scope, no
task and no switch. One that suspends is from then on in flight: it can be cancelled. Its deadline
it has from its first line on, for what it asks without having suspended must have it too: 4.5 us
an ask that has one. A slice of handlers lasts 200 us; then what has arrived is routed, so that
control waits no longer than that.

Invariants
----------
* One message at a time, in the order of arrival; reentrant handlers alone overlap.
* Every message that was delivered gets exactly one fate in its pair's ledger.
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
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import trio

from runtime.cells import ask_runs, runs
from runtime.cells.breathing import SLICE_S, SLICES_BETWEEN_CHECKPOINTS
from runtime.cells.call import Call, current
from runtime.cells.crash import crash_reason, sort_out, traceback_text
from runtime.cells.mailbox import Mailbox
from runtime.cells.reentrant import let_in_at_once, let_reentrant_in, take_apart
from runtime.cells.source import produce
from runtime.errors import WireError
from runtime.exits import ExitReason
from runtime.messages import envelope as wire
from runtime.messages.codec import Part, weigh
from runtime.messages.signature import MISFIT
from runtime.traffic.credit import Fate

if TYPE_CHECKING:
    from runtime.messages.signature import Signature
    from runtime.traffic.pair import Inbound


class Service(Mailbox):
    """A mailbox and what serves it. Without an actor it can only send."""

    __slots__ = ()

    def _let_reentrant_in(self) -> None:
        let_reentrant_in(self)

    def _let_in_at_once(self, inbound: Inbound, part: Part) -> bool:
        return let_in_at_once(self, inbound, part)

    async def _serve(self) -> None:
        while self.ending is None:
            with trio.CancelScope() as self.scope:
                await self._serve_under(self.scope)
        await self.released()

    async def _serve_under(self, scope: trio.CancelScope) -> None:
        """Take messages until the cell ends or the scope is spent."""
        exchange, mailbox, page = self.exchange, self.mailbox, self.page
        until, handlers, notices = exchange.reading.until, self.handlers, exchange.reading.notices
        task, clock = trio.lowlevel.current_task(), exchange.clock
        now = self.slice_began = clock()
        self._slices = 0
        confirms = self.confirms
        shown: object = None  # on the page, since
        begun = now
        part: Any = None
        payload: Any
        buffers: Any
        args: Any = None
        result: Any = None
        while self.ending is None:
            if not mailbox or self.taken:
                self.last = part, args, result
                part = payload = buffers = args = result = None
                if page is not None:
                    page.pause(now)
                    shown = None
                exchange.flush()  # an answer need not wait for the end of the tick: 10 us
                self.ready, self.serving = False, True
                await until(self)
                self.serving = False
                now = self.slice_began = clock()
                self._slices = 0
                continue
            if exchange.hold_until:
                await exchange.let_everything_in()
                continue
            inbound, part = mailbox.popleft()
            message, payload, buffers = part
            weight = weigh(part) if buffers else message.size
            self.waiting_bytes -= weight
            signature = handlers.get(message.handler)
            if signature is None:
                signature = message  # a hook is both; a stranger was refused when it came
            kind = type(message)
            if kind is wire.Tells:
                self.more -= message.count - 1
                if not await self._serve_run(signature, inbound, part, task):
                    return
                now = clock()
                shown = None
                continue
            if kind is wire.Asks:
                self.more -= len(message.ids) - 1
                now = await ask_runs.serve(self, signature, inbound, part, task)
                if now - self.slice_began > SLICE_S:
                    now = await self.end_slice()
                shown = None
                continue
            if signature.reentrant:
                self.reentrants -= 1
                take_apart(self, signature, inbound, part)
                continue
            asked = kind is wire.Ask
            deadline = message.deadline if asked else 0.0
            if signature.streams and not asked:
                exchange.settle(inbound, Fate.REJECTED, part)
                continue
            if deadline and self.too_late(signature, inbound, part):
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
            if buffers:
                self.last = None
            call = Call(self, inbound, message, task)
            current.set(call)
            self.handler, self.handler_since = signature.name, now
            if page is not None and (signature is not shown or now - begun > runs.PAGE_S):
                page.begin(signature.label, now)
                shown, begun = signature, now
            if deadline:  # what it asks has it, too, suspended or not
                scope.deadline = self.trio_deadline(deadline)
            if notices:
                exchange.running = call
            else:
                call.suspended()
            try:
                if signature.streams:
                    await produce(call, signature, args)
                    result = None
                else:
                    result = await signature.run(self.actor, *args)
                exchange.running = None
                if confirms:
                    assert self.keeping is not None
                    await self.keeping.confirm()
                if asked:
                    exchange.reply(inbound, message.id, weight, *signature.encode_result(result))
                else:
                    exchange.handled(inbound, weight)
            except BaseException as raised:
                exchange.running = None
                self.raised(call, part, raised)
            finally:
                self.handler = ""
                call.done = True
                if deadline:
                    scope.deadline = math.inf
                if call.scope is not None:
                    self.resumed()
            if call.scope is not None and scope.cancel_called:
                return
            now = clock()
            if now - self.slice_began > SLICE_S:
                now = await self.end_slice()

    async def end_slice(self) -> float:
        """What has arrived is routed, and now and then everybody else had a turn."""
        self.exchange.drain()
        self._slices += 1
        if self._slices >= SLICES_BETWEEN_CHECKPOINTS:
            await trio.lowlevel.checkpoint()
            self._slices = 0
        now = self.slice_began = self.exchange.clock()
        return now

    async def _serve_run(
        self, signature: Signature, inbound: Inbound, part: Part, task: Any
    ) -> bool:
        """Handle a run of tells; False when the scope is spent."""
        message, payload, _ = part
        try:
            rows = signature.decode_run(runs.headed(payload, message.count))
        except MISFIT:
            rows = []
        if len(rows) != message.count:  # one at least does not fit: each for itself
            self.put_back(inbound, runs.take_apart(part))
            return True
        run = self.served = runs.Run(inbound, part)
        try:
            return await runs.serve(self, run, rows, task)
        finally:
            self.served = None
            self.handler = ""
            run.settle(self.exchange)
            self.put_back(inbound, run.rest())

    def put_back(self, inbound: Inbound, parts: Sequence[Part]) -> None:
        """These were taken out of the mailbox and have not begun."""
        for part in reversed(parts):
            self.mailbox.appendleft((inbound, part))
            self.waiting_bytes += part[0].size
            if type(part[0]) is wire.Asks:
                self.more += len(part[0].ids) - 1

    def suspended(self, call: Call) -> None:
        """An ordinary handler waits from now on."""
        if self.served is not None:
            self.served.settle(self.exchange)  # its sender may be what it waits for
        super().suspended(call)

    def resumed(self) -> None:
        """The handler that was suspended has ended."""
        self.in_flight = None
        if self.keeping is not None and self.keeping.due:
            self.keeping.take_now()

    @property
    def idle(self) -> bool:
        """Whether an asker of this process may run a handler itself."""
        return (
            self.serving
            and not self.taken
            and not self.mailbox
            and self.ending is None
            and self.keeping is None
        )

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

    def raised(self, call: Call, part: Part, raised: BaseException) -> None:
        """Tell the asker; what nobody asked for, or waits for any more, ends the cell."""
        fail, inbound = self.exchange.fail, call.inbound
        asked = type(part[0]) is wire.Ask
        cancelled, rest = sort_out(raised)
        if rest is None:
            deadline = part[0].deadline if asked else 0.0
            late = deadline and self.trio_deadline(deadline) <= trio.current_time()
            kind, why = "late" if late else "cancelled", "the handler was cancelled"
            end: str = ""
            if self.ending is not None:
                kind, why = "dead", f"{self.address} has ended: {self.ending}"
                end = self.ending.kind
            elif self.nursery is not None and self.nursery.cancel_scope.cancel_called:
                kind, why, end = "dead", f"{self.address} has crashed", "crashed"  # in a task
            elif call.scope is None or not call.scope.cancel_called:  # the process ends under it
                kind, why, end = "dead", f"{self.address} has ended: shutdown", "shutdown"
            fail(inbound, part, kind, why, Fate.FAILED, type_name=end)
            raise raised
        asked = asked and not call.left
        name, why = type(rest).__name__, str(rest)
        if cancelled is not None and asked:
            text = traceback_text(rest)
            fail(inbound, part, "raised", why, Fate.FAILED, type_name=name, traceback=text)
            raise cancelled
        if isinstance(raised, Exception) and asked:
            if self.exchange.closed:  # the process ends, and what it raised comes of that
                fail(inbound, part, "dead", f"{self.address} has ended", Fate.FAILED)
                return
            if isinstance(raised, WireError):
                fail(inbound, part, "wire", why)
                return
            text = traceback_text(raised)
            fail(inbound, part, "raised", why, Fate.FAILED, type_name=name, traceback=text)
            return
        fail(inbound, part, "raised", why, Fate.FAILED, type_name=name)
        if isinstance(raised, SystemExit) and raised.code in (0, None):
            self.end(ExitReason(kind="normal"))
            return
        self.crashed(raised, part[0].handler)
        if not isinstance(raised, SystemExit):
            raise raised

    # -- the end

    def end(self, reason: ExitReason) -> None:
        """End after the current handler. The first reason stands."""
        if self.ending is None:
            self.ending = reason
            self.exchange.reading.wake(self)

    def stop(self, force: bool, reason: ExitReason | None = None) -> None:
        """End for ``reason``, else as a supervisor's stop does; with ``force``, as a kill."""
        self.end(reason or ExitReason(kind="killed" if force else "shutdown"))
        if force:
            self.interrupt()

    def interrupt(self) -> None:
        """Cancel the handlers that are in flight."""
        if self.in_flight is not None and self.in_flight.scope is not None:
            self.in_flight.scope.cancel()
        for scope in self.apart.values():
            scope.cancel()

    def crashed(self, crash: BaseException, handler: str = "") -> None:
        """End now, for this. ``handler``: whose it is, where that is known."""
        if self.ending is not None and self.ending.kind == "crashed":
            return
        handler = handler or self.handler
        known = handler and handler == self.handler  # a reentrant one is none of the cell's own
        age_s = self.exchange.clock() - self.handler_since if known else 0.0
        self.ending = crash_reason(crash, handler, age_s)
