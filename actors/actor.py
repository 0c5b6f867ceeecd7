"""The actor: a class whose public ``async def`` methods are called from anywhere.

    class Counter(Actor):
        def __init__(self, start: int = 0) -> None:
            self.value = start

        async def add(self, amount: int) -> int:
            self.value += amount
            return self.value

One message at a time runs against the state; that is all the locking there is. No
``super().__init__()`` is needed.

Hooks: ``on_start`` before the first message, ``on_stop(reason)`` after the last. The names
below that an actor uses itself (`Actor.spawn`, `Actor.finish`, ...) are no handlers, and a
subclass that redefines one is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, TypeVar, TypeVarTuple

import trio

from actors import requests
from actors.ref import ActorRef, ref_to
from runtime.behaviour import Behaviour
from runtime.exits import ExitReason
from runtime.registrar import Restart

Ts = TypeVarTuple("Ts")
A = TypeVar("A", bound="Actor")
H = TypeVar("H", bound=Callable[..., Any])

VERBS = frozenset(
    {
        "spawn", "finish", "ref", "parent", "system", "nursery", "monitor", "demonitor", "link",
    }
)  # fmt: skip


class Actor(Behaviour, verbs=VERBS):
    """The base of every actor."""

    async def spawn(
        self,
        actor: Callable[[*Ts], A],
        /,
        *args: *Ts,
        name: str | None = None,
        restart: Restart = "temporary",
        local: bool = False,
        start_s: float = 30.0,
    ) -> ActorRef[A]:
        """A child of this actor runs, in a process of its own; see `System.spawn`."""
        address = await requests.spawn(
            self._cell,
            actor,
            args,
            parent=self._cell.address.name,
            name=name,
            restart=restart,
            local=local,
            start_s=start_s,
        )
        return ref_to(address)

    def finish(self) -> None:
        """End after the current handler, with the exit reason ``normal``."""
        self._cell.end(ExitReason(kind="normal"))

    @property
    def ref(self) -> ActorRef[Self]:
        """This incarnation's own ref."""
        return ref_to(self._cell.address)

    @property
    def nursery(self) -> trio.Nursery:
        """For tasks that end with this incarnation; their exceptions crash it."""
        nursery: trio.Nursery | None = self._cell.nursery
        if nursery is None:
            raise RuntimeError(f"{self._cell.address.name} is not running")
        return nursery


def reentrant(handler: H) -> H:
    """Mark a handler that may start while others are suspended."""
    handler.__reentrant__ = True  # type: ignore[attr-defined]
    return handler
