"""One node without a process: tasks of this trio run, that obey signals as a process does.

* SIGKILL, and `MemoryBody.vanish`: at once nothing leaves it or reaches it any more; its tasks are
  cancelled. Handlers see that as a cancellation, and nobody hears what they do about it.
* SIGSTOP: it neither hears nor is heard, beats nor judges, until SIGCONT. Its handlers cannot be
  stopped: they run on, and what they send is held until then. Other signals wait for it, too.
* A loop that a handler does not yield to stands still by `MemoryBody.hang`, as by SIGSTOP, but is
  not stopped.
* SIGTERM: it ends politely. Other signals kill, if they kill a process by default.

Invariants
----------
* It ends once, at the instant at which it was told to.
* A frozen one that comes to its own end is gone when it is thawed, or killed.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from runtime.cells.cell import Cell
from runtime.cells.crash import traceback_text
from runtime.hosts.life import Node
from runtime.messages.behaviour import Behaviour
from runtime.processes.evidence import Evidence, Look
from runtime.processes.orders import Exited
from runtime.processes.output import KEPT_LINES
from runtime.processes.status_page import StatusPage
from runtime.traffic.exchange import Exchange
from runtime.wires.mended import Mended, Wire

TICK_S: Final = 0.1
FAREWELL_S: Final = 1.0
_STOPS: Final = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
_IGNORED: Final = (0, signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH)


class MemoryBody:
    """Its node's frame, too.

    Args:
        find: what an entry names.
        look: how its node looks at others.
        near: whether the controller is on the host of the node of that incarnation.
        output: gets (name, line) for what its node prints.
        on_gone: told of its end, at once.
    """

    page: StatusPage | None = None

    def __init__(
        self,
        pid: int,
        exchange: Exchange,
        transport: Wire,
        *,
        find: Callable[[str], type[Behaviour]],
        look: Look,
        near: Callable[[int], bool],
        output: Callable[[str, str], None],
        on_gone: Callable[[MemoryBody], None],
    ) -> None:
        self.pid = pid
        self.name = exchange.address.name
        self.incarnation = exchange.address.incarnation
        self.exchange = exchange
        self.frozen = False
        self.hung_at: float | None = None
        self.left = False
        self.find = find
        self.status: int | None = None
        self._transport = transport
        self._output = output
        self._near = near
        self._on_gone = on_gone
        self._node = Node(exchange, self, look)
        self._cell: Cell | None = None
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._pending: list[int] = []
        self._thawed = trio.Event()
        self._scope = trio.CancelScope()
        self._gone = trio.Event()

    async def live(self) -> None:
        """Be the node until it ends."""
        with self._scope:
            status = 1
            try:
                reason = await self._node.run()
                if isinstance(self._transport, Mended):
                    with trio.move_on_after(FAREWELL_S):
                        await self._transport.farewell(self.exchange.controller.endpoint)
                status = 0 if reason.planned else 1
            except Exception as failure:  # as the process would be: there is no frame above it
                self.print(traceback_text(failure))
            if self._still:
                await self._thawed.wait()
            self.vanish(status << 8)
        del self.exchange, self._transport, self._node, self._cell  # it is remembered for long

    def vanish(self, status: int) -> None:
        """It is gone, here and now, with this wait status. Idempotent."""
        if self.status is None:
            self.status = status
            self._transport.cut()
            self._scope.cancel()
            self._gone.set()
            self._on_gone(self)

    def signal(self, number: int) -> None:
        if self.status is not None or number in _IGNORED:
            return
        if number == signal.SIGKILL:
            self.vanish(number)
        elif number in _STOPS:
            self._freeze()
        elif number == signal.SIGCONT:
            self._thaw()
        elif self._still:
            self._pending.append(number)
        elif number == signal.SIGTERM:
            self._node.stop()
        else:
            self.vanish(number)

    def hang(self) -> None:
        """It neither hears nor is heard until `yield_again`, but is not stopped."""
        if not self._still and self.status is None:
            self.hung_at = trio.current_time()
            self._stand_still()

    def yield_again(self) -> None:
        """It goes on where it hung, if it lives still."""
        if self.hung_at is not None and self.status is None:
            self.hung_at = None
            self._go_on()

    def _freeze(self) -> None:
        if not self._still:
            self.frozen = True
            self._stand_still()

    def _thaw(self) -> None:
        if self.frozen:
            self.frozen = False
            self._go_on()

    @property
    def _still(self) -> bool:
        return self.frozen or self.hung_at is not None

    def _stand_still(self) -> None:
        self._thawed = trio.Event()
        self._transport.hold()
        self._node.guard.stand_still()

    def _go_on(self) -> None:
        self._transport.release()
        self._node.guard.go_on()
        self._thawed.set()
        pending, self._pending = self._pending, []
        for number in pending:
            self.signal(number)

    @property
    def held(self) -> bool:
        return self._near(self.incarnation)

    async def wait_gone(self) -> None:
        await self._gone.wait()

    async def exited(self) -> Exited:
        return Exited(self.incarnation, self.pid, self.status)

    def last_lines(self) -> tuple[str, ...]:
        return tuple(self._lines)

    def oom(self) -> str:
        return ""

    def close(self) -> None:
        """Nothing holds it."""

    def seen(self) -> Evidence:
        """What others can learn of it."""
        cell = self._cell
        handler = cell.handler if cell is not None else ""
        age_s = self.exchange.clock() - cell.handler_since if cell is not None and handler else 0.0
        at = trio.current_time() if self.hung_at is None else self.hung_at
        return Evidence(
            state="T" if self.frozen else "S",
            loop_ticks=-1 if self.frozen else int(at / TICK_S),
            handler=handler,
            handler_age_s=age_s,
        )

    # -- its node's frame

    def settle(self, cell: Cell) -> None:
        self._cell = cell

    def print(self, text: str) -> None:
        for line in text.split("\n"):
            self._lines.append(line)
            self._output(self.name, line)

    def leave(self) -> None:
        self.left = self.left or self.status is None  # else nobody hears of its last word
