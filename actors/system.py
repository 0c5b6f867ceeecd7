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
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import trio

from actors.actor import Actor
from actors.archive.archiving import Archiving
from actors.archive.resuming import Resuming
from actors.archive.state_file import ClaimState, StatePath, claiming
from actors.child_spec import check
from actors.control.audits import Audits
from actors.control.controller import Controller
from actors.control.joining import Joining
from actors.control.nodes import Nodes
from actors.control.regrowth import Regrowth
from actors.control.stopping import Stopping
from actors.facade import Facade
from actors.ref import ActorRef
from actors.supervision.record import Happened
from runtime.address import ARCHIVE, CONTROLLER
from runtime.cells import context
from runtime.cells.cell import Cell
from runtime.cells.local_cells import LocalCells
from runtime.errors import ActorDeadError
from runtime.hosts.host import Host
from runtime.hosts.process_host import open_process_host
from runtime.messages.behaviour import Strategy, handlers_of
from runtime.multipath.path_owner import Owner
from runtime.traffic.exchange import Exchange
from runtime.wires.net import check_net

if TYPE_CHECKING:
    from actors.path_manager import PathManager
    from actors.testing.probe import Probe

S = TypeVar("S", bound="System")
A = TypeVar("A", bound=Actor)
OpenHost = Callable[[], AbstractAsyncContextManager[Host]]
END_S = 4.0
"""What is not stopped by then is killed, so that the whole takes no more than 5 s."""


class System(Facade):
    """A running system, as its program sees it."""

    def __init__(
        self, controller: Controller, cell: Cell, host: Host, *, paths_by: Owner = "kernel"
    ) -> None:
        super().__init__(cell)
        self._paths_by = paths_by
        self.nodes = controller.nodes
        self.host = host
        self.opened_at = trio.current_time()
        self.expect_s: float | None = None  # as `actors.testing.probe.EXPECT_S`
        self.probes: list[Probe[Any]] = []

    @property
    def exchange(self) -> Exchange:
        """The messages of this process."""
        return self.cell.exchange

    @contextmanager
    def listen(self, heard: Callable[[Happened], None]) -> Any:
        """Call ``heard`` at once with whatever becomes of a node, while the context is open."""
        self.nodes.listeners.append(heard)
        try:
            yield
        finally:
            self.nodes.listeners.remove(heard)

    async def path_manager(self) -> ActorRef[PathManager]:
        """The one that keeps this host's links off dying paths, started at the first call.

        Raises:
            SpawnError: it did not come up.
        """
        from actors.path_manager import NAME, PathManager

        try:
            return await self.lookup(f"{CONTROLLER}/{NAME}", PathManager)
        except (LookupError, ActorDeadError):
            make = partial(PathManager, owner=self._paths_by)
            return await self.spawn(make, name=NAME, local=True)

    async def begin(self) -> None:
        """What must be at work before anything is started is at work."""
        if self._paths_by == "userspace":
            await self.path_manager()

    @overload
    async def probe(self, *, name: str | None = None) -> Probe[Any]: ...
    @overload
    async def probe(self, actor: type[A], *, name: str | None = None) -> Probe[A]: ...
    async def probe(
        self, actor: type[Actor] | None = None, *, name: str | None = None
    ) -> Probe[Any]:
        """A local actor that records what comes to it, for tests; see `actors.testing.probe`.

        ``actor``: the class that it stands in for: it takes the messages that one would take, and
        none else. Without it, every message of any handler.

        Raises:
            SpawnError: the name is taken.
            TypeError: it is no class of actors.
        """
        from actors.testing.probe import open_probe

        probe = await open_probe(
            self.cell, actor, name=name, since=self.opened_at, expect_s=self.expect_s
        )
        self.probes.append(probe)
        return probe


