"""Which commands may start, so that only the waiting overlaps.

Commands take effect in the order of their lines. Each one claims what it touches: an
``exec``, ``ping``, ``trace``, ``help``, ``why`` or ``links ID`` shares its node, a ``create``
owns its id and shares its parent, ``kill`` and ``restart`` own one process, ``remove`` a whole
subtree;
``all``, ``tree``, ``links``, ``heartbeat`` look at what those change; a ``sleep``, an ``audit``,
``paths`` or an ``exit`` waits for all. A command starts when no earlier unanswered one
claims the same in a way that could be told apart; so the answers are those of running the
lines one after another.

Where a node will be is known only when all earlier lines are answered. Until then
``shell.forecast`` takes creates and removes to succeed. When one turns out otherwise, later
creates that have not started are placed anew, and later removes claim what else they may
have to end.

Invariants
----------
* A waiting ticket is parked on one earlier unanswered ticket that it conflicts with, and
  is looked at again when that one is answered: nothing is lost, nothing deadlocks.
* What has started is never placed anew: its parent was settled when it started.
* A waiting remove never claims less than before: a later command parked on it would be
  overtaken by its own successors.
* A create whose parent is computed waits for earlier removes until they have started:
  one that does not find its node leaves a parent that was not expected.
* `next` gives tickets in the order of lines among those that may start.
* While a command that waits for all is unanswered nothing is added.
* Adding and finishing an ``exec`` that conflicts with nothing is O(1).
"""

import heapq
from collections.abc import Iterable
from typing import Final

from actors.topology import Id, Topology
from shell.claims import Claims, Turns, turn_before
from shell.commands import (
    CONTROLLER,
    Audit,
    Create,
    Execute,
    Exit,
    Heartbeat,
    Help,
    Kill,
    ListAll,
    Paths,
    Ping,
    Remove,
    Restart,
    ShowLink,
    ShowLinks,
    ShowTree,
    Sleep,
    Trace,
    Why,
)
from shell.forecast import Forecast
from shell.ticket import Ticket

_MUTATORS: Final = (Create, Kill, Remove, Restart)
_OBSERVERS: Final = (ListAll, ShowTree, ShowLinks, Heartbeat)
_BARRIERS: Final = (Sleep, Audit, Paths, Exit)


