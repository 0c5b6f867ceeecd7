"""The books of one process: the sum of its senders' accounts, and what climbs with the beats.

A pair's account is its sender's (`runtime.traffic.credit`). When a pair closes, its terms are added
to a running total. Every beat carries rows of (incarnation of a process, its totals): the node's
own and those of its wards, whenever they have changed. Rows and not sums climb, so that a ward that
changes its guardian is not counted twice, and the last row of a dead one is not lost.

Invariants
----------
* To close a pair costs the same however many there are; a beat costs one look at each open pair.
* Totals of an incarnation only grow: of two rows the larger is the newer one.
* A row climbs until the guardian has heard it; at most `ROWS` a beat.
* What is asked of the controller is in nobody's books.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runtime.address import CONTROLLER_INCARNATION
from runtime.messages.accounts import NOTHING, Totals, add

if TYPE_CHECKING:
    from runtime.traffic.exchange import Exchange
    from runtime.traffic.pair import Outbound

ROWS = 256
KNOWN = 20_000
"""So many processes' rows are kept at most."""
_WIDTH = 7


class Books:
    """``rows``: of others, by incarnation; at a node, what has yet to climb."""

    def __init__(self, exchange: Exchange) -> None:
        self.rows: dict[int, Totals] = {}
        self._exchange = exchange
        self._closed = NOTHING
        self._heard = NOTHING  # our own, that our guardian has heard
        self._sent: tuple[int, dict[int, Totals]] = 0, {}  # with the last beat

    def close(self, outbound: Outbound) -> None:
        """The pair is closed, and its account with it."""
        if outbound.target.incarnation != CONTROLLER_INCARNATION:
            self._closed = add(self._closed, outbound.window.totals())

    def totals(self) -> Totals:
        """Of all pairs that ever led away from this process."""
        sent, handled, failed, expired, rejected, undelivered = self._closed
        for outbound in self._exchange.outbounds.values():
            if outbound.target.incarnation != CONTROLLER_INCARNATION:
                window = outbound.window
                sent += window.sent
                handled += window.handled
                failed += window.failed
                expired += window.expired
                rejected += window.rejected
                undelivered += window.undelivered
        return sent, handled, failed, expired, rejected, undelivered

    def beat(self, number: int) -> tuple[int, ...]:
        """What climbs with the beat of this number."""
        rows: dict[int, Totals] = {}
        own = self.totals()
        if own != self._heard:
            rows[self._exchange.address.incarnation] = own
        for incarnation, totals in self.rows.items():
            if len(rows) >= ROWS:
                break
            rows[incarnation] = totals
        self._sent = number, rows
        return tuple(each for row in rows.items() for each in (row[0], *row[1]))

    def heard(self, number: int) -> None:
        """The guardian has heard that beat."""
        if self._sent[0] != number:
            return
        for incarnation, totals in self._sent[1].items():
            if incarnation == self._exchange.address.incarnation:
                self._heard = totals
            elif self.rows.get(incarnation) is totals:
                del self.rows[incarnation]

    def begin_anew(self) -> None:
        """There is another guardian, and the last one may have kept what it heard to itself."""
        self._heard = NOTHING

    def take(self, counts: Sequence[int]) -> None:
        """Keep what came with a ward's beat. What is no row is nothing."""
        for start in range(0, len(counts) - _WIDTH + 1, _WIDTH):
            incarnation, sent, handled, failed, expired, rejected, undelivered = counts[
                start : start + _WIDTH
            ]
            self.keep(incarnation, (sent, handled, failed, expired, rejected, undelivered))

    def keep(self, incarnation: int, totals: Totals) -> None:
        """Keep a row, if it is news."""
        known = self.rows.get(incarnation)
        if sum(totals) > sum(known or NOTHING) and (known or len(self.rows) < KNOWN):
            self.rows[incarnation] = totals
