"""Backpressure of one stream, at both of its ends.

The consumer grants in totals: so many items and bytes may have been sent since the stream was
opened. It grants again whenever it has taken a quarter of the window, so a lost or doubled grant
does no harm, and nobody sends a message an item. A stream is one message in the accounts of its
pair, see `runtime.traffic.credit`; its items are counted here alone.

Invariants
----------
* At most `WINDOW_ITEMS` items and `WINDOW_BYTES` bytes are on their way or wait to be taken, at
  first `FIRST_ITEMS` and `FIRST_BYTES`; or one larger item, beside not more than `SMALL_BYTES`.
* Never do both ends wait: a consumer that has taken everything has told so, but for
  `SMALL_BYTES` and a quarter of the items; the source takes no notice of so little.
* Grants only grow. One that says less than an earlier one changes nothing.

Source: credit-based flow control as in HTTP/2 (RFC 9113, 5.2), counted from *taken*.
"""

WINDOW_ITEMS = 1024
WINDOW_BYTES = 4 * 1024 * 1024
FIRST_ITEMS = 64
FIRST_BYTES = 256 * 1024
SMALL_BYTES = 64 * 1024


class ItemWindow:
    """The source's end: what it may send."""

    __slots__ = ("bytes", "bytes_sent", "items", "sent")

    def __init__(self) -> None:
        self.items, self.bytes = FIRST_ITEMS, FIRST_BYTES
        self.sent = self.bytes_sent = 0

    def has_room(self, size: int) -> bool:
        """Whether an item of ``size`` bytes may leave now."""
        if self.sent >= self.items:
            return False
        if self.bytes_sent + size <= self.bytes:
            return True
        return self.bytes_sent - max(0, self.bytes - WINDOW_BYTES) <= SMALL_BYTES

    def spend(self, size: int) -> None:
        """Count an item of ``size`` bytes as sent."""
        self.sent += 1
        self.bytes_sent += size

    def grant(self, items: int, bytes: int) -> None:
        """So many may have been sent in all."""
        self.items = max(self.items, items)
        self.bytes = max(self.bytes, bytes)


class ItemLedger:
    """The consumer's end: what it has taken, and what it has told of that."""

    __slots__ = ("_due", "_due_bytes", "_told_bytes", "taken", "taken_bytes")

    def __init__(self) -> None:
        self.taken = self.taken_bytes = 0
        self._told_bytes = 0
        self._due, self._due_bytes = FIRST_ITEMS // 2, FIRST_BYTES // 2

    def take(self, size: int) -> bool:
        """Count an item as taken; True when it is time to grant."""
        self.taken += 1
        self.taken_bytes += size
        return self.taken >= self._due or self.taken_bytes >= self._due_bytes

    @property
    def behind(self) -> bool:
        """Whether a source that waits could not know that everything has been taken."""
        return self.taken_bytes - self._told_bytes > SMALL_BYTES

    def grant(self) -> tuple[int, int]:
        """(items, bytes) that may have been sent in all, from now on."""
        self._told_bytes = self.taken_bytes
        self._due = self.taken + WINDOW_ITEMS // 4
        self._due_bytes = self.taken_bytes + WINDOW_BYTES // 4
        return self.taken + WINDOW_ITEMS, self.taken_bytes + WINDOW_BYTES
