"""The kernel's MPTCP path manager, by generic netlink: what to use, and what has happened.

`open_paths` is for commands, `open_events` for news; each is a socket of the network namespace in
which the given factory makes it.

Endpoints and limits are per namespace, and deleting an endpoint touches every connection in it.
The verbs that take a token are per connection, and work where ``net.mptcp.path_manager`` is
``userspace``; there, with nobody listening to the events, joins are refused.

Invariants
----------
* Every verb that changes something needs CAP_NET_ADMIN over the namespace, and so do the events:
  without it they are `PermissionError`, at once and with no effect. Limits can be read by all.
* A verb returns when the kernel has carried it out; what the peer makes of it comes later.
* What the kernel refuses is an `OSError` with errno and its own words.

Source: ``Documentation/netlink/specs/mptcp_pm.yaml`` of Linux 6.18, ``net/mptcp/pm_*.c``.
"""

import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from runtime.multipath import message
from runtime.multipath.endpoint import (
    Endpoint,
    Flags,
    Limits,
    decode_endpoint,
    encode_endpoint,
    within,
)
from runtime.multipath.event import Event, EventsLost, decode_event
from runtime.multipath.message import Message, number
from runtime.multipath.netlink import Family, Netlink, SocketFactory, open_netlink
from runtime.multipath.statistics import SocketAddress

_FAMILY: Final = "mptcp_pm"
_EVENTS: Final = "mptcp_pm_events"

_ADD: Final = 1
_DELETE: Final = 2
_GET: Final = 3
_FLUSH: Final = 4
_SET_LIMITS: Final = 5
_GET_LIMITS: Final = 6
_SET_FLAGS: Final = 7
_ANNOUNCE: Final = 8
_REMOVE: Final = 9
_CREATE: Final = 10
_DESTROY: Final = 11

_ADDRESS: Final = 1
_ACCEPTED: Final = 2
_SUBFLOWS: Final = 3
_TOKEN: Final = 4
_LOCAL_ID: Final = 5
_REMOTE: Final = 6


