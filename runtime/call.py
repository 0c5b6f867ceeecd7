"""A call: one message that is being handled, and who speaks while it is.

Invariants
----------
* `current` holds the call in whose handler, or in whose tasks, the present code runs.
* A call that is done lends its chain to nobody: a task that outlives its handler asks on its
  cell's behalf, but nobody waits for it.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from runtime import envelope as wire

if TYPE_CHECKING:
    pass


class Call(msgspec.Struct, eq=False):
    """``message`` is None while the cell runs a hook."""

    cell: Any  # the Service
    inbound: Any  # the Inbound
    message: Any
    scope: trio.CancelScope | None = None
    done: bool = False

    @property
    def id(self) -> int:
        """The ask's number; 0 for a tell."""
        return getattr(self.message, "id", 0)

    @property
    def chain(self) -> tuple[str, ...]:
        """The cells that wait while this call runs, the first asker first."""
        if self.done or self.message is None:
            return ()
        if type(self.message) is wire.Ask:
            return (*self.message.chain, self.cell.address.name)
        return (self.cell.address.name,)

    @property
    def inside(self) -> bool:
        """Whether a handler is waiting here."""
        return not self.done and self.message is not None

    def suspended(self) -> None:
        """Give a handler that has suspended its deadline, and make it cancellable."""
        cell = self.cell
        self.scope = cell.scope
        cell.in_flight = self
        if type(self.message) is wire.Ask and self.message.deadline:
            assert cell.scope is not None
            cell.scope.deadline = cell.trio_deadline(self.message.deadline)


current: ContextVar[Call | None] = ContextVar("current", default=None)
