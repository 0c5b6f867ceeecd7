"""Actors that stream between processes, for the tests with real ones."""

from __future__ import annotations

import os
import resource
from collections.abc import AsyncIterator

import trio

from actors.actor import Actor, reentrant
from actors.ref import ActorRef


class Source(Actor):
    """Yields, and knows which of its generators have not ended."""

    def __init__(self) -> None:
        self.running = 0
        self.yielded = 0

    async def numbers(self, count: int) -> AsyncIterator[int]:
        self.running += 1
        try:
            for number in range(count):
                self.yielded += 1
                yield number
        finally:
            self.running -= 1

    @reentrant
    async def slow(self, seconds: float) -> AsyncIterator[int]:
        self.running += 1
        try:
            for number in range(10**6):
                self.yielded += 1
                yield number
                await trio.sleep(seconds)
        finally:
            self.running -= 1

    async def blocks(self, count: int, size: int) -> AsyncIterator[bytes]:
        for number in range(count):
            self.yielded += 1
            yield bytes([number % 256]) * size

    @reentrant
    async def state(self) -> tuple[int, int, int]:
        """(generators that run, items yielded, peak memory in bytes)."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return self.running, self.yielded, peak

    async def pid(self) -> int:
        return os.getpid()

    async def strays(self) -> dict[str, int]:
        """What this process has received and could not use."""
        return dict(self._cell.exchange.strays)


class Consumer(Actor):
    """Takes what a `Source` yields."""

    async def sum_up(self, source: ActorRef[Source], count: int) -> int:
        async with source.stream(Source.numbers, count) as numbers:
            return sum([number async for number in numbers])

    async def doubled(self, source: ActorRef[Source], count: int) -> AsyncIterator[int]:
        """A stream of a stream."""
        async with source.stream(Source.numbers, count) as numbers:
            async for number in numbers:
                yield 2 * number

    async def hang_on(self, source: ActorRef[Source], seconds: float) -> None:
        """Take for ever."""
        async with source.stream(Source.slow, seconds) as numbers:
            async for _ in numbers:
                pass

    async def hold(self, source: ActorRef[Source]) -> None:
        """Take one, and no more."""
        async with source.stream(Source.numbers, 10**6) as numbers:
            await anext(numbers)
            await trio.sleep_forever()

    @reentrant
    async def pid(self) -> int:
        return os.getpid()
