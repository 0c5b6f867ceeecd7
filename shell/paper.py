"""What the session writes to, and what it reads from.

`Paper` keeps what was written until somebody takes it: the printing task of a process,
or a test. Answers wait for room, notices never do.

Invariants
----------
* Writing never waits and never fails. Whoever produces answers waits for `room` first,
  so at most ``FULL_BYTES`` and one window of answers are kept.
* At most ``MAX_NOTICES`` unread notices are kept. Further ones are counted, and one line
  sums them up as soon as the reader has taken the others.
* Text comes out in the order it went in.
"""

from collections.abc import Callable
from typing import Final, Protocol

import trio

FULL_BYTES: Final = 1 << 20
MAX_NOTICES: Final = 1000


class Source(Protocol):
    """Where lines come from; ``trio.abc.ReceiveStream`` is one."""

    async def receive_some(self) -> bytes:
        """The next bytes; none at the end of input."""


class Sink(Protocol):
    """Where answers go."""

    def write(self, text: str) -> None:
        """Print ``text``, sooner or later."""

    def notice(self, text: str) -> None:
        """Print ``text``, or count it if nobody reads."""

    async def room(self) -> None:
        """There is room for answers."""


class Paper:
    """Text that was written and not yet taken.

    Args:
        more_notices: words the line that stands for a number of notices.
    """

    def __init__(self, more_notices: Callable[[int], str] = lambda count: "") -> None:
        self._more_notices = more_notices
        self._parts: list[str] = []
        self._chars = 0
        self._notices = 0  # on paper
        self._taken_notices = 0  # taken last time, perhaps not read yet
        self._uncounted = 0
        self._written = trio.Event()
        self._taken = trio.Event()
        self._closed = False

    def write(self, text: str) -> None:
        if text and not self._closed:
            self._parts.append(text)
            self._chars += len(text)
            self._written.set()

    def notice(self, text: str) -> None:
        if self._closed:
            return
        if self._notices + self._taken_notices >= MAX_NOTICES:
            self._uncounted += 1
            return
        self._notices += 1
        self.write(text)

    async def room(self) -> None:
        while self._chars >= FULL_BYTES and not self._closed:
            await self._taken.wait()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to take."""
        return not self._parts and not self._uncounted

    @property
    def closed(self) -> bool:
        """Whether nothing more is kept."""
        return self._closed

    async def written(self) -> None:
        """There is something to take, or nothing will ever come."""
        while self.empty and not self._closed:
            self._written = trio.Event()
            await self._written.wait()

    def take(self) -> str:
        """Return all that was written since; what was taken before has been read."""
        if self._uncounted:
            self._parts.append(self._more_notices(self._uncounted))
        text = "".join(self._parts)
        self._parts.clear()
        self._chars = self._uncounted = 0
        self._notices, self._taken_notices = 0, self._notices
        self._taken.set()
        self._taken = trio.Event()
        return text

    def close(self) -> None:
        """Nobody will take anything: what is kept is dropped, and all that comes."""
        self._closed = True
        self._parts.clear()
        self._chars = self._uncounted = 0
        self._written.set()
        self._taken.set()
