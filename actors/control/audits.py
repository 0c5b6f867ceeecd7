"""The accounts of a whole system, reconciled by its controller.

Every living node is asked for its account as it is now; one that does not answer, for it is frozen,
cut off or busy, is taken by the last row that climbed with the beats. So are the dead, but those
who said a last account when they ended.

Invariants
----------
* An audit takes at most `ANSWERS_S`.
* Each incarnation of a process is counted once; those that ended are counted for ever, the last
  `DEAD_KEPT` by themselves, all before them as a sum.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

import trio

from runtime.messages import envelope as wire
from runtime.messages.accounts import NOTHING, Audit, DeadLetter, Imbalance, add, ended
from runtime.traffic.letters import more

if TYPE_CHECKING:
    from actors.control.nodes import Nodes
    from actors.supervision.record import Happened, Record
    from runtime.traffic.exchange import Exchange
    from runtime.traffic.pair import Peer

ANSWERS_S = 1.0
DEAD_KEPT = 10_000
LETTERS_WAIT = 1000
"""So many letters wait for one who watches; those beyond are summed up."""


class _Round:
    """One audit, while answers are awaited."""

    def __init__(self) -> None:
        self.awaited: dict[int, str] = {}
        self.unbalanced: list[Imbalance] = []
        self.done = trio.Event()

    def settle(self, incarnation: int) -> None:
        """Await nothing of that process any more."""
        self.awaited.pop(incarnation, None)
        if not self.awaited:
            self.done.set()


class Audits:
    """Of one system."""

    def __init__(self, nodes: Nodes, exchange: Exchange) -> None:
        self._nodes = nodes
        self._exchange = exchange
        self._rounds: dict[int, _Round] = {}
        self._dead: deque[int] = deque()  # incarnations of processes that were up and have ended
        self._last: set[int] = set()  # who has said a last account
        self._folded = NOTHING
        self._folded_unreported = 0
        exchange.control[wire.Account] = self._account
        nodes.listeners.append(self._happened)

    async def audit(self) -> Audit:
        """Every account there is, added up."""
        exchange = self._exchange
        number = exchange.next_id()
        round = self._rounds[number] = _Round()
        silent = []
        for record in self._living():
            assert record.peer is not None
            if record.verdict in ("frozen", "cut off"):
                silent.append(record.name)
            else:
                round.awaited[record.incarnation] = record.name
                exchange.say(record.peer, wire.Audit(number))
        own = exchange.books.totals()
        unbalanced: tuple[Imbalance, ...] = ()
        try:
            with trio.move_on_after(ANSWERS_S):
                own, unbalanced = await exchange.auditing.account()
                if round.awaited:
                    await round.done.wait()
        finally:
            del self._rounds[number]
        silent += round.awaited.values()
        totals = add(own, self._folded)
        living = {record.incarnation for record in self._living()}
        for incarnation, row in exchange.books.rows.items():
            totals = add(totals, row if incarnation in living else ended(row))
        sent, handled, failed, expired, rejected, undelivered = totals
        return Audit(
            sent=sent,
            handled=handled,
            failed=failed,
            expired=expired,
            rejected=rejected,
            undelivered=undelivered,
            in_flight=sent - sum(totals[1:]),
            unreported=self._folded_unreported + len(set(self._dead) - self._last),
            silent=tuple(silent),
            unbalanced=(*unbalanced, *round.unbalanced),
        )

    def _living(self) -> list[Record]:
        """Those whose processes have been heard of and are not known to be dead."""
        return [
            record
            for record in self._nodes.records.values()
            if record.peer is not None and not record.spec.local and not record.gone.is_set()
        ]

    def _account(self, peer: Peer, account: wire.Account, _: Any) -> None:
        if peer.address is None:
            return
        incarnation = peer.address.incarnation
        self._exchange.books.take((incarnation, *account.totals))
        if not account.number:
            self._last.add(incarnation)
            record = self._nodes.roll.incarnation(incarnation)
            if record is None or not record.started:  # nobody will hear that it died
                self._fold(incarnation)
        elif (round := self._rounds.get(account.number)) is not None:
            round.unbalanced += account.unbalanced
            round.settle(incarnation)

    def _happened(self, happened: Happened) -> None:
        record = self._nodes.roll.incarnation(happened.incarnation)
        if happened.what != "died" or record is None or record.spec.local:
            return
        for round in self._rounds.values():
            round.settle(happened.incarnation)
        self._dead.append(happened.incarnation)
        if len(self._dead) > DEAD_KEPT:
            self._fold(self._dead.popleft())

    def _fold(self, incarnation: int) -> None:
        self._folded = add(self._folded, ended(self._exchange.books.rows.pop(incarnation, NOTHING)))
        self._folded_unreported += incarnation not in self._last
        self._last.discard(incarnation)

    # -- dead letters

    async def dead_letters(self) -> list[DeadLetter]:
        """The last ones of the whole tree, as they are now."""
        await self.audit()  # whoever answers tells of its letters first
        return self._exchange.letters.read()

    async def watch_dead_letters(self) -> AsyncGenerator[DeadLetter | None, None]:
        """None, once it watches; then every letter that comes."""
        letters = self._exchange.letters
        waiting: deque[DeadLetter] = deque()
        missed = 0
        came = trio.Event()

        def hear(letter: DeadLetter) -> None:
            nonlocal missed
            if len(waiting) < LETTERS_WAIT:
                waiting.append(letter)
            else:
                missed += letter.count
            came.set()

        letters.heard.append(hear)
        try:
            yield None
            while True:
                await came.wait()
                came = trio.Event()
                while waiting:
                    yield waiting.popleft()
                if missed:
                    count, missed = missed, 0
                    yield more("", count)
        finally:
            letters.heard.remove(hear)
