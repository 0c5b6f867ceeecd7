"""What became of messages: the values of which accounts, audits and dead letters are made.

Invariants
----------
* sent = handled + failed + expired + rejected + undelivered + in flight, for a pair, a process
  and a whole system; the terms of those that have ended are kept, and none ever falls.
"""

from __future__ import annotations

import msgspec

Totals = tuple[int, int, int, int, int, int]
"""(sent, handled, failed, expired, rejected, undelivered); what is missing is in flight."""

NOTHING: Totals = (0, 0, 0, 0, 0, 0)


def add(one: Totals, other: Totals) -> Totals:
    """The sum, term by term."""
    a, b, c, d, e, f = one
    g, h, i, j, k, m = other
    return a + g, b + h, c + i, d + j, e + k, f + m


def ended(totals: Totals) -> Totals:
    """The account of a sender that is no more: what was in flight is not known to be handled."""
    sent, handled, failed, expired, rejected, _ = totals
    return sent, handled, failed, expired, rejected, sent - handled - failed - expired - rejected


class Imbalance(msgspec.Struct, frozen=True, array_like=True):
    """A pair whose ends do not agree: of what ``source`` sent, ``accounted`` is accounted for."""

    source: str
    target: str
    sent: int
    accounted: int

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}: sent {self.sent}, accounted {self.accounted}"


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """The accounts of all senders of a system, added up.

    What is asked of the controller (spawn, look up, stop, ...) is left out: that is the runtime's
    own talk. Of a sender that has ended, what was in flight counts as undelivered.

    ``unreported``: how many processes ended without a last account, because they were killed or
    left by ``os._exit``: what these sent after their last beat is not in here. ``silent``: nodes
    that did not answer; their last report is counted. ``unbalanced``: pairs whose ends do not
    agree.
    """

    sent: int
    handled: int
    failed: int
    expired: int
    rejected: int
    undelivered: int
    in_flight: int
    unreported: int = 0
    silent: tuple[str, ...] = ()
    unbalanced: tuple[Imbalance, ...] = ()

    @property
    def balances(self) -> bool:
        """Whether every message is accounted for, as far as can be known."""
        done = self.handled + self.failed + self.expired + self.rejected + self.undelivered
        return self.sent == done + self.in_flight and self.in_flight >= 0 and not self.unbalanced


class DeadLetter(msgspec.Struct, frozen=True, array_like=True):
    """Messages that were accepted for a target and, as far as is known, handled nowhere.

    ``target`` is a name, ``incarnation`` says which of its lives. ``handler`` is empty where it is
    not known. ``age_s``: how long before it was read it was noted.
    """

    source: str
    target: str
    incarnation: int
    handler: str
    reason: str
    count: int
    age_s: float = 0.0
