"""A host whose bodies are tasks of this trio run, over the memory transport.

Real nodes, guards, detectors and cells, without processes: for tests in virtual time, and for
trees larger than a machine. See `runtime.hosts.memory_body` for what can befall them. One costs
50 KiB, 2 ms to start and 0.1 ms a beat.

Invariants
----------
* No clock but trio's is read, and nothing is drawn by lot.
* Classes are kept by reference, so that one from inside a function will do; arguments are
  encoded all the same.
* ``os._exit`` in a handler of a body ends that body alone.
* After `MemoryHost.open` none of its tasks is left.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import Context
from functools import partial
from typing import Final, NoReturn

import trio

from runtime.address import CONTROLLER, CONTROLLER_INCARNATION, Address
from runtime.cells.call import current
from runtime.cells.crash import simulated
from runtime.hosts.life import resolve_behaviour
from runtime.hosts.memory_body import MemoryBody
from runtime.messages.behaviour import Behaviour
from runtime.processes.evidence import Evidence
from runtime.processes.orders import Exited
from runtime.traffic.exchange import Exchange
from runtime.traffic.registrar import Spec
from runtime.virtual_clock import VirtualClock
from runtime.weather.event_log import EventLog
from runtime.weather.weather import Weather
from runtime.wires.memory import FaultFunction, MemoryNetwork, faithful
from runtime.wires.mended import Mended, Wire

SYSTEM: Final = "memory"


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


class MemoryHost:
    """Made by `open_memory_host`. ``bodies``: those that live, by incarnation."""

    def __init__(
        self,
        network: MemoryNetwork,
        output: Callable[[str, str], None],
        join: Callable[[int, str], Wire],
    ) -> None:
        self.network = network
        self._join = join
        self._output = output
        self.classes = Classes()
        self.bodies: dict[int, MemoryBody] = {}
        self._left: dict[int, Evidence] = {}  # the last looks at those that are gone
        self._transport = join(CONTROLLER_INCARNATION, CONTROLLER)
        self._nursery: trio.Nursery
        self._on_exit: Callable[[Exited], None]
        self._pid = 100
        self._exits: deque[Exited] = deque()
        self._news = trio.Event()

    def exchange(self, system: str = "") -> Exchange:
        address = Address(
            system or SYSTEM, CONTROLLER, CONTROLLER_INCARNATION, self._transport.endpoint
        )
        return self._exchange_of(address, self._transport)

    def _exchange_of(self, address: Address, transport: Wire) -> Exchange:
        """The messages of one process of this world."""
        self.network.used_through(transport)
        controller = "" if transport is self._transport else self._transport.endpoint
        exchange = Exchange(address, transport, boot_id=SYSTEM, controller=controller, simple=True)
        exchange.clock = VirtualClock()
        exchange.by_reference = self.classes.keep
        return exchange

    @asynccontextmanager
    async def open(self, on_exit: Callable[[Exited], None]) -> AsyncIterator[None]:
        self._on_exit = on_exit
        simulated.set(True)
        async with trio.open_nursery() as self._nursery:
            try:
                with self._os_exit_ends_a_body():
                    yield
            finally:
                simulated.set(False)
                for body in list(self.bodies.values()):
                    body.signal(signal.SIGKILL)

    @contextmanager
    def _os_exit_ends_a_body(self) -> Iterator[None]:
        """A handler of a body means its own process, not this one."""
        real = os._exit

        def exit(status: int) -> NoReturn:
            call = current.get()
            exchange = call.cell.exchange if call is not None else None
            body = self.bodies.get(exchange.address.incarnation) if exchange is not None else None
            if body is None or body.exchange is not exchange:
                real(status)
            body.vanish((status & 0xFF) << 8)
            raise SystemExit(status)  # nobody hears of it any more

        os._exit = exit
        try:
            yield
        finally:
            os._exit = real

    async def run(self) -> None:
        while True:
            await self._news.wait()
            self._news = trio.Event()
            while self._exits:
                self._on_exit(self._exits.popleft())

    def hold(self) -> None:
        """The controller's process neither hears nor is heard, until `release`."""
        self._transport.hold()

    def release(self) -> None:
        self._transport.release()

    def endpoint(self, incarnation: int) -> str:
        return f"memory:{incarnation}"

    async def start(self, address: Address, spec: Spec) -> MemoryBody:
        await trio.lowlevel.checkpoint()
        self._pid += 1
        transport = self._join(address.incarnation, address.name)
        body = self.bodies[address.incarnation] = MemoryBody(
            self._pid,
            self._exchange_of(address, transport),
            transport,
            find=self.classes.find,
            look=partial(self._look_from, address.incarnation),
            near=partial(self._near, CONTROLLER_INCARNATION),
            output=self._output,
            on_gone=self._gone,
        )
        # It must not take itself for whoever asked for it.
        Context().run(self._nursery.start_soon, body.live)
        return body

    def _gone(self, body: MemoryBody) -> None:
        del self.bodies[body.incarnation]
        seen = body.seen()
        left = Evidence(handler=seen.handler, handler_age_s=seen.handler_age_s)
        self._left[body.incarnation] = left
        self._exits.append(Exited(body.incarnation, body.pid, body.status))
        self._news.set()

    def look(self, incarnation: int, pid: int) -> Evidence:
        return self._look_from(CONTROLLER_INCARNATION, incarnation, pid)

    def _look_from(self, observer: int, incarnation: int, pid: int) -> Evidence:
        """What one process can learn of another: nothing, if they are on two hosts."""
        if self.network.apart(observer, incarnation):
            return Evidence()
        body = self.bodies.get(incarnation)
        return body.seen() if body is not None else self._left.get(incarnation, Evidence())

    def _near(self, one: int, other: int) -> bool:
        return not self.network.apart(one, other)

    def forget(self, incarnation: int) -> None:
        self._left.pop(incarnation, None)


@asynccontextmanager
async def open_memory_host(
    fault: FaultFunction = faithful,
    output: Callable[[str, str], None] = lambda name, line: None,
    weather: Weather | None = None,
    log: EventLog | None = None,
    reliable: bool | None = None,
) -> AsyncIterator[MemoryHost]:
    """A world of its own.

    ``fault``, ``weather``, ``log``: see `runtime.wires.memory`; ``output`` gets (name, line).
    ``reliable``: whether what the network does to messages is made good, see
    `runtime.wires.mended`; if None, where there is weather that breaks its promises.
    """
    async with trio.open_nursery() as nursery:
        network = MemoryNetwork(nursery, fault, weather, log)
        rough = weather is not None and weather.breaks_order
        mended = rough if reliable is None else reliable

        def join(incarnation: int, name: str) -> Wire:
            transport = network.join(incarnation, name)
            return Mended(transport, nursery) if mended else transport

        host = MemoryHost(network, output, join)
        try:
            yield host
        finally:
            host._transport.close()
            nursery.cancel_scope.cancel()
