"""The wire between hosts: `runtime.wires.zmq_transport` over TCP, with CURVE.

Invariants
----------
* With keys every connection is encrypted, its listener proven by the key in its endpoint, its
  caller by the members' (`runtime.network.keys`); ports and strangers are watched by
  `runtime.wires.zmq_door`. Without keys all addresses are loopback.
* A frame on the wire has at most `PIECE_BYTES` and a little: `runtime.wires.splitting`.
* libzmq's heartbeats are off: they would cut a connection whose path is away for a moment.
  Silence is our own beats' affair. TCP's keepalive is on, with minutes of patience, so that
  callers whose host has vanished do not stay for ever. Data that nobody acknowledges for
  `UNANSWERED_MS` ends a connection: a new one is heard at once when the path is back, while the
  old would try again ever less often.
* Who does not finish a handshake is cut off after `HANDSHAKE_S`. A friend whom we had no time to
  answer by then tries again by himself, and what he has for us waits at his end.
* libzmq does not dial again after an error of protocol, such as a broken byte. So we do, for whom
  something waits, every `REDIAL_S` without a connection.
* What a broken TCP connection held is lost. `runtime.wires.reliable`, above, sends it again.

Source: zmq_curve(7), zmq_tcp(7); zmq_setsockopt(3), ZMQ_USE_FD, ZMQ_HANDSHAKE_IVL; tcp(7),
TCP_USER_TIMEOUT, which is what ZMQ_TCP_MAXRT sets.
"""

import os
import socket as sockets
from collections import Counter
from collections.abc import Sequence

import trio
import zmq
from zmq.utils import z85

from runtime.messages.codec import Buffer
from runtime.multipath.link_report import StreamReport
from runtime.network.gate import HANDSHAKE_S
from runtime.network.keys import Keys
from runtime.network.listening import best, listen_at, open_again, shut, site_of
from runtime.network.tcp_endpoint import Site, TcpEndpoint, parse_endpoint
from runtime.wires.splitting import PIECE_BYTES, join, split
from runtime.wires.transport import Message
from runtime.wires.zmq_door import DOMAIN, Door
from runtime.wires.zmq_refusal import Refusal, Refused
from runtime.wires.zmq_transport import ZmqTransport

CONNECT_MS = 3000
REDIAL_S = 3.0
UNANSWERED_MS = 10_000
_OVERHEAD_BYTES = 1024
_HANDSHAKE_MS = int(HANDSHAKE_S * 1000)
_OPTIONS = {
    zmq.TCP_MAXRT: UNANSWERED_MS,
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 60,
    zmq.TCP_KEEPALIVE_INTVL: 15,
    zmq.TCP_KEEPALIVE_CNT: 8,
}


