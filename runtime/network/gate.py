"""How many strangers a listening process bears, and what has become of those who knocked.

A stranger is a connection that has not shown yet that it belongs here. Each costs a descriptor
and up to `runtime.wires.splitting.PIECE_BYTES` of memory until it has shown it, or its time is up.
So when there are too many, nobody new is let in until half of them are gone.

libzmq reports that some connection was welcome, but not which one. So strangers are reckoned:
connections younger than a handshake may take, less those that were welcomed in that time.

Invariants
----------
* Pure: events and instants are arguments.
* Who is in, is in: the gate concerns newcomers alone.
* A gate that is shut opens at the latest `HANDSHAKE_S` and a margin after the last newcomer came,
  even if an event should be missed: nobody is a stranger for longer.
"""

from collections import Counter, deque
from typing import Final

MAX_STRANGERS: Final = 96
HANDSHAKE_S: Final = 5.0
_YOUNG_S: Final = HANDSHAKE_S + 1.0


class Gate:
    """Of one process. ``counts``: of ``accepted`` connections, and what became of them."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.is_shut = False
        self._young: dict[int, float] = {}  # when they came, by descriptor, the oldest first
        self._welcomed: deque[float] = deque()  # when, the latest of them
        self._told = False  # why the next one goes

    def strangers(self, now: float) -> int:
        """How many there are."""
        limit = now - _YOUNG_S
        while self._welcomed and self._welcomed[0] < limit:
            self._welcomed.popleft()
        for fd in list(self._young):
            if self._young[fd] >= limit:
                break
            del self._young[fd]
        return max(0, len(self._young) - len(self._welcomed))

    def accepted(self, fd: int, now: float) -> None:
        """A connection has come in."""
        self.counts["accepted"] += 1
        self._young.pop(fd, None)
        self._young[fd] = now

    def welcomed(self, now: float) -> None:
        """One of the strangers is none any more."""
        self.counts["welcomed"] += 1
        self._welcomed.append(now)

    def failed(self, why: str) -> None:
        """The next connection to go has failed, and this is why."""
        self.counts[why] += 1
        self._told = True

    def gone(self, fd: int, now: float) -> None:
        """A connection is no more, a friend's or a stranger's.

        Of who sends what is no frame at all nothing else is reported.
        """
        if not self._told and fd in self._young and self.strangers(now):
            self.counts["no zmtp"] += 1
        self._told = False
        self._young.pop(fd, None)

    def judge(self, now: float) -> bool:
        """Whether the gate must be moved; `is_shut` then says where to."""
        limit = MAX_STRANGERS // 2 if self.is_shut else MAX_STRANGERS
        shut = self.strangers(now) >= limit
        moved = shut is not self.is_shut
        self.is_shut = shut
        if moved and shut:
            self.counts["shut"] += 1
        return moved
