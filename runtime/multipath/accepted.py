"""The streams by which others call, of which ZMQ has one descriptor and we a second.

ZMQ accepts MPTCP streams and reads them itself, which saves an ask up to 150 us. What else is
done with a stream, its options, its statistics, the guard of its paths, is done by a duplicate,
made when ZMQ reports that it has come and closed when ZMQ reports that it has gone.

A report is read some time after it was made. By then the stream may be gone, and its number
somebody else's: another caller's, of whom a later report tells, or one of our own duplicates'.

Invariants
----------
* What is held is a stream that came in at our ports, and none is held twice: the kernel's cookie,
  which no other socket ever has, tells.
* Reports come in order, so a number that is reported anew is another stream: what was held by it
  is closed.
* Every stream that has come is reported as gone before ZMQ closes it, whatever the reason, unless
  all go with the ROUTER. So what is held ZMQ has too, or had when the reports were last read.
* Until they are read the peer of a stream that ZMQ has closed does not see the end: one who hung
  up himself, or a stranger whose time is up. Through a pump it saw it no sooner.
* What the peer has ended is closed here at the next look, reported or not: of a caller who came
  anew libzmq never closes the old stream, if anything has arrived by it since.
* Where there was no descriptor for one, it is tried again at each look.
* They are never read, written, or waited for; `Accepted.close` closes all.

Source: libzmq 4.3.5, where but for its socket's end ``stream_engine_base_t::error`` alone ends a
connection, and reports it before ``close``; its one thread for I/O keeps the order of reports.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Iterable
from typing import Final, NamedTuple

from runtime.multipath.inspection import cookie
from runtime.multipath.link_report import StreamReport
from runtime.multipath.streams import Streams
from runtime.network.listening import site_of

_FULL: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class _Held(NamedTuple):
    cookie: int
    stream: socket.socket


class Accepted:
    """Those that came in at ``listening``. ``streams`` settles them."""

    def __init__(self, listening: Iterable[socket.socket], streams: Streams) -> None:
        self._ports = {site_of(each).port for each in listening}
        self._streams = streams
        self._held: dict[int, _Held] = {}  # by ZMQ's descriptor
        self._missed: set[int] = set()  # for want of a descriptor

    def came(self, fd: int) -> bool:
        """ZMQ has accepted a stream. Return False if it has gone already."""
        self.gone(fd)
        try:
            stream = _duplicate(fd)
        except OSError as error:
            if error.errno not in _FULL:
                return False
            self._missed.add(fd)
            return True
        try:
            held = _Held(cookie(stream), stream)
            if not self._is_ours(held):
                stream.close()
                return False
            self._streams.settle(stream)
        except OSError:
            stream.close()
            return False
        self._held[fd] = held
        return True

    def gone(self, fd: int) -> None:
        """ZMQ closes it, or has. Idempotent."""
        self._missed.discard(fd)
        held = self._held.pop(fd, None)
        if held is not None:
            held.stream.close()

    def _is_ours(self, held: _Held) -> bool:
        """`OSError`: it is not connected."""
        if held.stream.family not in (socket.AF_INET, socket.AF_INET6):
            return False
        held.stream.getpeername()
        return (
            held.stream.type == socket.SOCK_STREAM
            and site_of(held.stream).port in self._ports
            and all(held.cookie != other.cookie for other in self._held.values())
        )

    def now(self) -> dict[int, socket.socket]:
        """Those that are open, by cookie, in the order in which they came. Not to be closed."""
        for fd in tuple(self._missed):
            self.came(fd)
        looked_at = select.poll()
        numbers = {}
        for fd, held in self._held.items():
            looked_at.register(held.stream, select.POLLRDHUP)
            numbers[held.stream.fileno()] = fd
        for number, _ in looked_at.poll(0):
            self.gone(numbers[number])
        return dict(self._held.values())

    def reports(self) -> list[StreamReport]:
        return [self._streams.report(each, outgoing=False) for each in self.now().values()]

    def close(self) -> None:
        """When no report comes any more."""
        for fd in (*self._held, *self._missed):
            self.gone(fd)


def _duplicate(fd: int) -> socket.socket:
    """`OSError`: it is closed, or no socket."""
    duplicate = os.dup(fd)
    try:
        return socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)
        raise
