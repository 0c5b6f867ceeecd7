"""Cancels an operation at every point of its course, one after the other.

A point is the end of any task's step: the operation's own, those of whoever works for it, those of
the runtime. So each of its awaits is cancelled while it waits, and in each of the moments in which
what it waits for is under way, has come, or has just been taken.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio


class Axe(trio.abc.Instrument):
    """Cancels a scope after so many steps of all tasks together."""

    def __init__(self, scope: trio.CancelScope, steps: int) -> None:
        self._scope = scope
        self.steps = steps

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps -= 1
        if self.steps == 0:
            self._scope.cancel()


async def cut(operation: Callable[[], Awaitable[object]], step: int) -> bool:
    """Run it, and cancel it after ``step`` steps; whether it was over before."""
    scope = trio.CancelScope()
    axe = Axe(scope, step)
    trio.lowlevel.add_instrument(axe)
    try:
        with scope:
            await operation()
    finally:
        trio.lowlevel.remove_instrument(axe)
    return axe.steps > 0
