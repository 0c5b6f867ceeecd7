"""Where nodes are, and where they will be when all creates are answered.

Unanswered creates are taken to succeed. Each new one gets its parent from the topology,
which is shown the places of all earlier lines, answered or not.

Invariants
----------
* ``ticket.parent`` of a create is None while an earlier line has, or may have, its id.
* The parent of a create that has started never changes.
* After a create has failed or a subtree is gone, the creates of later lines that have
  not started have the parents they would have had if it had never been.
* `subtree` misses nothing that an earlier create may still put there.
"""

from collections.abc import Iterable

from actors.topology import Topology
from shell.commands import Create
from shell.ticket import Ticket


class Forecast:
    """The places: settled ones, and those of unanswered creates."""

    def __init__(self, topology: Topology, places: Iterable[tuple[int, int]]) -> None:
        self._topology = topology
        self._settled: dict[int, int] = dict(places)
        self._ranks: dict[int, int] = {id: n for n, id in enumerate(self._settled, 1)}
        self._expected: dict[int, int] = dict(self._settled)  # in order of lines
        self._creates: dict[int, Ticket] = {}
        self.last_rank = len(self._ranks)

    def rank(self, id: int) -> int | None:
        """The number of the line that created ``id``; None: not settled."""
        return self._ranks.get(id)

    def add(self, ticket: Ticket) -> int | None:
        """Place a create; return the parent it will use as far as can be told."""
        self._creates[ticket.seq] = ticket
        return self._place(ticket)

    def settle(self, ticket: Ticket, *, grown: bool) -> None:
        """A create was answered; if it has not ``grown``, call `later_creates`."""
        del self._creates[ticket.seq]
        command = ticket.command
        if grown and isinstance(command, Create) and ticket.parent is not None:
            self._settled[command.id] = ticket.parent
            self._ranks[command.id] = ticket.seq

    def forget(self, ids: Iterable[int]) -> None:
        """These nodes are gone; call `later_creates`."""
        for id in ids:
            if self._settled.pop(id, None) is not None:
                del self._ranks[id]

    def place_anew(self, seq: int) -> list[tuple[Ticket, int | None]]:
        """Place the creates after ``seq`` that have not started; return them as `add` does."""
        turns: list[tuple[int, int]] = [(rank, id) for id, rank in self._ranks.items()]
        turns += ((turn, -1) for turn in self._creates)
        self._expected.clear()
        placed: list[tuple[Ticket, int | None]] = []
        for turn, id in sorted(turns):
            create = self._creates.get(turn)
            if create is None:
                self._expected[id] = self._settled[id]
            elif create.ready or turn < seq:
                self._expect(create)
            else:
                placed.append((create, self._place(create)))
        return placed

    def subtree(self, id: int, seq: int) -> set[int]:
        """``id`` and all that is, or may be, below it when turn ``seq`` comes."""
        children: dict[int, list[int]] = {}
        for child, parent in self._settled.items():
            children.setdefault(parent, []).append(child)
        for create in self._creates.values():
            if create.seq < seq and create.shared is not None and create.owned:
                children.setdefault(create.shared, []).extend(create.owned)
        found = {id}
        ahead = [id]
        while ahead:
            for child in children.get(ahead.pop(), ()):
                if child not in found:
                    found.add(child)
                    ahead.append(child)
        return found

    def _place(self, ticket: Ticket) -> int | None:
        command = ticket.command
        assert isinstance(command, Create)
        if command.id in self._expected:
            # The id may be free by then. A parent that was named will be the same.
            ticket.parent = None
            return command.parent
        places = list(self._expected.items())
        ticket.parent = self._topology.parent(command.id, command.parent, places)
        self._expect(ticket)
        return ticket.parent

    def _expect(self, ticket: Ticket) -> None:
        if ticket.parent is not None and isinstance(ticket.command, Create):
            self._expected[ticket.command.id] = ticket.parent
