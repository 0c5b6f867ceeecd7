"""The dialling end of a network link, which ZMQ sees as a local socket.

An `Outgoing` dials a peer, again whenever that is needed, and pumps between its stream and a local
socket. On that ZMQ listens though it is to send, so that it has a connection only while there is a
stream. Of the other end, where ZMQ has the stream itself, see `runtime.multipath.accepted`.

Invariants
----------
* One stream at a time leads to a peer; the next is dialled when the last has ended at both ends.
* Between two attempts there is a pause that doubles: to `REFUSED_S` where nobody listens, to
  `HUNG_UP_S` where somebody does and hangs up.
* A stream that is plain TCP though the kernel has MPTCP is dialled again when nothing was said for
  `QUIET_S`: if the new one is better, the old one ends first, and nothing is lost or overtaken.
  If it is not, the next attempt takes twice as long to come, to `HOPELESS_S`.
* A stream on which something waits, and nothing was acknowledged for `UNANSWERED_S`, is ended.
* Local sockets have no names in the file system. That only this process connects to them is for who
  listens to see to.
"""

from __future__ import annotations

import fcntl
import math
import socket
import struct
import termios
from collections.abc import Callable, Sequence
from typing import Final

import trio

from runtime.multipath.dialling import dial
from runtime.multipath.inspection import full_info, speaks_mptcp
from runtime.multipath.link_report import StreamReport
from runtime.multipath.pump import Pump
from runtime.multipath.statistics import TcpState
from runtime.multipath.streams import Streams
from runtime.network.listening import BACKLOG
from runtime.network.tcp_endpoint import Site

FIRST_S: Final = 0.002
REFUSED_S: Final = 0.1
HUNG_UP_S: Final = 3.0
SETTLED_S: Final = 1.0
LEAVE_S: Final = 1.0
QUIET_S: Final = 0.1
MEND_S: Final = 5.0
HOPELESS_S: Final = 300.0
UNANSWERED_S: Final = 10.0


def listen_locally() -> tuple[socket.socket, str]:
    """A listening socket of this host, and how ZMQ calls its address."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    listening.bind("")  # the kernel picks a name in no folder
    listening.listen(BACKLOG)
    return listening, "ipc://@" + listening.getsockname()[1:].decode()


def _call(name: str) -> socket.socket:
    inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        inner.connect("\0" + name.removeprefix("ipc://@"))
    except OSError:
        inner.close()
        raise
    return inner


class Outgoing:
    """To one peer. ``name``: of the local socket; ``renew`` gives a new one, or "" if not now."""

    def __init__(
        self, sites: Sequence[Site], name: str, streams: Streams, renew: Callable[[], str]
    ) -> None:
        self.handed = 0
        """How many messages ZMQ was given for this peer."""
        self.pump: Pump | None = None
        self.failure = "not connected yet"
        self.scope = trio.CancelScope()
        self._sites = sites
        self._name = name
        self._streams = streams
        self._renew = renew
        self._next: socket.socket | None = None  # already dialled
        self._mend_s = MEND_S
        self._leaving = False

    async def run(self) -> None:
        """Have a stream to the peer, until `leave`."""
        pause_s = FIRST_S
        try:
            with self.scope:
                while not self._leaving:
                    begin = trio.current_time()
                    limit_s = await self._once()
                    if self._next is not None or trio.current_time() - begin > SETTLED_S:
                        pause_s = FIRST_S
                    if self._next is None and not self._leaving:
                        await trio.sleep(pause_s)
                        pause_s = min(2 * pause_s, max(limit_s, pause_s))
        finally:
            if self._next is not None:
                self._next.close()

    async def _once(self) -> float:
        """Dial, and pump until that stream has ended. Return how long the pause may become."""
        outer, self._next = self._next, None
        try:
            outer = outer or await dial(self._sites, self._streams.dialling)
            try:
                self.pump = Pump(_call(self._name), outer)
            except OSError:
                outer.close()
                raise
        except OSError as error:
            self.failure = error.strerror or str(error)
            return REFUSED_S
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._mend, self.pump)
            nursery.start_soon(_end_unanswered, self.pump)
            await self.pump.run()
            nursery.cancel_scope.cancel()
        failure, self.pump = self.pump.failure, None
        told = failure and (failure.strerror or str(failure))
        self.failure = told or "the peer has hung up"
        return HUNG_UP_S

    def leave(self) -> None:
        """What ZMQ has said still leaves; then there is no link. `run` returns soon."""
        self._leaving = True
        if self.pump is None:
            self.scope.cancel()
        else:
            self.scope.deadline = trio.current_time() + LEAVE_S

    async def _mend(self, pump: Pump) -> None:
        """Replace the stream if it is plain TCP and need not be."""
        while True:
            await trio.sleep(self._mend_s)
            if not pump.is_open:
                return
            if self._streams.missing or speaks_mptcp(pump.outer):
                continue
            self._mend_s = min(2 * self._mend_s, HOPELESS_S)
            try:
                better = await dial(self._sites, self._streams.dialling)
            except OSError:
                continue
            try:
                if speaks_mptcp(better) and await self._quiet(pump) and (name := self._renew()):
                    self._name, self._next = name, better
                    self._mend_s = MEND_S
                    return
            finally:
                if self._next is not better:
                    better.close()

    async def _quiet(self, pump: Pump) -> bool:
        """Whether, now that it returns, nothing has been under way for a while."""
        for _ in range(int(MEND_S / QUIET_S)):
            before = self.handed, pump.count
            await trio.sleep(QUIET_S)
            if not pump.is_open:
                return False
            if before == (self.handed, pump.count) and not pump.out.holds and not _unsent(pump):
                return not self._leaving
        return False

    def report(self) -> StreamReport:
        if self.pump is None or not self.pump.is_open:
            return StreamReport(outgoing=True, note=f"not connected: {self.failure}")
        counted = self.pump.out.count, self.pump.back.count
        return self._streams.report(self.pump.outer, outgoing=True, counted=counted)


async def _end_unanswered(pump: Pump) -> None:
    """End a stream on which something waits, and no path has brought an answer for a while.

    Its own next attempt may be a minute away when a path comes back; a new stream's is not. A peer
    who is there and does not read answers all the same.
    """
    while True:
        await trio.sleep(UNANSWERED_S / 4)
        if not pump.is_open:
            return
        try:
            paths = full_info(pump.outer).living  # one that is being opened has had no answer
        except OSError:
            continue  # plain TCP has a timeout of its own
        established = [path.tcp for path in paths if path.tcp.state == TcpState.ESTABLISHED]
        silent_ms = min((tcp.last_ack_recv for tcp in established), default=math.inf)
        if _unsent(pump) and silent_ms > UNANSWERED_S * 1000:
            pump.fail(TimeoutError(f"nothing was acknowledged for {UNANSWERED_S:g} s"))


def _unsent(pump: Pump) -> int:
    """Bytes that the peer's kernel has not confirmed."""
    held = fcntl.ioctl(pump.outer.fileno(), termios.TIOCOUTQ, bytes(4))
    return int(struct.unpack("i", held)[0])
