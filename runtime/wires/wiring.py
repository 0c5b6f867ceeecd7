"""Which wire a system's processes are on, and what each of them needs to be on it.

A `Wiring` is the controller's: it opens the controller's own transport, and gives out endpoints
and keys for nodes before they are born. A node opens what it was given with `open_transport`.

Invariants
----------
* An endpoint is given out once, and nobody else can listen there until it is forgotten.
* Who is on ipc never loads what a network takes (`NETWORK`): it is a tenth of a node's own code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import trio

from runtime.address import CONTROLLER_INCARNATION
from runtime.network.keys import Keys
from runtime.processes.run_folder import socket_path
from runtime.wires.net import Net
from runtime.wires.transport import Transport
from runtime.wires.zmq_transport import ZmqTransport

NETWORK = "runtime.wires.network_wiring"


class Wiring(Protocol):
    """The wire of one system, as its controller has it."""

    modules: Sequence[str]
    """What its nodes need to have loaded."""
    tos: int
    """The type of service of what its processes send."""

    def open(self, nursery: trio.Nursery) -> Transport:
        """The controller's own transport. `OSError`: it cannot listen."""

    def endpoint(self, incarnation: int) -> str:
        """Where a node that is about to be born will listen."""

    def keys(self, incarnation: int) -> Keys | None:
        """What that node needs besides. `SpawnError`: there is nowhere for it to listen."""

    def forget(self, incarnation: int) -> None:
        """It is gone. Idempotent."""

    def close(self) -> None:
        """All of them are."""


def open_transport(
    endpoint: str,
    incarnation: int,
    nursery: trio.Nursery,
    max_sockets: int | None = None,
    keys: Keys | None = None,
    tos: int = 0,
) -> Transport:
    """A process listens where it was told to. What a network loses goes again."""
    if endpoint.startswith("ipc:"):
        return ZmqTransport(endpoint, incarnation, nursery, max_sockets)
    from runtime.wires import network_wiring

    return network_wiring.open_transport(endpoint, incarnation, nursery, max_sockets, keys, tos)


def wiring(net: Net, folder: str) -> Wiring:
    """The wire for what a user asked for.

    Raises:
        OSError: the file of keys cannot be used, see `keep_keys`; or that of joiners, see
            `write_pass`.
    """
    if net.kind == "ipc":
        return IpcWiring(folder)
    from runtime.wires import network_wiring

    return network_wiring.wiring(net, folder)


class IpcWiring:
    """Sockets in the run folder, which is ours alone: no keys."""

    modules: Sequence[str] = ()
    tos = 0
    scheme = "ipc://"

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def open(self, nursery: trio.Nursery) -> Transport:
        return ZmqTransport(self.endpoint(CONTROLLER_INCARNATION), CONTROLLER_INCARNATION, nursery)

    def endpoint(self, incarnation: int) -> str:
        return f"{self.scheme}{socket_path(self._folder, incarnation)}"

    def keys(self, incarnation: int) -> Keys | None:
        return None

    def forget(self, incarnation: int) -> None:
        """Its files are the host's affair."""

    def close(self) -> None:
        """There is nothing."""
