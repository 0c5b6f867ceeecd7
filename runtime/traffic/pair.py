"""The two ends of a pair, and the peer on the other side of the wire.

A pair is one direction between two cells: `Outbound` where it is sent from, `Inbound`
where it is received. Replies and credits run against it. `Peer` is one other process:
the batch that gathers for it, the pairs that lead there and those that come from there.

Invariants
----------
* Messages of a pair leave in the order of the calls: who waits for credit is served first
  come, first served, and nobody overtakes him.
* An `Outbound` of a dead or unreachable peer raises before it sends anything.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from runtime.errors import ActorDeadError, UnreachableError
from runtime.messages import envelope as wire
from runtime.messages.batch import Batch
from runtime.traffic.credit import Ledger, Window
from runtime.wires.reading import Seat

if TYPE_CHECKING:
    from runtime.address import Address
    from runtime.cells.service import Service
    from runtime.exits import ExitReason


class Peer:
    """One other process, as this one knows it."""

    __slots__ = (
        "address",
        "batch",
        "connected",
        "dead",
        "endpoint",
        "inbounds",
        "met",
        "outbounds",
        "pending",
        "posted",
        "posted_at",
        "shares_clock",
        "verdict",
    )

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.address: Address | None = None  # known once it said hello
        self.batch = Batch()
        self.posted = False
        self.posted_at = 0.0
        self.connected = False
        self.met = False  # it was connected before
        self.inbounds: dict[int, Inbound] = {}
        self.outbounds: dict[int, Outbound] = {}
        self.pending = 0
        self.dead: ExitReason | None = None
        self.verdict = ""
        self.shares_clock = False  # CLOCK_MONOTONIC: it is known to be on this host


class Outbound:
    """The sending end of a pair. ``local``: the receiving end, when it is in this process."""

    __slots__ = (
        "closed", "goes_on", "local", "number", "peer", "source", "target", "waiters", "window",
    )  # fmt: skip

    def __init__(
        self, number: int, source: Service, target: Address, peer: Peer, local: Inbound | None
    ) -> None:
        self.number = number
        self.source = source
        self.target = target
        self.peer = peer
        self.local = local
        self.window = Window()
        self.waiters: deque[Seat] = deque()
        self.closed: ExitReason | None = None
        self.goes_on = False
        """Something was told, and since then nothing has happened that tells must look at."""

    def check(self) -> None:
        """Raise if nothing can be sent.

        Raises:
            ActorDeadError: that incarnation has exited.
            UnreachableError: its process is frozen or cut off.
            trio.ClosedResourceError: this process's exchange has ended.
        """
        if self.source.exchange.closed:
            raise trio.ClosedResourceError("the system has ended")
        reason = self.closed or self.peer.dead
        if reason is not None:
            raise dead(self.target, reason)
        if self.peer.verdict:
            raise unreachable(self.target, self.peer.verdict)

    async def credit(self, size: int) -> None:
        """Return when a message of ``size`` bytes may leave, in the order of the calls.

        The caller spends it before it awaits anything else. Cancellation: the place in the
        line is given up.
        """
        seat = Seat()
        self.waiters.append(seat)
        self.goes_on = False
        try:
            while self.waiters[0] is not seat or not self.window.has_room(size):
                seat.task = trio.lowlevel.current_task()

                def give_up(_: object) -> trio.lowlevel.Abort:
                    seat.task = None
                    return trio.lowlevel.Abort.SUCCEEDED

                await trio.lowlevel.wait_task_rescheduled(give_up)
                self.check()
        finally:
            seat.task = None
            self.waiters.remove(seat)
            self.wake()

    def cancel(self, id: int) -> None:
        """Tell the target that nobody waits for that ask any more."""
        if self.closed is not None:
            return
        if self.local is None:
            self.source.exchange.post(self.peer, wire.Cancel(self.number, id))
        elif self.local.cell is not None:
            self.local.cell.cancel(self.local, id)

    def wake(self) -> None:
        """Let the first in the line look again."""
        if self.waiters:
            _rouse(self.waiters[0])

    def wake_all(self) -> None:
        """Let everybody look again, because nothing can be sent any more."""
        for seat in self.waiters:
            _rouse(seat)


def _rouse(seat: Seat) -> None:
    if seat.task is not None:
        trio.lowlevel.reschedule(seat.task)
        seat.task = None


class Inbound:
    """The receiving end of a pair. ``cell`` is None when the target is not here (any more)."""

    __slots__ = (
        "cell",
        "ledger",
        "number",
        "outbound",
        "peer",
        "received",
        "source",
        "source_incarnation",
        "target",
        "unlisted",
    )

    def __init__(
        self,
        number: int,
        source: str,
        source_incarnation: int,
        target: str,
        cell: Service | None,
        peer: Peer,
        outbound: Outbound | None = None,
    ) -> None:
        self.number = number
        self.source = source
        self.source_incarnation = source_incarnation
        self.target = target
        self.cell = cell
        self.peer = peer
        self.outbound = outbound  # the sending end, when it is in this process
        self.ledger = Ledger()
        self.received = 0  # messages that came by the wire
        self.unlisted = True


def dead(target: Address, reason: ExitReason) -> ActorDeadError:
    """What a sender is told of a target that has exited."""
    return ActorDeadError(f"{target} is dead: {reason}", reason)


def unreachable(target: Address, verdict: str) -> UnreachableError:
    """What a sender is told of a target that does not answer."""
    return UnreachableError(f"{target} is unreachable: {verdict}", verdict)
