"""The actors of the benchmark: one answers, the other measures from inside its own node.

A figure that a node measures itself holds what its own handlers see, and not the way to the
benchmark's process. Asks and tells are made as any program makes them, without deadlines.
"""

from __future__ import annotations

import time

import trio

from actors.actor import Actor
from actors.ref import ActorRef
from tests.bench_row import TEXT

WARM_S = 0.05


class Echo(Actor):
    """Answers, and counts what it is told."""

    def __init__(self) -> None:
        self._noted = 0

    async def echo(self, text: str) -> str:
        return text

    async def view(self, data: memoryview) -> memoryview:
        return data

    async def copy(self, data: bytes) -> bytes:
        return data

    async def note(self, number: int, text: str) -> None:
        self._noted += 1

    async def noted(self) -> int:
        """How many notes came since this was last asked."""
        noted, self._noted = self._noted, 0
        return noted


class Caller(Actor):
    """Asks and tells an `Echo`."""

    async def round_trip_us(self, peer: ActorRef[Echo], seconds: float) -> float:
        """One ask after the other; the median round trip."""
        return (await self.round_trips_us(peer, seconds))[0]

    async def round_trips_us(self, peer: ActorRef[Echo], seconds: float) -> tuple[float, float]:
        """One ask after the other; the median round trip, and what 99 of 100 keep below."""
        trips: list[float] = []
        for duration in (WARM_S, seconds):
            trips.clear()
            until = time.perf_counter() + duration
            while (began := time.perf_counter()) < until:
                await peer.ask(Echo.echo, TEXT)
                trips.append(time.perf_counter() - began)
        trips.sort()
        return trips[len(trips) // 2] * 1e6, trips[len(trips) * 99 // 100] * 1e6

    async def asks_per_s(self, peer: ActorRef[Echo], tasks: int, seconds: float) -> float:
        """So many tasks, each of which asks again and again."""
        count, until = 0, 0.0

        async def ask() -> None:
            nonlocal count
            while time.perf_counter() < until:
                await peer.ask(Echo.echo, TEXT)
                count += 1

        for duration in (WARM_S, seconds):
            count = 0
            began = time.perf_counter()
            until = began + duration
            async with trio.open_nursery() as nursery:
                for _ in range(tasks):
                    nursery.start_soon(ask)
        return count / (time.perf_counter() - began)

    async def tells_per_s(self, peer: ActorRef[Echo], count: int) -> float:
        """From the first tell until the last one was handled."""
        began = time.perf_counter()
        for number in range(count):
            await peer.tell(Echo.note, number, TEXT)
        noted = await peer.ask(Echo.noted)
        if noted != count:
            raise RuntimeError(f"{noted} of {count} tells were handled")
        return count / (time.perf_counter() - began)

    async def payloads_per_s(
        self, peer: ActorRef[Echo], size: int, seconds: float, copied: bool
    ) -> float:
        """Echoes of so many bytes, one after the other, from the median."""
        data = b"x" * size
        view = memoryview(data)
        trips: list[float] = []
        until = time.perf_counter() + seconds
        while (began := time.perf_counter()) < until:
            answer = await peer.ask(Echo.copy, data) if copied else await peer.ask(Echo.view, view)
            if len(answer) != size:
                raise RuntimeError("that is no echo")
            trips.append(time.perf_counter() - began)
        return 1 / sorted(trips)[len(trips) // 2]
