"""What a type checker must accept, and see: every statement below is an ``assert_type``.

Read by mypy and pyright, and never run; see ``test_typing.py``. To add to it: a line here for what
is right, and one in ``typing_refuses.py`` for what is wrong.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Protocol, Self, assert_type

import numpy
import trio
from numpy.typing import NDArray

from actors import (
    Actor,
    ActorRef,
    ChildSpec,
    Down,
    ExitReason,
    Recovered,
    Supervisor,
    Suspected,
    System,
    child,
    reentrant,
)
from actors.down import Monitor

Floats = NDArray[numpy.float64]


class Counter(Actor):
    def __init__(self, start: int = 0, *, step: int = 1) -> None: ...
    async def add(self, amount: int, /) -> int:
        return amount

    async def scale(self, by: float, *, times: int = 1) -> float:
        return by

    async def reset(self) -> None: ...
    async def peer(self, other: "ActorRef[Counter]") -> "ActorRef[Counter]":
        return other

    async def sums(self, data: Floats) -> Floats:
        return data

    async def large(self, data: memoryview) -> bytes:
        return bytes(data)

    @reentrant
    async def peek(self, key: str | None = None) -> dict[str, int]:
        return {}

    async def count(self, to: int) -> AsyncIterator[int]:
        yield to

    async def me(self) -> Self:
        return self


class Special(Counter):
    async def extra(self, word: str) -> list[str]:
        return [word]


class Named(Actor):
    def __init__(self, name: str, sizes: Sequence[int]) -> None: ...


class Web(Supervisor):
    strategy = "rest_for_one"
    intensity = (3, 60.0)

    def children(self) -> list[ChildSpec[Any]]:
        return [child(Counter, 1, name="counter"), child(Named, "a", [1])]


class Asks(Protocol):
    """What a program has at hand."""

    system: System
    counter: ActorRef[Counter]
    special: ActorRef[Special]
    anybody: ActorRef[Any]
    floats: Floats


async def ask(at: Asks) -> None:
    assert_type(await at.counter.ask(Counter.add, 1), int)
    assert_type(await at.counter.ask(Counter.scale, 1.5), float)
    assert_type(await at.counter.ask(Counter.scale, 1, times=2), float)
    assert_type(await at.counter.ask(Counter.scale, by=1.5), float)
    assert_type(await at.counter.ask(Counter.reset), None)
    assert_type(await at.counter.ask(Counter.peek), dict[str, int])
    assert_type(await at.counter.ask(Counter.peek, None), dict[str, int])
    assert_type(await at.counter.ask(Counter.peer, at.counter), ActorRef[Counter])
    assert_type(await at.counter.ask(Counter.peer, at.special), ActorRef[Counter])
    assert_type(await at.counter.ask(Counter.sums, at.floats), Floats)
    assert_type(await at.counter.ask(Counter.large, memoryview(b"")), bytes)
    assert_type(await at.special.ask(Special.extra, "a"), list[str])
    assert_type(await at.special.ask(Counter.add, 1), int)
    assert_type(await at.special.ask(Special.add, 1), int)
    assert_type(await at.anybody.ask(Counter.add, 1), int)


async def tell(at: Asks) -> None:
    assert_type(await at.counter.tell(Counter.add, 1), None)
    assert_type(await at.counter.tell(Counter.scale, 1.5, times=2), None)
    assert_type(await at.special.tell(Counter.reset), None)
    assert_type(at.counter.tell_nowait(Counter.add, 1), None)
    assert_type(at.counter.tell_nowait(Counter.peek, key="a"), None)


async def stream(at: Asks) -> None:
    assert_type(
        at.counter.stream(Counter.count, 3), AbstractAsyncContextManager[AsyncIterator[int]]
    )
    assert_type(
        at.special.stream(Counter.count, to=3), AbstractAsyncContextManager[AsyncIterator[int]]
    )


async def spawn(at: Asks) -> None:
    assert_type(await at.system.spawn(Counter), ActorRef[Counter])
    assert_type(await at.system.spawn(Counter, 3), ActorRef[Counter])
    assert_type(await at.system.spawn(Counter, 3, name="a"), ActorRef[Counter])
    assert_type(await at.system.spawn(Counter, restart="transient"), ActorRef[Counter])
    assert_type(await at.system.spawn(Counter, local=True), ActorRef[Counter])
    assert_type(await at.system.spawn(Counter, snapshot_every_s="message"), ActorRef[Counter])
    assert_type(await at.system.spawn(Named, "a", [1, 2]), ActorRef[Named])
    assert_type(await at.system.spawn(partial(Counter, step=2), 3), ActorRef[Counter])
    assert_type(await at.system.spawn(Web, strategy="one_for_all"), ActorRef[Web])


async def look_up(at: Asks) -> None:
    assert_type(await at.system.lookup("a"), ActorRef[Any])
    assert_type(await at.system.lookup("a", Counter), ActorRef[Counter])


async def use_a_ref(at: Asks) -> None:
    assert_type(at.counter.following(), ActorRef[Counter])
    assert_type(at.counter.name, str)
    assert_type(at.counter.incarnation, int)
    assert_type(at.counter == at.special, bool)
    assert_type({at.counter: 1}, dict[ActorRef[Counter], int])
    assert_type(await at.counter.stop(), ExitReason)
    assert_type(await at.counter.kill(), ExitReason)
    assert_type(await at.counter.wait(), ExitReason)


def list_children() -> None:
    assert_type(child(Counter), ChildSpec[Counter])
    assert_type(child(Counter, 3, name="a", restart="permanent"), ChildSpec[Counter])
    assert_type(child(Named, "a", [1]), ChildSpec[Named])
    assert_type(child(partial(Counter, step=2)), ChildSpec[Counter])


async def inside(self: Counter, at: Asks) -> None:
    assert_type(await self.spawn(Counter, 3), ActorRef[Counter])
    assert_type(await self.spawn(Named, "a", [1], name="b", local=True), ActorRef[Named])
    assert_type(self.finish(), None)
    assert_type(self.ref, ActorRef[Counter])
    assert_type(self.parent, ActorRef[Any])
    assert_type(self.nursery, trio.Nursery)
    assert_type(self.monitor(at.special), Monitor)
    assert_type(self.monitor(at.counter, suspicions=True), Monitor)
    assert_type(self.demonitor(self.monitor(at.counter)), None)
    assert_type(self.link(at.special), None)
    assert_type(await self.system.spawn(Counter, 3), ActorRef[Counter])
    assert_type(await self.system.lookup("a", Counter), ActorRef[Counter])


def hear(down: Down, suspected: Suspected, recovered: Recovered) -> None:
    assert_type(down.ref, ActorRef[Any])
    assert_type(down.reason, ExitReason)
    assert_type(suspected.evidence, str)
    assert_type(recovered.ref, ActorRef[Any])
