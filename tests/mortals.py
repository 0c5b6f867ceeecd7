"""Actors that end in every way that there is, for the tests of certificates."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time

import trio

from actors import Actor, ActorRef, Down, Recovered, Suspected, reentrant
from runtime.exits import ExitReason


class Mortal(Actor):
    """Ends as it is told to."""

    def __init__(self, start: str = "") -> None:
        self.start = start

    async def on_start(self) -> None:
        if self.start:
            raise ValueError(self.start)

    async def ping(self) -> int:
        return os.getpid()

    async def me(self) -> ActorRef[Mortal]:
        return self.ref

    async def print(self, text: str) -> None:
        print(text, flush=True)

    async def leave(self) -> None:
        self.finish()

    async def crash(self) -> None:
        raise LookupError("as told")

    @reentrant
    async def crash_apart(self) -> None:
        await trio.sleep(0.01)
        raise LookupError("apart")

    async def crash_in_a_task(self) -> None:
        async def work() -> None:
            await trio.sleep(0.01)
            raise ArithmeticError("in a task")

        self.nursery.start_soon(work)

    async def leave_by(self, code: int) -> None:
        raise SystemExit(code)

    async def vanish(self, code: int) -> None:
        os._exit(code)

    async def kill_itself(self, number: int) -> None:
        os.kill(os.getpid(), number)

    async def read_nothing(self) -> None:
        ctypes.string_at(0)

    async def recurse(self, depth: int) -> int:
        return await self.recurse(depth + 1)

    async def grow(self, mib: int) -> int:
        """Touch so much memory."""
        self.held = bytearray(mib * 1024 * 1024)
        return len(self.held)

    async def limit(self, mib: int) -> None:
        """May have so much more address space than it has now."""
        with open("/proc/self/statm") as file:  # noqa: ASYNC230
            has_bytes = int(file.read().split()[0]) * resource.getpagesize()
        most = has_bytes + mib * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    async def spin(self, seconds: float) -> None:
        """Does not yield meanwhile."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pass

    async def wait(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def ignore_sigterm(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    async def tie(self, other: ActorRef[Mortal]) -> None:
        self.link(other)

    async def bear(self, name: str) -> ActorRef[Mortal]:
        return await self.spawn(Mortal, name=name, restart="permanent")

    async def bear_plainly(self, name: str) -> ActorRef[Mortal]:
        return await self.spawn(Mortal, name=name)

    async def bear_here(self, name: str) -> ActorRef[Mortal]:
        return await self.spawn(Mortal, name=name, local=True)


class Mourner(Actor):
    """Keeps the certificates of those it watches."""

    def __init__(self) -> None:
        self.heard: list[ExitReason] = []
        self.bell = trio.Event()

    async def watch(self, ref: ActorRef[Mortal]) -> None:
        self.monitor(ref)

    async def on_down(self, down: Down | Suspected | Recovered) -> None:
        assert isinstance(down, Down)
        self.heard.append(down.reason)
        self.bell.set()

    @reentrant
    async def hears(self) -> ExitReason:
        await self.bell.wait()
        return self.heard[0]
