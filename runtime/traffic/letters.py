"""The dead letters of one process, and at the controller those of the whole tree.

A sender notes what it had sent to one that is no more and never heard of again; a receiver notes
tells that it refused, for nobody else hears of that. When a receiver's process ends, both may note
the same message: twice is better than never. Messages are counted, not kept.

Invariants
----------
* The ring holds the last `KEPT` letters; what is alike and follows each other shares one.
* A node tells the controller of its letters within `runtime.traffic.settling.REPORT_S`; at most
  `REPORTED` at a time, and how many messages there were beyond these.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from runtime.address import CONTROLLER
from runtime.messages import envelope as wire
from runtime.messages.accounts import DeadLetter

if TYPE_CHECKING:
    from runtime.traffic.exchange import Exchange
    from runtime.traffic.pair import Inbound, Outbound, Peer

KEPT = 1000
REPORTED = 64
REASON_CHARS = 300
MORE = "more than could be told one by one"
"""The reason in a letter that stands for those: it has no target."""


class Letters:
    """``heard``: told of each letter when it is noted here or reported to here."""

    def __init__(self, exchange: Exchange) -> None:
        self.heard: list[Callable[[DeadLetter], None]] = []
        self._exchange = exchange
        self._kept: deque[tuple[float, DeadLetter]] = deque(maxlen=KEPT)
        self._news: deque[tuple[float, DeadLetter]] = deque()  # not yet reported
        self._more = 0
        exchange.control[wire.Letters] = self._reported

    def __len__(self) -> int:
        return len(self._kept)

    def read(self) -> list[DeadLetter]:
        """Those that are kept, oldest first, with their ages."""
        return _aged(self._kept)

    def undelivered(self, outbound: Outbound, lost: int, reason: str) -> None:
        """``lost`` messages of a pair are not known to have been handled."""
        target = outbound.target
        exchange, source = self._exchange, outbound.source.address.name
        handlers = Counter(
            slot.handler for slot in exchange.pending.values() if slot.outbound is outbound
        )
        handlers.update(
            stream.handler for stream in exchange.streams.values() if stream.outbound is outbound
        )
        del handlers[""]
        for handler, asked in handlers.items():
            count = min(asked, lost)
            lost -= count
            self._note(source, target.name, target.incarnation, handler, reason, count)
        self._note(source, target.name, target.incarnation, "", reason, lost)

    def refused(self, inbound: Inbound, handler: str, count: int, reason: str) -> None:
        """A tell, or a run of them, was not taken in, or is not handled any more."""
        incarnation = inbound.cell.address.incarnation if inbound.cell is not None else 0
        self._note(inbound.source, inbound.target, incarnation, handler[:100], reason, count)

    def _note(
        self, source: str, target: str, incarnation: int, handler: str, reason: str, count: int
    ) -> None:
        if count <= 0 or target == CONTROLLER:
            return
        reason = reason[:REASON_CHARS].encode(errors="backslashreplace").decode()
        letter = DeadLetter(source, target, incarnation, handler, reason, count)
        now = trio.current_time()
        self._keep(letter, now)
        if self._exchange.controller is self._exchange.here:
            return
        if len(self._news) < REPORTED or _alike(self._news[-1][1], letter):
            _append(self._news, letter, now)
        else:
            self._more += count
        self._exchange.report_soon()

    def _keep(self, letter: DeadLetter, at: float) -> None:
        _append(self._kept, letter, at)
        for hear in self.heard:
            hear(letter)

    def report(self) -> None:
        """Tell the controller what is new."""
        if self._news or self._more:
            self._exchange.say(
                self._exchange.controller, wire.Letters(tuple(_aged(self._news)), self._more)
            )
            self._news.clear()
            self._more = 0

    def _reported(self, peer: Peer, letters: wire.Letters, _: Any) -> None:
        now = trio.current_time()
        for letter in letters.letters:
            self._keep(letter, now - letter.age_s)
        if letters.more > 0:
            name = peer.address.name if peer.address is not None else ""
            self._keep(more(name, letters.more), now)


def more(source: str, count: int) -> DeadLetter:
    """Stands for so many messages that could not be told of one by one."""
    return DeadLetter(source, "", 0, "", MORE, count)


def _aged(letters: deque[tuple[float, DeadLetter]]) -> list[DeadLetter]:
    now = trio.current_time()
    return [msgspec.structs.replace(letter, age_s=now - at) for at, letter in letters]


def _alike(one: DeadLetter, other: DeadLetter) -> bool:
    return msgspec.structs.replace(other, count=one.count, age_s=one.age_s) == one


def _append(letters: deque[tuple[float, DeadLetter]], letter: DeadLetter, at: float) -> None:
    """Add it to the last one, if they are alike."""
    if letters and _alike(letters[-1][1], letter):
        first, last = letters[-1]
        letter = msgspec.structs.replace(last, count=last.count + letter.count)
        letters[-1] = first, letter
    else:
        letters.append((at, letter))
