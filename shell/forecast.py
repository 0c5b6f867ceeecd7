"""Where nodes are, and where they will be when all earlier lines are answered.

Unanswered creates are taken to succeed, unanswered removes to take all that is expected
below. Each new create gets its parent from the topology, which is shown the places that
are expected when its line comes.

Invariants
----------
* ``ticket.parent`` of a create is None while an earlier line has, or may have, its id.
* The parent of a create that has started never changes.
* After a create has failed or a subtree is gone, the creates of later lines that have
  not started have the parents they would have had if it had never been.
* What came or went without a line of ours is known from the moment at which it is heard of.
* `subtree` misses nothing that an earlier create may still put there.
"""

from collections.abc import Iterable

from actors.topology import Id, Topology
from shell.claims import Turns
from shell.commands import Create, Remove
from shell.ticket import Ticket


class Forecast:
    """The places: settled ones, and those of unanswered creates."""

    def __init__(self, topology: Topology, places: Iterable[tuple[Id, Id]]) -> None:
        self._topology = topology
        self.computed = topology.parent(0, 1, ()) != 1  # from the places, not as wanted
        self._settled: dict[Id, Id] = dict(places)
        self._ranks: dict[Id, float] = {id: n for n, id in enumerate(self._settled, 1)}
        self._expected: dict[Id, Id] = dict(self._settled)  # in order of lines
        self._creates: Turns = {}
        self._removes: Turns = {}
        self.last_rank = len(self._ranks)

    def rank(self, id: Id) -> float | None:
        """The number of the line that created ``id``; None: not settled."""
        return self._ranks.get(id)

    def add(self, create: Ticket) -> Id | None:
        """Place a create; return the parent it will use as far as can be told."""
        self._creates[create.seq] = create
        return self._place(create)

    def add_remove(self, remove: Ticket) -> set[Id]:
        """Expect a subtree to go; return all ids that it may have."""
        self._removes[remove.seq] = remove
        self._expect_without(remove)
        return self.subtree(remove)

    def settle(self, ticket: Ticket, *, grown: bool) -> None:
        """A create was answered; if it has not ``grown``, call `place_anew`."""
        del self._creates[ticket.seq]
        command = ticket.command
        if grown and isinstance(command, Create) and ticket.parent is not None:
            self._settled[command.id] = ticket.parent
            self._ranks[command.id] = ticket.seq

    def settle_remove(self, ticket: Ticket, *, gone: bool) -> None:
        """A remove was answered; if its nodes are ``gone``, call `place_anew`."""
        del self._removes[ticket.seq]
        if gone and isinstance(ticket.command, Remove):
            for id in _below(ticket.command.id, _children(self._settled)):
                self._settled.pop(id, None)
                self._ranks.pop(id, None)

    def learn(self, id: Id, parent: Id, rank: float) -> None:
        """A node is there: if no create has brought it, it came after the line before ``rank``."""
        if id not in self._settled and not any(
            isinstance(each.command, Create) and each.command.id == id
            for each in self._creates.values()
        ):
            self._settled[id] = self._expected[id] = parent
            self._ranks[id] = rank

    def forget(self, id: Id) -> bool:
        """A node is gone; True: creates may have been placed with it in mind, call `place_anew`.

        What an unanswered remove takes along is settled with it.
        """
        if id not in self._settled or any(id in (r.owned or ()) for r in self._removes.values()):
            return False
        del self._ranks[id], self._settled[id]
        self._expected.pop(id, None)
        return bool(self._creates)

    def place_anew(self, seq: int) -> list[tuple[Ticket, Id | None]]:
        """Place the creates after ``seq`` that have not started; return them as `add` does."""
        turns: list[tuple[float, Id | None]] = [(rank, id) for id, rank in self._ranks.items()]
        turns += ((turn, None) for turn in (*self._creates, *self._removes))
        self._expected.clear()
        placed: list[tuple[Ticket, Id | None]] = []
        for turn, id in sorted(turns, key=_rank):
            if id is not None:
                self._expected[id] = self._settled[id]
            elif (remove := self._removes.get(int(turn))) is not None:
                self._expect_without(remove)
            else:
                create = self._creates[int(turn)]
                if create.ready or turn < seq:
                    self._expect(create)
                else:
                    placed.append((create, self._place(create)))
        return placed

    def process(self, id: Id) -> set[Id]:
        """The id, and the local cells that live and die with it."""
        cells = (each for each in self._settled if str(each).startswith(f"{id}/"))
        return {id, *cells} if isinstance(id, str) else {id}

    def subtree(self, remove: Ticket) -> set[Id]:
        """The id and all that is, or may be, below it when the turn comes."""
        assert isinstance(remove.command, Remove)
        children = _children(self._settled)
        for create in self._creates.values():
            if create.seq < remove.seq and create.shared is not None and create.owned:
                children.setdefault(create.shared, []).extend(create.owned)
        return _below(remove.command.id, children)

    def _place(self, ticket: Ticket) -> Id | None:
        command = ticket.command
        assert isinstance(command, Create)
        taken = command.id in self._expected
        places = self._without(command.id) if taken else list(self._expected.items())
        parent = self._topology.parent(command.id, command.parent, places)
        ticket.parent = None if taken else parent
        self._expect(ticket)
        return parent

    def _without(self, id: Id) -> list[tuple[Id, Id]]:
        """The places as they will be if who holds ``id`` goes, with all below it."""
        gone = _below(id, _children(self._expected))
        return [place for place in self._expected.items() if place[0] not in gone]

    def _expect_without(self, remove: Ticket) -> None:
        if isinstance(remove.command, Remove) and remove.command.id in self._expected:
            self._expected = dict(self._without(remove.command.id))

    def _expect(self, ticket: Ticket) -> None:
        if ticket.parent is not None and isinstance(ticket.command, Create):
            self._expected[ticket.command.id] = ticket.parent


def _rank(turn: tuple[float, Id | None]) -> float:
    return turn[0]


def _children(parents: dict[Id, Id]) -> dict[Id, list[Id]]:
    children: dict[Id, list[Id]] = {}
    for child, parent in parents.items():
        children.setdefault(parent, []).append(child)
    return children


def _below(id: Id, children: dict[Id, list[Id]]) -> set[Id]:
    found = {id}
    ahead = [id]
    while ahead:
        for child in children.get(ahead.pop(), ()):
            if child not in found:
                found.add(child)
                ahead.append(child)
    return found
