"""A cell: the running frame around one actor, from its ``on_start`` to its ``on_stop``.

It has a mailbox and a service task (`runtime.cells.service`), and a nursery for the actor's own
tasks. Its life ends with a stop, with the actor's own `finish`, or with an exception that
nobody asked for: of a told handler, of a hook, of a task of the nursery.

Invariants
----------
* What comes before ``on_start`` has returned waits until then: who has told others of himself in
  there may be spoken to before he is up. An ask that ``on_start`` waits for cannot be served.
* A cell that is on order takes in what comes before it is known what it will run; if it never
  runs, that is refused.
* After it has ended nobody can reach it.
* Whoever waits for it when it ends is told so.
* ``on_stop`` runs after the last message of a planned end, for at most 1 s.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from runtime.cells.call import Call, current
from runtime.cells.crash import sort_out
from runtime.cells.keeping import Keeping
from runtime.cells.service import Service
from runtime.cells.snapshot import keeps
from runtime.exits import ExitReason
from runtime.messages import envelope as wire

if TYPE_CHECKING:
    from runtime.address import Address
    from runtime.messages.behaviour import Behaviour
    from runtime.messages.signature import Signature
    from runtime.processes.status_page import StatusPage
    from runtime.traffic.exchange import Exchange

ON_STOP_S = 1.0
_START = wire.Tell(0, "on_start", 0)


class Cell(Service):
    """One actor's frame. Without an actor it can only send."""

    __slots__ = ()

    @classmethod
    def on_order(cls, exchange: Exchange, address: Address, page: StatusPage | None) -> Cell:
        """A cell that can be spoken to from now on, though it is not known what it will run."""
        cell = cls(exchange, address, {}, page=page)
        cell.expected = True
        cell.enter()
        return cell

    def enter(self) -> None:
        """Be known from now on: it is about to run, or `never` will."""
        self.exchange.cells[self.address.incarnation] = self

    def become(
        self, handlers: dict[str, Signature], mailbox_messages: int, mailbox_bytes: int
    ) -> None:
        """Have these handlers, and this room: what has come before is looked at as if it came now.

        Only of a cell that is on order.
        """
        early, self.mailbox = self.mailbox, deque()
        self.waiting_bytes = self.more = 0
        self.expected = False
        self.know(handlers)
        self.mailbox_messages, self.mailbox_bytes = mailbox_messages, mailbox_bytes
        self.exchange.stations.become(self)
        self.exchange.regrant(self)
        for inbound, part in early:
            if type(part[0]) is wire.Tells:
                self.deliver_run(inbound, part)
            else:
                self.deliver(inbound, part)

    def never(self, failure: BaseException) -> None:
        """It does not run, for this: what waits for it is refused. One that has ended stays so."""
        if self.exchange.cells.get(self.address.incarnation) is self:
            self.crashed(failure)
            self._leave()

    async def run(
        self,
        actor: Behaviour,
        started: Callable[[], None],
        snapshot_every_s: float = math.inf,
    ) -> ExitReason:
        """Run ``actor`` until it ends; ``started`` is called once ``on_start`` has returned.

        ``snapshot_every_s`` 0: at every message; infinity: never.

        Raises:
            Exception, SystemExit: whatever ``on_start`` raised; then the cell never took a message.
        """
        self.actor = actor
        actor._cell = self
        failed_start: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                self.nursery = nursery
                self.enter()
                start = Call(self, None, _START, trio.lowlevel.current_task())
                current.set(start)
                try:
                    await actor._begin()
                except (Exception, SystemExit) as failure:
                    failed_start = failure
                    self.crashed(failure, _START.handler)
                else:
                    start.done = True
                    current.set(Call(self, None, None))
                    if snapshot_every_s < math.inf and keeps(type(actor)):
                        self.keeping = Keeping(self, snapshot_every_s)
                        if snapshot_every_s:
                            nursery.start_soon(self.keeping.run)
                    started()
                    try:
                        await self._serve()
                    except trio.Cancelled:
                        if self.ending is None and not nursery.cancel_scope.cancel_called:
                            self.ending = ExitReason(kind="shutdown")  # its process ends
                        raise
                    if self.keeping is not None and self.ending is not None and self.ending.planned:
                        self.keeping.take_now()  # it may be restarted
                    if self.ending is None or self.ending.planned:
                        await self._stop_hook(actor)
                nursery.cancel_scope.cancel()
        except (Exception, SystemExit, BaseExceptionGroup) as crash:
            cancelled, rest = sort_out(crash)
            if rest is not None:
                self.crashed(rest)
            if cancelled is not None:
                raise cancelled from None
        finally:
            self.nursery = None
            self.serving = False
            self.interrupt()
            with trio.move_on_after(ON_STOP_S, shield=True):
                await self.released()
            self._leave()
        if failed_start is not None:
            raise failed_start
        assert self.ending is not None
        return self.ending

    async def _stop_hook(self, actor: Behaviour) -> None:
        assert self.ending is not None
        current.set(Call(self, None, None))
        with trio.move_on_after(ON_STOP_S):
            await actor.on_stop(self.ending)

    def _leave(self) -> None:
        """Be known no more; what was not handled is refused."""
        exchange = self.exchange
        exchange.cells.pop(self.address.incarnation, None)
        if self.ending is None:
            self.ending = ExitReason(kind="shutdown")
        exchange.vigil.leave(self)
        while self.mailbox:
            inbound, part = self.mailbox.popleft()
            why = f"{self.address} has ended: {self.ending}"
            exchange.fail(inbound, part, "dead", why, type_name=self.ending.kind)
        exchange.report()  # else its senders would take as undelivered what is known
        for inbound in self.inbounds:
            inbound.cell = None
            if inbound.outbound is not None:
                exchange.close(inbound.outbound, self.ending)
        self.inbounds.clear()
        for outbound in list(self.outbounds.values()):
            exchange.close(outbound, self.ending)
            if outbound.local is not None and outbound.local.cell is not None:
                outbound.local.cell.orphan(outbound.local)
            if outbound.peer.connected and outbound.local is None:
                exchange.post(outbound.peer, wire.Close(outbound.number))
