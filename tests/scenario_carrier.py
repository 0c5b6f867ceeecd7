"""Who talks over the connection of a scenario: two of our transports, or two of our links.

`TransportCarrier`: a process's whole stack at each end, keys and all. Each sends over a connection
of its own, as everywhere, so the answers come by another network, which is quiet: the connection
under test is the only one between the two hosts, and the kernel's counters are its own.

`LinkCarrier`: only what dials, with bytes of the test in ZMQ's place and a plain acceptor at the
other end: for where both ends are to send over the one connection, or the address is none that a
transport takes.

Invariants
----------
* What one end is given arrives at the other, once, whole, and in order, or `carry` raises.
* The stream under test is ours: dialled by `Outgoing`, and settled where it is accepted.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final, Protocol

import trio

from actors.testing.lab import Host
from runtime.multipath.network_link import Outgoing, listen_locally
from runtime.multipath.pump import Pump
from runtime.multipath.streams import Streams
from runtime.network.keys import Keys, new_secret
from runtime.network.listening import listen_at
from runtime.network.tcp_endpoint import Site, TcpEndpoint
from runtime.wires.reliable import Reliable
from runtime.wires.zmq_mptcp import MptcpTransport
from runtime.wires.zmq_tcp import public_of
from tests.scenario import Side
from tests.scenario_end import End, Held, Pumped

PORT: Final = 10_000
MESSAGE_BYTES: Final = 32 * 1024
_QUIET: Final = Site("127.0.0.1", PORT)
_lives: Final = itertools.count(1)


class Carrier(Protocol):
    async def connect(self, address: str, nursery: trio.Nursery) -> None:
        """The client has begun to call the server at that address."""

    def end(self, side: Side) -> End | None:
        """Of the stream under test; None while there is none."""

    async def carry(self, side: Side, data: bytes, arrived: Callable[[int], None]) -> bytes:
        """What has come to the other end; ``arrived`` is told of each part."""

    async def leave(self) -> None:
        """The client wants no link any more."""

    def close(self) -> None: ...


def listen_everywhere(host: Host) -> socket.socket:
    """A listening MPTCP socket for all addresses of the host, and both families."""
    listening = Streams(host.socket).make(socket.AF_INET6)
    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listening.bind(("::", PORT))
    listening.listen()
    return listening


class _Apart(Streams):
    """Of a process that dials from one host and listens on another one."""

    def __init__(self, dialling: Host, listening: Host) -> None:
        super().__init__(dialling.socket)
        self._listening = listening

    def make_plain(self, family: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
        return self._listening.socket(family, kind | socket.SOCK_NONBLOCK)


class _End:
    """One of the two processes, as far as the network is concerned."""

    def __init__(
        self,
        sites: tuple[Site, ...],
        listening: list[socket.socket],
        streams: Streams,
        member: bytes,
    ) -> None:
        self.sites, self.listening = sites, listening
        self.streams = streams
        self.keys = Keys(new_secret(), member)
        self.life = next(_lives)
        self.arrivals_in, self.arrivals = trio.open_memory_channel[bytes](1 << 16)
        self.endpoint = str(TcpEndpoint(sites, public_of(self.keys.own), self.life, "mptcp"))
        self.reading = trio.CancelScope()

    def open(self, nursery: trio.Nursery) -> None:
        self.wire = MptcpTransport(
            self.endpoint,
            self.life,
            nursery,
            64,
            keys=self.keys,
            listening=self.listening,
            streams=self.streams,
        )
        self.kept = Reliable(self.wire, nursery)

    async def read(self) -> None:
        with self.reading:
            while True:
                while (message := self.kept.receive()) is not None:
                    self.arrivals_in.send_nowait(b"".join(map(bytes, message[1])))
                await self.kept.wait()

    def leave(self, endpoint: str) -> None:
        """Call that peer no more, not even to answer what it may still ask."""
        self.reading.cancel()
        self.kept.stop()
        self.kept.disconnect(endpoint)


class TransportCarrier:
    def __init__(self, server: Host, client: Host, quiet: Host) -> None:
        self._server, self._client, self._quiet = server, client, quiet
        self._ends: dict[Side, _End] = {}

    async def connect(self, address: str, nursery: trio.Nursery) -> None:
        member = new_secret()
        there = listen_everywhere(self._server)
        back = listen_at([_QUIET], make=Streams(self._quiet.socket).make)
        outward, home = _Apart(self._quiet, self._server), _Apart(self._client, self._quiet)
        self._ends = {
            "server": _End((Site(address, PORT),), [there], outward, member),
            "client": _End((_QUIET,), back, home, member),
        }
        for end in self._ends.values():
            end.open(nursery)
        for end, peer in itertools.permutations(self._ends.values()):
            nursery.start_soon(end.read)
            end.kept.connect(peer.endpoint)

    def end(self, side: Side) -> End | None:
        if side == "client":
            pump = self._ends["client"].wire.outgoing[self._ends["server"].endpoint].pump
            return Pumped(pump) if pump is not None else None
        return next(map(Held, self._ends["server"].wire.accepted.now().values()), None)

    async def carry(self, side: Side, data: bytes, arrived: Callable[[int], None]) -> bytes:
        near, far = self._ends[side], self._ends["server" if side == "client" else "client"]
        messages = [data[at : at + MESSAGE_BYTES] for at in range(0, len(data), MESSAGE_BYTES)]
        for each in messages:
            near.kept.send(far.endpoint, [each])
        got = []
        for each in messages:
            got.append(await far.arrivals.receive())
            assert len(got[-1]) == len(each), "a message is missing, doubled or cut"
            arrived(len(each))
        assert not far.arrivals.statistics().current_buffer_used, "more has come than was sent"
        return b"".join(got)

    async def leave(self) -> None:
        self._ends["client"].leave(self._ends["server"].endpoint)

    def close(self) -> None:
        for end in self._ends.values():
            end.kept.close()


class LinkCarrier:
    def __init__(self, server: Host, client: Host) -> None:
        self._hosts: dict[Side, Host] = {"server": server, "client": client}
        self._held = ExitStack()
        self._inner: dict[Side, trio.SocketStream] = {}

    async def connect(self, address: str, nursery: trio.Nursery) -> None:
        listening = self._held.enter_context(listen_everywhere(self._hosts["server"]))
        local, name = listen_locally()
        streams = Streams(self._hosts["client"].socket)
        self._outgoing = Outgoing([Site(address, PORT)], name, streams, lambda: "")
        nursery.start_soon(self._outgoing.run)
        with trio.socket.from_stdlib_socket(local) as accepting:
            inner, _ = await accepting.accept()
        self._inner["client"] = trio.SocketStream(inner)
        await trio.lowlevel.wait_readable(listening)
        outer, _ = listening.accept()
        outer.setblocking(False)
        Streams(self._hosts["server"].socket).settle(outer)
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._inner["server"] = trio.SocketStream(trio.socket.from_stdlib_socket(near))
        self._accepted = Pump(far, outer)
        nursery.start_soon(self._accepted.run)

    def end(self, side: Side) -> End | None:
        pump = self._outgoing.pump if side == "client" else self._accepted
        return Pumped(pump) if pump is not None and pump.is_open else None

    async def carry(self, side: Side, data: bytes, arrived: Callable[[int], None]) -> bytes:
        receiver = self._inner["server" if side == "client" else "client"]
        got = bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._inner[side].send_all, data)
            while len(got) < len(data):
                part = await receiver.receive_some(min(len(data) - len(got), 1 << 18))
                assert part, f"the end of the stream after {len(got)} of {len(data)} bytes"
                got += part
                arrived(len(part))
        return bytes(got)

    async def leave(self) -> None:
        self._outgoing.leave()
        for side in self._hosts:
            await self._inner[side].send_eof()

    def close(self) -> None:
        for stream in self._inner.values():
            stream.socket.close()
        self._held.close()
