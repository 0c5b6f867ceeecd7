"""Stream sockets: MPTCP's where the kernel has it, else TCP's.

Invariants
----------
* What is missing is found out once, at the first socket, and `Streams.missing` says it.
* MPTCP that no more than the peer lacks is the kernel's affair: such a connection *falls back*, and
  `runtime.multipath.inspection.speaks_mptcp` tells.
* Where a kernel cannot mark IPv6 packets of Multipath TCP, that is said once.
"""

import errno
import logging
import socket
from contextlib import suppress
from typing import Final

from runtime.multipath.inspection import PLAIN_TCP, full_info, set_tos, tcp_info, tos
from runtime.multipath.link_report import StreamReport
from runtime.network.listening import MakeSocket, site_of
from runtime.network.tcp_endpoint import Site

_LACKING: Final = (errno.EPROTONOSUPPORT, errno.ENOPROTOOPT, errno.EINVAL)
UNANSWERED_MS: Final = 10_000
_KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 8),
)
log: Final = logging.getLogger("regrow")


class Streams:
    """Of one network namespace: that in which ``make_socket`` makes them.

    ``tos``: the type of service of what they send.
    """

    def __init__(self, make_socket: MakeSocket = socket.socket, tos: int = 0) -> None:
        self._make_socket = make_socket
        self._tos = tos
        self._told = False
        self.missing = ""
        """Why there is no MPTCP, "" if there is."""

    def make(self, family: int, kind: int = socket.SOCK_STREAM, proto: int = 0) -> socket.socket:
        """A stream socket that does not block."""
        del proto
        if not self.missing:
            try:
                return self._make_socket(family, kind | socket.SOCK_NONBLOCK, socket.IPPROTO_MPTCP)
            except OSError as error:
                if error.errno not in _LACKING:
                    raise
                self.missing = f"this kernel has no Multipath TCP ({error.strerror})"
        return self.make_plain(family, kind)

    def make_plain(self, family: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A TCP socket that does not block."""
        return self._make_socket(family, kind | socket.SOCK_NONBLOCK, 0)

    def dialling(self, family: int) -> socket.socket:
        """One to connect with, settled."""
        stream = self.make(family)
        self.settle(stream)
        return stream

    def settle(self, stream: socket.socket) -> None:
        """Its packets are marked, small messages leave at once, and a peer that vanished is
        noticed in minutes.
        """
        if self._tos and not set_tos(stream, self._tos) and not self._told:
            self._told = True
            log.warning("this kernel marks no IPv6 packets of Multipath TCP: tos is for IPv4 alone")
        _settle(stream)

    def report(
        self, stream: socket.socket, outgoing: bool, counted: tuple[int, int] | None = None
    ) -> StreamReport:
        """What is known of an open stream.

        ``counted``: bytes sent and received, where somebody has; else the kernel's count.
        """
        full = None
        try:
            local, remote = str(site_of(stream)), str(_peer_of(stream))
            full = full_info(stream)
            if full.mptcp.fallback:
                full = None
        except OSError as error:
            if error.errno not in PLAIN_TCP:
                return StreamReport(outgoing, note=f"not connected: {error.strerror}")
        if counted is None and full is not None:
            counted = full.mptcp.bytes_sent, full.mptcp.bytes_received
        elif counted is None:
            tcp = tcp_info(stream)
            counted = tcp.bytes_sent - tcp.bytes_retrans, tcp.bytes_received
        return StreamReport(
            outgoing,
            local=local,
            remote=remote,
            sent_bytes=counted[0],
            received_bytes=counted[1],
            full=full,
            note="" if full is not None else f"plain TCP: {self.missing or 'it fell back'}",
            tos=tos(stream),
        )


def _peer_of(stream: socket.socket) -> Site:
    host, port, *_ = stream.getpeername()
    return Site(host, port)


def _settle(stream: socket.socket) -> None:
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with suppress(OSError):  # not on MPTCP sockets
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED_MS)
    with suppress(OSError):  # not on MPTCP sockets of kernels before 6.13
        for option in _KEEPALIVE:
            stream.setsockopt(*option)