def open_system(
    *,
    signals: bool = True,
    output: Callable[[str, str], None] | None = None,
    strategy: Strategy = "one_for_one",
    intensity: tuple[int, float] = (5, 10.0),
    state: StatePath | None = None,
    resume: bool = False,
    transport: str = "ipc",
    listen: Sequence[str] = (),
    keys: str | None = None,
    insecure: bool = False,
    join_file: str | None = None,
    path_manager: str = "kernel",
    tos: int = 0,
) -> Opening[System]:
    """``async with open_system() as system:`` runs a system for the length of the block.

    Args:
        signals: SIGTERM and SIGHUP cancel the body and then end the process by that signal.
            False leaves them alone.
        output: called with (name, line) for what nodes print; None: to stderr as ``NAME| line``.
        strategy, intensity: how the controller supervises its own children (those that the program
            spawns; each actor has its own, see `ChildOptions`); over its budget of
            (restarts, seconds) it gives a child up, and says so.
        state: a file in which the tree is kept, so that it can come back after this process,
            however that ended: child specs, arguments and snapshots of those that live again
            after a kill (permanent, transient) and have a name. It is a quarter of a second
            behind. A file that holds a tree is never overwritten.
        resume: the tree of that file is up when the block begins, with its names, places and
            state; refs from before raise `ActorDeadError`, following refs go on. Who does not
            come back is given up, and that is logged.

        transport: ``"ipc"`` for processes of one user on one host; ``"tcp"`` for a network, with
            keys that are made for this system alone unless ``keys`` names a file; ``"mptcp"`` as
            tcp, over every path that the hosts have (Multipath TCP; plain TCP where there is none).
        listen: numeric addresses to listen on, ``"192.0.2.7"`` or with a port
            ``"[2001:db8::7]:5555"``; the port is the controller's, nodes take any. Default:
            127.0.0.1.
        keys: a file of mode 0600 that keeps the system's keys, made if there is none.
        join_file: where to write, with mode 0600, what ``regrow join`` needs to start a node of
            this system on another host; replaced, and removed at the end unless ``keys`` is given.
        insecure: no keys and no encryption; loopback addresses alone, and then every user of
            this host can call.
        path_manager: with mptcp, who decides on the paths of each connection: ``"kernel"``, or
            ``"userspace"``, the system's own `PathManager`, at work from the start, for the whole
            network namespace. Where net.mptcp.path_manager cannot be set, that is said in the log
            and by the path manager, and it observes only.
        tos: the type of service of what is sent over tcp and mptcp: one byte, its two low bits
            clear. `link_report` has what the kernel says of it.

    Raises:
        ValueError: a strategy or an intensity that makes no sense, or nothing to resume from, or
            an address that is none.
        OSError: on entry: nobody can listen there, or the file of keys cannot be used
            (`PermissionError`: it is not ours alone).
        StateError: on entry: the file is torn, foreign, in use, or not to be written; or it
            holds a tree, and this is no resumption, or there is none to resume.
    """
    check({"strategy": strategy, "intensity": intensity})
    net = check_net(transport, listen, keys, insecure, join_file, path_manager, tos)
    opening = partial(open_process_host, output or to_stderr, net)
    claim = claiming(state, resume)
    make = partial(System, paths_by=net.path_manager)
    return Opening(opening, make, signals, strategy, intensity, claim=claim)


def to_stderr(name: str, line: str) -> None:
    """Where what nodes print goes when nobody takes it."""
    print(f"{name}| {line}", file=sys.stderr, flush=True)


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
    ) -> None:
        self._claim = claim
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
) -> AsyncIterator[S]:
    """The state file, the host, the exchange and the controller, in this order."""
    with claim() as claimed:
        async with open_host() as host, trio.open_nursery() as nursery:
            exchange = host.exchange(claimed.system if claimed is not None else "")
            nodes = Nodes(exchange, host, nursery)
            stopping = Stopping(nodes, exchange, nursery)
            regrowth = regrow(nodes, stopping)
            controller = Controller(nodes, stopping, regrowth, Audits(nodes, exchange))
            Joining(exchange, nodes, nursery)
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
