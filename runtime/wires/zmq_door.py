"""Who may come in: the keys of callers, checked as ZAP asks, and the knocks that led nowhere.

libzmq asks by a socket of its own context whether a caller's key is welcome, and reports on
another what becomes of connections. Both are read by tasks of the one loop. While that stands
still nobody new comes in, and `runtime.network.gate` is as late as it.

Invariants
----------
* A key that is not on the list is refused, counted, and told in the log: at once, and then at
  most once a second with how many there were.
* Reports (`runtime.wires.zmq_reports`) are asked for that come a few times a connection; not that
  descriptors have run out, which would be told without end.
* Nor is it asked for that a frame was none that CURVE or ZMTP allows: libzmq 4.3.5 reports it
  between the failure and its look at errno, takes that for "later", and neither reads nor closes
  the connection ever again. Unreported, it closes it, and `Gate.gone` counts it.
* Reading is in slices: a flood of knocks does not keep other tasks waiting.

Source: ZAP, ZeroMQ RFC 27.
"""

import logging
from collections.abc import Callable, Collection
from typing import Any, Final, Protocol

import trio
import zmq

from runtime.network.gate import Gate
from runtime.wires.zmq_reports import Reports

ZAP: Final = "inproc://zeromq.zap.01"
DOMAIN: Final = b"regrow"
AT_ONCE: Final = 16
QUIET_S: Final = 1.0
LOOK_S: Final = 0.5
_VERSION: Final = b"1.0"
_ACCEPTED: Final = int(zmq.EVENT_ACCEPTED)
_WELCOMED: Final = int(zmq.EVENT_HANDSHAKE_SUCCEEDED)
_GONE: Final = int(zmq.EVENT_DISCONNECTED)
_FAILED: Final = {
    int(zmq.EVENT_HANDSHAKE_FAILED_AUTH): "refused",
    int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL): "left early",
}

log: Final = logging.getLogger("regrow")


class Callers(Protocol):
    """Who keeps what ZMQ has accepted; told in the order in which it happened."""

    def came(self, fd: int) -> bool:
        """ZMQ had it as ``fd``. Return False if it has gone already."""

    def gone(self, fd: int) -> None: ...


class Door:
    """Of one ROUTER.

    ``move``: called with whether the gate is shut now. ``allowed``: public keys; None where there
    are no keys, and all may enter.
    """

    def __init__(
        self,
        context: "zmq.Context[Any]",
        router: "zmq.Socket[bytes]",
        move: Callable[[bool], None],
        allowed: Collection[bytes] | None,
    ) -> None:
        self.gate = Gate()
        self.callers: Callers | None = None
        """Is told of connections, if anybody is."""
        self._move = move
        self._allowed = allowed
        self._refused = 0  # since the last word in the log
        self._last = ""  # of them, where from
        self._news = trio.Event()
        self._shut = trio.Event()
        if allowed is not None:
            self._zap: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
            self._zap.set(zmq.LINGER, 0)
            self._zap.bind(ZAP)
        events = _ACCEPTED | _WELCOMED | _GONE | sum(_FAILED)
        self._reports = Reports(context, router, "reports", events)

    async def keep(self) -> None:
        """Answer and count, until `close`."""
        async with trio.open_nursery() as nursery:
            if self._allowed is not None:
                nursery.start_soon(_read, self._zap, self._asked)
            nursery.start_soon(self._open_in_time)
            nursery.start_soon(self._tell)
            await _read(self._reports.socket, self._reported)
            nursery.cancel_scope.cancel()

    def close(self) -> None:
        """Before its ROUTER is."""
        self._reports.close()
        if self._allowed is not None:
            trio.lowlevel.notify_closing(int(self._zap.get(zmq.FD)))
            self._zap.close()

    def _asked(self, frames: list[bytes]) -> None:
        """A caller has shown that he has the secret half of a key."""
        if len(frames) < 9 or frames[2] != _VERSION:
            self.gate.counts["no zap"] += 1
            return
        caller, _, _, number, domain, where, _, mechanism, key, *_ = frames
        assert self._allowed is not None
        welcome = mechanism == b"CURVE" and domain == DOMAIN and key in self._allowed
        if not welcome:
            self.gate.counts["unknown key"] += 1
            self._refused += 1
            self._last = where.decode("ascii", "replace")
            self._news.set()
        status = (b"200", b"OK") if welcome else (b"400", b"unknown key")
        self._zap.send_multipart([caller, b"", _VERSION, number, *status, b"", b""], zmq.NOBLOCK)

    def _reported(self, frames: list[bytes]) -> None:
        event, fd = Reports.parse(frames)
        now = trio.current_time()
        if event == _ACCEPTED:
            self.gate.accepted(fd, now)
            if self.callers is not None and not self.callers.came(fd):
                self.gate.counts["gone at once"] += 1
        elif event == _WELCOMED:
            self.gate.welcomed(now)
        elif event == _GONE:
            self.gate.gone(fd, now)
            if self.callers is not None:
                self.callers.gone(fd)
        else:
            self.gate.failed(_FAILED[event])
        self._judge()

    def _judge(self) -> None:
        if not self.gate.judge(trio.current_time()):
            return
        self._move(self.gate.is_shut)
        if self.gate.is_shut:
            self._shut.set()

    async def _open_in_time(self) -> None:
        while True:
            await self._shut.wait()
            self._shut = trio.Event()
            while self.gate.is_shut:
                await trio.sleep(LOOK_S)
                self._judge()

    async def _tell(self) -> None:
        while True:
            await self._news.wait()
            self._news = trio.Event()
            count, self._refused = self._refused, 0
            log.warning(
                "refused %s with an unknown key, the last from %s",
                "a connection" if count == 1 else f"{count} connections",
                self._last,
            )
            await trio.sleep(QUIET_S)


async def _read(socket: "zmq.Socket[bytes]", take: Callable[[list[bytes]], None]) -> None:
    """Hand on what arrives, until the socket is closed."""
    if socket.closed:
        return
    fd = int(socket.get(zmq.FD))
    try:
        while not socket.closed:
            for _ in range(AT_ONCE):
                if not int(socket.get(zmq.EVENTS)) & zmq.POLLIN:
                    await trio.lowlevel.wait_readable(fd)
                    break
                take(socket.recv_multipart(zmq.NOBLOCK))
            else:
                await trio.lowlevel.checkpoint()
    except trio.ClosedResourceError:
        pass
