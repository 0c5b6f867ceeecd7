"""Those who follow a lockstep's clock, as the conductor holds them: their lines and their pidfds.

Invariants
----------
* A follower takes part from `Followers.expect` until its pidfd fires, whatever its line says.
* A line belongs to whom the kernel says is at its other end, or it is closed.
* Nothing here waits but `Followers.wait` and `Followers.hear`, for as long as they are told.
"""

from __future__ import annotations

import math
import os
import select
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from runtime.errors import WireError
from runtime.lockstep.baton import (
    MAX_BYTES,
    Held,
    Idle,
    Joined,
    Late,
    Still,
    ToFollower,
    decode_follower,
    encode,
    line_path,
)
from runtime.lockstep.lockstep import Lockstep
from runtime.processes import procfs
from runtime.processes.pidfd import has_exited

_CREDENTIALS: Final = struct.Struct("3i")


class _Follower:
    """What is known of one, besides `Lockstep`."""

    def __init__(self, name: str, pid: int, pidfd: int) -> None:
        self.name = name
        self.pid = pid
        self.pidfd = os.dup(pidfd)
        self.line: socket.socket | None = None
        self.held = ""


class Followers:
    """Of one conductor; what they say of their idleness goes to ``lockstep``.

    Args:
        late: told (who, what) of a message that was read too late.
    """

    def __init__(self, lockstep: Lockstep, folder: str, late: Callable[[int, Late], None]) -> None:
        self.ever_stopped: set[int] = set()
        self._lockstep = lockstep
        self._late = late
        self._followers: dict[int, _Follower] = {}
        self._strangers: dict[int, tuple[socket.socket, int]] = {}  # who have not said a word
        self._waiting: dict[int, tuple[socket.socket, int]] = {}  # by incarnation: not expected yet
        self._by_fd: dict[int, int] = {}  # the incarnation, by line or pidfd
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.setblocking(False)
        self._listener.bind(line_path(folder))
        self._listener.listen(4096)
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)

    def wake_by(self, fd: int) -> None:
        """End each wait also when that descriptor is readable."""
        self._poll.register(fd, select.EPOLLIN)

    def expect(self, incarnation: int, name: str, pid: int, pidfd: int) -> None:
        """There is a process, which will follow. It runs until it says that it is idle."""
        follower = self._followers[incarnation] = _Follower(name, pid, pidfd)
        self._lockstep.join(incarnation)
        self._by_fd[follower.pidfd] = incarnation
        self._poll.register(follower.pidfd, select.EPOLLIN)
        line, its_pid = self._waiting.pop(incarnation, (None, 0))
        if line is not None:
            self._take(incarnation, line, its_pid)

    @property
    def pids(self) -> set[int]:
        """Of all who take part."""
        return {follower.pid for follower in self._followers.values()}

    def wait(self, patience_s: float) -> None:
        """Let something come, for a moment; who keeps silent may have been stopped."""
        if not self.hear(patience_s):
            for incarnation in self._lockstep.awaited:
                stat = procfs.stat(self._followers[incarnation].pid)
                if stat is not None and stat.frozen:
                    self._lockstep.stopped(incarnation)
                    self.ever_stopped.add(incarnation)
            self.some_go_on()

    def some_go_on(self) -> bool:
        """Whether somebody who was stopped is so no longer."""
        found = False
        for incarnation in self._lockstep.standing:
            stat = procfs.stat(self._followers[incarnation].pid)
            if stat is None or not stat.frozen:
                self._lockstep.goes_on(incarnation)
                found = True
        return found

    def hear(self, patience_s: float) -> bool:
        """Take in what comes; whether anything came."""
        events = self._poll.poll(patience_s)
        for fd, _ in events:
            incarnation = self._by_fd.get(fd)
            if incarnation is not None:
                self._hear_one(incarnation, fd)
            elif fd == self._listener.fileno():
                self._accept()
            elif fd in self._strangers:
                self._hear_stranger(fd)
        return bool(events)

    def _accept(self) -> None:
        with suppress(BlockingIOError, ConnectionAbortedError):
            line, _ = self._listener.accept()
            line.setblocking(False)
            peer = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            self._strangers[line.fileno()] = line, _CREDENTIALS.unpack(peer)[0]
            self._poll.register(line, select.EPOLLIN)

    def _hear_stranger(self, fd: int) -> None:
        line, pid = self._strangers[fd]
        try:
            said = decode_follower(line.recv(MAX_BYTES))
        except BlockingIOError:
            return
        except (OSError, WireError):
            said = None
        del self._strangers[fd]
        self._poll.unregister(line)
        if not isinstance(said, Joined):
            line.close()
        elif said.incarnation in self._followers:
            self._take(said.incarnation, line, pid)
        else:
            self._waiting[said.incarnation] = line, pid

    def _take(self, incarnation: int, line: socket.socket, pid: int) -> None:
        follower = self._followers[incarnation]
        if follower.line is not None or follower.pid != pid:
            line.close()
            return
        follower.line = line
        self._by_fd[line.fileno()] = incarnation
        self._poll.register(line, select.EPOLLIN)

    def _hear_one(self, incarnation: int, fd: int) -> None:
        follower = self._followers[incarnation]
        if fd == follower.pidfd:
            if has_exited(fd):
                self._part_from(incarnation)
            return
        assert follower.line is not None
        try:
            data = follower.line.recv(MAX_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:  # it ends: until its pidfd says so it takes part, and is silent
            self._hang_up(follower)
            return
        said = decode_follower(data)
        if isinstance(said, Idle):
            follower.held = ""
            deadline = math.inf if said.deadline is None else said.deadline
            self._lockstep.reported(incarnation, said.number, deadline)
        elif isinstance(said, Still):
            self._lockstep.answered(incarnation, said.wave, said.number)
        elif isinstance(said, Held):
            follower.held = said.why
        elif isinstance(said, Late):
            self._late(incarnation, said)

    def say(self, incarnation: int, said: ToFollower) -> None:
        """Tell it, if it can still hear."""
        line = self._followers[incarnation].line
        if line is not None:
            with suppress(ConnectionError):  # it is dying, and will be silent
                line.send(encode(said), socket.MSG_NOSIGNAL)

    def _hang_up(self, follower: _Follower) -> None:
        if follower.line is not None:
            del self._by_fd[follower.line.fileno()]
            self._poll.unregister(follower.line)
            follower.line.close()
            follower.line = None

    def _part_from(self, incarnation: int) -> None:
        follower = self._followers.pop(incarnation)
        self._hang_up(follower)
        del self._by_fd[follower.pidfd]
        self._poll.unregister(follower.pidfd)
        os.close(follower.pidfd)
        self._lockstep.leave(incarnation)

    def whose(self, doing: Callable[[int], str]) -> list[str]:
        """Who keeps time from moving, and why, as far as that is known."""
        found = []
        for incarnation in self._lockstep.awaited:
            follower = self._followers[incarnation]
            why = follower.held or doing(incarnation) or "it has not said that it is idle"
            found.append(f"{follower.name} (pid {follower.pid}): {why}")
        return found

    def close(self) -> None:
        for incarnation in list(self._followers):
            self._part_from(incarnation)
        for line, _ in (*self._strangers.values(), *self._waiting.values()):
            line.close()
        self._listener.close()
        self._poll.close()
