"""Manages the paths of connections that the kernel leaves to us, as `upkeep` says.

Endpoints and limits stay where they are with the kernel's own manager, in its table: who adds one,
by whatever command, adds it for us.

Invariants
----------
* An address id means one address on a connection, for as long as the kernel knows it there.
* What the kernel refuses on the way ends nothing. That there is no way to somewhere, or that a
  subflow has closed already, is not worth a word; the rest is told.
* Events that the kernel had to drop are made good for connections of this process, whose sockets
  can be looked at. Of others nothing is known until they close.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import trio

from runtime.multipath.endpoint import Endpoint, Flags, Limits
from runtime.multipath.event import Event
from runtime.multipath.netlink import SocketFactory
from runtime.multipath.path_guard import plain
from runtime.multipath.paths import Paths
from runtime.multipath.statistics import FullInfo, SocketAddress
from runtime.multipath.upkeep import Action, Close, Offer, Open, Rank, Upkeep, Withdraw
from runtime.network.listening import way_to
from runtime.network.tcp_endpoint import Site

LOOK_S: Final = 1.0
"""How soon an endpoint that somebody else has added is noticed."""
_OPENS: Final = Flags.SUBFLOW | Flags.BACKUP | Flags.FULLMESH
_NO_WAY: Final = frozenset(
    (
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.EADDRNOTAVAIL,
        errno.ECONNREFUSED,
        errno.ENODEV,
        errno.ENOTCONN,
    )
)
_log: Final = logging.getLogger(__name__)


class Steward:
    """Of one network namespace. ``complain``: called with what the kernel has refused, and why."""

    def __init__(
        self, paths: Paths, make_socket: SocketFactory, complain: Callable[[str], None]
    ) -> None:
        self.stale = True
        """Whether endpoints or limits may have changed."""
        self._upkeep = Upkeep()
        self._paths = paths
        self._make_socket = make_socket
        self._complain = complain
        self._endpoints: Sequence[Endpoint] = ()
        self._limits = Limits(0, 0)
        self._looked_at = 0.0

    def note(self, event: Event) -> None:
        """That has happened to a connection."""
        self._upkeep.note(event)

    def see(self, info: FullInfo, *, server_side: bool) -> None:
        """That is so of a connection, whatever was told of it."""
        self._upkeep.see(info, server_side=server_side)

    def drop(self, address: str) -> None:
        """No connection is to use that address."""
        self._upkeep.drop(address)

    async def turn(self) -> None:
        """Do what is due."""
        now = trio.current_time()
        if self.stale or now >= self._looked_at + LOOK_S:
            self.stale, self._looked_at = False, now
            self._endpoints = await self._paths.all()
            self._limits = await self._paths.limits()
        for action in self._upkeep.due(self._endpoints, self._limits):
            try:
                await self._do(action)
            except OSError as error:
                self._upkeep.fail(action)
                if not await self._has_gone(action.token):
                    self._refused(action, error)

    def _refused(self, action: Action, error: OSError) -> None:
        _log.info("%s: %s", action, error.strerror)
        no_way = isinstance(action, Open) and error.errno in _NO_WAY
        closed = isinstance(action, Close | Rank) and error.errno == errno.ESRCH
        if not (no_way or closed):
            self._complain(error.strerror or str(error))

    async def _has_gone(self, token: int) -> bool:
        try:
            await self._paths.all(token)
        except OSError:
            return True
        return False

    async def _do(self, action: Action) -> None:
        _log.debug("%s", action)
        token, paths = action.token, self._paths
        match action:
            case Offer(endpoint=endpoint):
                await paths.announce(token, await self._with_id(token, endpoint))
            case Open(local=local, remote=remote):
                address = local.address or self._way_to(remote)
                begun = Endpoint(address, local.flags & _OPENS, local.id, 0, local.interface)
                await paths.create_subflow(token, await self._with_id(token, begun), remote)
            case Withdraw(address=address, port=port, initial=initial):
                for each in await paths.all(token):
                    if plain(each.address) == address and each.port == port and each.id:
                        await paths.remove(token, each.id)
                if initial:
                    await paths.remove(token, 0)
            case Close(local=local_end, remote=remote_end):
                await paths.destroy_subflow(token, local_end, remote_end)
            case Rank(local=local_end, remote=remote_end, backup=backup):
                flags = Flags.BACKUP if backup else Flags(0)
                await paths.set_subflow_flags(token, local_end, remote_end, flags)

    async def _with_id(self, token: int, endpoint: Endpoint) -> Endpoint:
        """By the id that its address has on that connection, or one that is free there."""
        held = await self._paths.all(token)
        return msgspec.structs.replace(endpoint, id=address_id(endpoint, held))

    def _way_to(self, remote: SocketAddress) -> str:
        return way_to(Site(plain(remote.host), remote.port), self._make_socket)


def address_id(endpoint: Endpoint, held: Sequence[Endpoint]) -> int:
    """What to call the endpoint's address on a connection that calls some by the ids ``held``."""
    ids = {}
    for each in held:
        if plain(each.address) == plain(endpoint.address) and each.port == endpoint.port:
            return each.id
        ids[each.id] = each
    if endpoint.id and endpoint.id not in ids:
        return endpoint.id
    return next(id for id in range(1, 256) if id not in ids)
