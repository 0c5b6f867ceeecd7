"""What to do on each connection where the kernel leaves its paths to us: what it would do itself.

Given what has happened to the connections, the endpoints that there are now and the limits, `due`
says what is to be done next; `steward` does it.

Invariants
----------
* An endpoint is tried once with each address of the peer, by each connection: again only after it,
  or that address, has gone and come back.
* No connection has more further subflows of our making than the limit, nor answers more offers. One
  that the peer opens beyond the limit is closed.
* A connection keeps its last subflow: what is to go stays until there is another one.
* Where we accepted the connection we open subflows only to offers that name a port: at the other
  addresses of the one who called nobody listens. (The kernel tries, and is refused.)
* Nothing is read here, and no clock.

Source: ``net/mptcp/pm_kernel.c`` of Linux 6.18; RFC 8684, 3.2 to 3.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from runtime.multipath.endpoint import Endpoint, Flags, Limits
from runtime.multipath.event import (
    Announced,
    Closed,
    Created,
    Established,
    Event,
    Removed,
    SubflowClosed,
    SubflowEstablished,
)
from runtime.multipath.path_guard import plain
from runtime.multipath.statistics import FullInfo, SocketAddress


class Offer(msgspec.Struct, frozen=True):
    """Announce the endpoint to the peer."""

    token: int
    endpoint: Endpoint


class Withdraw(msgspec.Struct, frozen=True):
    """Tell the peer that the address is out of use; ``initial``: it is the connection's first."""

    token: int
    address: str
    port: int = 0
    initial: bool = False


class Open(msgspec.Struct, frozen=True):
    """Open a subflow. An endpoint without an address: from wherever the route leads."""

    token: int
    local: Endpoint
    remote: SocketAddress


class Close(msgspec.Struct, frozen=True):
    """Close a subflow."""

    token: int
    local: SocketAddress
    remote: SocketAddress


class Rank(msgspec.Struct, frozen=True):
    """Make a subflow a backup, at the peer too, or make it none."""

    token: int
    local: SocketAddress
    remote: SocketAddress
    backup: bool


Action: TypeAlias = Offer | Withdraw | Open | Close | Rank
ANY: Final = Endpoint()
_Way: TypeAlias = tuple[str, str, int]  # from a host, or "" for any, to a host and a port
_Ends: TypeAlias = tuple[SocketAddress, SocketAddress]


class _Subflow(msgspec.Struct):
    """``backup``: as we have told the peer. ``judged``: the limit has been applied to it."""

    initial: bool = False
    backup: bool = False
    judged: bool = True


