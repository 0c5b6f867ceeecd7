"""A host whose bodies are processes of this machine that follow this process's clock.

As `runtime.hosts.process_host`, but for the clock and the wire: see `runtime.lockstep.lockstep`.

Invariants
----------
* A body takes part from before anybody hears that there is one until it is certainly dead.
* Before the block of `LockstepHost.open` and after it the clock is a real one.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from runtime.address import CONTROLLER, CONTROLLER_INCARNATION, Address
from runtime.hosts.life import Boot
from runtime.hosts.node_process import boot_id
from runtime.hosts.process_host import ProcessBody, ProcessHost
from runtime.lockstep.baton import Late
from runtime.lockstep.clock import LockstepClock
from runtime.lockstep.conductor import Conductor, open_conductor
from runtime.lockstep.node import START
from runtime.lockstep.outside import Outside
from runtime.processes import procfs
from runtime.processes.evidence import looking_into
from runtime.processes.launcher import LocalLauncher, LocalLine
from runtime.processes.newborn import SPARE
from runtime.processes.orders import Exited
from runtime.processes.run_folder import open_run_folder, raise_open_file_limit
from runtime.traffic.exchange import Exchange
from runtime.traffic.registrar import Spec
from runtime.virtual_clock import VirtualClock
from runtime.wires.socket_transport import SCHEME, SocketTransport
from runtime.wires.wiring import IpcWiring, Wiring


class LockstepHost(ProcessHost):
    """Made by `open_lockstep_host`."""

    START = START
    PING_S = POLL_S = 1.0  # each is a turn of all; the zygote's answers do not take time

    def __init__(
        self,
        folder: str,
        wires: Wiring,
        transport: SocketTransport,
        output: Callable[[str, str], None],
        clock: LockstepClock,
        patience_s: float,
    ) -> None:
        super().__init__(folder, wires, transport, output)
        self.conductor: Conductor
        self.launcher = self._launcher = _Launcher()
        self.look = looking_into(folder, trio.current_time)
        self._sockets = transport
        self._clock = clock
        self._patience_s = patience_s
        self._bodies: list[ProcessBody] = []

    def late(self, sender: int, sent_at: float) -> None:
        """A message was read by this process later than it was sent."""
        if self._clock.stands:
            late = Late(sender, sent_at, self._clock.current_time())
            self.conductor.late(CONTROLLER_INCARNATION, late)

    def exchange(self, system: str = "") -> Exchange:
        system = system or secrets.token_hex(8)
        address = Address(system, CONTROLLER, CONTROLLER_INCARNATION, self._sockets.endpoint)
        boot = f"{boot_id()} {system}"  # of those who share this CLOCK_MONOTONIC
        self._boot = Boot(system, address, boot, "")  # what is the same for every node
        exchange = Exchange(address, self._sockets, boot_id=boot, simple=True)
        exchange.clock = VirtualClock()
        return exchange

    @asynccontextmanager
    async def open(self, on_exit: Callable[[Exited], None]) -> AsyncIterator[None]:
        async with (
            super().open(on_exit),
            open_conductor(
                self._clock,
                self._folder,
                self._patience_s,
                owed=self._owed,
                doing=self._doing,
                outside=lambda loop: Outside(loop, self._descriptors, self._zygotes),
            ) as self.conductor,
        ):
            yield

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.conductor.run)
            nursery.start_soon(super().run)

    async def start(self, address: Address, spec: Spec) -> ProcessBody:
        body = await super().start(address, spec)
        self.conductor.followers.expect(address.incarnation, address.name, body.pid, body.pidfd)
        self._bodies = [each for each in self._bodies if each.pidfd >= 0]
        self._bodies.append(body)
        return body

    def _owed(self) -> str:
        """What is under way that no process of the lockstep is at."""
        owed = self.keeper.owed
        for child in [] if owed else procfs.children(self.keeper.pid):
            if child not in self.conductor.followers.pids and not _is_spare(child):
                return f"process {child} runs, which a node has left to itself"
        return owed

    def _doing(self, incarnation: int) -> str:
        handler = self.look(incarnation, 0).handler
        return f"handler {handler} runs" if handler else ""

    def _descriptors(self) -> set[int]:
        """Those that tasks of the runtime wait for."""
        line = self._launcher.line
        lines = line.descriptors if line is not None else set()
        pidfds = {body.pidfd for body in self._bodies}
        return {*self._sockets.descriptors, *lines, *pidfds}

    def _zygotes(self) -> set[int]:
        return {self.keeper.pid}


def _is_spare(pid: int) -> bool:
    """Whether it waits for an order, or has ended."""
    stat = procfs.stat(pid)
    return stat is None or stat.ended or procfs.name(pid) == SPARE


class _Sockets(IpcWiring):
    """As ipc, but without a thread; the host removes them with the rest of the folder."""

    scheme = SCHEME

    def open(self, nursery: trio.Nursery) -> SocketTransport:
        endpoint = self.endpoint(CONTROLLER_INCARNATION)
        return SocketTransport(endpoint, CONTROLLER_INCARNATION, nursery)


class _Launcher(LocalLauncher):
    """Keeps the line to the present zygote."""

    line: LocalLine | None = None

    def launch(self, folder: str) -> LocalLine:
        self.line = super().launch(folder)
        return self.line


@asynccontextmanager
async def open_lockstep_host(
    clock: LockstepClock, patience_s: float, output: Callable[[str, str], None]
) -> AsyncIterator[LockstepHost]:
    """A run folder and the controller's sockets. ``output`` gets (name, line) of what is printed.

    Raises:
        PermissionError, ValueError: there can be no such folder, see `open_run_folder`.
    """
    raise_open_file_limit()
    with open_run_folder() as folder:
        async with trio.open_nursery() as nursery:
            wires = _Sockets(folder)
            transport = wires.open(nursery)
            host = LockstepHost(folder, wires, transport, output, clock, patience_s)
            transport.late = host.late
            try:
                yield host
            finally:
                host.killings.close()
                transport.close()
                nursery.cancel_scope.cancel()
