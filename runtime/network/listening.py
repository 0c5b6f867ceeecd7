"""Listening sockets of a network: made here, handed to whoever accepts on them.

A node's port is known before the node is born: its controller reserves one by a socket that is
bound and does not listen, and the node binds the same. So an endpoint is whole from the start.

Invariants
----------
* A reservation is shared with processes of the same user alone (SO_REUSEPORT); a port that was
  asked for by number is not shared at all, or two systems would get each other's callers.
* A gate that is shut drops the first packets of newcomers: they knock again by themselves, at the
  earliest after a second. Connections that are open do not notice.

Source: socket(7), SO_REUSEPORT, SO_ATTACH_FILTER; bpf(4) for the one instruction of the filter.
"""

import ctypes
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final, TypeAlias

from runtime.network.tcp_endpoint import Site

BACKLOG: Final = 128
"""Who waits here is let in though the gate has been shut meanwhile."""
MakeSocket: TypeAlias = Callable[[int, int, int], socket.socket]
_ATTACH_FILTER: Final = 26
_DETACH_FILTER: Final = 27
_KEEP_NOTHING: Final = struct.pack("HBBI", 0x06, 0, 0, 0)  # BPF_RET | BPF_K: 0 bytes of a packet


def reserve(host: str, port: int = 0) -> socket.socket:
    """A port of that address is ours: `listen_at` can share it. `OSError` names the address."""
    return _bound(Site(host, port), socket.SO_REUSEPORT)


def listen_at(
    sites: Iterable[Site], *, reserved: bool = False, make: MakeSocket = socket.socket
) -> list[socket.socket]:
    """Sockets that listen and do not block, one for each site.

    ``reserved``: the ports are shared with those who reserved them. ``make``: MPTCP's, say.

    Raises:
        OSError: one is taken, or no address of this host; it is named.
    """
    listening: list[socket.socket] = []
    try:
        for site in sites:
            option = socket.SO_REUSEPORT if reserved else socket.SO_REUSEADDR
            listening.append(_bound(site, option, make))
            listening[-1].listen(BACKLOG)
    except OSError:
        for each in listening:
            each.close()
        raise
    return listening


def site_of(bound: socket.socket) -> Site:
    """Where it is bound."""
    host, port, *_ = bound.getsockname()
    return Site(host, port)


def _bound(site: Site, option: int, make: MakeSocket = socket.socket) -> socket.socket:
    family = socket.AF_INET6 if site.is_v6 else socket.AF_INET
    bound = make(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, 0)
    try:
        bound.setsockopt(socket.SOL_SOCKET, option, 1)
        if site.is_v6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((site.host, site.port))
    except OSError as error:
        bound.close()
        told = type(error)(f"cannot listen on {site}: {error.strerror}")
        told.errno = error.errno
        raise told from error
    return bound


def shut(listening: Iterable[socket.socket]) -> None:
    """Nobody new gets in. Idempotent."""
    code = ctypes.create_string_buffer(_KEEP_NOTHING)
    program = struct.pack("HxxxxxxP", 1, ctypes.addressof(code))
    for each in listening:
        each.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)


def open_again(listening: Iterable[socket.socket]) -> None:
    """After `shut`."""
    for each in listening:
        each.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)


def best(sites: Sequence[Site]) -> Site:
    """The one to connect to: the first that there is a way to, loopback last."""
    if len(sites) == 1:
        return sites[0]
    for site in sorted(sites, key=lambda site: site.is_loopback):
        with suppress(OSError):
            way_to(site)
            return site
    return sites[0]


def way_to(site: Site, make: MakeSocket = socket.socket) -> str:
    """Our own address on the way there. Nothing is sent. `OSError`: there is no way."""
    family = socket.AF_INET6 if site.is_v6 else socket.AF_INET
    with make(family, socket.SOCK_DGRAM, 0) as asking:
        asking.connect((site.host, site.port))
        return site_of(asking).host
