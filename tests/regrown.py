"""Actors that die on request, for tests of supervision over real processes."""

from __future__ import annotations

import os
from typing import Any

from actors import Actor, ActorRef, ChildSpec, Supervisor, child


class Mortal(Actor):
    """Counts, and ends in every way that there is."""

    def __init__(self, start: int = 0) -> None:
        self.value = start

    def snapshot(self) -> int:
        return self.value

    def restore(self, state: int, age_s: float) -> None:
        self.value = state

    async def add(self, amount: int) -> int:
        self.value += amount
        return self.value

    async def pid(self) -> int:
        return os.getpid()

    async def crash(self) -> None:
        raise ValueError("as told")

    async def leave(self) -> None:
        self.finish()

    async def exit(self, code: int) -> None:
        os._exit(code)

    async def bear(self, name: str) -> ActorRef[Mortal]:
        return await self.spawn(Mortal, name=name)

    async def bear_here(self, name: str) -> ActorRef[Mortal]:
        return await self.spawn(Mortal, name=name, local=True, restart="permanent")


class Trio(Supervisor):
    """Three permanent children."""

    strategy = "rest_for_one"

    def children(self) -> list[ChildSpec[Any]]:
        return [child(Mortal, number, name=name) for number, name in enumerate("abc")]

    async def ping(self) -> str:
        return "here"
