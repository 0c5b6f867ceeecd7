"""The roll: every name of a system, who holds it, and all who ever did.

Names, places and incarnations are given out here, before anything is started for them. A place
keeps its record through deaths; the next incarnation's record takes over what outlives one.

Invariants
----------
* Each place but the controller's has one record, the present or the last incarnation's.
* Incarnations only grow, whoever is restarted.
* The records of the last `ENDED_KEPT` that ended can be found by their incarnation.
* How one ended that is no more is remembered until `EPITAPHS` others have ended after it.
* No clock, no sockets, no tasks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from actors.supervision.places import Places, State
from actors.supervision.record import Record
from runtime.address import CONTROLLER, CONTROLLER_INCARNATION, Address
from runtime.exits import ExitReason
from runtime.traffic.registrar import Row, Spec

ENDED_KEPT = 10_000
EPITAPHS = 1000
NameJoiner = Callable[[str, Callable[[str], bool]], str]
"""The name of one who joins: from the one it asks for, "" for any, and whether a name is taken."""


class Roll:
    """Of one system. ``endpoint_of``: where a node's incarnation will listen.

    ``name_of_joiner``: what one is called who joins by hand and asks for that name, "" for any made
    of the other word; it may raise `ValueError`, which says why that one is not let in.
    """

    def __init__(self, controller: Address, endpoint_of: Callable[[int], str]) -> None:
        self.places = Places()
        self.records: dict[str, Record] = {}
        self.epitaphs: dict[str, ExitReason] = {}  # of names that are free again
        self.name_of_joiner: Callable[[str, str], str] = self._any_name
        self._controller = controller
        self._endpoint_of = endpoint_of
        self._incarnation = CONTROLLER_INCARNATION
        self._by_incarnation: dict[int, Record] = {}
        self._by_endpoint: dict[str, Record] = {}
        self._locals: dict[str, dict[int, Record]] = {}  # that have not ended, by endpoint
        self._ended: deque[Record] = deque()
        self._counters: dict[str, int] = {}

    # -- names

    @property
    def last(self) -> int:
        """The last incarnation that was given out."""
        return self._incarnation

    def go_on_from(self, incarnation: int) -> None:
        """Give out none up to this one."""
        self._incarnation = max(self._incarnation, incarnation)

    def next_name(self, stem: str) -> str:
        """A name that nobody holds, made of ``stem``."""
        while True:
            number = self._counters[stem] = self._counters.get(stem, 0) + 1
            if f"{stem}-{number}" not in self.places:
                return f"{stem}-{number}"

    def name_joiners(self, name: NameJoiner) -> None:
        """Let this say what those who join are called."""
        self.name_of_joiner = lambda wanted, _: name(wanted, self.places.__contains__)

    def _any_name(self, wanted: str, stem: str) -> str:
        return wanted or self.next_name(stem)

    def reserve(
        self,
        name: str,
        spec: Spec,
        args: bytes,
        endpoint_of: Callable[[int], str] | None = None,
    ) -> Record:
        """Give the name to a new incarnation, at a place under ``spec.parent``.

        ``endpoint_of``: where it listens, if that is not for its host to say.
        """
        self.epitaphs.pop(name, None)
        record = self._enter(name, spec, args, endpoint_of)
        record.sequence = self.places.add(name, spec.parent, record.incarnation).number
        return record

    def seat(self, name: str, spec: Spec, args: bytes, incarnation: int) -> Record:
        """Give the name back to one that lived there under another controller, and ended."""
        endpoint = "" if spec.local else f"gone:{incarnation}"
        record = Record(Address(self._controller.system, name, incarnation, endpoint), spec, args)
        record.resumed = record.started = True
        for event in (record.settled, record.gone, record.ended):
            event.set()
        self.records[name] = self._by_incarnation[incarnation] = record
        self.places.add(name, spec.parent, incarnation)
        self.places.died(name, incarnation)
        return record

    def renew(
        self,
        before: Record,
        spec: Spec | None = None,
        args: bytes | None = None,
        endpoint_of: Callable[[int], str] | None = None,
    ) -> Record:
        """Give the place to the next incarnation. It lives when `Places.revived` says so."""
        args = before.args if args is None else args
        record = self._enter(before.name, spec or before.spec, args, endpoint_of)
        record.inherit(before)
        record.sequence = self.places.number
        return record

    def _enter(
        self,
        name: str,
        spec: Spec,
        args: bytes,
        endpoint_of: Callable[[int], str] | None = None,
    ) -> Record:
        self._incarnation += 1
        if spec.local:
            host = name.partition("/")[0]
            home = self._controller if host == CONTROLLER else self.records[host].address
            endpoint = home.endpoint
        else:
            endpoint = (endpoint_of or self._endpoint_of)(self._incarnation)
        address = Address(self._controller.system, name, self._incarnation, endpoint)
        record = Record(address, spec, args)
        self.records[name] = record
        self._by_incarnation[record.incarnation] = record
        if spec.local:
            self._locals.setdefault(endpoint, {})[record.incarnation] = record
        else:
            self._by_endpoint[endpoint] = record
        return record

    def strike(self, record: Record) -> bool:
        """Free its name and place; False if another holds them."""
        if not self.holds(record):
            return False
        del self.records[record.name]
        self.places.removed(record.name)
        return True

    def bury(self, record: Record) -> None:
        """Remember how it ended, though its name will be free."""
        self.epitaphs[record.name] = record.known_reason
        if len(self.epitaphs) > EPITAPHS:
            del self.epitaphs[next(iter(self.epitaphs))]

    def remember(self, record: Record) -> None:
        """It has ended: find it as long as `ENDED_KEPT` others have not ended after it."""
        self._ended.append(record)
        cells = self._locals.get(record.address.endpoint, {})
        if cells.pop(record.incarnation, None) is not None and not cells:
            del self._locals[record.address.endpoint]
        if len(self._ended) > ENDED_KEPT:
            oldest = self._ended.popleft()
            if self.records.get(oldest.name) is not oldest:
                self._by_incarnation.pop(oldest.incarnation, None)
                if not oldest.spec.local:
                    self._by_endpoint.pop(oldest.address.endpoint, None)

    # -- who

    def holds(self, record: Record) -> bool:
        """Whether it is the present or last incarnation of its place."""
        return self.records.get(record.name) is record

    def has_host(self, record: Record) -> bool:
        """Whether it can live again where it lived: a local cell needs its old process.

        Who has joined by hand must do so again.
        """
        if record.spec.joined:
            return False
        if not record.spec.local:
            return True
        host = record.name.partition("/")[0]
        if host == CONTROLLER:
            return True
        home = self.records.get(host)
        return (
            home is not None
            and home.address.endpoint == record.address.endpoint
            and not home.gone.is_set()
            and not home.planned
        )

    def known(self, who: Address) -> Record | None:
        """The record of that incarnation; with incarnation 0 that of whoever holds the name.

        Raises:
            TypeError: it is no address.
        """
        if not isinstance(who, Address):
            raise TypeError(f"give a ref, not {who!r}")
        if who.system != self._controller.system:
            return None
        if who.incarnation:
            return self._by_incarnation.get(who.incarnation)
        return self.records.get(who.name)

    def heir(self, record: Record) -> Record:
        """Who is to live in its place next, if that is not up yet; else itself."""
        holder = self.records.get(record.name, record)
        return record if holder.started or holder.last_life != record.incarnation else holder

    def incarnation(self, number: int) -> Record | None:
        """The record of that incarnation."""
        return self._by_incarnation.get(number)

    def at(self, endpoint: str) -> Record | None:
        """The record of the node that listens, or listened, there."""
        return self._by_endpoint.get(endpoint)

    def present(self, endpoint: str) -> Record | None:
        """The node that listens there, if it holds a place and is not known to be dead."""
        record = self._by_endpoint.get(endpoint)
        if record is None or record.gone.is_set() or not self.holds(record):
            return None
        return record

    def locals_of(self, record: Record) -> list[Record]:
        """The cells in the process of this node that have not ended, whoever has their names."""
        return list(self._locals.get(record.address.endpoint, {}).values())

    def mark(self, name: str, state: State) -> None:
        """Note what becomes of the dead."""
        self.places.mark(name, self.places.place(name).incarnation, state)

    def address_of(self, name: str) -> Address:
        """The present incarnation's address."""
        return self._controller if name == CONTROLLER else self.records[name].address

    def row(self, name: str) -> Row:
        """One node, as `System.tree` shows it."""
        record = self.records[name]
        place = self.places.place(name)
        return Row(
            name,
            place.parent,
            self.places.guardian(name),
            record.incarnation,
            record.pid,
            place.state.value,
            record.address.endpoint,
        )
