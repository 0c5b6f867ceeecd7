"""What a type checker must refuse: every statement in a function below is an error.

Read by mypy and pyright, and never run; see ``test_typing.py``, which compares the lines. So each
statement takes one line, and this file is no part of mypy's ordinary run.
"""

# ruff: noqa: B018, F841

from functools import partial

from actors import Actor, ActorRef, Supervisor, child
from tests.typing_accepts import Asks, Counter, Named, Special


class Stranger(Actor):
    async def greet(self, word: str) -> str:
        return word

    def plain(self, word: str) -> str:
        return word

    async def _hidden(self) -> None: ...


async def ask(at: Asks) -> None:
    await at.counter.ask(Counter.add)
    await at.counter.ask(Counter.add, "1")
    await at.counter.ask(Counter.add, 1, 2)
    await at.counter.ask(Counter.add, amount=1)
    await at.counter.ask(Counter.scale, 1.0, 2)
    await at.counter.ask(Counter.scale, 1.0, time=2)
    await at.counter.ask(Counter.reset, 1)
    await at.counter.ask(Counter.large, b"")
    await at.counter.ask(Special.extra, "a")
    await at.counter.ask(Stranger.greet, "a")
    await at.counter.ask(Counter.peer, ActorRef[Stranger]("s", "n", 1, "e"))
    await at.counter.ask(Counter.count, 3)
    await at.counter.ask("add", 1)
    await at.counter.ask(Counter.none, 1)
    await at.counter.ask()
    (await at.counter.ask(Counter.add, 1)).upper()
    await ActorRef[Stranger]("s", "n", 1, "e").ask(Stranger.plain, "a")


async def tell(at: Asks) -> None:
    await at.counter.tell(Counter.add)
    await at.counter.tell(Counter.add, "1")
    await at.counter.tell(Counter.add, 1, times=2)
    await at.counter.tell(Special.extra, "a")
    await at.counter.tell(Counter.count, 3)
    at.counter.tell_nowait(Counter.add)
    at.counter.tell_nowait(Counter.add, "1")
    at.counter.tell_nowait(Stranger.greet, "a")
    at.counter.tell_nowait(Stranger.plain, "a")


async def stream(at: Asks) -> None:
    at.counter.stream(Counter.count)
    at.counter.stream(Counter.count, "3")
    at.counter.stream(Counter.add, 1)
    at.counter.stream(Counter.reset)


async def spawn(at: Asks) -> None:
    await at.system.spawn(Counter, "3")
    await at.system.spawn(Counter, 3, 4)
    await at.system.spawn(Counter, start=3)
    await at.system.spawn(Counter, restart="always")
    await at.system.spawn(Counter, nice=3)
    await at.system.spawn(Counter, strategy="one_for_two")
    await at.system.spawn(Counter, snapshot_every_s="never")
    await at.system.spawn(Named)
    await at.system.spawn(Named, "a")
    await at.system.spawn(Named, "a", ["b"])
    await at.system.spawn(int)
    await at.system.spawn("Counter")
    await at.system.spawn(partial(Counter, steps=2))
    await at.system.spawn()


async def look_up(at: Asks) -> None:
    await at.system.lookup()
    await at.system.lookup(5)
    await at.system.lookup("a", int)
    await (await at.system.lookup("a", Counter)).ask(Special.extra, "a")


async def use_a_ref(at: Asks) -> None:
    at.counter.name = "b"
    at.counter.value
    await at.counter.stop(1)
    await at.counter.following().ask(Special.extra, "a")
    special: ActorRef[Special] = at.counter


def list_children() -> None:
    child(Counter, "3")
    child(Named)
    child(int)
    child(Counter, restart="always")
    child(Counter, nice=3)


async def inside(self: Counter, at: Asks) -> None:
    await self.spawn(Counter, "3")
    await self.spawn(Named)
    await self.spawn(Counter, restart="always")
    self.finish(0)
    self.ref.ask(Special.extra, "a")
    self.monitor("counter")
    self.demonitor(at.counter)
    self.link()
    await self.system.lookup(5)


class Wrong(Supervisor):
    strategy = "one_for_two"
    intensity = "often"
