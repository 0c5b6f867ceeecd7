"""Whether the accounts of one process are true: its pairs are compared with their receivers.

Only pairs with something in flight are compared; of all others the receivers have already
confirmed every message. A sender *marks* such a pair: the mark follows the messages on the same
connection, so that whatever was sent before it has come, or never will. The receiver says how many
came and how many are settled. Nothing has to stand still for that.

Invariants
----------
* An account is given within `MARK_S`, whatever a receiver does; a pair whose receiver does not
  answer is not compared.
* A receiver reports what it has settled before it answers: what is in flight after that really is.

Source: K. M. Chandy and L. Lamport, "Distributed Snapshots" (1985), for the mark.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import trio

from runtime.address import CONTROLLER_INCARNATION
from runtime.messages import envelope as wire
from runtime.messages.accounts import Imbalance, Totals

if TYPE_CHECKING:
    from runtime.traffic.exchange import Exchange
    from runtime.traffic.pair import Inbound, Outbound, Peer

MARK_S = 0.5
MARKED = 1024
"""So many pairs with one peer are compared at most."""
TOLD = 256
"""So many imbalances are told at most."""


class Auditing:
    """Of one process; both as a sender and as a receiver."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._marks: dict[int, tuple[Peer, dict[int, int], trio.Event]] = {}
        self._unbalanced: list[Imbalance] = []
        exchange.control[wire.Audit] = self._asked
        exchange.control[wire.Mark] = self._mark
        exchange.control[wire.Marked] = self._marked

    async def account(self) -> tuple[Totals, tuple[Imbalance, ...]]:
        """This process's totals, and which of its pairs do not balance."""
        exchange = self._exchange
        exchange.report()
        found: list[Imbalance] = []
        by_peer: dict[Peer, dict[int, int]] = {}
        for outbound in exchange.outbounds.values():
            if not outbound.window.in_flight or _is_ours(outbound):
                continue
            if outbound.local is not None:
                found += _compare_here(outbound, outbound.local)
            elif outbound.peer.dead is None and not outbound.peer.verdict:
                sent = by_peer.setdefault(outbound.peer, {})
                if len(sent) < MARKED:
                    sent[outbound.number] = outbound.window.sent
        events = []
        numbers = []
        for peer, sent in by_peer.items():
            number = exchange.next_id()
            event = trio.Event()
            self._marks[number] = peer, sent, event
            numbers.append(number)
            events.append(event)
            exchange.say(peer, wire.Mark(number, tuple(sent)))
        try:
            with trio.move_on_after(MARK_S):
                for event in events:
                    await event.wait()
        finally:
            for number in numbers:
                self._marks.pop(number, None)
        found += self._unbalanced
        self._unbalanced = []
        return exchange.books.totals(), tuple(islice(found, TOLD))

    def say_last(self) -> None:
        """Give the controller the last account: this process ends."""
        exchange = self._exchange
        exchange.letters.report()
        exchange.say(exchange.controller, wire.Account(0, exchange.books.totals()))

    def _asked(self, peer: Peer, audit: wire.Audit, _: Any) -> None:
        if self._exchange.nursery is not None:
            self._exchange.nursery.start_soon(self._answer, peer, audit.number)

    async def _answer(self, peer: Peer, number: int) -> None:
        totals, unbalanced = await self.account()
        self._exchange.letters.report()
        self._exchange.say(peer, wire.Account(number, totals, unbalanced))

    def _mark(self, peer: Peer, mark: wire.Mark, _: Any) -> None:
        self._exchange.report()
        counts: list[int] = []
        for number in mark.pairs:
            inbound = peer.inbounds.get(number)
            if inbound is not None:
                counts += number, inbound.received, inbound.ledger.done, int(_may_hold(inbound))
        self._exchange.say(peer, wire.Marked(mark.number, tuple(counts)))

    def _marked(self, peer: Peer, marked: wire.Marked, _: Any) -> None:
        marker, sent, event = self._marks.get(marked.number, (None, {}, None))
        if marker is not peer or event is None:
            return  # it is late
        rows = iter(marked.counts)
        told = {pair: rest for pair, *rest in zip(rows, rows, rows, rows, strict=False)}
        for pair, count in sent.items():
            outbound = self._exchange.outbounds.get(pair)
            if outbound is None:
                continue  # it was closed meanwhile
            received, settled, holds = told.get(pair, (0, 0, 0))
            accounted = received if holds else settled
            if received != count or accounted != count or outbound.window.done < settled:
                self._unbalanced.append(_imbalance(outbound, count, min(received, accounted)))
        event.set()


def _is_ours(outbound: Outbound) -> bool:
    return outbound.target.incarnation == CONTROLLER_INCARNATION


def _imbalance(outbound: Outbound, sent: int, accounted: int) -> Imbalance:
    return Imbalance(outbound.source.address.name, outbound.target.name, sent, accounted)


def _compare_here(outbound: Outbound, inbound: Inbound) -> list[Imbalance]:
    settled = inbound.ledger.done
    if settled == outbound.window.sent or _may_hold(inbound):
        return []
    return [_imbalance(outbound, outbound.window.sent, settled)]


def _may_hold(inbound: Inbound) -> bool:
    """Whether messages that are not settled may be in its cell's hands."""
    return inbound.cell is not None and not inbound.cell.empty_handed
