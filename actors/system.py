"""A system: one controller in this process, and all that was started under it.

Leaving ``async with open_system()`` leaves no process, file or task behind: on success, error,
Ctrl-C, SIGTERM and SIGHUP. How it begins and ends: `actors.opening`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

import trio

from actors.actor import Actor
from actors.archive.state_file import StatePath, claiming
from actors.child_spec import check
from actors.control.controller import Controller
from actors.facade import Facade
from actors.opening import Opening
from actors.ref import ActorRef
from actors.supervision.record import Happened
from actors.supervision.roll import NameJoiner
from runtime.address import CONTROLLER
from runtime.cells.cell import Cell
from runtime.errors import ActorDeadError
from runtime.hosts.host import Host
from runtime.hosts.process_host import open_process_host
from runtime.messages.behaviour import Strategy
from runtime.multipath.path_owner import Owner
from runtime.traffic.exchange import Exchange
from runtime.wires.net import check_net

if TYPE_CHECKING:
    from actors.path_manager import PathManager
    from actors.testing.probe import Probe

A = TypeVar("A", bound=Actor)


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
    name_joiner: NameJoiner | None = None,
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
        name_joiner: called with the name that a node asks for which joins by hand, "" for any, and
            a function that says whether a name is taken; returns its name, or raises `ValueError`
            with why it may not join. None: the name that it asks for, or that of its class with a
            number.

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
    return Opening(
        opening, make, signals, strategy, intensity, claim=claim, name_joiner=name_joiner
    )


def to_stderr(name: str, line: str) -> None:
    """Where what nodes print goes when nobody takes it."""
    print(f"{name}| {line}", file=sys.stderr, flush=True)
