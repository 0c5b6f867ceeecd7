"""A system: one controller in this process, and all that was started under it.

Leaving ``async with open_system()`` leaves no process, file or task behind: on success, error,
Ctrl-C, SIGTERM and SIGHUP.

Invariants
----------
* An exception of the body leaves the block as itself, never wrapped in a group; what went
  wrong in the runtime meanwhile is added to it as a note.
* A failure of the runtime ends the body, and leaves the block in its place.
* The orderly end takes at most 5 s, whatever the nodes do; a second Ctrl-C cuts it short.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, overload

import trio

from actors import requests
from actors.controller import Controller
from actors.nodes import Nodes
from actors.record import Happened
from actors.ref import ActorRef, ref_to
from runtime import context
from runtime.address import CONTROLLER, CONTROLLER_INCARNATION, Address
from runtime.behaviour import handlers_of
from runtime.cell import Cell
from runtime.exchange import Exchange
from runtime.keeper import PRELOAD, Keeper, open_zygote
from runtime.launcher import LocalLauncher
from runtime.life import START, boot_id, clock_offset
from runtime.output import Outputs
from runtime.registrar import Restart, Row, Strategy
from runtime.run_folder import open_run_folder, raise_open_file_limit, socket_path
from runtime.zmq_transport import ZmqTransport

if TYPE_CHECKING:
    from actors.actor import Actor

Ts = TypeVarTuple("Ts")
A = TypeVar("A", bound="Actor")
REHEARSAL = "runtime.rehearsal:prepare"
END_S = 4.0
"""What is not stopped by then is killed, so that the whole takes no more than 5 s."""


class System:
    """A running system, as its program sees it."""

    def __init__(self, controller: Controller, cell: Cell, keeper: Keeper) -> None:
        self.nodes = controller.nodes
        self.keeper = keeper
        self.cell = cell

    @property
    def exchange(self) -> Exchange:
        """The messages of this process."""
        return self.cell.exchange

    async def spawn(
        self,
        actor: Callable[[*Ts], A],
        /,
        *args: *Ts,
        name: str | None = None,
        restart: Restart = "temporary",
        local: bool = False,
        start_s: float = 30.0,
        parent: ActorRef[Any] | None = None,
        strategy: Strategy = "one_for_one",
        intensity: tuple[int, float] = (5, 10.0),
    ) -> ActorRef[A]:
        """The actor runs, in a process of its own, as a child of the controller.

        ``functools.partial`` carries keyword arguments. ``local``: a cell of this process.

        Raises:
            SpawnError: it did not come up: its constructor or ``on_start`` raised, its module
                cannot be imported, the name is taken, ``start_s`` seconds were not enough.
            TypeError: a signature or an argument cannot travel.
            ValueError: not a name; or its class cannot be imported in another process.

        Cancellation: nothing of it is left.
        """
        address = await requests.spawn(
            self.cell,
            actor,
            args,
            parent=CONTROLLER if parent is None else parent.name,
            name=name,
            restart=restart,
            local=local,
            start_s=start_s,
            strategy=strategy,
            intensity=intensity,
        )
        return ref_to(address)

    @overload
    async def lookup(self, name: str) -> ActorRef[Any]: ...
    @overload
    async def lookup(self, name: str, actor: type[A]) -> ActorRef[A]: ...
    async def lookup(self, name: str, actor: type[A] | None = None) -> ActorRef[Any]:
        """A ref to whoever holds the name now.

        Raises:
            LookupError: nobody ever did, or it was removed.
            ActorDeadError: it is not alive now.
        """
        return ref_to(await requests.look_up(self.cell, name))

    async def tree(self) -> list[Row]:
        """Every place, parents before children, in order of creation; the dead too."""
        return await requests.rows(self.cell)

    @contextmanager
    def listen(self, heard: Callable[[Happened], None]) -> Any:
        """Call ``heard`` at once with whatever becomes of a node, while the context is open."""
        self.nodes.listeners.append(heard)
        try:
            yield
        finally:
            self.nodes.listeners.remove(heard)


def open_system(
    *,
    signals: bool = True,
    output: Callable[[str, str], None] | None = None,
    strategy: Strategy = "one_for_one",
    intensity: tuple[int, float] = (5, 10.0),
) -> _Opening:
    """``async with open_system() as system:`` runs a system for the length of the block.

    Args:
        signals: SIGTERM and SIGHUP cancel the body and then end the process by that signal.
            False leaves them alone.
        output: called with (name, line) for what nodes print; None: to stderr as ``NAME| line``.
    """
    return _Opening(signals, output or _to_stderr)


def _to_stderr(name: str, line: str) -> None:
    print(f"{name}| {line}", file=sys.stderr, flush=True)


class _Opening:
    """The block of `open_system`. A nursery inside a generator would wrap the body's exception."""

    def __init__(self, signals: bool, output: Callable[[str, str], None]) -> None:
        self._signals = signals
        self._output = output
        self._signal = 0

    async def __aenter__(self) -> System:
        if context.root.get() is not None:
            raise RuntimeError("a system is open in this trio run already")
        self._leaving = trio.Event()
        self._left = trio.Event()
        self._ready = trio.Event()
        self._system: System | None = None
        self._nursery: trio.Nursery
        self._failure: BaseException | None = None
        self._scope = trio.CancelScope()
        self._end = trio.CancelScope(shield=True)
        self._runtime = trio.CancelScope(shield=True)
        self._manager = trio.open_nursery()
        nursery = await self._manager.__aenter__()
        # Not nursery.start(): a task that is started in a cancelled scope never leaves it.
        nursery.start_soon(self._run)
        try:
            await self._ready.wait()
        except BaseException:
            self._runtime.cancel()
            await self._close(nursery)
            raise
        if self._system is None:
            await self._close(nursery)
            assert self._failure is not None
            raise _single(self._failure)
        self._nursery = nursery
        self._scope.__enter__()
        return self._system

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
                    _open_runtime(self._output, self._end) as self._system,
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
    output: Callable[[str, str], None], end: trio.CancelScope
) -> AsyncIterator[System]:
    """The run folder, the zygote, the exchange and the controller, in this order."""
    raise_open_file_limit()
    with open_run_folder() as folder:
        async with _open_wire(folder) as transport, trio.open_nursery() as nursery:
            address = Address(
                secrets.token_hex(8), CONTROLLER, CONTROLLER_INCARNATION, transport.endpoint
            )
            exchange = Exchange(address, transport, boot_id=boot_id(), clock_offset=clock_offset())
            outputs = Outputs(output)
            keepers: list[Keeper] = []
            nodes = Nodes(exchange, lambda: keepers[0], folder, nursery, outputs)
            controller = Controller(nodes)
            cell = Cell(exchange, address, handlers_of(Controller))
            await nursery.start(exchange.run)
            async with open_zygote(
                folder,
                LocalLauncher(),
                on_exit=nodes.hear_exit,
                preload=(*PRELOAD, START.partition(":")[0], REHEARSAL.partition(":")[0]),
                prepare=REHEARSAL,
            ) as keeper:
                keepers.append(keeper)
                up = trio.Event()
                nursery.start_soon(cell.run, controller, up.set)
                nursery.start_soon(nodes.guardians.guard.run)
                nursery.start_soon(outputs.run)
                await up.wait()
                context.root.set(cell)
                try:
                    yield System(controller, cell, keeper)
                finally:
                    context.root.set(None)
                    end.deadline = trio.current_time() + END_S
                    if not nursery.cancel_scope.cancel_called:  # else nobody hears of deaths
                        with end:
                            await controller._stop_everything()
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def _open_wire(folder: str) -> AsyncIterator[ZmqTransport]:
    """The controller's sockets; nobody reads them any more when they are closed."""
    async with trio.open_nursery() as nursery:
        endpoint = f"ipc://{socket_path(folder, CONTROLLER_INCARNATION)}"
        transport = ZmqTransport(endpoint, CONTROLLER_INCARNATION, nursery)
        try:
            yield transport
        finally:
            transport.close()
            nursery.cancel_scope.cancel()
