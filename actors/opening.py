"""The block of a system: its runtime begins before the body, and ends after it.

Invariants
----------
* An exception of the body leaves the block as itself, never wrapped in a group; what went
  wrong in the runtime meanwhile is added to it as a note.
* A failure of the runtime ends the body, and leaves the block in its place.
* The orderly end takes at most 5 s, whatever the nodes do; a second Ctrl-C cuts it short.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from types import TracebackType
from typing import Generic, Protocol, TypeVar

import trio

from actors.archive.archiving import Archiving
from actors.archive.resuming import Resuming
from actors.archive.state_file import ClaimState
from actors.control.audits import Audits
from actors.control.controller import Controller
from actors.control.joining import Joining
from actors.control.nodes import Nodes
from actors.control.regrowth import Regrowth
from actors.control.stopping import Stopping
from actors.supervision.roll import NameJoiner
from runtime.address import ARCHIVE
from runtime.cells import context
from runtime.cells.cell import Cell
from runtime.cells.local_cells import LocalCells
from runtime.hosts.host import Host
from runtime.messages.behaviour import Strategy, handlers_of

OpenHost = Callable[[], AbstractAsyncContextManager[Host]]
END_S = 4.0
"""What is not stopped by then is killed, so that the whole takes no more than 5 s."""


class Begun(Protocol):
    """What is made of a runtime that runs."""

    async def begin(self) -> None:
        """What must be at work before anything is started is at work."""


S = TypeVar("S", bound=Begun)


class Opening(Generic[S]):
    """The block of a system. A nursery inside a generator would wrap the body's exception."""

    def __init__(
        self,
        open_host: OpenHost,
        make: Callable[[Controller, Cell, Host], S],
        signals: bool,
        strategy: Strategy = "one_for_one",
        intensity: tuple[int, float] = (5, 10.0),
        chance: Callable[[], float] = random.random,
        claim: ClaimState = nullcontext,
        name_joiner: NameJoiner | None = None,
    ) -> None:
        self._claim = claim
        self._name_joiner = name_joiner
        self._open_host = open_host
        self._make = make
        self._signals = signals
        self._regrow = partial(Regrowth, strategy=strategy, intensity=intensity, chance=chance)
        self._signal = 0

    async def __aenter__(self) -> S:
        if context.root.get() is not None:
            raise RuntimeError("a system is open in this trio run already")
        self._leaving = trio.Event()
        self._left = trio.Event()
        self._ready = trio.Event()
        self._system: S | None = None
        self._nursery: trio.Nursery
        self._failure: BaseException | None = None
        self._scope = trio.CancelScope()
        self._opening = trio.CancelScope()
        self._end = trio.CancelScope(shield=True)
        self._runtime = trio.CancelScope(shield=True)
        self._manager = trio.open_nursery()
        nursery = await self._manager.__aenter__()
        # Not nursery.start(): a task that is started in a cancelled scope never leaves it.
        nursery.start_soon(self._run)
        try:
            await self._ready.wait()
        except BaseException:
            await self._give_up()
            await self._close(nursery)
            raise
        if self._system is None:
            await self._close(nursery)
            assert self._failure is not None
            raise _single(self._failure)
        self._nursery = nursery
        self._scope.__enter__()
        return self._system

    async def _give_up(self) -> None:
        """Nobody waits for the system. What is being resumed ends while deaths are heard."""
        with trio.CancelScope(shield=True):
            self._opening.cancel()
            self._leaving.set()
            if self._claim is not nullcontext:
                with trio.move_on_after(END_S):
                    await self._ready.wait()
            if self._system is None:
                self._runtime.cancel()
            await self._left.wait()

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        cancelled_here = self._scope.__exit__(kind, raised, trace)
        with trio.CancelScope(shield=True):
            self._leaving.set()
            try:
                await self._left.wait()
            except KeyboardInterrupt as again:
                self._end.cancel()
                await self._left.wait()
                self._failure = self._failure or again
        await self._close(self._nursery)
        if self._signal:
            _die_by(self._signal)
        if self._failure is not None:
            if raised is None or cancelled_here:
                raise _single(self._failure)
            raised.add_note(f"meanwhile in the runtime: {_single(self._failure)!r}")
        return bool(cancelled_here)

    async def _close(self, nursery: trio.Nursery) -> None:
        nursery.cancel_scope.shield = True
        nursery.cancel_scope.cancel()
        await self._manager.__aexit__(None, None, None)

    @trio.lowlevel.enable_ki_protection
    async def _run(self) -> None:
        """The runtime's own tasks, from before the body to after it.

        Whoever cancels the block cancels the body alone; these end in their own order.
        """
        try:
            with self._runtime:
                async with (
                    _open_runtime(
                        self._open_host,
                        self._make,
                        self._regrow,
                        self._opening,
                        self._end,
                        self._claim,
                        self._name_joiner,
                    ) as self._system,
                    trio.open_nursery() as nursery,
                ):
                    if self._signals:
                        nursery.start_soon(self._hear_signals)
                    self._ready.set()
                    await self._leaving.wait()
                    nursery.cancel_scope.cancel()
        except Exception as failure:
            self._failure = failure
            self._scope.cancel()
        finally:
            self._ready.set()
            self._left.set()

    async def _hear_signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP) as heard:
            async for number in heard:
                self._signal = self._signal or number
                self._scope.cancel()


def _die_by(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _single(raised: BaseException) -> BaseException:
    while isinstance(raised, BaseExceptionGroup) and len(raised.exceptions) == 1:
        raised = raised.exceptions[0]
    return raised


@asynccontextmanager
async def _open_runtime(
    open_host: OpenHost,
    make: Callable[[Controller, Cell, Host], S],
    regrow: Callable[[Nodes, Stopping], Regrowth],
    opening: trio.CancelScope,
    end: trio.CancelScope,
    claim: ClaimState,
    name_joiner: NameJoiner | None,
) -> AsyncIterator[S]:
    """The state file, the host, the exchange and the controller, in this order."""
    with claim() as claimed:
        async with open_host() as host, trio.open_nursery() as nursery:
            exchange = host.exchange(claimed.system if claimed is not None else "")
            nodes = Nodes(exchange, host, nursery)
            if name_joiner is not None:
                nodes.roll.name_joiners(name_joiner)
            stopping = Stopping(nodes, exchange, nursery)
            regrowth = regrow(nodes, stopping)
            controller = Controller(nodes, stopping, regrowth, Audits(nodes, exchange))
            joining = Joining(exchange, nodes, nursery)
            LocalCells(exchange)
            cell = Cell(exchange, exchange.address, handlers_of(Controller))
            await nursery.start(exchange.run)
            async with host.open(nodes.hear_exit):
                up = trio.Event()
                nursery.start_soon(cell.run, controller, up.set)
                nursery.start_soon(nodes.guardians.guard.run)
                nursery.start_soon(host.run)
                await up.wait()
                system = make(controller, cell, host)
                archiving = Archiving(claimed, controller, cell) if claimed is not None else None
                with opening:
                    await system.begin()
                    if archiving is not None:
                        await archiving.begin(nursery, Resuming(nodes, regrowth))
                joining.begin()
                context.root.set(cell)
                try:
                    yield system
                finally:
                    context.root.set(None)
                    end.deadline = trio.current_time() + END_S
                    if not nursery.cancel_scope.cancel_called:  # else nobody hears of deaths
                        with end:
                            if archiving is not None:
                                await archiving.end(partial(controller._stop_everything, ARCHIVE))
                            await controller._stop_everything()
            nursery.cancel_scope.cancel()
