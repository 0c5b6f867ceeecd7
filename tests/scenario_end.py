"""One end of the stream of a scenario: what has gone through it, and how it ends.

`Pumped`: carried by a pump, which counts. `Held`: ZMQ's own, of which the product holds a
duplicate; what ZMQ has written and read is what the kernel has had and no longer keeps for it.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from typing import Final, Protocol

from runtime.multipath import inspection
from runtime.multipath.pump import Pump

_UNSENT: Final = 0x894B  # SIOCOUTQNSD
_RESET: Final = struct.pack("ii", 1, 0)


class End(Protocol):
    outer: socket.socket
    """The MPTCP socket."""

    @property
    def sent(self) -> int:
        """Bytes that its user has written."""

    @property
    def received(self) -> int:
        """Bytes that its user has read."""

    @property
    def is_open(self) -> bool: ...

    def break_off(self) -> None:
        """It fails."""

    def amiss(self) -> str:
        """How it has not ended in good order, as far as is known here; "" if it has."""


class Pumped:
    def __init__(self, pump: Pump) -> None:
        self.outer = pump.outer
        self._pump = pump

    @property
    def sent(self) -> int:
        return self._pump.out.count

    @property
    def received(self) -> int:
        return self._pump.back.count

    @property
    def is_open(self) -> bool:
        return self._pump.is_open

    def break_off(self) -> None:
        self._pump.fail(ConnectionError("it is to fail"))

    def amiss(self) -> str:
        ended = self._pump.out.ended, self._pump.back.ended
        if ended == (True, True) and self._pump.failure is None:
            return ""
        return f"the stream was broken off: {ended} {self._pump.failure}"


class Held:
    def __init__(self, stream: socket.socket) -> None:
        self.outer = stream

    @property
    def sent(self) -> int:
        return inspection.mptcp_info(self.outer).bytes_sent + _asked(self.outer, _UNSENT)

    @property
    def received(self) -> int:
        unread = _asked(self.outer, termios.FIONREAD)
        return inspection.mptcp_info(self.outer).bytes_received - unread

    @property
    def is_open(self) -> bool:
        return self.outer.fileno() != -1

    def break_off(self) -> None:
        """ZMQ takes this for the end, and its close for a reset."""
        self.outer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.outer.shutdown(socket.SHUT_RD)

    def amiss(self) -> str:
        """ZMQ does not tell; the peer's end does, and the hosts' counters."""
        return ""


def _asked(stream: socket.socket, request: int) -> int:
    return int(struct.unpack("i", fcntl.ioctl(stream.fileno(), request, bytes(4)))[0])
