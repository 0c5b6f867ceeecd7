"""The archive: the actor that writes the state file, in a node of its own.

SQLite and disks block, and there are no threads: so a process waits for them that nobody else
needs. Killed, it loses nothing: what it has not confirmed is sent again to its next incarnation.

Invariants
----------
* A batch is written in one transaction, or not at all; whoever sent it is told which.
* What is wrong with the file or the disk never ends the archive.
"""

from __future__ import annotations

import msgspec

from actors.actor import Actor
from actors.archive.state_base import Writer
from actors.archive.stored import Changes
from runtime.errors import StateError
from runtime.exits import ExitReason


class Archive(Actor):
    """Of the state file at ``path``, for its opening with this number."""

    def __init__(self, path: bytes, opening: int) -> None:
        self._path = path
        self._opening = opening
        self._parts: list[bytes] = []

    async def on_start(self) -> None:
        self._writer = Writer(self._path, self._opening)

    async def on_stop(self, reason: ExitReason) -> None:
        self._writer.close()

    async def write(self, part: bytes, first: bool, last: bool) -> str:
        """The batch is in the file: an empty text; or why not. It comes in parts."""
        if first:
            self._parts.clear()
        self._parts.append(part)
        if not last:
            return ""
        batch = b"".join(self._parts)
        self._parts.clear()
        try:
            self._writer.write(msgspec.msgpack.decode(batch, type=Changes))
        except StateError as error:
            return str(error)
        return ""