class Paths:
    """Commands to the path manager of one network namespace."""

    def __init__(self, netlink: Netlink, family: Family) -> None:
        self._netlink = netlink
        self._family = family

    async def _do(self, command: int, *attributes: bytes, what: str) -> list[Message]:
        body = message.generic(command, b"".join(attributes))
        return await self._netlink.request(self._family.id, body, what=what)

    # -- of the namespace

    async def add(self, endpoint: Endpoint) -> None:
        """Connections use it from now on, those that are open too.

        Raises:
            FileExistsError: there is such an address.
            OSError: EBUSY, there is such an id; or an errno of the kernel's own.
        """
        await self._do(_ADD, encode_endpoint(_ADDRESS, endpoint), what=f"add endpoint {endpoint}")

    async def delete(self, id: int, address: str = "") -> None:
        """No connection uses it any more: its subflows are closed, its announcement taken back.

        Id 0 is the initial address of every connection; it needs ``address``.
        """
        named = Endpoint(address=address, id=id)
        await self._do(
            _DELETE,
            encode_endpoint(_ADDRESS, named),
            what=f"delete endpoint {id} {address}".strip(),
        )

    async def get(self, id: int, token: int | None = None) -> Endpoint:
        """The endpoint of that id; with a token, an address of that connection alone."""
        named = encode_endpoint(_ADDRESS, Endpoint(id=id))
        asked = (named,) if token is None else (named, message.u32(_TOKEN, token))
        (found,) = await self._do(_GET, *asked, what=f"get endpoint {id}")
        return decode_endpoint(found.attributes.get(_ADDRESS, b""))

    async def all(self, token: int | None = None) -> list[Endpoint]:
        """Every endpoint, by id; with a token, the addresses of that connection alone."""
        asked = b"" if token is None else message.u32(_TOKEN, token)
        found = await self._netlink.request(
            self._family.id, message.generic(_GET, asked), what="get endpoints", dump=True
        )
        return [decode_endpoint(each.attributes.get(_ADDRESS, b"")) for each in found]

    async def flush(self) -> None:
        """No endpoint is left."""
        await self._do(_FLUSH, what="flush endpoints")

    async def set_limits(self, limits: Limits) -> None:
        """For every connection; each is at most 8 in Linux 6.18."""
        await self._do(
            _SET_LIMITS,
            message.u32(_ACCEPTED, limits.add_addr_accepted),
            message.u32(_SUBFLOWS, limits.subflows),
            what=f"set limits {limits.add_addr_accepted} {limits.subflows}",
        )

    async def limits(self) -> Limits:
        (found,) = await self._do(_GET_LIMITS, what="get limits")
        return Limits(
            number(found.attributes, _ACCEPTED, "=I"), number(found.attributes, _SUBFLOWS, "=I")
        )

    async def set_flags(self, id: int, flags: Flags, address: str = "") -> None:
        """The endpoint has BACKUP and FULLMESH as in ``flags``; its other flags do not change."""
        named = Endpoint(address=address, id=id, flags=flags)
        await self._do(
            _SET_FLAGS, encode_endpoint(_ADDRESS, named), what=f"set flags of endpoint {named}"
        )

    # -- of one connection, with the userspace path manager

    async def announce(self, token: int, endpoint: Endpoint) -> None:
        """The peer is offered that address; ``endpoint`` needs an id."""
        offered = msgspec.structs.replace(endpoint, flags=endpoint.flags | Flags.SIGNAL)
        await self._do(
            _ANNOUNCE,
            message.u32(_TOKEN, token),
            encode_endpoint(_ADDRESS, offered),
            what=f"announce {endpoint} on {token:#x}",
        )

    async def remove(self, token: int, id: int) -> None:
        """The announcement of that id is taken back, and its subflows are closed."""
        await self._do(
            _REMOVE,
            message.u32(_TOKEN, token),
            message.u8(_LOCAL_ID, within(id, 255, "address id")),
            what=f"remove address {id} on {token:#x}",
        )

    async def create_subflow(self, token: int, local: Endpoint, remote: SocketAddress) -> None:
        """A subflow from there to there has been begun; an event says whether it came about."""
        await self._do(
            _CREATE,
            message.u32(_TOKEN, token),
            encode_endpoint(_ADDRESS, local),
            encode_endpoint(_REMOTE, _endpoint(remote)),
            what=f"create subflow {local} to {remote} on {token:#x}",
        )

    async def destroy_subflow(
        self, token: int, local: SocketAddress, remote: SocketAddress
    ) -> None:
        """The subflow between the two is closed; both ports count."""
        await self._do(
            _DESTROY,
            message.u32(_TOKEN, token),
            encode_endpoint(_ADDRESS, _endpoint(local)),
            encode_endpoint(_REMOTE, _endpoint(remote)),
            what=f"destroy subflow {local} to {remote} on {token:#x}",
        )

    async def set_subflow_flags(
        self, token: int, local: SocketAddress, remote: SocketAddress, flags: Flags
    ) -> None:
        """The subflow is a backup if ``flags`` has BACKUP, at the peer too, and else is none."""
        await self._do(
            _SET_FLAGS,
            message.u32(_TOKEN, token),
            encode_endpoint(_ADDRESS, Endpoint(local.host, flags, port=local.port)),
            encode_endpoint(_REMOTE, _endpoint(remote)),
            what=f"set flags of subflow {local} to {remote} on {token:#x}",
        )


def _endpoint(address: SocketAddress) -> Endpoint:
    return Endpoint(address=address.host, port=address.port)


class Events:
    """What happens to the connections of one network namespace, in order. One task reads it."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink
        self._waiting: list[Event] = []

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        """The next event: it never ends by itself."""
        while not self._waiting:
            try:
                self._waiting = [decode_event(each) for each in await self._netlink.receive()]
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._waiting = [EventsLost()]
        return self._waiting.pop(0)


async def _family(netlink: Netlink) -> Family:
    try:
        return await netlink.family(_FAMILY)
    except FileNotFoundError:
        raise OSError(errno.EOPNOTSUPP, "this kernel has no Multipath TCP") from None


@asynccontextmanager
async def open_paths(make_socket: SocketFactory = socket.socket) -> AsyncIterator[Paths]:
    """Commands to the path manager of the namespace in which the socket is made.

    Raises:
        OSError: EOPNOTSUPP, this kernel has no Multipath TCP.
    """
    with open_netlink(make_socket) as netlink:
        yield Paths(netlink, await _family(netlink))


@asynccontextmanager
async def open_events(make_socket: SocketFactory = socket.socket) -> AsyncIterator[Events]:
    """All that happens from now on to the connections of the namespace of that socket.

    Raises:
        PermissionError: this process lacks CAP_NET_ADMIN over the namespace.
        OSError: EOPNOTSUPP, this kernel has no Multipath TCP.
    """
    with open_netlink(make_socket) as netlink:
        family = await _family(netlink)
        netlink.subscribe(family.groups.get(_EVENTS, 0), what="Multipath TCP events")
        yield Events(netlink)
