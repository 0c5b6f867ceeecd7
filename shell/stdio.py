"""Descriptors 0 and 1 without threads, and without O_NONBLOCK.

O_NONBLOCK belongs to the open file, which the user's shell shares: it is never set
here. After ``wait_readable`` one ``os.read`` does not block; after ``wait_writable`` a
pipe takes at least 4,096 bytes. Files that epoll refuses (regular files, /dev/null) do
not block to speak of: they are read and written at once, with a checkpoint between.

Invariants
----------
* Whoever does not read our stdout stops one task, the one that writes.
* A closed stdin is the end of input. When stdout cannot be written any more (EPIPE, a full
  disk) the paper is closed: that is reported once, and nothing is written any more.
"""

import errno
import logging
import os
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from shell.paper import Paper

READ_BYTES: Final = 65536
WRITE_BYTES: Final = 4096  # PIPE_BUF: what a writable pipe takes without blocking

log: Final = logging.getLogger("regrow.shell")


class Descriptor:
    """Waits for one file descriptor in the way that its kind allows."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._pollable = True

    async def readable(self) -> None:
        """``os.read`` does not block now."""
        await self._wait(trio.lowlevel.wait_readable)

    async def writable(self) -> None:
        """``os.write`` of 4,096 bytes does not block now."""
        await self._wait(trio.lowlevel.wait_writable)

    async def _wait(self, wait: Callable[[int], Awaitable[None]]) -> None:
        if self._pollable:
            try:
                await wait(self.fd)
                return
            except PermissionError:  # epoll's word for "never blocks"
                self._pollable = False
        await trio.lowlevel.checkpoint()


class Input:
    """A source of bytes from a descriptor that somebody else closes."""

    def __init__(self, fd: int) -> None:
        self._file = Descriptor(fd)

    async def receive_some(self) -> bytes:
        """The next bytes; none at the end, and where reading is refused for good."""
        try:
            await self._file.readable()
            return os.read(self._file.fd, READ_BYTES)
        except OSError as error:
            # EBADF: started with stdin closed. EIO: the terminal is gone or not ours.
            if error.errno in (errno.EBADF, errno.EIO, errno.EISDIR):
                return b""
            raise


class Output:
    """Writes a paper to a descriptor."""

    def __init__(self, fd: int, paper: Paper) -> None:
        self._file = Descriptor(fd)
        self._paper = paper
        self._rest = memoryview(b"")
        self.lost = False  # answers could not be written, though somebody may read

    async def run(self, *, broken: Callable[[], object]) -> None:
        """Write until cancelled; call ``broken`` if nobody can read any more.

        Cancellation: what was not written is kept for `flush`.
        """
        while not self._paper.closed:
            await self._paper.written()
            if not await self._write_all():
                broken()

    async def flush(self) -> None:
        """Write what is left; nobody else writes now."""
        await self._write_all()

    async def _write_all(self) -> bool:
        try:
            while self._rest or not self._paper.empty:
                if not self._rest:
                    self._rest = memoryview(self._paper.take().encode("utf-8", "replace"))
                await self._file.writable()
                written = os.write(self._file.fd, self._rest[:WRITE_BYTES])
                self._rest = self._rest[written:]
        except OSError as error:
            if error.errno != errno.EPIPE:
                log.error("stdout: %s", error)
                self.lost = True
            self._rest = memoryview(b"")
            self._paper.close()
            return False
        return True
