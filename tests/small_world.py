"""A small system in one trio run: processes with cells, over the memory transport.

For tests in virtual time. A process is an `Exchange` that runs; what it lacks of a real one is
its own memory. Cells are spoken to on behalf of a cell that is named each time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import trio

from runtime.address import Address
from runtime.cells import asks, tells
from runtime.cells.cell import Cell
from runtime.cells.mailbox import MAILBOX_BYTES, MAILBOX_MESSAGES
from runtime.cells.stream import Stream
from runtime.exits import ExitReason
from runtime.messages.behaviour import Behaviour, handlers_of
from runtime.messages.codec import Buffer
from runtime.messages.signature import signature_of
from runtime.traffic.exchange import Exchange
from runtime.traffic.pair import Outbound
from runtime.wires.memory import FaultFunction, MemoryNetwork, faithful

Handler = Callable[..., object]


class SmallWorld:
    """Processes that can reach each other. Incarnations are given out from 1."""

    def __init__(self, wire: trio.Nursery, running: trio.Nursery, simple: bool) -> None:
        self.weather: FaultFunction = faithful  # between those who live
        self.network = MemoryNetwork(wire, self._fault)
        self.processes: list[Exchange] = []
        self._dead: set[int] = set()
        self.ends: dict[str, ExitReason] = {}
        self._running = running
        self._simple = simple
        self._last = 0

    def _next(self) -> int:
        self._last += 1
        return self._last

    async def process(self, name: str) -> Exchange:
        """A process that runs and has no cell."""
        incarnation = self._next()
        transport = self.network.join(incarnation)
        address = Address("s", name, incarnation, transport.endpoint)
        exchange = Exchange(address, transport, boot_id="b", simple=self._simple)
        self.processes.append(exchange)
        await self._running.start(exchange.run)
        return exchange

    def mute(self, process: Exchange, name: str) -> Cell:
        """A cell without an actor: it can only send."""
        return Cell(process, self._address(process, name), {})

    async def cell(
        self,
        process: Exchange,
        name: str,
        actor: Behaviour,
        mailbox_messages: int = MAILBOX_MESSAGES,
        mailbox_bytes: int = MAILBOX_BYTES,
    ) -> Cell:
        """A cell that runs ``actor``; how it ends will stand in ``ends``."""
        cell = Cell(
            process,
            self._address(process, name),
            handlers_of(type(actor)),
            mailbox_messages=mailbox_messages,
            mailbox_bytes=mailbox_bytes,
        )
        started = trio.Event()

        async def live() -> None:
            self.ends[name] = await cell.run(actor, started.set)

        self._running.start_soon(live)
        await started.wait()
        return cell

    def _address(self, process: Exchange, name: str) -> Address:
        return Address("s", name, self._next(), process.address.endpoint)

    def _fault(self, source: int, target: int, frames: Sequence[Buffer]) -> Sequence[float]:
        return () if {source, target} & self._dead else self.weather(source, target, frames)

    def kill(self, victim: Exchange) -> None:
        """Nothing comes from it or reaches it any more, and everybody has heard of its death."""
        self._dead.add(victim.address.incarnation)
        for process in self.processes:
            if process is not victim:
                process.down(victim.address.endpoint, ExitReason(kind="killed", signal=9))


async def ask(source: Cell, target: Cell, handler: Handler, *args: object) -> object:
    signature = signature_of(handler)
    return await asks.ask(source, target.address, signature, signature.bind(args, {}))


async def tell(source: Cell, target: Cell, handler: Handler, *args: object) -> None:
    signature = signature_of(handler)
    await tells.tell(source, target.address, signature, signature.bind(args, {}))


def tell_nowait(source: Cell, target: Cell, handler: Handler, *args: object) -> None:
    signature = signature_of(handler)
    tells.tell_nowait(source, target.address, signature, signature.bind(args, {}))


def stream(source: Cell, target: Cell, handler: Handler, *args: object) -> Stream[object]:
    signature = signature_of(handler)
    return Stream(source, target.address, signature, signature.bind(args, {}))


def pair(source: Cell, target: Cell) -> Outbound:
    """The sending end, which has the account."""
    return source.outbounds[target.address.incarnation]


@asynccontextmanager
async def open_small_world(simple: bool = True) -> AsyncIterator[SmallWorld]:
    """``simple``: read by a task of its own rather than by leader and followers."""
    async with trio.open_nursery() as wire:
        async with trio.open_nursery() as running:
            world = SmallWorld(wire, running, simple)
            yield world
            running.cancel_scope.cancel()
        for process in world.processes:
            process.transport.close()
        wire.cancel_scope.cancel()
