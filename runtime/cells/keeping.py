"""The snapshots of one cell: taken between messages, kept by the controller.

Invariants
----------
* A snapshot is taken while no ordinary handler is in the middle of its work; reentrant ones
  are suspended, and have said that others may run then.
* With `every_s` 0 the reply to a message leaves after the controller has the state.
* What `snapshot` raises is a crash of the actor, like the exception of any hook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from runtime.cells import asks, snapshot
from runtime.messages import envelope as wire
from runtime.messages.signature import signature_of
from runtime.traffic.registrar import Registrar, registrar_of

if TYPE_CHECKING:
    from runtime.cells.service import Service

CONFIRM_S = 5.0


class Keeping:
    """Made for a cell whose actor has a snapshot, and may live again."""

    def __init__(self, cell: Service, every_s: float) -> None:
        self._cell = cell
        self.every_s = every_s
        self.due = False  # since a handler is at work

    async def run(self) -> None:
        """Take one every ``every_s`` seconds."""
        while True:
            await trio.sleep(self.every_s)
            if self._cell.busy:
                self.due = True
            else:
                self.take()

    def take(self) -> None:
        """Send the state to the controller as it is now."""
        self.due = False
        cell = self._cell
        raw = self._state()
        cell.exchange.say(
            cell.exchange.controller, wire.Snapshot(cell.address.incarnation, len(raw)), raw
        )

    def take_now(self) -> None:
        """The same, for the service task: what goes wrong ends the cell."""
        try:
            self.take()
        except Exception as failure:
            self._cell.crashed(failure)

    async def confirm(self) -> None:
        """The controller has the state as it is now.

        Cancellation: it is finished all the same, for the message was handled.

        Raises:
            RuntimeError: it did not say so within 5 s.
        """
        cell = self._cell
        raw = self._state()
        keep = signature_of(Registrar.keep)
        with trio.move_on_after(CONFIRM_S, shield=True):
            await asks.ask(cell, registrar_of(cell.exchange), keep, (cell.address, raw))
            return
        raise RuntimeError(f"the snapshot of {cell.address.name} was not kept in {CONFIRM_S:g} s")

    def _state(self) -> bytes:
        cell = self._cell
        assert cell.actor is not None
        return snapshot.take(cell.actor, cell.exchange.monotonic, cell.exchange.boot_id)
