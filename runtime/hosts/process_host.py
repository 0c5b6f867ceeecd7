"""A host whose bodies are processes of this machine, forked by the zygote.

Invariants
----------
* A body's pidfd is the proof of its death; its number is used for nothing but looking.
* A status comes from the zygote, which reaps. When it has none, the kernel is asked.
* After the block of `open_process_host` neither processes nor files are left.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import msgspec
import trio

from runtime.address import CONTROLLER, CONTROLLER_INCARNATION, Address
from runtime.hosts.life import Boot
from runtime.hosts.node_process import START, boot_id, clock_offset
from runtime.processes import procfs
from runtime.processes.asks import ForkedNode
from runtime.processes.attendance import PING_S
from runtime.processes.evidence import Look, looking_into, read_page
from runtime.processes.keeper import PRELOAD, Keeper, open_zygote
from runtime.processes.launcher import Launcher, LocalLauncher
from runtime.processes.oom import OomWatch
from runtime.processes.orders import Exited, Order
from runtime.processes.output import POLL_S, Outputs
from runtime.processes.pidfd import close_pidfd, send_signal, wait_exited, wait_status
from runtime.processes.run_folder import (
    open_run_folder,
    output_path,
    page_path,
    raise_open_file_limit,
    socket_path,
)
from runtime.traffic.exchange import Exchange
from runtime.traffic.registrar import Spec
from runtime.wires.net import IPC, Net
from runtime.wires.transport import Transport
from runtime.wires.wiring import Wiring, wiring

REHEARSAL = "runtime.hosts.rehearsal:prepare"


class ProcessBody:
    """One node's process."""

    def __init__(
        self, node: ForkedNode, name: str, folder: str, outputs: Outputs, killings: OomWatch
    ) -> None:
        self.pid = node.pid
        self._incarnation = node.incarnation
        self.pidfd = node.pidfd  # -1 once it is closed
        self._name = name
        self._folder = folder
        self._outputs = outputs
        self._killings = killings
        self._mark = killings.mark(node.pid)
        self._lines: tuple[str, ...] | None = None
        self._follower = outputs.add(name, output_path(folder, node.incarnation))

    @property
    def frozen(self) -> bool:
        stat = procfs.stat(self.pid)
        return stat is not None and stat.frozen

    @property
    def held(self) -> bool:
        return self.pidfd >= 0

    @property
    def left(self) -> bool:
        page = read_page(self._folder, self._incarnation)
        return page is not None and page.left

    def signal(self, number: int) -> None:
        if self.pidfd >= 0:
            send_signal(self.pidfd, number)

    async def wait_gone(self) -> None:
        await wait_exited(self.pidfd)

    async def exited(self) -> Exited:
        return Exited(self._incarnation, self.pid, await wait_status(self.pidfd))

    def last_lines(self) -> tuple[str, ...]:
        if self._lines is None:
            self._lines = self._outputs.remove(self._name, self._follower)
        return self._lines

    def oom(self) -> str:
        return self._killings.evidence(self.pid, self._mark)

    def close(self) -> None:
        self.last_lines()  # else they would be followed for ever
        pidfd, self.pidfd = self.pidfd, -1
        close_pidfd(pidfd)


class ProcessHost:
    """Made by `open_process_host`."""

    START = START
    PING_S = PING_S
    POLL_S = POLL_S

    def __init__(
        self,
        folder: str,
        wiring: Wiring,
        transport: Transport,
        output: Callable[[str, str], None],
    ) -> None:
        self.keeper: Keeper
        self.launcher: Launcher = LocalLauncher()
        self.look: Look = looking_into(folder)
        self._folder = folder
        self._wiring = wiring
        self._transport = transport
        self._outputs = Outputs(output)
        self.killings = OomWatch()
        self._boot: Boot

    def exchange(self, system: str = "") -> Exchange:
        system = system or secrets.token_hex(8)
        address = Address(system, CONTROLLER, CONTROLLER_INCARNATION, self._transport.endpoint)
        self._boot = Boot(system, address, boot_id(), "")  # what is the same for every node
        return Exchange(
            address, self._transport, boot_id=self._boot.boot_id, clock_offset=clock_offset()
        )

    @asynccontextmanager
    async def open(self, on_exit: Callable[[Exited], None]) -> AsyncIterator[None]:
        async with open_zygote(
            self._folder,
            self.launcher,
            on_exit=on_exit,
            preload=(_module(REHEARSAL), *PRELOAD, *self._wiring.modules, _module(self.START)),
            prepare=REHEARSAL,
            ping_s=self.PING_S,
        ) as self.keeper:
            yield

    async def run(self) -> None:
        await self._outputs.run(self.POLL_S)

    def endpoint(self, incarnation: int) -> str:
        return self._wiring.endpoint(incarnation)

    async def start(self, address: Address, spec: Spec) -> ProcessBody:
        boot = msgspec.structs.replace(
            self._boot,
            endpoint=address.endpoint,
            keys=self._wiring.keys(address.incarnation),
            tos=self._wiring.tos,
        )
        order = Order(
            self.START,
            spec.entry,
            address.name,
            address.incarnation,
            spec.environ or {},
            spec.cwd,
            msgspec.msgpack.encode(boot),
        )
        node = await self.keeper.fork(order)
        return ProcessBody(node, address.name, self._folder, self._outputs, self.killings)

    def forget(self, incarnation: int) -> None:
        self._wiring.forget(incarnation)
        for path in (output_path, page_path, socket_path):
            with suppress(FileNotFoundError):
                os.unlink(path(self._folder, incarnation))


@asynccontextmanager
async def open_process_host(
    output: Callable[[str, str], None], net: Net = IPC
) -> AsyncIterator[ProcessHost]:
    """A run folder and the controller's sockets. ``output`` gets (name, line) of what is printed.

    Raises:
        PermissionError, ValueError: there can be no such folder, see `open_run_folder`; or the
            file of keys is not to be used, see `runtime.network.key_file`.
        OSError: nobody can listen where ``net`` says.
    """
    raise_open_file_limit()
    with open_run_folder() as folder:
        wires = wiring(net, folder)
        async with _open_wire(wires) as transport:
            host = ProcessHost(folder, wires, transport, output)
            try:
                yield host
            finally:
                host.killings.close()


@asynccontextmanager
async def _open_wire(wires: Wiring) -> AsyncIterator[Transport]:
    """The controller's sockets; nobody reads them any more when they are closed."""
    async with trio.open_nursery() as nursery:
        try:
            transport = wires.open(nursery)
            try:
                yield transport
            finally:
                transport.close()
        finally:
            wires.close()
            nursery.cancel_scope.cancel()


def _module(entry: str) -> str:
    return entry.partition(":")[0]
