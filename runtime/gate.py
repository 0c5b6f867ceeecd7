"""How many strangers a listening process bears, and what has become of those who knocked.

A stranger is a connection that has not shown yet that it belongs here. Each costs a descriptor
and up to `runtime.splitting.PIECE_BYTES` of memory until it has shown it, or its time is up. So
when there are too many, nobody new is let in until half of them are gone.

Invariants
----------
* Pure: events and instants are arguments.
* Who is in, is in: the gate concerns newcomers alone.
* A gate that has closed opens again within `HANDSHAKE_S` and a margin of the last newcomer, even
  if an event should be missed: nobody is a stranger for longer.
"""

from collections import Counter, deque
from typing import Final

MAX_STRANGERS: Final = 96
HANDSHAKE_S: Final = 5.0
_MARGIN_S: Final = 1.0


class Gate:
    """Of one process. ``counts``: of ``accepted`` connections, and what came of them."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.is_shut = False
        self._knocked: deque[float] = deque()  # when, the latest of them
        self._open = 0  # strangers, by the events

    def strangers(self, now: float) -> int:
        """How many there are."""
        while self._knocked and self._knocked[0] < now - HANDSHAKE_S - _MARGIN_S:
            self._knocked.popleft()
        self._open = min(self._open, len(self._knocked))
        return self._open

    def accepted(self, now: float) -> None:
        """A connection has come in."""
        self.counts["accepted"] += 1
        self._knocked.append(now)
        self._open += 1

    def settled(self, what: str) -> None:
        """One of the strangers is none any more, for this reason."""
        self.counts[what] += 1
        self._open = max(0, self._open - 1)

    def judge(self, now: float) -> bool:
        """Whether the gate must be moved, which `is_shut` then says where to."""
        limit = MAX_STRANGERS // 2 if self.is_shut else MAX_STRANGERS
        shut = self.strangers(now) >= limit
        moved = shut is not self.is_shut
        self.is_shut = shut
        if moved and shut:
            self.counts["shut"] += 1
        return moved
