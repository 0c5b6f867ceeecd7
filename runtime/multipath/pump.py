"""Bytes carried between two sockets of this process, both ways, in the one loop.

ZMQ cannot connect by MPTCP, so it is given a local socket, and a pump carries what it says to a
stream that somebody who can has dialled, and back. What it accepts it reads without one.

Invariants
----------
* Bytes arrive as they were given, in order, and nothing is looked at.
* The end of one direction is carried on as that, and the other one goes on; it has `HALF_OPEN_S`
  from its last byte. A failure of either side ends both at once, as a failure.
* At most `CHUNK_BYTES` a direction are held, and those only while the target takes no more: then
  its source is not read. The sockets' own buffers are all there is besides.
* One that has much to carry lets other tasks run after `AT_ONCE` chunks.
* `Pump.hurry` keeps the loop for `HURRY_S`, and others for whom it makes room, and carries one
  chunk at most; what it cannot finish, or finds ended, is its task's, as if that had found it.
* When `Pump.run` has returned both sockets are closed.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from contextlib import suppress
from enum import Enum
from typing import Final

import trio

CHUNK_BYTES: Final = 128 * 1024
AT_ONCE: Final = 8
HALF_OPEN_S: Final = 10.0
HURRY_S: Final = 300e-6
"""ZMQ's thread needs 20 to 50 us on a machine that is idle, rarely more than this."""
_RESET: Final = struct.pack("ii", 1, 0)
# Between receiving into it and sending from it nobody else runs, so one is enough for all.
_CHUNK: Final = memoryview(bytearray(CHUNK_BYTES))


class Next(Enum):
    """What a direction waits for."""

    READ = "read"
    WRITE = "write"
    NOTHING = "nothing"
    END = "end"


class Direction:
    """From one socket to the other. ``count``: bytes that the target has taken."""

    __slots__ = ("_held", "count", "ended", "source", "target")

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source = source
        self.target = target
        self.count = 0
        self.ended = False
        self._held: memoryview | None = None

    @property
    def holds(self) -> bool:
        """Whether bytes are on their way from one socket to the other."""
        return self._held is not None

    def step(self) -> Next:
        """Carry at most one chunk. `OSError`: either side has failed."""
        rest = self._held
        if rest is None:
            try:
                size = self.source.recv_into(_CHUNK)
            except BlockingIOError:
                return Next.READ
            if not size:
                self._end()
                return Next.END
            rest = _CHUNK[:size]
        else:
            size = CHUNK_BYTES
        try:
            sent = self.target.send(rest)
        except BlockingIOError:
            sent = 0
        self.count += sent
        if sent == len(rest):
            self._held = None
            return Next.READ if size < CHUNK_BYTES else Next.NOTHING
        # What stays must not be in the common chunk; a part of what was kept already is not.
        self._held = memoryview(bytes(rest[sent:])) if self._held is None else rest[sent:]
        return Next.WRITE

    def _end(self) -> None:
        self.ended = True
        try:
            self.target.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:  # it has ended as well
                raise


class Pump:
    """Between ``inner`` and ``outer``, which are connected, do not block, and are its own now."""

    def __init__(self, inner: socket.socket, outer: socket.socket) -> None:
        self.inner = inner
        self.outer = outer
        self.out = Direction(inner, outer)
        self.back = Direction(outer, inner)
        self.failure: OSError | None = None
        self.scope = trio.CancelScope()
        """Cancelled, it fails at once."""
        self._said = select.poll()
        self._said.register(inner, select.POLLIN)

    @property
    def count(self) -> int:
        """Bytes carried, both ways."""
        return self.out.count + self.back.count

    @property
    def is_open(self) -> bool:
        """Whether its sockets can still be looked at."""
        return self.outer.fileno() != -1

    async def run(self) -> None:
        """Carry until both directions have ended or one has failed: `failure` says what it was."""
        try:
            with self.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._carry, self.out, self.back)
                    nursery.start_soon(self._carry, self.back, self.out)
        finally:
            self.close()

    async def _carry(self, way: Direction, other: Direction) -> None:
        chunks = 0
        try:
            while (wanted := way.step()) is not Next.END:
                if other.ended:
                    self.scope.deadline = trio.current_time() + HALF_OPEN_S
                try:
                    if wanted is Next.READ:
                        await trio.lowlevel.wait_readable(way.source)
                        chunks = 0
                    elif wanted is Next.WRITE:
                        await trio.lowlevel.wait_writable(way.target)
                    elif (chunks := chunks + 1) == AT_ONCE:
                        await trio.lowlevel.checkpoint()
                        chunks = 0
                except trio.ClosedResourceError:
                    if not self.is_open:
                        raise
                    # By `hurry`: look again.
            if not other.ended:
                self.scope.deadline = trio.current_time() + HALF_OPEN_S
        except trio.ClosedResourceError:
            self.scope.cancel()  # by `close`
        except OSError as error:
            self.fail(error)

    def fail(self, failure: OSError) -> None:
        """End both directions, as if one of them had failed so."""
        self.failure = self.failure or failure
        self.scope.cancel()

    def hurry(self) -> bool:
        """Carry out what ``inner`` says within `HURRY_S`, without a turn of the loop. Never raises.

        It looks again and again rather than sleeps: to be woken by ZMQ's thread, which another
        processor runs, took longer than that thread needs, 50 to 100 us. Who is to run on
        this one is let.

        Returns:
            False when a task of the pump has to run now.
        """
        out = self.out
        if self.inner.fileno() == -1 or self.failure is not None:
            return True
        if out.holds or out.ended or self.back.ended:  # the time that is left is its task's to keep
            return True
        until = time.monotonic() + HURRY_S
        while not self._said.poll(0):
            if time.monotonic() > until:
                return True
            os.sched_yield()
        try:
            wanted = out.step()
        except OSError as error:
            self.fail(error)
            return False
        if wanted is Next.WRITE:
            trio.lowlevel.notify_closing(self.inner)  # its task waits for something to read
        return wanted is not Next.WRITE

    def drain_now(self, limit_s: float) -> None:
        """Carry out what ``inner`` has left, without the loop; this blocks for so long at most.

        For the last words of a process whose loop is about to end, when ``inner``'s peer has hung
        up.
        """
        if self.inner.fileno() == -1:
            return
        until = time.monotonic() + limit_s
        with suppress(OSError):
            while not self.out.ended and (wanted := self.out.step()) is not Next.END:
                poll = select.poll()
                if wanted is Next.READ:
                    poll.register(self.inner, select.POLLIN)
                elif wanted is Next.WRITE:
                    poll.register(self.outer, select.POLLOUT)
                left_s = until - time.monotonic()
                if left_s <= 0 or (wanted is not Next.NOTHING and not poll.poll(left_s * 1000)):
                    return

    def close(self) -> None:
        """Close both sockets; as a failure, unless both directions have ended. Idempotent."""
        whole = self.out.ended and (self.back.ended or self.failure is None)
        for each in (self.inner, self.outer):
            if each.fileno() == -1:
                continue
            trio.lowlevel.notify_closing(each)
            if not whole:
                with suppress(OSError):
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            each.close()
