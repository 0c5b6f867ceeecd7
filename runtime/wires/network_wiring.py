"""The wire of a system that is on a network: tcp, or mptcp. `runtime.wires.wiring` loads it."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import trio

from runtime.address import CONTROLLER_INCARNATION
from runtime.errors import SpawnError
from runtime.multipath.path_owner import Owner, owned_by_us
from runtime.multipath.streams import Streams
from runtime.network.join_file import Pass, remove_pass, write_pass
from runtime.network.key_file import keep_keys
from runtime.network.keys import Keys, new_keys
from runtime.network.listening import listen_at, reserve, site_of
from runtime.network.tcp_endpoint import SCHEMES, Site, TcpEndpoint
from runtime.processes.run_folder import owner_path
from runtime.wires.net import Kind, Net
from runtime.wires.reliable import Reliable
from runtime.wires.wiring import NETWORK
from runtime.wires.zmq_mptcp import MptcpTransport
from runtime.wires.zmq_tcp import TcpTransport, public_of

_TRIES = 16
log = logging.getLogger("regrow")


def open_transport(
    endpoint: str,
    incarnation: int,
    nursery: trio.Nursery,
    max_sockets: int | None = None,
    keys: Keys | None = None,
    tos: int = 0,
) -> Reliable:
    """What a network loses goes again."""
    make = TcpTransport if endpoint.startswith(SCHEMES[0]) else MptcpTransport
    wire = make(endpoint, incarnation, nursery, max_sockets, keys=keys, tos=tos)
    return Reliable(wire, nursery)


def wiring(net: Net, folder: str) -> TcpWiring:
    """See `runtime.wires.wiring.wiring`."""
    keys = None
    if not net.insecure:
        keys = new_keys() if net.keys is None else keep_keys(net.keys)
    made = (
        TcpWiring(net.listen, keys, net.tos)
        if net.kind == "tcp"
        else MptcpWiring(net.listen, keys, net.tos, net.path_manager, folder)
    )
    if keys is not None and net.join_file is not None:
        given = Pass(public_of(keys.own), keys.member)
        write_pass(net.join_file, given)
        if net.keys is None:  # nobody will ever join with these again
            made.ending.callback(remove_pass, net.join_file, given)
    return made


def reserve_ports(kind: Kind, hosts: Sequence[str]) -> list[socket.socket]:
    """Ports of these addresses, as a process on that network has them.

    Raises:
        OSError: one is no address of this host; it is named.
    """
    sites = [Site(host, 0) for host in hosts]
    return (TcpWiring if kind == "tcp" else MptcpWiring)(sites, None)._reserve()


class TcpWiring:
    """Ports of this host, reserved one by one, and a key pair for each node."""

    kind: Kind = "tcp"
    modules: Sequence[str] = (NETWORK,)

    def __init__(self, listen: Sequence[Site], keys: Keys | None, tos: int = 0) -> None:
        self.tos = tos
        self.ending = ExitStack()
        """What is to be done at the end."""
        self._listen = listen
        self._keys = keys
        self._reserved: dict[int, list[socket.socket]] = {}
        self._given: dict[int, Keys] = {}
        self._failures: dict[int, str] = {}

    def open(self, nursery: trio.Nursery) -> Reliable:
        listening = listen_at(self._listen)
        endpoint = self._text(CONTROLLER_INCARNATION, listening, self._keys)
        wire = TcpTransport(
            endpoint,
            CONTROLLER_INCARNATION,
            nursery,
            keys=self._keys,
            listening=listening,
            tos=self.tos,
        )
        return Reliable(wire, nursery)

    def endpoint(self, incarnation: int) -> str:
        reserved = self._reserved[incarnation] = []
        try:
            reserved.extend(self._reserve())
        except OSError as error:
            self.forget(incarnation)
            self._failures[incarnation] = f"there is no port for it: {error}"
            return f"nowhere:{incarnation}"
        keys = None
        if self._keys is not None:
            keys = self._given[incarnation] = self._keys.for_another()
        return self._text(incarnation, reserved, keys)

    def _text(self, incarnation: int, bound: Sequence[socket.socket], keys: Keys | None) -> str:
        public = public_of(keys.own) if keys is not None else b""
        sites = tuple(site_of(each) for each in bound)
        return str(TcpEndpoint(sites, public, incarnation, self.kind))

    def _reserve(self) -> list[socket.socket]:
        return [reserve(site.host) for site in self._listen]

    def keys(self, incarnation: int) -> Keys | None:
        if incarnation in self._failures:
            raise SpawnError(self._failures[incarnation])
        return self._given.get(incarnation)

    def forget(self, incarnation: int) -> None:
        self._failures.pop(incarnation, None)
        self._given.pop(incarnation, None)
        for each in self._reserved.pop(incarnation, ()):
            each.close()

    def close(self) -> None:
        for incarnation in list(self._reserved):
            self.forget(incarnation)
        self.ending.close()


class MptcpWiring(TcpWiring):
    """As over tcp, with one port for all addresses of a process.

    A peer that is told of a further address tries the port that it knows.
    """

    kind: Kind = "mptcp"

    def __init__(
        self,
        listen: Sequence[Site],
        keys: Keys | None,
        tos: int = 0,
        path_manager: Owner = "kernel",
        folder: str = "",
    ) -> None:
        super().__init__(listen, keys, tos)
        self._path_manager = path_manager
        self._folder = folder

    def open(self, nursery: trio.Nursery) -> Reliable:
        streams = Streams(tos=self.tos)

        def bind(site: Site) -> socket.socket:
            return listen_at([site], make=streams.make)[0]

        listening = _one_port(self._listen, bind)
        if streams.missing:
            log.warning("%s: links are plain TCP", streams.missing)
        endpoint = self._text(CONTROLLER_INCARNATION, listening, self._keys)
        wire = MptcpTransport(
            endpoint,
            CONTROLLER_INCARNATION,
            nursery,
            keys=self._keys,
            listening=listening,
            streams=streams,
        )
        if self._path_manager == "userspace":
            why_not = self.ending.enter_context(owned_by_us(owner_path(self._folder)))
            if why_not:
                log.warning("%s: the kernel manages the paths", why_not)
        return Reliable(wire, nursery)

    def _reserve(self) -> list[socket.socket]:
        def bind(site: Site) -> socket.socket:
            return reserve(site.host, site.port)

        return _one_port([Site(site.host, 0) for site in self._listen], bind)


def _one_port(sites: Sequence[Site], bind: Callable[[Site], socket.socket]) -> list[socket.socket]:
    """Sockets bound there; ports that are 0 become the same, one that is free everywhere."""
    asked = {site.port for site in sites if site.port}
    for tries_left in reversed(range(_TRIES)):
        free = min(asked, default=0)
        bound: list[socket.socket] = []
        try:
            for site in sites:
                bound.append(bind(Site(site.host, site.port or free)))
                free = free or site_of(bound[-1]).port
        except OSError as error:
            for each in bound:
                each.close()
            if asked or error.errno != errno.EADDRINUSE or not tries_left:
                raise
        else:
            return bound
    raise AssertionError
