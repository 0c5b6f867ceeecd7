"""A host whose bodies are tasks of this trio run, over the memory transport.

Real nodes, guards, detectors and cells, without processes: for tests in virtual time, and for
trees larger than a machine. A body obeys signals as a process does, as far as tasks can:

* SIGKILL, and `MemoryBody.vanish`: at once nothing leaves it or reaches it any more; its tasks are
  cancelled. Handlers see that as a cancellation, and nobody hears what they do about it.
* SIGSTOP: it neither hears nor is heard, beats nor judges, until SIGCONT. Its handlers cannot be
  stopped: they run on, and what they send is held until then.
* SIGTERM: it ends politely. Other signals kill, if they kill a process by default.
* A loop that a handler does not yield to stands still by `MemoryBody.hang`.
* ``os._exit`` would end this very process; `System`s of tests say ``exit`` instead.

Invariants
----------
* No clock but trio's is read, and nothing is drawn by lot.
* Classes are kept by reference, so that one from inside a function will do; arguments are
  encoded all the same.
* After `MemoryHost.open` none of its tasks is left.
"""

from __future__ import annotations

import signal
import traceback
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Final

import trio

from runtime.address import CONTROLLER, CONTROLLER_INCARNATION, Address
from runtime.behaviour import Behaviour
from runtime.cell import Cell
from runtime.evidence import Evidence
from runtime.exchange import Exchange
from runtime.life import Node, resolve_behaviour
from runtime.memory import Fault, MemoryNetwork, MemoryTransport, faithful
from runtime.orders import Exited
from runtime.output import KEPT_LINES
from runtime.registrar import Spec
from runtime.status_page import StatusPage

SYSTEM: Final = "memory"
TICK_S: Final = 0.1
_STOPS: Final = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
_IGNORED: Final = (0, signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH)


class VirtualClock:
    """trio's time, and a microsecond more for each reading within one instant.

    So what is bounded by time ends after so many steps, the same each time, though virtual time
    stands still meanwhile.
    """

    def __init__(self) -> None:
        self._at = 0.0
        self._steps = 0

    def __call__(self) -> float:
        now = trio.current_time()
        if now != self._at:
            self._at, self._steps = now, 0
        self._steps += 1
        return now + self._steps * 1e-6


class Classes:
    """Classes of actors by their entries."""

    def __init__(self) -> None:
        self._entries: dict[type, str] = {}
        self._classes: dict[str, type] = {}

    def keep(self, behaviour: type) -> str:
        """The entry by which `find` finds it: "module:Class", numbered if that is taken."""
        if behaviour not in self._entries:
            entry = stem = f"{behaviour.__module__}:{behaviour.__qualname__}"
            number = 1
            while entry in self._classes:
                number += 1
                entry = f"{stem}#{number}"
            self._entries[behaviour] = entry
            self._classes[entry] = behaviour
        return self._entries[behaviour]

    def find(self, entry: str) -> type[Behaviour]:
        """The class; one that was not kept is imported. `WireError` if it is no `Behaviour`."""
        return self._classes.get(entry) or resolve_behaviour(entry)


class MemoryBody:
    """What stands for one node's process. Its node's frame, too."""

    page: StatusPage | None = None

    def __init__(self, host: MemoryHost, address: Address, pid: int) -> None:
        self.pid = pid
        self.address = address
        self.frozen = False
        self.left = False
        self.hung_at: float | None = None
        self.find = host.classes.find
        self.cell: Cell | None = None
        self._host = host
        self._transport = host.network.join(address.incarnation)
        self._node = Node(host.exchange_of(address, self._transport), self, host.look)
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._pending: list[int] = []
        self._thawed = trio.Event()
        self._scope = trio.CancelScope()
        self._status: int | None = None
        self._gone = trio.Event()

    async def live(self) -> None:
        """Be the node until it ends."""
        with self._scope:
            status = 1
            try:
                reason = await self._node.run()
                status = 0 if reason.planned else 1
            except Exception as failure:  # as the process would be: there is no frame above it
                self.print("".join(traceback.format_exception(failure)))
            if self._still:
                await self._thawed.wait()
            self.vanish(status << 8)

    def vanish(self, status: int) -> None:
        """It is gone, here and now, with this wait status. Idempotent."""
        if self._status is None:
            self._status = status
            self._transport.cut()
            self._scope.cancel()
            self._gone.set()
            self._host.lost(self)

    def signal(self, number: int) -> None:
        if self._status is not None or number in _IGNORED:
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
        if not self._still:
            self.hung_at = trio.current_time()
            self._stand_still()

    def yield_again(self) -> None:
        """It goes on where it hung."""
        if self.hung_at is not None:
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

    async def wait_gone(self) -> None:
        await self._gone.wait()

    async def exited(self) -> Exited:
        return Exited(self.address.incarnation, self.pid, self._status)

    def last_lines(self) -> tuple[str, ...]:
        return tuple(self._lines)

    def close(self) -> None:
        """Nothing holds it."""

    # -- its node's frame

    def settle(self, cell: Cell) -> None:
        self.cell = cell

    def print(self, text: str) -> None:
        for line in text.split("\n"):
            self._lines.append(line)
            self._host.output(self.address.name, line)

    def leave(self) -> None:
        self.left = True