class Order:
    """The turns of one session's commands.

    ``add`` each command as its line comes, start what ``next`` gives until it gives
    None, and ``finish`` each ticket once.

    Args:
        topology: who is the parent of a new node.
        places: (id, parent) of the nodes that are there already, in order of creation.
    """

    def __init__(self, topology: Topology, places: Iterable[tuple[Id, Id]] = ()) -> None:
        self._forecast = Forecast(topology, places)
        self._last = self._forecast.last_rank
        self._claims = Claims()
        self._mutators: Turns = {}
        self._observers: Turns = {}
        self._removes: Turns = {}  # those that have not started
        self._barrier: Ticket | None = None
        self._ready: list[Ticket] = []
        self.unanswered = 0

    @property
    def open(self) -> bool:
        """Whether a command may be added: not while one that waits for all is unanswered."""
        return self._barrier is None

    @property
    def idle(self) -> bool:
        """Whether nothing may start now."""
        return not self._ready

    def rank(self, id: Id) -> float:
        """The place of ``id`` in the order of creation; unknown ids come last."""
        return self._forecast.rank(id) or self._last + 1

    def add(self, ticket: Ticket) -> None:
        """Give ``ticket`` the next turn.

        Raises:
            RuntimeError: not `open`.
        """
        if self._barrier is not None:
            raise RuntimeError("a sleep, an audit, paths or an exit is unanswered")
        seq = ticket.seq = self._last = self._last + 1
        self.unanswered += 1
        command = ticket.command
        if isinstance(command, Execute | Ping | Trace | Help | Why | ShowLink):
            if command.id is None:
                self._start(ticket)
                return
            if self._claims.share(ticket, command.id):
                self._start(ticket)
            else:
                self._park(ticket)
            return
        if isinstance(command, _BARRIERS):
            self._barrier = ticket
            self._start_barrier()
            return
        if isinstance(command, _OBSERVERS):
            self._observers[seq] = ticket
        elif isinstance(command, Create):
            self._mutators[seq] = ticket
            self._claims.own(ticket, {command.id})
            self._share_parent(ticket, self._forecast.add(ticket))
        elif isinstance(command, Remove):
            self._mutators[seq] = self._removes[seq] = ticket
            self._claims.own(ticket, self._forecast.add_remove(ticket))
        elif isinstance(command, Kill | Restart):
            self._mutators[seq] = ticket
            self._claims.own(ticket, self._forecast.process(command.id))
        self._park(ticket)

    def next(self) -> Ticket | None:
        """Take the first ticket that may start and was not given out yet."""
        return heapq.heappop(self._ready) if self._ready else None

    def finish(self, ticket: Ticket, *, done: bool) -> None:
        """Count a started ticket as answered.

        ``done``: a create's node is there now, a remove's subtree is not.
        """
        self.unanswered -= 1
        command = ticket.command
        if isinstance(command, _MUTATORS):
            del self._mutators[ticket.seq]
            self._settle(ticket, done)
        elif isinstance(command, _OBSERVERS):
            del self._observers[ticket.seq]
        elif ticket is self._barrier:
            self._barrier = None
        self._claims.release(ticket)
        if ticket.followers is not None:
            for follower in sorted(ticket.followers):
                self._park(follower)
        if self._barrier is not None:
            self._start_barrier()

    def learn(self, id: Id, parent: Id) -> None:
        """A node is there; perhaps one that no create of this session has brought."""
        self._forecast.learn(id, parent, self._last + 0.5)

    def forget(self, id: Id) -> None:
        """A node is gone; perhaps one that no remove of this session has ended."""
        if self._forecast.forget(id):
            self._expect_anew(0)

    # Starting and waiting.

    def _start(self, ticket: Ticket) -> None:
        ticket.ready = True
        heapq.heappush(self._ready, ticket)

    def _start_barrier(self) -> None:
        if self._barrier is not None and self.unanswered == 1 and not self._barrier.ready:
            self._start(self._barrier)

    def _park(self, ticket: Ticket) -> None:
        """Wait for a ticket that is in the way, or start."""
        blocker = self._blocker(ticket)
        if blocker is None:
            self._removes.pop(ticket.seq, None)
            self._start(ticket)
        elif blocker.followers is None:
            blocker.followers = [ticket]
        else:
            blocker.followers.append(ticket)

    def _blocker(self, ticket: Ticket) -> Ticket | None:
        seq, command, claims = ticket.seq, ticket.command, self._claims
        if isinstance(command, _OBSERVERS):
            return turn_before(self._mutators, seq)
        if isinstance(command, _MUTATORS) and (found := turn_before(self._observers, seq)):
            return found
        # Whether an earlier remove finds its node may decide about a computed parent.
        computed = isinstance(command, Create) and self._forecast.computed
        if computed and (found := turn_before(self._removes, seq)):
            return found
        if ticket.shared is not None and (found := claims.owner_before(ticket.shared, seq)):
            return found
        for id in ticket.owned or ():
            if found := claims.owner_before(id, seq):
                return found
            if isinstance(command, Create):
                # Users that have started will not see this node: there was another one.
                found = claims.waiting_sharer_before(id, seq)
            else:
                found = claims.sharer_before(id, seq)
            if found:
                return found
        return None

    # Places.

    def _settle(self, ticket: Ticket, done: bool) -> None:
        """Write an answered change into the places, and correct what was expected."""
        command = ticket.command
        if isinstance(command, Create):
            self._forecast.settle(ticket, grown=done)
            if not done:
                self._expect_anew(ticket.seq)
        elif isinstance(command, Remove):
            self._forecast.settle_remove(ticket, gone=done)
            self._expect_anew(ticket.seq)

    def _expect_anew(self, seq: int) -> None:
        """Later creates are placed anew, and later removes claim anew."""
        for create, parent in self._forecast.place_anew(seq):
            self._share_parent(create, parent)
        for remove in self._removes.values():
            # Never less than before: somebody may be parked on it for an id.
            self._claims.own(remove, self._forecast.subtree(remove) | (remove.owned or set()))

    def _share_parent(self, create: Ticket, parent: Id | None) -> None:
        if parent is None or parent == CONTROLLER:
            self._claims.unshare(create)
        else:
            self._claims.share(create, parent)
