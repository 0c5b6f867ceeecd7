"""What befalls nodes in tests, by their refs: the same verbs on virtual and on real systems.

    chaos = Chaos(system)
    await chaos.freeze(counter)

A verb returns when it has come true: the node is dead, stopped, or goes on.

Invariants
----------
* A real node gets its signal by the pidfd in the controller's records: never another process.
* What no signal can do to a process (hang it, have it exit with a code) is a RuntimeError there.
"""

from __future__ import annotations

from collections.abc import Callable
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import Final

import trio

from actors.supervision.record import Record
from actors.system import System
from actors.testing.virtual import VirtualSystem
from runtime.address import Address
from runtime.hosts.host import Body

OBEYS_S: Final = 10.0
"""A process that gets a signal has obeyed by then."""
LOOK_S: Final = 0.002


class Chaos:
    """Of one system. Refs may be following ones: then it is whoever holds the name.

    What befalls a local cell befalls the process that it lives in.
    """

    def __init__(self, system: System) -> None:
        self._system = system

    async def kill(self, who: Address) -> None:
        """It is dead, as by ``kill -9``; whoever is permanent lives again."""
        record, body = self._find(who)
        body.signal(SIGKILL)
        await record.gone.wait()

    async def signal(self, who: Address, number: int) -> None:
        """Its node has been sent this signal."""
        self._find(who)[1].signal(number)
        await trio.lowlevel.checkpoint()

    async def freeze(self, who: Address) -> None:
        """It is stopped: it neither hears nor is heard."""
        body = self._find(who)[1]
        body.signal(SIGSTOP)
        await _until(lambda: body.frozen)

    async def thaw(self, who: Address) -> None:
        """It goes on where it was."""
        body = self._find(who)[1]
        body.signal(SIGCONT)
        await _until(lambda: not body.frozen)

    async def exit(self, who: Address, code: int) -> None:
        """It is gone, as by ``os._exit(code)``. Virtual systems only."""
        record, _ = self._find(who)
        self._virtual("exit with a code").exit(who, code)
        await record.gone.wait()

    async def hang(self, who: Address) -> None:
        """Its loop stands still, as by a handler that does not yield. Virtual systems only."""
        self._virtual("hang").hang(who)
        await trio.lowlevel.checkpoint()

    async def yield_again(self, who: Address) -> None:
        """Its loop turns again. Virtual systems only."""
        self._virtual("yield").yield_again(who)
        await trio.lowlevel.checkpoint()

    def _find(self, who: Address) -> tuple[Record, Body]:
        roll = self._system.nodes.roll
        record = roll.known(who)
        if record is not None and record.body is None and not record.gone.is_set():
            record = roll.at(record.address.endpoint)
        if record is None or record.body is None or record.gone.is_set():
            raise LookupError(f"{who} is no living node of this system")
        return record, record.body

    def _virtual(self, what: str) -> VirtualSystem:
        if not isinstance(self._system, VirtualSystem):
            raise RuntimeError(
                f"a process cannot be made to {what} from outside: write a handler that does it"
            )
        return self._system


async def _until(holds: Callable[[], bool]) -> None:
    await trio.lowlevel.checkpoint()
    with trio.fail_after(OBEYS_S):
        while not holds():  # noqa: ASYNC110
            await trio.sleep(LOOK_S)  # /proc has no events