class MemoryHost:
    """Made by `open_memory_host`. ``bodies``: those that live, by incarnation."""

    def __init__(self, network: MemoryNetwork, output: Callable[[str, str], None]) -> None:
        self.network = network
        self.output = output
        self.classes = Classes()
        self.bodies: dict[int, MemoryBody] = {}
        self._transport = network.join(CONTROLLER_INCARNATION)
        self._nursery: trio.Nursery
        self._on_exit: Callable[[Exited], None]
        self._pid = 100
        self._exits: deque[Exited] = deque()
        self._news = trio.Event()

    def exchange(self) -> Exchange:
        address = Address(SYSTEM, CONTROLLER, CONTROLLER_INCARNATION, self._transport.endpoint)
        return self.exchange_of(address, self._transport)

    def exchange_of(self, address: Address, transport: MemoryTransport) -> Exchange:
        """The messages of one process of this world."""
        controller = "" if transport is self._transport else self._transport.endpoint
        exchange = Exchange(address, transport, boot_id=SYSTEM, controller=controller, simple=True)
        exchange.clock = VirtualClock()
        exchange.by_reference = self.classes.keep
        return exchange

    @asynccontextmanager
    async def open(self, on_exit: Callable[[Exited], None]) -> AsyncIterator[None]:
        self._on_exit = on_exit
        async with trio.open_nursery() as self._nursery:
            try:
                yield
            finally:
                for body in list(self.bodies.values()):
                    body.signal(signal.SIGKILL)

    async def run(self) -> None:
        while True:
            await self._news.wait()
            self._news = trio.Event()
            while self._exits:
                self._on_exit(self._exits.popleft())

    def endpoint(self, incarnation: int) -> str:
        return f"memory:{incarnation}"

    async def start(self, address: Address, spec: Spec) -> MemoryBody:
        await trio.lowlevel.checkpoint()
        self._pid += 1
        body = self.bodies[address.incarnation] = MemoryBody(self, address, self._pid)
        # It must not take itself for whoever asked for it.
        Context().run(self._nursery.start_soon, body.live)
        return body

    def lost(self, body: MemoryBody) -> None:
        """A body of ours is gone."""
        del self.bodies[body.address.incarnation]
        self._exits.append(Exited(body.address.incarnation, body.pid, body._status))
        self._news.set()

    def look(self, incarnation: int, pid: int) -> Evidence:
        body = self.bodies.get(incarnation)
        if body is None:
            return Evidence()
        if body.frozen:
            return Evidence(state="T")
        cell = body.cell
        handler = cell.handler if cell is not None else ""
        at = trio.current_time() if body.hung_at is None else body.hung_at
        return Evidence(
            state="S",
            loop_ticks=int(at / TICK_S),
            handler=handler,
            handler_age_s=cell.exchange.clock() - cell.handler_since if cell and handler else 0.0,
        )

    def forget(self, incarnation: int) -> None:
        """It has left nothing behind."""


@asynccontextmanager
async def open_memory_host(
    fault: Fault = faithful, output: Callable[[str, str], None] = lambda name, line: None
) -> AsyncIterator[MemoryHost]:
    """A world of its own. ``fault``: see `runtime.memory`; ``output`` gets (name, line)."""
    async with trio.open_nursery() as nursery:
        host = MemoryHost(MemoryNetwork(nursery, fault), output)
        try:
            yield host
        finally:
            host._transport.close()
            nursery.cancel_scope.cancel()
