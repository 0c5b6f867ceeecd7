"""What nodes print: files followed, whole lines out.

A node's descriptors 1 and 2 are one append-only file. Nobody is told when a file grows
without inotify, so one task looks at them all, every 250 ms: an ``fstat`` each.

Invariants
----------
* A line comes out once, whole, in order; one longer than 4 KiB in pieces of 4 KiB. What has no
  end yet waits, and comes out when the node is gone.
* The last 20 lines are kept.
* A file beyond 1 MiB is emptied once it was read. What a node writes between the last read and
  that (a few microseconds) is lost. Of one that grows faster than it is read the middle is
  left out, and a line says how much.
* A file that somebody else has truncated is read from its new beginning.
"""

import os
from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from runtime.timers import every

POLL_S: Final = 0.25
MAX_LINE_BYTES: Final = 4096
MAX_FILE_BYTES: Final = 1024 * 1024
KEPT_LINES: Final = 20


class LineSplitter:
    """Bytes in, lines out. No file, no clock."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max = max_line_bytes
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that have come to their end by this, without it."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        lines = [piece for line in whole for piece in self._pieces(line)]
        if len(self._rest) >= self._max:
            cut = len(self._rest) - len(self._rest) % self._max
            lines += self._pieces(self._rest[:cut])
            self._rest = self._rest[cut:]
        return [line.removesuffix(b"\r").decode(errors="replace") for line in lines]

    def finish(self) -> list[str]:
        """The last line, if it had no end."""
        return self.feed(b"\n") if self._rest else []

    def _pieces(self, line: bytes) -> list[bytes]:
        return [line[at : at + self._max] for at in range(0, len(line), self._max)] or [b""]


class OutputFollower:
    """Follows one file, which may not be there yet."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._at = 0
        self._splitter = LineSplitter()
        self._tail: deque[str] = deque(maxlen=KEPT_LINES)

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines that came out, oldest first."""
        return tuple(self._tail)

    def poll(self) -> list[str]:
        """The lines that are new."""
        if self._fd < 0 and not self._open():
            return []
        size = os.fstat(self._fd).st_size
        if size == self._at:
            return []
        lines: list[str] = []
        if size < self._at:
            self._at = 0
            lines = self._splitter.finish()
        if size - self._at > MAX_FILE_BYTES:
            skipped = size - self._at - MAX_FILE_BYTES // 2
            lines += [*self._splitter.finish(), f"[{skipped} bytes of output left out]"]
            self._at += skipped
        while data := os.pread(self._fd, MAX_FILE_BYTES, self._at):
            self._at += len(data)
            lines += self._splitter.feed(data)
            if self._at >= size:  # a node that prints for ever does not keep us
                break
        if self._at > MAX_FILE_BYTES:
            os.ftruncate(self._fd, 0)
            self._at = 0
        self._tail.extend(lines)
        return lines

    def finish(self) -> list[str]:
        """What is left when the node is gone. The file is closed, not removed."""
        lines = self.poll()
        rest = self._splitter.finish()
        self._tail.extend(rest)
        self.close()
        return lines + rest

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> bool:
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        return True


class Outputs:
    """The outputs of many nodes, followed by one task.

    ``on_line(name, line)`` must not raise.
    """

    def __init__(self, on_line: Callable[[str, str], None]) -> None:
        self._on_line = on_line
        self._followers: dict[str, OutputFollower] = {}

    def add(self, name: str, path: str) -> OutputFollower:
        """Follow the file of ``name``; what an earlier one of that name left is told first."""
        self.remove(name)
        follower = self._followers[name] = OutputFollower(path)
        return follower

    def remove(self, name: str, which: OutputFollower | None = None) -> tuple[str, ...]:
        """Tell what is left of it, follow it no more, and return its last lines.

        ``which``: not the one that follows a later file of that name.
        """
        follower = self._followers.get(name)
        if follower is None or which not in (None, follower):
            return which.tail if which is not None else ()
        del self._followers[name]
        self._tell(name, follower.finish())
        return follower.tail

    def poll(self) -> None:
        """Tell all lines that are new."""
        for name, follower in list(self._followers.items()):
            self._tell(name, follower.poll())

    async def run(self, poll_s: float = POLL_S) -> None:
        """Poll until cancelled; then close all, having told what was left."""

        async def look(_: float) -> None:
            self.poll()
            await trio.lowlevel.checkpoint()

        try:
            await every(poll_s, look)
        finally:
            for name in list(self._followers):
                self.remove(name)

    def _tell(self, name: str, lines: list[str]) -> None:
        for line in lines:
            self._on_line(name, line)