class TcpTransport(ZmqTransport):
    """``keys`` None: no encryption, and anybody of this host may call.

    ``listening``: sockets for the sites of ``endpoint``, ours from now on; made if None. ``tos``:
    the type of service of what is sent.

    Raises:
        ValueError: the endpoint is none, or is not loopback and there are no keys.
        OSError: nobody can listen there.
    """

    max_frame_bytes = PIECE_BYTES + _OVERHEAD_BYTES
    redial_s = REDIAL_S
    kind = "tcp"

    def __init__(
        self,
        endpoint: str,
        incarnation: int,
        nursery: trio.Nursery,
        max_sockets: int | None = None,
        *,
        keys: Keys | None,
        listening: Sequence[sockets.socket] | None = None,
        tos: int = 0,
    ) -> None:
        own = self._parse(endpoint)
        check_safe(own.sites, keys)
        self._keys = keys
        self._tos = tos
        self._public = public_of(keys.member) if keys is not None else b""
        self._listening = listening or self._listen(own.sites)
        self._door: Door
        self._hears = False
        self._refusal: Refusal | None = None
        self.same_host = all(site.is_loopback for site in own.sites)
        super().__init__(endpoint, incarnation, nursery, max_sockets)
        nursery.start_soon(self._door.keep)

    @property
    def counts(self) -> "Counter[str]":
        """Of connections: accepted, welcomed, and what became of the others."""
        return self._door.gate.counts

    def _check(self, endpoint: str) -> None:
        """Its sites were checked."""

    def _parse(self, endpoint: str) -> TcpEndpoint:
        found = parse_endpoint(endpoint)
        if found.kind != self.kind:
            raise ValueError(f"it is not on {self.kind}")
        return found

    def _listen(self, sites: Sequence[Site]) -> Sequence[sockets.socket]:
        return listen_at(sites, reserved=True)

    def _bind(self, router: "zmq.Socket[bytes]") -> None:
        self._guard(router)
        self._tune(router)
        self._use_all(router)

    def _tune(self, socket: "zmq.Socket[bytes]") -> None:
        """ZMQ sets these on each TCP connection of the socket."""
        socket.set(zmq.TOS, self._tos)
        for option, value in _OPTIONS.items():
            socket.set(option, value)

    def _use_all(self, router: "zmq.Socket[bytes]") -> None:
        for each in self._listening:
            site = site_of(each)
            router.set(zmq.IPV6, int(site.is_v6))
            use(router, each, f"tcp://{site}")

    def _guard(self, router: "zmq.Socket[bytes]") -> None:
        """Let nobody in without a key, and have that watched."""
        router.set(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
        if self._keys is not None:
            router.set(zmq.CURVE_SERVER, 1)
            router.set(zmq.CURVE_SECRETKEY, self._keys.own)
            router.set(zmq.ZAP_DOMAIN, DOMAIN)
        allowed = {self._public} if self._keys is not None else None
        self._door = Door(self._context, router, self._gate_moved, allowed)

    def _gate_moved(self, is_shut: bool) -> None:
        (shut if is_shut else open_again)(self._listening)

    def _dial(self, socket: "zmq.Socket[bytes]", endpoint: str) -> None:
        peer = self._parse(endpoint)
        self._prove(socket, peer)
        self._tune(socket)
        socket.set(zmq.CONNECT_TIMEOUT, CONNECT_MS)
        site = best(peer.sites)
        socket.set(zmq.IPV6, int(site.is_v6))
        socket.connect(f"tcp://{site}")

    def _prove(self, socket: "zmq.Socket[bytes]", peer: TcpEndpoint) -> None:
        """Take nobody else for the peer, and show it that we belong to the system."""
        if bool(peer.key) is not (self._keys is not None):
            raise ValueError("it has a key and we have none" if peer.key else "it has no key")
        socket.set(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
        if self._hears and self._refusal is None:
            self._refusal = Refusal(self._context, socket)
        if self._keys is not None:
            socket.set(zmq.CURVE_SERVERKEY, peer.key)
            socket.set(zmq.CURVE_PUBLICKEY, self._public)
            socket.set(zmq.CURVE_SECRETKEY, self._keys.member)

    def send(self, endpoint: str, frames: Sequence[Buffer]) -> bool:
        return super().send(endpoint, split(frames))

    def receive(self) -> Message | None:
        message = super().receive()
        if message is None or message[1][0]:
            return message
        return message[0], join(message[1])

    def hear_refusal(self) -> None:
        """Before the first peer is connected to: see `refused`."""
        self._hears = True

    async def refused(self) -> Refused:
        """Why the first peer lets nobody in, as soon as that is certain."""
        if self._refusal is None:
            raise RuntimeError("it was not asked to hear a refusal before it called")
        return await self._refusal.told()

    def reports(self) -> dict[str, StreamReport]:
        """What is known of the link to each peer, by its endpoint."""
        return {
            endpoint: StreamReport(outgoing=True, tos=int(socket.get(zmq.TOS)))
            for endpoint, socket in self._peers.items()
        }

    def incoming_reports(self) -> list[StreamReport]:
        """Who calls is ZMQ's affair."""
        return []

    def close(self, farewell: str = "") -> None:
        if not self._closed and hasattr(self, "_door"):
            self._door.close()
            if self._refusal is not None:
                self._refusal.close()
        super().close(farewell)
        for each in self._listening:
            each.close()


def use(socket: "zmq.Socket[bytes]", listening: sockets.socket, name: str) -> None:
    """Callers of a listening socket become the ZMQ socket's; the first stays the caller's."""
    fd = os.dup(listening.fileno())  # libzmq closes its own
    socket.set(zmq.USE_FD, fd)
    try:
        socket.bind(name)
    except zmq.ZMQError:
        os.close(fd)
        raise


def check_safe(sites: Sequence[Site], keys: Keys | None) -> None:
    """Raise `ValueError` if anybody but this host's users could call without a key."""
    for site in sites:
        if keys is None and not site.is_loopback:
            raise ValueError(f"{site} is no loopback address: without keys nothing listens there")


def public_of(secret: bytes) -> bytes:
    """The public half of a pair, 32 bytes."""
    return z85.decode(zmq.curve_public(z85.encode(secret)))
