"""Actors that die on request, for tests of supervision over real processes.

``python -m tests.regrown`` is a program whose nodes die all the time.
"""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import trio

from actors import Actor, ActorRef, ChildSpec, Supervisor, child, open_system
from runtime.messages.behaviour import Restart


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

    async def crash_beside(self) -> None:
        self.nursery.start_soon(self.crash)

    async def hang(self) -> None:
        time.sleep(600)  # noqa: ASYNC251

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


class Group(Supervisor):
    """Three children; the second is as the test says."""

    def __init__(self, restart: Restart) -> None:
        self.restart: Restart = restart

    def children(self) -> list[ChildSpec[Any]]:
        return [
            child(Mortal, name="a"),
            child(Mortal, name="b", restart=self.restart),
            child(Mortal, name="c"),
        ]


class Home(Supervisor):
    """A process with a cell that returns with it."""

    def children(self) -> list[ChildSpec[Any]]:
        return [child(Mortal, name="cell", local=True, snapshot_every_s="message")]


async def main() -> None:
    """Kill one of five nodes every few milliseconds, for ever."""
    async with open_system(intensity=(1_000_000, 1.0)) as system:
        for name in "abcde":
            await system.spawn(Mortal, name=name, restart="permanent")
        print(json.dumps({"ready": True}), flush=True)
        while True:
            for row in await system.tree():
                if row.state == "ok" and row.pid:
                    os.kill(row.pid, signal.SIGKILL)
                    await trio.sleep(0.003)
            await trio.sleep(0.001)


if __name__ == "__main__":
    trio.run(main)
