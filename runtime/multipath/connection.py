"""One connection as its samples change: which of its paths come and go.

Invariants
----------
* Everything said of a path is said once: lost, regained, fallen back to plain TCP.
* A socket that cannot be read is told of once, and not read again.
"""

from __future__ import annotations

from collections import deque
from typing import Final, TypeAlias

import msgspec

from runtime.multipath.event import Event
from runtime.multipath.inspection import PLAIN_TCP, Socket, full_info
from runtime.multipath.path_guard import plain
from runtime.multipath.statistics import FullInfo, TcpState

_EVENTS_KEPT: Final = 50


class PathLost(msgspec.Struct, frozen=True):
    """A connection goes on without a path; addresses are numeric, without their ports."""

    key: str
    local: str
    remote: str


class PathRegained(msgspec.Struct, frozen=True):
    """A path that was lost carries the connection again."""

    key: str
    local: str
    remote: str


class FellBack(msgspec.Struct, frozen=True):
    """The connection is plain TCP for the rest of its life."""

    key: str


class Trouble(msgspec.Struct, frozen=True):
    """The kernel refused something: ``text`` is what, and why."""

    text: str


Notice: TypeAlias = PathLost | PathRegained | FellBack | Trouble
_Path: TypeAlias = tuple[str, str]


class Connection:
    """One connection under watch. ``key`` is its owner's name for it."""

    def __init__(self, key: str, sock: Socket, server_side: bool) -> None:
        self.key = key
        self.server_side = server_side
        self.info: FullInfo | None = None
        self.fallen_back = False
        self.events: deque[Event] = deque(maxlen=_EVENTS_KEPT)
        self._sock = sock
        self._unreadable = False
        self._living: set[_Path] = set()
        self._lost: set[_Path] = set()

    @property
    def token(self) -> int:
        """The kernel's name for it, 0 before the first look."""
        return self.info.mptcp.token if self.info else 0

    @property
    def readable(self) -> bool:
        """Whether `info` is being kept up to date."""
        return not self.fallen_back and not self._unreadable and self._sock.fileno() != -1

    def look(self) -> list[Notice]:
        """Read the socket; what has changed since."""
        if not self.readable:
            return []
        try:
            self.info = full_info(self._sock)
            self.fallen_back = self.info.mptcp.fallback
        except OSError as error:
            self.fallen_back = error.errno in PLAIN_TCP
            if not self.fallen_back:
                self._unreadable = True
                return [Trouble(f"connection {self.key}: {error.strerror}")]
        if self.fallen_back or self.info is None:
            return [FellBack(self.key)]
        return self._changes(self.info)

    def _changes(self, info: FullInfo) -> list[Notice]:
        living = {
            (plain(each.addresses.local.host), plain(each.addresses.remote.host))
            for each in info.living
            if each.tcp.state == TcpState.ESTABLISHED
        }
        lost = sorted(self._living - living)
        regained = sorted(living & self._lost)
        self._lost = (self._lost | set(lost)) - living
        self._living = living
        if not living:  # the connection itself has ended
            return []
        return [
            *(PathLost(self.key, *path) for path in lost),
            *(PathRegained(self.key, *path) for path in regained),
        ]
