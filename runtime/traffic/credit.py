"""Backpressure and accounts of one pair of cells, at both of its ends.

The sender owns the account. It may have so many messages and bytes in flight; a credit
grant, or a reply, brings cumulative counts of what became of them and so frees room. A
lost report does no harm: the next one says it all again.

Invariants
----------
* At every instant, for the sender: sent = handled + failed + expired + rejected +
  undelivered + in flight; no term is negative, none but in flight ever falls.
* At most ``messages`` and ``bytes`` are in flight, or one message of any size.
* Counts are totals; a report that is older than one already seen changes nothing.
* The receiver's ledger reports after min(64, half the window) messages, or when asked.

Source: credit-based flow control as in HTTP/2 (RFC 9113, 5.2), counted from *handled*.
"""

import enum

from runtime.messages.accounts import Totals

WINDOW_MESSAGES = 1024
WINDOW_BYTES = 4 * 1024 * 1024
FIRST_MESSAGES = 64
FIRST_BYTES = 256 * 1024
REPORT_EVERY = 64


class Window:
    """The sender's end: its credit, and its account."""

    __slots__ = (
        "bytes",
        "bytes_limit",
        "bytes_sent",
        "done",
        "done_bytes",
        "expired",
        "failed",
        "handled",
        "limit",
        "messages",
        "rejected",
        "reply_bytes",
        "sent",
        "undelivered",
    )

    def __init__(self) -> None:
        self.messages = FIRST_MESSAGES
        self.bytes = FIRST_BYTES
        self.sent = self.bytes_sent = 0
        self.done = self.done_bytes = 0
        self.handled = self.failed = self.expired = self.rejected = self.undelivered = 0
        self.reply_bytes = 0
        self._fit()

    def _fit(self) -> None:
        """Know how many messages and bytes may have been sent, in all."""
        self.limit = self.done + self.messages
        self.bytes_limit = self.done_bytes + self.bytes

    @property
    def in_flight(self) -> int:
        """Messages of which nothing is known yet."""
        return self.sent - self.done - self.undelivered

    def totals(self) -> Totals:
        """The terms of the account; what is missing of the first is in flight."""
        return (
            self.sent, self.handled, self.failed, self.expired, self.rejected, self.undelivered,
        )  # fmt: skip

    def has_room(self, size: int) -> bool:
        """Whether a message of ``size`` bytes may leave now."""
        if self.sent >= self.limit:
            return False
        if self.bytes_sent + self.reply_bytes + size <= self.bytes_limit:
            return True
        return self.sent == self.done and self.reply_bytes == 0

    def take(self, size: int) -> bool:
        """Spend a message of ``size`` bytes, if it has room."""
        sent = self.bytes_sent + size
        if self.sent < self.limit and sent + self.reply_bytes <= self.bytes_limit:
            self.sent += 1
            self.bytes_sent = sent
            return True
        if self.has_room(size):
            self.spend(size)
            return True
        return False

    def spend(self, size: int) -> None:
        """Count a message of ``size`` bytes as sent."""
        self.sent += 1
        self.bytes_sent += size

    def acknowledge(
        self, handled: int, failed: int, expired: int, rejected: int, done_bytes: int
    ) -> None:
        """Take the receiver's totals over, if they are news and can be true."""
        done = handled + failed + expired + rejected
        if (
            done <= self.done
            or done > self.sent
            or handled < self.handled
            or failed < self.failed
            or expired < self.expired
            or rejected < self.rejected
        ):
            return
        self.handled, self.failed = handled, failed
        self.expired, self.rejected = expired, rejected
        self.done = done
        if done_bytes > self.done_bytes:
            sent = self.bytes_sent
            self.done_bytes = done_bytes if done_bytes < sent else sent
        self.limit = done + self.messages
        self.bytes_limit = self.done_bytes + self.bytes

    def grant(self, messages: int, bytes: int) -> None:
        """Change how much may be in flight. At least one message always may."""
        self.messages = max(1, messages)
        self.bytes = max(1, bytes)
        self._fit()

    def close(self) -> int:
        """The receiver is no more: what is in flight becomes undelivered. How many that are."""
        lost = self.in_flight
        self.undelivered += lost
        return lost


class Fate(enum.IntEnum):
    """What became of a message, in the order of the counts."""

    HANDLED = 0
    FAILED = 1
    EXPIRED = 2
    REJECTED = 3


class Ledger:
    """The receiver's end: what became of the messages of one pair."""

    __slots__ = (
        "bytes",
        "done_bytes",
        "expired",
        "failed",
        "handled",
        "messages",
        "rejected",
        "report_every",
        "unreported",
        "unreported_bytes",
    )

    def __init__(self) -> None:
        self.handled = self.failed = self.expired = self.rejected = 0
        self.done_bytes = 0
        self.unreported = self.unreported_bytes = 0
        self.grant(FIRST_MESSAGES, FIRST_BYTES)

    def grant(self, messages: int, bytes: int) -> None:
        """Note the window that the sender has been, or is about to be, given."""
        self.messages, self.bytes = messages, bytes
        self.report_every = max(1, min(REPORT_EVERY, messages // 2))

    def close(self, fate: Fate, size: int, count: int = 1) -> bool:
        """Count the fate of a message, or of a run of them; True when it is time to report."""
        if fate == 0:
            self.handled += count
        elif fate == 1:
            self.failed += count
        elif fate == 2:
            self.expired += count
        else:
            self.rejected += count
        self.done_bytes += size
        self.unreported += count
        self.unreported_bytes += size
        return self.due

    @property
    def done(self) -> int:
        """How many messages have their fate."""
        return self.handled + self.failed + self.expired + self.rejected

    @property
    def due(self) -> bool:
        """Whether it is time to report."""
        return self.unreported >= self.report_every or self.unreported_bytes * 2 >= self.bytes

    def report(self) -> tuple[int, int, int, int, int]:
        """(handled, failed, expired, rejected, done_bytes): all is reported with this."""
        self.unreported = self.unreported_bytes = 0
        return self.handled, self.failed, self.expired, self.rejected, self.done_bytes


def share(senders: int, messages: int, bytes: int) -> tuple[int, int]:
    """The window of each of ``senders``, for a mailbox of so many messages and bytes.

    Half of the mailbox is kept for senders that nobody has heard of yet.
    """
    each = max(1, senders)
    return (
        min(WINDOW_MESSAGES, max(1, messages // (2 * each))),
        min(WINDOW_BYTES, max(1, bytes // (2 * each))),
    )
