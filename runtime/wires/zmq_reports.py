"""What libzmq reports of the connections of one of its sockets.

Invariants
----------
* The reports wait without a limit: libzmq's thread would block at one, and with it all traffic.
  So ask for those alone that come a few times a connection.

frames of a report: [event (2 bytes) and its value (4 bytes), the address].

Source: zmq_socket_monitor(3).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

import trio
import zmq

_REPORT: Final = struct.Struct("=Hi")


class Reports:
    """Of ``watched``, from now on. ``name``: which no others of its context have.

    ``events``: those that are asked for, a sum. ``socket``: to be read by one task.
    """

    def __init__(
        self, context: zmq.Context[Any], watched: zmq.Socket[bytes], name: str, events: int
    ) -> None:
        self._watched = watched
        watched.monitor(f"inproc://{name}", events)
        self.socket: zmq.Socket[bytes] = context.socket(zmq.PAIR)
        self.socket.set(zmq.LINGER, 0)
        self.socket.set(zmq.RCVHWM, 0)
        self.socket.connect(f"inproc://{name}")

    @staticmethod
    def parse(frames: Sequence[bytes]) -> tuple[int, int]:
        """The event, and its value: a descriptor, or an error."""
        event, value = _REPORT.unpack(frames[0])
        return event, value

    def close(self) -> None:
        """Before ``watched`` is."""
        if not self._watched.closed:
            self._watched.disable_monitor()
        trio.lowlevel.notify_closing(int(self.socket.get(zmq.FD)))
        self.socket.close()