class _Connection:
    """One connection; ``established``: it can have further subflows."""

    def __init__(self, event: Created | Established) -> None:
        self.token = event.token
        self.local = event.local
        self.remote = event.remote
        self.server_side = event.server_side
        self.established = False
        self.takes_initial = not event.deny_join_id0  # the peer, at its initial address
        self.subflows: dict[_Ends, _Subflow] = {(event.local, event.remote): _Subflow(initial=True)}
        self.opening: dict[_Way, bool] = {}  # to whether it is to be a backup
        self.offers: dict[int, SocketAddress] = {}
        self.tried: set[_Way] = set()
        self.accepted: set[SocketAddress] = set()  # of the offers
        self.known: dict[int, Endpoint] = {}
        self.offered: set[int] = set()
        self.dropping: set[str] = set()

    @property
    def further(self) -> int:
        """How many subflows there are, or soon may be, beside the initial one."""
        return sum(not each.initial for each in self.subflows.values()) + len(self.opening)

    # -- what has happened

    def note(self, event: Event) -> None:
        match event:
            case Established():
                self.established = True
                self.takes_initial = not event.deny_join_id0
            case Announced(remote_id=id, address=address):
                if address.port or not self.server_side:
                    self.offers[id] = SocketAddress(address.host, address.port or self.remote.port)
            case Removed(remote_id=id):
                gone = self.offers.pop(id, self.remote if id == 0 else None)
                if gone is not None:
                    self.accepted.discard(gone)
                    self.tried = {way for way in self.tried if way[1] != plain(gone.host)}
                self.takes_initial = self.takes_initial and id != 0
            case SubflowEstablished():
                way = self._opened(event)
                judged = way is not None
                backup = self.opening.pop(way) if way is not None else False
                begun = _Subflow(backup=backup, judged=judged)
                self.subflows.setdefault((event.local, event.remote), begun)
            case SubflowClosed():
                if self.subflows.pop((event.local, event.remote), None) is None:
                    way = self._opened(event)
                    if way is not None:
                        del self.opening[way]

    def see(self, living: Mapping[_Ends, object]) -> None:
        """Those are its subflows; of what is being opened nothing is known."""
        self.opening.clear()
        for ends in [each for each in self.subflows if each not in living]:
            del self.subflows[ends]
        for ends in living:
            self.subflows.setdefault(ends, _Subflow())

    def _opened(self, event: SubflowEstablished | SubflowClosed) -> _Way | None:
        """Which of those that we began that is."""
        host, remote = plain(event.local.host), event.remote
        for way in self.opening:
            if way[0] in ("", host) and way[1:] == (plain(remote.host), remote.port):
                return way
        return None

    # -- what to do

    def due(self, endpoints: Sequence[Endpoint], limits: Limits) -> Iterator[Action]:
        yield from self._leave(endpoints)
        yield from self._trim(limits)
        yield from self._rank(endpoints)
        yield from self._offer(endpoints)
        yield from self._join(endpoints, limits)

    def _leave(self, endpoints: Sequence[Endpoint]) -> Iterator[Action]:
        """Endpoints that are no more, and addresses that are to go."""
        now = {each.id: each for each in endpoints}
        in_use = {plain(each.address) for each in endpoints}
        self.dropping -= in_use
        gone = {(host, 0): None for host in sorted(self.dropping)}
        for id, each in self.known.items():
            if now.get(id, ANY).address != each.address or now[id].port != each.port:
                gone[plain(each.address), each.port] = None
        for host, port in gone:
            ends = [way for way in self.subflows if plain(way[0].host) == host]
            if host in in_use:
                ends = []  # another endpoint has the same address
            if ends and len(ends) == len(self.subflows):
                continue
            ids = [
                id
                for id, known in self.known.items()
                if plain(known.address) == host and known.port == port
            ]
            if ends or self.offered.intersection(ids):
                initial = any(self.subflows[way].initial for way in ends)
                yield Withdraw(self.token, host, port, initial)
            for way in ends:
                del self.subflows[way]
                yield Close(self.token, *way)
            self._forget(host, ids)

    def _forget(self, host: str, ids: Sequence[int]) -> None:
        self.dropping.discard(host)
        self.tried = {way for way in self.tried if way[0] != host}
        self.offered -= set(ids)
        for id in ids:
            del self.known[id]

    def _trim(self, limits: Limits) -> Iterator[Action]:
        """What the peer has opened, if it is too much."""
        for ends, each in list(self.subflows.items()):
            if not each.judged and self.further > limits.subflows and len(self.subflows) > 1:
                del self.subflows[ends]
                yield Close(self.token, *ends)
            each.judged = True

    def _rank(self, endpoints: Sequence[Endpoint]) -> Iterator[Action]:
        for endpoint in endpoints:
            wanted = Flags.BACKUP in endpoint.flags
            for ends, each in self.subflows.items():
                if plain(ends[0].host) == plain(endpoint.address) and each.backup != wanted:
                    each.backup = wanted
                    yield Rank(self.token, *ends, wanted)

    def _offer(self, endpoints: Sequence[Endpoint]) -> Iterator[Action]:
        """One at a time: the kernel has room for one that has not left yet."""
        for each in endpoints:
            self.known[each.id] = each
        for each in endpoints:
            if Flags.SIGNAL in each.flags and each.id not in self.offered:
                self.offered.add(each.id)
                yield Offer(self.token, each)
                return

    def _join(self, endpoints: Sequence[Endpoint], limits: Limits) -> Iterator[Action]:
        mesh = [each for each in endpoints if Flags.FULLMESH in each.flags]
        for each in endpoints:
            if Flags.SUBFLOW in each.flags and not self.server_side:
                others = {ends[1]: None for ends in self.subflows} if each in mesh else {}
                first = [self.remote] if self.takes_initial else []
                kept = [*first, *(other for other in others if other != self.remote)]
                for remote in kept:
                    yield from self._open(each, remote, limits)
        for id, remote in self.offers.items():
            if remote not in self.accepted:
                again = id == 0 and plain(remote.host) == plain(self.remote.host)
                full = len(self.accepted) >= limits.add_addr_accepted
                if self._reaches(remote) or (full and not again):
                    continue
            for each in [one for one in mesh if _alike(one, remote)] or [ANY]:
                for action in self._open(each, remote, limits):
                    if id:
                        self.accepted.add(remote)
                    yield action

    def _open(self, local: Endpoint, remote: SocketAddress, limits: Limits) -> Iterator[Action]:
        way = (plain(local.address), plain(remote.host), remote.port)
        if way in self.tried or not _alike(local, remote) or self.further >= limits.subflows:
            return
        self.tried.add(way)
        if any(_way(ends) == way for ends in self.subflows):
            return
        self.opening[way] = Flags.BACKUP in local.flags
        yield Open(self.token, local, remote)

    def _reaches(self, remote: SocketAddress) -> bool:
        ways = [*map(_way, self.subflows), *self.opening]
        return any(way[1:] == (plain(remote.host), remote.port) for way in ways)


