"""Where the nodes of a system live: the seam between its controller and what they run in.

The controller decides what is started, stopped and believed; the host makes a body for each
incarnation, a process or what stands for one, and says what the world knows of it. There are two:
`runtime.hosts.process_host`, and `runtime.hosts.memory_host` for one trio run in virtual time.

A death is told in two steps, for the kernel tells it so: first that it is certain
(`Body.wait_gone`), then how it came (``on_exit``, or `Body.exited` if that stays away).

Invariants
----------
* A body that is gone stays gone, and sends nothing any more.
* A cancelled or failed `Host.start` leaves no body.
* ``on_exit`` may be told of an incarnation before `Host.start` has returned its body.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from runtime.address import Address
from runtime.processes.evidence import Evidence
from runtime.processes.orders import Exited
from runtime.traffic.exchange import Exchange
from runtime.traffic.registrar import Spec


class Body(Protocol):
    """What one incarnation of a node runs in."""

    pid: int

    @property
    def frozen(self) -> bool:
        """Whether it is stopped, so that it could not hear anybody."""

    @property
    def held(self) -> bool:
        """Whether its death would be known for certain, however silent it is."""

    @property
    def left(self) -> bool:
        """Whether it has said why it ends, though that may not have arrived yet."""

    def signal(self, number: int) -> None:
        """Send it a signal, as ``kill(2)`` does. One that is gone gets none."""

    async def wait_gone(self) -> None:
        """It is certainly dead."""

    async def exited(self) -> Exited:
        """How it ended, as far as that can be learned within 1 s of its death."""

    def last_lines(self) -> tuple[str, ...]:
        """The last 20 lines that it printed. What it prints later is not looked for."""

    def oom(self) -> str:
        """What speaks for the killer for want of memory, once it is dead; "" for nothing."""

    def close(self) -> None:
        """Give back what holds it."""


class Host(Protocol):
    """Where the nodes of one system live."""

    def exchange(self, system: str = "") -> Exchange:
        """The messages of a system's controller. To be made before anything is started.

        ``system``: its id, if it has had one before.
        """

    def open(self, on_exit: Callable[[Exited], None]) -> AbstractAsyncContextManager[None]:
        """Nodes can be started in the block; after it there are none.

        ``on_exit`` is told at once of each end, once, unless the block ends first.

        Raises:
            SpawnError: no node can be started here.
        """

    async def run(self) -> None:
        """Do what must be done meanwhile, until cancelled."""

    def endpoint(self, incarnation: int) -> str:
        """Where that incarnation will listen."""

    async def start(self, address: Address, spec: Spec) -> Body:
        """There is a body, which will say hello to the controller.

        Raises:
            ValueError: its class cannot be found from there.
            Exception: anything else that is in the way.
        """

    def look(self, incarnation: int, pid: int) -> Evidence:
        """What can be learned of a node that says nothing: a dead one too, until `forget`."""

    def forget(self, incarnation: int) -> None:
        """Remove what it has left behind. Idempotent."""
