"""One zygote's life, seen from the controller: said, heard, watched, until it is over.

Invariants
----------
* Every wait is bounded: it is pinged every 250 ms (``ping_s``), and 1 s without a word, while it
  owes one, is the end of it; 10 s while it starts, 30 s (``import_s``) while it loads a module.
* Before it is judged, all that waits is read. If our own loop stood still (Ctrl-Z, say)
  its silence counts from then on.
* After `attend` it is dead, and every word it had got out was heard. If `attend` is cancelled,
  the zygote sees the end of its line and has 1 s to end all it has.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import trio

from runtime.errors import WireError
from runtime.processes.launcher import Line
from runtime.processes.orders import FromZygote, Importing, Ping, Ready, decode_news, encode

PING_S: Final = 0.25
SILENCE_S: Final = 1.0
START_S: Final = 10.0
END_S: Final = 1.0


class Attendance:
    """Given a line to a zygote that was just launched, and who wants to hear the news.

    ``on_news`` gets each message with its descriptors, which become its own. It must not raise.
    """

    def __init__(
        self,
        line: Line,
        on_news: Callable[[FromZygote, list[int]], None],
        import_s: float,
        ping_s: float = PING_S,
    ) -> None:
        self.ready = False
        self.importing: Importing | None = None
        self.overdue = False
        self.why = ""
        self._line = line
        self._on_news = on_news
        self._import_s = import_s
        self._ping_s = ping_s
        self._outbox: deque[tuple[bytes, Sequence[int], Callable[[], bool]]] = deque()
        self._more = trio.Event()
        self._over = trio.Event()
        self._heard_at = trio.current_time()
        self._pinged = False

    @property
    def idle(self) -> bool:
        """Whether it has begun, and has nothing to answer."""
        return self.ready and not (self._pinged or self._outbox or self.importing)

    def put(
        self, data: bytes, fds: Sequence[int] = (), wanted: Callable[[], bool] = lambda: True
    ) -> None:
        """Send this when there is room, unless it is no longer ``wanted`` by then.

        The descriptors stay the caller's, and open until they were sent or the end.
        """
        self._outbox.append((data, fds, wanted))
        self._more.set()

    def end(self, why: str) -> None:
        """Let it be over, for this reason; the first one given counts."""
        self.why = self.why or why
        self._over.set()

    @trio.lowlevel.enable_ki_protection
    async def attend(self) -> None:
        """Return once the zygote is dead; ``why`` says what ended it."""
        try:
            async with trio.open_nursery() as nursery:
                for task in (self._write, self._read, self._watch, self._judge):
                    nursery.start_soon(task)
                await self._over.wait()
                nursery.cancel_scope.cancel()
            self._line.kill()
            with trio.CancelScope(shield=True), trio.move_on_after(END_S):
                await self._line.wait_exited()
            self._read_waiting()
        finally:
            if not self._over.is_set():
                self._line.hang_up()
                with trio.CancelScope(shield=True), trio.move_on_after(END_S):
                    await self._line.wait_exited()
            self._line.close()

    @trio.lowlevel.enable_ki_protection
    async def _write(self) -> None:
        while True:
            await self._more.wait()
            self._more = trio.Event()
            while self._outbox:
                data, fds, wanted = self._outbox[0]
                try:
                    if wanted():
                        self._line.send(data, fds)
                    self._outbox.popleft()
                except trio.WouldBlock:
                    await self._line.wait_writable()
                except trio.BrokenResourceError:
                    break  # the other tasks see the end of it too

    @trio.lowlevel.enable_ki_protection
    async def _read(self) -> None:
        while self._read_waiting():
            await self._line.wait_readable()

    @trio.lowlevel.enable_ki_protection
    async def _watch(self) -> None:
        await self._line.wait_exited()
        self.end("it died")

    @trio.lowlevel.enable_ki_protection
    async def _judge(self) -> None:
        woke = trio.current_time()
        n = 0
        while True:
            if not self._pinged:
                n += 1
                self.put(encode(Ping(n)))
                self._pinged = True
            await trio.sleep(self._ping_s)
            now = trio.current_time()
            late_s, woke = now - woke - self._ping_s, now
            self._read_waiting()
            if late_s > PING_S:
                self._heard_at = now
            if self._pinged and now - self._heard_at > self._patience_s():
                self.overdue = True
                doing = f", importing {self.importing.module}" if self.importing else ""
                self.end(f"it has not answered for {now - self._heard_at:.1f} s{doing}")

    def _patience_s(self) -> float:
        if self.importing:
            return self._import_s
        return SILENCE_S if self.ready else START_S

    def _read_waiting(self) -> bool:
        """Hear all it has said; False at the end of its line."""
        while True:
            fds: list[int] = []
            try:
                data, fds = self._line.receive()
                news = decode_news(data)
            except trio.WouldBlock:
                return True
            except trio.BrokenResourceError:
                self.end("it died")
                return False
            except WireError as error:
                for fd in fds:
                    os.close(fd)
                self.end(str(error))
                return False
            self._heard_at = trio.current_time()
            self._pinged = False
            self.importing = news if isinstance(news, Importing) else None
            self.ready = self.ready or isinstance(news, Ready)
            self._on_news(news, fds)
