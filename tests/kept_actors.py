"""Actors that are kept in a state file, at the module's level, where a resumption finds them."""

from __future__ import annotations

from typing import Any

import trio

from actors import Actor, ActorRef, ChildSpec, ExitReason, Supervisor, child, reentrant


class Tally(Actor):
    """Counts, and keeps the count."""

    def __init__(self, start: int = 0) -> None:
        self.value = start
        self.age_s = -1.0

    def snapshot(self) -> int:
        return self.value

    def restore(self, state: int, age_s: float) -> None:
        self.value = state
        self.age_s = age_s

    async def add(self, amount: int) -> int:
        self.value += amount
        return self.value

    async def age(self) -> float:
        """That of the state with which it began; -1.0: it began without."""
        return self.age_s

    async def leave(self) -> None:
        self.finish()

    @reentrant
    async def bear(self, name: str, restart: Any = "permanent") -> ActorRef[Tally]:
        return await self.spawn(Tally, name=name, restart=restart)


class Family(Supervisor):
    """Two counts that are listed, and whatever is spawned under it."""

    def children(self) -> list[ChildSpec[Any]]:
        return [child(Tally, 1, name="one"), child(Tally, 2, name="two")]

    @reentrant
    async def bear(self, name: str, restart: Any = "permanent") -> ActorRef[Tally]:
        return await self.spawn(Tally, name=name, restart=restart)


class Reader(Actor):
    """Has refs to another one among its arguments and in its state."""

    def __init__(self, given: ActorRef[Tally]) -> None:
        self.given = given
        self.seen = 0

    def snapshot(self) -> tuple[int, ActorRef[Tally]]:
        return self.seen, self.given

    def restore(self, state: tuple[int, ActorRef[Tally]], age_s: float) -> None:
        self.seen, _ = state

    async def read(self) -> int:
        self.seen = await self.given.ask(Tally.add, 0)
        return self.seen

    async def last(self) -> int:
        return self.seen


class Pair(Actor):
    """A count, and a reader of it, spawned at every start."""

    async def on_start(self) -> None:
        tally = await self.spawn(Tally, name="tally", restart="permanent")
        await self.spawn(Reader, tally, name="reader", restart="permanent")
        await self.spawn(Tally, name="cell", restart="permanent", local=True)


class Unfit(Tally):
    """Does not come up a second time."""

    fits = True

    async def on_start(self) -> None:
        await trio.lowlevel.checkpoint()
        if not type(self).fits:
            raise ValueError("not again")


class Lingering(Tally):
    """Takes its time to end."""

    async def on_stop(self, reason: ExitReason) -> None:
        await trio.sleep(0.9)
