"""The wire between hosts that may lose a path: `runtime.wires.zmq_tcp` over Multipath TCP.

The two ends differ, for ZMQ takes an MPTCP socket that listens, but none to connect with. So ZMQ
accepts and reads the streams of others itself, and `runtime.multipath.accepted` holds a second
descriptor of each. Where we call, ZMQ sees a socket of this host alone, and
`runtime.multipath.network_link` pumps what it says to a stream that it dials.
Keys, pieces and the door are those of tcp; CURVE is between the two ZMQ sockets, end to end.

Invariants
----------
* Only this process can connect to the local sockets.
* What a broken stream held is lost, as over tcp; a lost path breaks no stream.
* When a process ends, its last words are carried before its loop is gone.
* What ZMQ took at once is carried before `MptcpTransport.send` returns, if ZMQ is quick: see
  `runtime.multipath.pump.Pump.hurry`. That saves a turn of the loop a message: of a round trip
  20 us of either end's CPU, and some 50 of 500 us.
* ZMQ sets no option of TCP on what it accepts, for MPTCP sockets refuse some, and ZMQ then drops
  the caller, or the process. They have what the listening socket has, from their first packet.
* The gate is a wall (`runtime.network.wall`): an MPTCP socket takes no filter.

Why no pump where others call: with one an ask was up to 100 us dearer, by the load of the machine.
What it gave besides is had by the second descriptor: options, statistics, the guard.

Without descriptors ZMQ's thread tries to accept again and again, here as over tcp, and takes what
it gets of a core. Callers wait and come in later.

Source: zmq_setsockopt(3), ZMQ_USE_FD, ZMQ_IPC_FILTER_PID.
"""

import math
import os
import socket as sockets
from collections.abc import Sequence
from functools import partial

import trio
import zmq

from runtime.messages.codec import Buffer
from runtime.multipath.accepted import Accepted
from runtime.multipath.inspection import cookie
from runtime.multipath.link_report import OpenStream, StreamReport
from runtime.multipath.network_link import Outgoing, listen_locally
from runtime.multipath.streams import Streams
from runtime.network.keys import Keys
from runtime.network.listening import listen_at
from runtime.network.tcp_endpoint import Site
from runtime.network.wall import Wall
from runtime.wires.zmq_tcp import TcpTransport, use
from runtime.wires.zmq_transport import FAREWELL_MS

_LAST_MS = 1000


class MptcpTransport(TcpTransport):
    """As `TcpTransport`; ``streams``: where its MPTCP sockets come from."""

    redial_s = math.inf
    kind = "mptcp"

    def __init__(
        self,
        endpoint: str,
        incarnation: int,
        nursery: trio.Nursery,
        max_sockets: int | None = None,
        *,
        keys: Keys | None,
        listening: Sequence[sockets.socket] | None = None,
        streams: Streams | None = None,
        tos: int = 0,
    ) -> None:
        self.streams = streams or Streams(tos=tos)
        self.outgoing: dict[str, Outgoing] = {}
        self.accepted: Accepted
        self._walls: list[Wall] = []
        super().__init__(
            endpoint, incarnation, nursery, max_sockets, keys=keys, listening=listening
        )

    def _listen(self, sites: Sequence[Site]) -> Sequence[sockets.socket]:
        return listen_at(sites, reserved=True, make=self.streams.make)

    def _bind(self, router: "zmq.Socket[bytes]") -> None:
        self._guard(router)
        self.accepted = self._door.callers = Accepted(self._listening, self.streams)
        for each in self._listening:
            self.streams.settle(each)  # who comes in is so from the first packet
            self._walls.append(Wall(each, self.streams.make_plain(each.family)))
        self._use_all(router)

    def _gate_moved(self, is_shut: bool) -> None:
        for wall in self._walls:
            (wall.shut if is_shut else wall.open)()

    def _dial(self, socket: "zmq.Socket[bytes]", endpoint: str) -> None:
        peer = self._parse(endpoint)
        self._prove(socket, peer)
        name = _bind_locally(socket)
        if endpoint in self.outgoing:
            self._renewed = name
            return
        link = Outgoing(peer.sites, name, self.streams, partial(self._renew, endpoint))
        self.outgoing[endpoint] = link
        self._nursery.start_soon(link.run)

    def _renew(self, endpoint: str) -> str:
        """Another socket for the peer, that waits for a connection; the name to connect to."""
        if endpoint not in self._peers or self.holds(endpoint):
            return ""
        old = self._peers[endpoint]
        self._peers[endpoint] = self._dialled(endpoint)
        old.set(zmq.LINGER, _LAST_MS)
        old.close()
        return self._renewed

    def send(self, endpoint: str, frames: Sequence[Buffer]) -> bool:
        at_once = super().send(endpoint, frames)
        link = self.outgoing[endpoint]
        link.handed += 1
        if at_once and link.pump is not None:
            return link.pump.hurry()
        return at_once

    def disconnect(self, endpoint: str) -> None:
        super().disconnect(endpoint)
        link = self.outgoing.pop(endpoint, None)
        if link is not None:
            link.leave()

    def close(self, farewell: str = "") -> None:
        if self._closed:
            return
        last = self.outgoing.pop(farewell, None)
        if hasattr(self, "accepted"):
            self.accepted.close()
        super().close(farewell)
        for wall in self._walls:
            wall.close()
        if last is not None:
            if last.pump is not None:
                last.pump.drain_now(FAREWELL_MS / 1000)
            last.scope.cancel()

    def reports(self) -> dict[str, StreamReport]:
        """What is known of the link to each peer, by its endpoint."""
        return {endpoint: link.report() for endpoint, link in self.outgoing.items()}

    def incoming_reports(self) -> list[StreamReport]:
        """What is known of the streams by which others call."""
        return self.accepted.reports()

    def streams_now(self) -> dict[str, OpenStream]:
        """See `runtime.multipath.link_report.Watchable`."""
        found = {
            f"{cookie(link.pump.outer)}": OpenStream(endpoint, link.pump.outer)
            for endpoint, link in self.outgoing.items()
            if link.pump is not None and link.pump.is_open
        }
        came = self.accepted.now().items()
        return found | {f"{number}": OpenStream("", stream) for number, stream in came}


def _bind_locally(socket: "zmq.Socket[bytes]") -> str:
    """Let this process, and no other, connect to it. Return the name of where."""
    listening, name = listen_locally()
    with listening:
        socket.set(zmq.IPC_FILTER_PID, os.getpid())
        use(socket, listening, name)
    return name
