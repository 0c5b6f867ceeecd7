"""Who listens to whose beats: the controller's orders to guardians and wards.

The table of places says who is whose guardian; this tells them, and takes a silent
guardian's wards over until it is heard again.

Invariants
----------
* Every living node is listened to by one that is not known to be silent.
* Every order carries the number that the table gave it.
"""

from __future__ import annotations

from collections.abc import Callable

from actors.supervision.places import Change
from actors.supervision.record import Record
from actors.supervision.roll import Roll
from runtime.address import CONTROLLER, Address
from runtime.detection.guard import BEAT_S, Guard
from runtime.messages import envelope as wire
from runtime.processes.evidence import Look
from runtime.traffic.exchange import Exchange

LAST = 1 << 62
"""No guardianship has a higher number."""


class Guardians:
    """The controller's own guard, and its word to all others."""

    def __init__(
        self,
        exchange: Exchange,
        roll: Roll,
        report: Callable[[wire.Verdict], None],
        look: Look,
    ) -> None:
        self.guard = Guard(exchange, report, look)
        self.beat_s = BEAT_S
        self._exchange = exchange
        self._roll = roll
        self._places = roll.places
        self._records = roll.records

    def stand_in(self, guardian: Record) -> None:
        """Listen to the wards of one that is silent itself; give them back when it is heard.

        And to those of the cells in its process.
        """
        for its in self._process_of(guardian):
            for name in self._places.wards(its):
                ward = self._records[name]
                if not ward.started or ward.gone.is_set():
                    continue
                if guardian.verdict == "ok":
                    self.guard.unguard(ward.sequence + 1, ward.incarnation)
                self.assign(its, ward)

    def _process_of(self, node: Record) -> list[str]:
        cells = [cell.name for cell in self._roll.locals_of(node) if self._roll.holds(cell)]
        return [node.name, *cells]

    def _silent(self, guardian: str) -> bool:
        """Whether its process is known not to be heard at present."""
        node = self._records.get(guardian.partition("/")[0])
        return node is not None and node.verdict != "ok"

    def address_of(self, name: str) -> Address:
        return self._exchange.address if name == CONTROLLER else self._records[name].address

    def assign(self, guardian: str, record: Record) -> None:
        """Its guardian listens to it, or the controller as long as that is silent itself."""
        if record.spec.local:
            return  # it beats with its process, or not at all
        if guardian == CONTROLLER or self._silent(guardian):
            self.guard.guard(record.sequence, record.address, record.pid)
            return
        peer = self._exchange.peer(self.address_of(guardian).endpoint)
        self._exchange.say(peer, wire.Guard(record.sequence, record.address, record.pid))

    def change(self, change: Change) -> None:
        """Tell the child, its new guardian and the one before."""
        record = self._records[change.child]
        if record.incarnation != change.incarnation or record.spec.local:
            return
        record.sequence = change.number
        if record.peer is not None:
            to = self.address_of(change.guardian)
            self._exchange.say(record.peer, wire.Guardian(change.number, to))
        if not record.started:
            return  # its guardian listens once it is up
        unguard = wire.Unguard(change.number, change.incarnation)
        if change.guardian != CONTROLLER:  # it may have stood in for the one before
            self.guard.unguard(change.number, change.incarnation)
        if change.previous not in ("", CONTROLLER) and self._places.lives(change.previous):
            previous = self._exchange.peer(self.address_of(change.previous).endpoint)
            self._exchange.say(previous, unguard)
        self.assign(change.guardian, record)

    def pace(self, beat_s: float) -> None:
        """Everybody beats every ``beat_s`` seconds from now on."""
        self.beat_s = beat_s
        self.guard.pace(beat_s)
        for record in self._records.values():
            if record.peer is not None and not record.gone.is_set():
                self._exchange.say(record.peer, wire.Pace(beat_s))

    def release(self, record: Record) -> None:
        """Nobody listens to it any more: it is dead."""
        self.guard.unguard(LAST, record.incarnation)
        if record.name not in self._places or record.spec.local:
            return
        guardian = self._places.guardian(record.name)
        if guardian != CONTROLLER and self._places.lives(guardian):
            peer = self._exchange.peer(self.address_of(guardian).endpoint)
            self._exchange.say(peer, wire.Unguard(LAST, record.incarnation))
