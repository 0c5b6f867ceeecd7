"""Child processes of the benchmark: floors, and shells on pipes.

Invariants
----------
* A child is gone when its block is left. It is asked to go by the end of its input, which it
  also sees when the benchmark is killed, and killed if it does not.
* A child that failed, or wrote to stderr, is an error of the round, with what it wrote.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import trio

HERE = Path(__file__).parent
SHELL = str(Path(sys.executable).with_name("regrow"))
LEAVE_S = 10.0
CHUNK_BYTES = 64 * 1024


class Child:
    """A running child; its stdin and stdout are pipes."""

    def __init__(self, command: tuple[str, ...], errors: IO[bytes]) -> None:
        stdin, to_child = os.pipe()
        from_child, stdout = os.pipe()
        try:
            self.popen = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=errors)
        finally:
            os.close(stdin)
            os.close(stdout)
        self.stdin = trio.lowlevel.FdStream(to_child)
        self.stdout = trio.lowlevel.FdStream(from_child)
        self._errors = errors
        self._unread = b""

    async def send(self, data: bytes) -> None:
        """Write to its stdin."""
        await self.stdin.send_all(data)

    async def some(self) -> bytes:
        """What it has written, at least one byte.

        Raises:
            EOFError: it has closed its stdout.
        """
        data = self._unread or await self.stdout.receive_some(CHUNK_BYTES)
        self._unread = b""
        if not data:
            raise EOFError(f"{self.popen.args!r} ended early: {self.complaint()}")
        return bytes(data)

    async def line(self) -> str:
        """Its next line, without the line's end."""
        data = b""
        while b"\n" not in data:
            data += await self.some()
        line, _, self._unread = data.partition(b"\n")
        return line.decode()

    def complaint(self) -> str:
        """What it has written to stderr."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip()

    async def leave(self) -> None:
        """Close its stdin and wait until it is gone; kill it if that takes too long."""
        with trio.CancelScope(shield=True):
            await self.stdin.aclose()
            with trio.move_on_after(LEAVE_S):
                while await self.stdout.receive_some(CHUNK_BYTES):
                    pass
                await self._exited()
            await self.stdout.aclose()
            self.popen.kill()  # does nothing where it was waited for
            self.popen.wait()

    async def _exited(self) -> None:
        if self.popen.poll() is not None:
            return
        pidfd = os.pidfd_open(self.popen.pid)
        try:
            await trio.lowlevel.wait_readable(pidfd)
        finally:
            os.close(pidfd)
        self.popen.wait()


@asynccontextmanager
async def open_child(*command: str, says: str = "") -> AsyncIterator[Child]:
    """A child that lives as long as the block, and ``says`` this on stderr.

    Raises:
        RuntimeError: it did not end well, or said something else.
    """
    with tempfile.TemporaryFile() as errors:
        child = Child(command, errors)
        try:
            yield child
        except BaseException:
            child.popen.kill()
            raise
        finally:
            await child.leave()
        if child.popen.returncode or child.complaint() != says:
            raise RuntimeError(
                f"{command!r} ended with status {child.popen.returncode}: {child.complaint()}"
            )


def floor_command(script: str, *arguments: object) -> tuple[str, ...]:
    """The command that runs a floor, which imports nothing of ours."""
    return sys.executable, "-P", str(HERE / script), *map(str, arguments)


def shell_command(*options: str) -> tuple[str, ...]:
    """The command that runs the console script."""
    return SHELL, *options
