"""A call: one message that is being handled, and who speaks while it is.

Invariants
----------
* `current` holds the call in whose handler, or in whose tasks, the present code runs.
* A call lends its chain to its handler and to the tasks that the handler waits for. A task of
  the cell's own nursery asks on its cell's behalf, but nobody waits for it.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from runtime.messages import envelope as wire

if TYPE_CHECKING:
    pass


class Call(msgspec.Struct, eq=False):
    """``message`` is None while the cell runs a hook."""

    cell: Any  # the Service
    inbound: Any  # the Inbound
    message: Any
    task: Any = None  # the one that runs the handler
    scope: trio.CancelScope | None = None
    done: bool = False
    left: bool = False  # it is a stream, and its consumer has left
    lent: tuple[str, ...] | None = None  # the chain, once it was asked for
    within: trio.Nursery | None = None  # the last whose tasks were found to be inside

    @property
    def id(self) -> int:
        """The ask's number; 0 for a tell."""
        return getattr(self.message, "id", 0)

    @property
    def chain(self) -> tuple[str, ...]:
        """The cells that wait while this call runs, the first asker first; see `wire.Ask`."""
        if not self.inside:
            return ()
        lent = self.lent
        if lent is None:
            before = self.message.chain if type(self.message) is wire.Ask else ()
            lent = self.lent = (*before, self.cell.key)
        return lent

    @property
    def inside(self) -> bool:
        """Whether the present task is the handler's own, or one that the handler waits for."""
        if self.done or self.message is None:
            return False
        task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        first = None if task is self.task or task is None else task.parent_nursery
        if first is not None and first is self.within:
            return True
        while task is not None and task is not self.task:
            nursery = task.parent_nursery
            if nursery is None or nursery is self.cell.nursery:
                return False
            task = nursery.parent_task
        self.within = first
        return task is not None

    def suspended(self) -> None:
        """Make a handler that has suspended cancellable."""
        cell = self.cell
        self.scope = cell.scope
        cell.suspended(self)


current: ContextVar[Call | None] = ContextVar("current", default=None)
