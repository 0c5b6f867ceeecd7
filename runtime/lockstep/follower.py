"""A process that follows a lockstep's clock: it says when it is idle, and waits to be told.

As the conductor does, it stands where trio would wait.

Invariants
----------
* It reports each idleness once, under a number of its own, after its poll has found nothing.
* A wave is answered only if the poll still finds nothing. Else the loop runs, and nothing is said:
  the next report will be news enough.
* What the outer world holds is not reported as idle; that is looked at again every 1 to 20 ms.
* When the conductor is gone the loop waits as it would without it, and what else ends this process.
"""

from __future__ import annotations

import math
import select
import socket
import sys
import traceback
from contextlib import suppress
from typing import Final

import trio

from runtime.lockstep.baton import (
    MAX_BYTES,
    Due,
    Held,
    Idle,
    Joined,
    Late,
    Still,
    Wave,
    decode_conductor,
    encode,
    line_path,
)
from runtime.lockstep.clock import FOREVER_S, LockstepClock
from runtime.lockstep.outside import Outside

_LOOKS_MS: Final = (1, 20)


class Follower(trio.abc.Instrument):
    """To be made before trio runs, with its ``clock``; then `watch` and add it."""

    def __init__(self, folder: str, incarnation: int) -> None:
        self.clock = LockstepClock.following(folder)
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.connect(line_path(folder))
        self._line.send(encode(Joined(incarnation)))
        self._line.setblocking(False)
        self._number = 0
        self._outside: Outside
        self._token: trio.lowlevel.TrioToken
        self._loop = select.poll()
        self._poll = select.poll()

    def watch(self, loop: int, outside: Outside) -> None:
        """Stand between this process's loop and its poll."""
        self._token = trio.lowlevel.current_trio_token()
        self._outside = outside
        self._loop.register(loop, select.POLLIN)
        self._poll.register(loop, select.POLLIN)
        self._poll.register(self._line, select.POLLIN)

    def late(self, sender: int, sent_at: float) -> None:
        """Tell of a message that should have been read before time moved."""
        with suppress(ConnectionError):
            self._say(Late(sender, sent_at, self.clock.current_time()))

    def before_io_wait(self, timeout: float) -> None:
        if timeout > FOREVER_S and self._line.fileno() >= 0:
            try:
                self._follow()
            except ConnectionError:
                self._line.close()
            except Exception:  # trio would only log it
                traceback.print_exc(file=sys.stderr)
                self._line.close()

    def _follow(self) -> None:
        if not self._get_free():
            return
        self._number += 1
        deadline = None if self.clock.deadline == math.inf else self.clock.deadline
        unsaid = not self._say(Idle(self._number, deadline))
        while True:
            mask = select.POLLIN | (select.POLLOUT if unsaid else 0)
            self._poll.modify(self._line, mask)
            events = dict(self._poll.poll())
            if self._loop.poll(0):
                return
            event = events.get(self._line.fileno(), 0)
            if event & select.POLLOUT:
                unsaid = not self._say(Idle(self._number, deadline))
            if event & ~select.POLLOUT and self._hear():
                return

    def _get_free(self) -> bool:
        """Whether it is idle at last; False if the loop must run first."""
        look_ms, longest_ms = _LOOKS_MS
        told = ""
        while not self._loop.poll(0):
            why = self._outside.hold()
            if not why:
                return not self._loop.poll(0)
            if why != told and self._say(Held(why)):
                told = why
            self._loop.poll(look_ms)
            look_ms = min(2 * look_ms, longest_ms)
        return False

    def _hear(self) -> bool:
        """Do as the conductor says; whether the loop must run."""
        data = self._line.recv(MAX_BYTES)
        if not data:
            raise ConnectionResetError("the conductor has hung up")
        said = decode_conductor(data)
        if isinstance(said, Wave):
            self._say(Still(said.number, self._number))
        elif isinstance(said, Due):
            self._token.run_sync_soon(_nothing, idempotent=True)
            return True
        return False

    def _say(self, said: Idle | Still | Held | Late) -> bool:
        """False if there is no room: the conductor has not read for long."""
        try:
            self._line.send(encode(said), socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        return True


def _nothing() -> None:
    """Runs in the next turn of the loop, so that there is one."""
