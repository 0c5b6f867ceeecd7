"""When a node's silence is reported, and when its return.

Nodes beat all the time and the runtime has its own verdicts; this decides what the
person who ordered ``heartbeat MS`` gets to read. It is told the order and the
`Change` events, and is asked what is due.

Invariants
----------
* An outage is reported once, 4 x period after the later of the last beat, the order
  and the node's creation. A dead node is a silent one; a forgotten one is not.
* A return is reported only for a reported outage. A new order forgets the reports.
* With ``roll_call``: one `BEAT` a node and period, none while the node is silent, and
  `LOST` again every 5 x period. Ticks that were missed are not made up.
* Time is an argument, in seconds. This module never reads a clock.
"""

import enum
import math
from typing import Final

import msgspec

from actors.topology import Id

SILENCE_PERIODS: Final = 4
REPEAT_PERIODS: Final = 5


class Created(msgspec.Struct, frozen=True):
    """A node came up at ``at``: a first life or a next one."""

    id: Id
    at: float


class Silenced(msgspec.Struct, frozen=True):
    """A node fell silent; its last beat came at ``at``."""

    id: Id
    at: float


class Heard(msgspec.Struct, frozen=True):
    """A silent node was heard again at ``at``."""

    id: Id
    at: float


class Died(msgspec.Struct, frozen=True):
    """A node is dead; its last sign of life came at ``at``."""

    id: Id
    at: float


class Forgotten(msgspec.Struct, frozen=True):
    """A node was removed at ``at``."""

    id: Id
    at: float


Change = Created | Silenced | Heard | Died | Forgotten


class Sign(enum.Enum):
    """What there is to say of a node."""

    BEAT = "beat"
    LOST = "lost"
    BACK = "back"


class Notice(msgspec.Struct, frozen=True):
    """One thing to print."""

    id: Id
    sign: Sign


class _Watched:
    """One node: since when it lives, since when it is silent, when to say so."""

    __slots__ = ("created_at", "due_at", "reported", "silent_since")

    def __init__(self, created_at: float) -> None:
        self.created_at = created_at
        self.silent_since: float | None = None
        self.due_at = math.inf
        self.reported = False


class Heartbeat:
    """The reports of one order after another; none before the first."""

    def __init__(self, *, roll_call: bool = False) -> None:
        self._roll_call = roll_call
        self._nodes: dict[Id, _Watched] = {}
        self._period_s = 0.0
        self._ordered_at = 0.0
        self._tick_at = math.inf

    def order(self, period_s: float, now: float) -> None:
        """Report silences of 4 x ``period_s`` from now on; 0.0 ends the reports."""
        self._period_s = period_s
        self._ordered_at = now
        self._tick_at = now + period_s if self._roll_call and period_s else math.inf
        for node in self._nodes.values():
            node.reported = False
            self._schedule(node)

    def hear(self, change: Change) -> list[Notice]:
        """Take note of a change; return what it makes due at once."""
        if isinstance(change, Forgotten):
            self._nodes.pop(change.id, None)
            return []
        node = self._nodes.get(change.id)
        if node is None:
            node = self._nodes[change.id] = _Watched(change.at)
        if isinstance(change, Silenced | Died):
            if node.silent_since is None:
                node.silent_since = change.at
                self._schedule(node)
            return []
        if isinstance(change, Created):
            node.created_at = change.at
        back = node.reported
        node.silent_since = None
        node.reported = False
        node.due_at = math.inf
        return [Notice(change.id, Sign.BACK)] if back else []

    def due(self, now: float) -> list[Notice]:
        """Return what is to be printed at ``now``, and count it as printed."""
        notices: list[Notice] = []
        tick = self._tick_at <= now
        if tick:
            missed = math.floor((now - self._tick_at) / self._period_s)
            self._tick_at += (missed + 1) * self._period_s
        for id, node in self._nodes.items():
            if node.due_at <= now:
                notices.append(Notice(id, Sign.LOST))
                node.reported = True
                repeat_s = REPEAT_PERIODS * self._period_s if self._roll_call else math.inf
                node.due_at = now + repeat_s
            elif tick and node.silent_since is None:
                notices.append(Notice(id, Sign.BEAT))
        return notices

    def next_at(self) -> float:
        """The next instant at which something may be due; infinity for never."""
        silences = (node.due_at for node in self._nodes.values())
        return min(self._tick_at, min(silences, default=math.inf))

    def _schedule(self, node: _Watched) -> None:
        node.due_at = math.inf
        if self._period_s and node.silent_since is not None:
            since = max(node.silent_since, self._ordered_at, node.created_at)
            node.due_at = since + SILENCE_PERIODS * self._period_s
