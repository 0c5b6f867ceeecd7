"""The actor: a class whose public ``async def`` methods are called from anywhere.

    class Counter(Actor):
        def __init__(self, start: int = 0) -> None:
            self.value = start

        async def add(self, amount: int) -> int:
            self.value += amount
            return self.value

One message at a time runs against the state; that is all the locking there is. No
``super().__init__()`` is needed.

Hooks: ``on_start`` before the first message, ``on_stop(reason)`` after the last,
``on_down(down)`` when one that it monitors has ended, ``snapshot`` and ``restore`` to hand the
state to the next incarnation. The names below that an actor uses itself (`Actor.spawn`,
`Actor.finish`, ...) are no handlers, and a
subclass that redefines one is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, TypeVar, TypeVarTuple, Unpack

import trio

from actors import requests
from actors.child_spec import ChildOptions
from actors.down import Down, Monitor, read
from actors.facade import Facade
from actors.ref import ActorRef, ref_to
from runtime.address import CONTROLLER, Address
from runtime.cells.hooks import Hook, push, take_back
from runtime.exits import ExitReason
from runtime.messages import envelope as wire
from runtime.messages.behaviour import Behaviour

Ts = TypeVarTuple("Ts")
A = TypeVar("A", bound="Actor")
H = TypeVar("H", bound=Callable[..., Any])

VERBS = frozenset(
    {
        "spawn", "finish", "ref", "parent", "system", "nursery", "monitor", "demonitor", "link",
    }
)  # fmt: skip


class Actor(Behaviour, verbs=VERBS):
    """The base of every actor: public ``async def`` methods are its handlers.

    One that yields is a stream. They run one message at a time, but for those marked `reentrant`.
    What an asked handler raises goes to the asker, and the actor goes on; what a told one or a task
    of its nursery raises ends it, as ``crashed``. For its state to live on, write ``snapshot`` and
    ``restore``.
    """

    async def spawn(
        self, actor: Callable[[*Ts], A], /, *args: *Ts, **options: Unpack[ChildOptions]
    ) -> ActorRef[A]:
        """A child of this actor runs, in a process of its own; see `System.spawn`.

        A name that a child of this actor holds: if that lives, with the same class and arguments,
        this is its ref; else it is stopped, and this one takes its place.
        """
        parent = self._cell.address.name
        return ref_to(await requests.spawn(self._cell, actor, args, parent=parent, options=options))

    def finish(self) -> None:
        """End after the current handler, with the exit reason ``normal``."""
        self._cell.end(ExitReason(kind="normal"))

    def monitor(self, ref: ActorRef[Any], *, suspicions: bool = False) -> Monitor:
        """One `Down` will come to ``on_down`` when ``ref`` has ended; at once if it has.

        ``suspicions``: `Suspected` and `Recovered` come there too. Of a following ref it watches
        who holds the name now. Each call is a monitor of its own.
        """
        cell = self._cell
        who = _address(ref)

        def hear(news: wire.Fallen | wire.Suspicion) -> None:
            push(cell, Hook("on_down", (read(news),), news.number))

        number = cell.exchange.vigil.watch(who, hear, cell=cell, suspicions=suspicions)
        return Monitor(number, ref)

    def demonitor(self, monitor: Monitor) -> None:
        """Nothing more of this monitor comes to ``on_down``."""
        cell = self._cell
        cell.exchange.vigil.give_up(monitor.number, cell)
        take_back(cell, "on_down", monitor.number)

    def link(self, ref: ActorRef[Any]) -> None:
        """This actor and ``ref`` share their fate from now on.

        When one ends as ``normal``, the other goes on; as ``shutdown``, the other ends as
        ``shutdown``; in any other way, the other ends as ``crashed`` with the error
        ``LinkedExit``. At once if ``ref`` has ended. The controller shares nobody's fate.
        """
        exchange = self._cell.exchange
        link = wire.Link(self._cell.address.incarnation, _address(ref))
        exchange.say(exchange.controller, link)

    async def on_down(self, down: Down) -> None:
        """One that it monitors has ended; `Suspected` and `Recovered` come here as well."""

    @property
    def ref(self) -> ActorRef[Self]:
        """This incarnation's own ref."""
        return ref_to(self._cell.address)

    @property
    def parent(self) -> ActorRef[Any]:
        """The actor under which this one was spawned: a following ref, for it may be restarted."""
        parent: Address | None = self._cell.parent
        if parent is None:
            raise RuntimeError(f"{self._cell.address.name} has no parent")
        ref = ref_to(parent)
        return ref if ref.name == CONTROLLER else ref.following()

    @property
    def system(self) -> Facade:
        """The system that it is part of: to look up, to spawn a child of the controller."""
        return Facade(self._cell)

    @property
    def nursery(self) -> trio.Nursery:
        """For tasks that end with this incarnation; their exceptions crash it."""
        nursery: trio.Nursery | None = self._cell.nursery
        if nursery is None:
            raise RuntimeError(f"{self._cell.address.name} is not running")
        return nursery


def _address(ref: ActorRef[Any]) -> Address:
    if not isinstance(ref, Address):
        raise TypeError(f"give a ref, not {ref!r}")
    return Address(ref.system, ref.name, ref.incarnation, ref.endpoint)


def reentrant(handler: H) -> H:
    """Mark a handler that may start while others are suspended; those need no mark."""
    handler.__reentrant__ = True  # type: ignore[attr-defined]
    return handler
