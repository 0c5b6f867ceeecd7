"""What the kernel tells of MPTCP connections as it happens, as values.

A connection is named by its token, a number of its network namespace; `MptcpInfo.token` is the
same, so that an event finds its socket. Stale paths raise no event: `path_guard` looks for them.

Source: ``include/uapi/linux/mptcp_pm.h`` of Linux 6.18, ``net/mptcp/pm_netlink.c``.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import msgspec

from runtime.multipath.endpoint import host
from runtime.multipath.message import Message, number
from runtime.multipath.statistics import SocketAddress


class _Connection(msgspec.Struct, frozen=True):
    token: int
    local: SocketAddress
    remote: SocketAddress
    server_side: bool
    deny_join_id0: bool  # the peer takes no further subflow to its initial address


class Created(_Connection, frozen=True):
    """A connection has begun; the peer's end may not know it yet."""


class Established(_Connection, frozen=True):
    """It can have further subflows from now on."""


class Closed(msgspec.Struct, frozen=True):
    """The connection has ended."""

    token: int


class Announced(msgspec.Struct, frozen=True):
    """The peer offers an address."""

    token: int
    remote_id: int
    address: SocketAddress


class Removed(msgspec.Struct, frozen=True):
    """The peer has taken an address back."""

    token: int
    remote_id: int


class _Subflow(msgspec.Struct, frozen=True):
    token: int
    local_id: int
    remote_id: int
    local: SocketAddress
    remote: SocketAddress
    backup: bool
    interface: int
    error: int  # an errno, 0 if there was none
    reset_reason: int  # RFC 8684, 3.6; -1 if no reset said why
    reset_flags: int
    timeout: int


class SubflowEstablished(_Subflow, frozen=True):
    """A further subflow carries the connection."""


class SubflowClosed(_Subflow, frozen=True):
    """A subflow has ended; the initial one is among them."""


class SubflowPriority(_Subflow, frozen=True):
    """A subflow has become a backup, or ceased to be one."""


class ListenerCreated(msgspec.Struct, frozen=True):
    """Subflows are accepted at that address: a listening socket, or an endpoint with a port."""

    address: SocketAddress


class ListenerClosed(msgspec.Struct, frozen=True):
    address: SocketAddress


class Unknown(msgspec.Struct, frozen=True):
    """An event of a newer kernel."""

    command: int
    attributes: dict[int, bytes]


class EventsLost(msgspec.Struct, frozen=True):
    """The kernel had to drop events here: what they would have told must be looked up."""


Event: TypeAlias = (
    Created
    | Established
    | Closed
    | Announced
    | Removed
    | SubflowEstablished
    | SubflowClosed
    | SubflowPriority
    | ListenerCreated
    | ListenerClosed
    | Unknown
    | EventsLost
)

_TOKEN: Final = 1
_LOCAL_ID: Final = 3
_REMOTE_ID: Final = 4
_LOCAL4: Final = 5
_LOCAL6: Final = 6
_REMOTE4: Final = 7
_REMOTE6: Final = 8
_LOCAL_PORT: Final = 9
_REMOTE_PORT: Final = 10
_BACKUP: Final = 11
_ERROR: Final = 12
_FLAGS: Final = 13
_TIMEOUT: Final = 14
_INTERFACE: Final = 15
_RESET_REASON: Final = 16
_RESET_FLAGS: Final = 17
_SERVER_SIDE: Final = 18
_DENY_JOIN_ID0: Final = 1
_SERVER_SIDE_FLAG: Final = 2

_Held: TypeAlias = Mapping[int, bytes]


def _local(held: _Held) -> SocketAddress:
    return SocketAddress(host(held, _LOCAL4, _LOCAL6), number(held, _LOCAL_PORT, "!H"))


def _remote(held: _Held) -> SocketAddress:
    return SocketAddress(host(held, _REMOTE4, _REMOTE6), number(held, _REMOTE_PORT, "!H"))


def _connection(kind: type[Created] | type[Established], held: _Held) -> Event:
    flags = number(held, _FLAGS, "=H")
    return kind(
        token=number(held, _TOKEN, "=I"),
        local=_local(held),
        remote=_remote(held),
        server_side=bool(flags & _SERVER_SIDE_FLAG or number(held, _SERVER_SIDE, "=B")),
        deny_join_id0=bool(flags & _DENY_JOIN_ID0),
    )


def _subflow(
    kind: type[SubflowEstablished] | type[SubflowClosed] | type[SubflowPriority], held: _Held
) -> Event:
    return kind(
        token=number(held, _TOKEN, "=I"),
        local_id=number(held, _LOCAL_ID, "=B"),
        remote_id=number(held, _REMOTE_ID, "=B"),
        local=_local(held),
        remote=_remote(held),
        backup=bool(number(held, _BACKUP, "=B")),
        interface=number(held, _INTERFACE, "=i"),
        error=number(held, _ERROR, "=B"),
        reset_reason=number(held, _RESET_REASON, "=I") if _RESET_REASON in held else -1,
        reset_flags=number(held, _RESET_FLAGS, "=I"),
        timeout=number(held, _TIMEOUT, "=I"),
    )


_DECODERS: Final[dict[int, Callable[[_Held], Event]]] = {
    1: lambda held: _connection(Created, held),
    2: lambda held: _connection(Established, held),
    3: lambda held: Closed(number(held, _TOKEN, "=I")),
    6: lambda held: Announced(
        number(held, _TOKEN, "=I"), number(held, _REMOTE_ID, "=B"), _remote(held)
    ),
    7: lambda held: Removed(number(held, _TOKEN, "=I"), number(held, _REMOTE_ID, "=B")),
    10: lambda held: _subflow(SubflowEstablished, held),
    11: lambda held: _subflow(SubflowClosed, held),
    13: lambda held: _subflow(SubflowPriority, held),
    15: lambda held: ListenerCreated(_local(held)),
    16: lambda held: ListenerClosed(_local(held)),
}


def decode_event(message: Message) -> Event:
    """The event of a message of the group ``mptcp_pm_events``."""
    decoder = _DECODERS.get(message.command)
    if decoder is None:
        return Unknown(message.command, dict(message.attributes))
    return decoder(message.attributes)