def _way(ends: _Ends) -> _Way:
    return plain(ends[0].host), plain(ends[1].host), ends[1].port


def _alike(local: Endpoint, remote: SocketAddress) -> bool:
    """Whether both are of one family."""
    return not local.address or (":" in plain(local.address)) is (":" in plain(remote.host))


class Upkeep:
    """Of all connections of a network namespace."""

    def __init__(self) -> None:
        self._connections: dict[int, _Connection] = {}

    def note(self, event: Event) -> None:
        """That has happened."""
        match event:
            case Created(token=token):
                self._connections[token] = _Connection(event)
            case Established(token=token):
                self._connections.setdefault(token, _Connection(event)).note(event)
            case Closed(token=token):
                self._connections.pop(token, None)
            case (
                Announced(token=token)
                | Removed(token=token)
                | SubflowEstablished(token=token)
                | SubflowClosed(token=token)
            ) if token in self._connections:
                self._connections[token].note(event)

    def see(self, info: FullInfo, *, server_side: bool) -> None:
        """These subflows that connection has, whatever was told of it."""
        living = {(each.addresses.local, each.addresses.remote): each for each in info.living}
        token = info.mptcp.token
        if not living:
            return
        if token not in self._connections:
            local, remote = min(living, key=lambda ends: living[ends].id)
            self.note(Established(token, local, remote, server_side, deny_join_id0=False))
        self._connections[token].see(living)

    def drop(self, address: str) -> None:
        """No connection is to use that address, though it be the initial one of some."""
        for each in self._connections.values():
            each.dropping.add(plain(address))

    def due(self, endpoints: Sequence[Endpoint], limits: Limits) -> list[Action]:
        """What is to be done now, in this order. It counts as done, unless it is said to `fail`."""
        return [
            action
            for each in self._connections.values()
            if each.established
            for action in each.due(endpoints, limits)
        ]

    def fail(self, action: Action) -> None:
        """The kernel has refused that."""
        connection = self._connections.get(action.token)
        if connection is not None and isinstance(action, Open):
            local, remote = action.local, action.remote
            way = (plain(local.address), plain(remote.host), remote.port)
            connection.opening.pop(way, None)
