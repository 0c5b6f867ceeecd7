"""Which unanswered tickets use a node, and which may bring or end it.

Invariants
----------
* A ticket shares at most one id, and owns a set of them.
* Only ids that somebody claims are kept.
* A sharer is in nobody's way but an owner's; an owner is in everybody's. A ticket is
  never in its own way, nor a later one in an earlier one's.
"""

from actors.topology import Id
from shell.ticket import Ticket

Turns = dict[int, Ticket]
"""Tickets by number. Not sorted: a create that is placed anew claims again."""


def turn_before(turns: Turns, seq: int) -> Ticket | None:
    """Return one of the tickets numbered below ``seq``: near the last, if any."""
    for other, ticket in reversed(turns.items()):
        if other < seq:
            return ticket
    return None


class Claims:
    """The claims of all unanswered tickets, by id."""

    def __init__(self) -> None:
        self._owners: dict[Id, Turns] = {}
        self._sharers: dict[Id, Turns] = {}

    def share(self, ticket: Ticket, id: Id) -> bool:
        """``ticket`` uses ``id`` instead of what it used; True if nobody owns that."""
        self.unshare(ticket)
        ticket.shared = id
        sharers = self._sharers.get(id)
        if sharers is None:
            sharers = self._sharers[id] = {}
        sharers[ticket.seq] = ticket
        return id not in self._owners

    def unshare(self, ticket: Ticket) -> None:
        """``ticket`` uses no node."""
        if ticket.shared is not None:
            self._drop(self._sharers, ticket.shared, ticket.seq)
            ticket.shared = None

    def own(self, ticket: Ticket, ids: set[Id]) -> None:
        """``ticket`` owns ``ids`` instead of what it owned."""
        for id in ticket.owned or ():
            self._drop(self._owners, id, ticket.seq)
        for id in ids:
            self._owners.setdefault(id, {})[ticket.seq] = ticket
        ticket.owned = ids

    def release(self, ticket: Ticket) -> None:
        """``ticket`` claims nothing."""
        self.unshare(ticket)
        if ticket.owned is not None:
            self.own(ticket, set())

    def owner_before(self, id: Id, seq: int) -> Ticket | None:
        """One of the earlier owners of ``id``."""
        return turn_before(self._owners.get(id, {}), seq)

    def sharer_before(self, id: Id, seq: int) -> Ticket | None:
        """One of the earlier users of ``id``."""
        return turn_before(self._sharers.get(id, {}), seq)

    def waiting_sharer_before(self, id: Id, seq: int) -> Ticket | None:
        """One of the earlier users of ``id`` that have not started."""
        sharers = self._sharers.get(id, {})
        return turn_before({turn: each for turn, each in sharers.items() if not each.ready}, seq)

    def _drop(self, turns: dict[Id, Turns], id: Id, seq: int) -> None:
        tickets = turns[id]
        del tickets[seq]
        if not tickets:
            del turns[id]
