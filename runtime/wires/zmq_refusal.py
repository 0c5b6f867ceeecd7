"""Why a peer does not let a caller in, as the caller's own end of the handshake shows it.

Invariants
----------
* What a peer says of a key, or that it speaks otherwise, is told at once. Who only hangs up may do
  so for many a reason, also because it was the first to find that it cannot read us: that is told
  when it has happened `HUNG_UP_TIMES` in a row.

Source: zmq_socket_monitor(3), ZMQ_EVENT_HANDSHAKE_FAILED_*; ZMTP 3.1 (RFC 37), 2.4.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import trio
import zmq

from runtime.wires.zmq_reports import Reports

Refused = Literal["key", "keys", "language", "hung up"]
"""The key is not welcome; one has keys and the other has none; no ZMTP; without a word."""
HUNG_UP_TIMES: Final = 5
_WELCOMED: Final = int(zmq.EVENT_HANDSHAKE_SUCCEEDED)
_AUTH: Final = int(zmq.EVENT_HANDSHAKE_FAILED_AUTH)
_PROTOCOL: Final = int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL)
_NO_DETAIL: Final = int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
_OTHER_MECHANISM: Final = int(zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH)


class Refusal:
    """Of one socket that is about to call one peer; made before it does, closed after it."""

    def __init__(self, context: zmq.Context[Any], calling: zmq.Socket[bytes]) -> None:
        events = _WELCOMED | _AUTH | _PROTOCOL | _NO_DETAIL
        self._reports = Reports(context, calling, "refusals", events)

    async def told(self) -> Refused:
        """The first reason that comes, as long as one does not."""
        hung_up = 0
        reports = self._reports.socket
        fd = int(reports.get(zmq.FD))
        while True:
            if not int(reports.get(zmq.EVENTS)) & zmq.POLLIN:
                await trio.lowlevel.wait_readable(fd)
                continue
            event, value = Reports.parse(reports.recv_multipart(zmq.NOBLOCK))
            if event == _AUTH:
                return "key"
            if event == _PROTOCOL:
                return "keys" if value == _OTHER_MECHANISM else "language"
            hung_up = hung_up + 1 if event == _NO_DETAIL else 0
            if hung_up == HUNG_UP_TIMES:
                return "hung up"

    def close(self) -> None:
        """Before the socket that calls is."""
        self._reports.close()
