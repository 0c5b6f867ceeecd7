"""Actors that stream, for the tests, and what must be left when a stream is over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from actors import reentrant
from runtime.cells.cell import Cell
from runtime.cells.mailbox import MAILBOX_MESSAGES
from runtime.messages.behaviour import Behaviour
from runtime.traffic.exchange import Exchange
from tests.small_world import SmallWorld, ask, open_small_world, pair, stream


class Spring(Behaviour):
    """``running``: how many of its generators have begun and not ended."""

    def __init__(self) -> None:
        self.yielded = 0
        self.running = 0
        self.log: list[str] = []

    async def numbers(self, count: int) -> AsyncIterator[int]:
        """Never suspends."""
        self.running += 1
        try:
            for number in range(count):
                self.yielded += 1
                yield number
        finally:
            self.running -= 1

    async def ticks(self, count: int, seconds: float) -> AsyncIterator[int]:
        self.running += 1
        try:
            for number in range(count):
                await trio.sleep(seconds)
                self.yielded += 1
                yield number
        except trio.Cancelled:
            self.log.append("cancelled")
            raise
        finally:
            self.running -= 1

    @reentrant
    async def beside(self, count: int, seconds: float) -> AsyncIterator[int]:
        self.running += 1
        try:
            for number in range(count):
                await trio.sleep(seconds)
                yield number
        finally:
            self.running -= 1

    async def nothings(self, count: int) -> AsyncIterator[None]:
        for _ in range(count):
            yield None

    async def blocks(self, count: int, size: int) -> AsyncIterator[bytes]:
        for number in range(count):
            self.yielded += 1
            yield bytes([number % 256]) * size

    async def sizes(self, sizes: list[int]) -> AsyncIterator[str]:
        for size in sizes:
            yield "x" * size

    async def fail_after(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number
        raise ValueError("dry")

    async def fail_at_the_end(self) -> AsyncIterator[int]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            raise ValueError("could not clean up")

    @reentrant
    async def fail_beside(self) -> AsyncIterator[int]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            raise ValueError("could not clean up")

    async def of_itself(self) -> AsyncIterator[object]:
        """It would have to end before it could go on."""
        me: Cell = self._cell
        async with stream(me, me, Spring.numbers, 3) as items:
            async for item in items:
                yield item

    async def beside_itself(self) -> AsyncIterator[object]:
        me: Cell = self._cell
        async with stream(me, me, Spring.beside, 3, 0.1) as items:
            async for item in items:
                yield item

    async def wrong(self) -> AsyncIterator[int]:
        yield 1
        yield "two"  # type: ignore[misc]
        yield 3

    async def unfit(self) -> AsyncIterator[object]:
        try:
            yield 1
            yield object()
        finally:
            self.log.append("closed")

    async def hurried(self, count: int, seconds: float) -> AsyncIterator[int]:
        """What nobody takes in time is left out."""
        for number in range(count):
            with trio.move_on_after(seconds) as scope:
                yield number
            if scope.cancelled_caught:
                self.log.append(f"{number} was left out")

    async def stuck(self) -> AsyncIterator[int]:
        yield 1
        await trio.sleep_forever()

    async def add(self, number: int) -> int:
        return number + 1

    @reentrant
    async def add_now(self, number: int) -> int:
        return number + 1

    async def nap(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def end(self) -> None:
        raise SystemExit(0)


class Scene:
    """``source`` consumes what ``target`` streams."""

    def __init__(
        self, world: SmallWorld, near: Exchange, far: Exchange, target: Cell, spring: Spring
    ) -> None:
        self.world, self.near, self.far, self.target, self.spring = world, near, far, target, spring
        self.source = world.mute(near, "source")

    async def assert_over(self) -> None:
        """No entry, no generator is left of any stream, and the actor goes on."""
        await trio.sleep(1)
        assert not self.near.streams
        assert not self.near.pending
        assert not self.target.sources
        assert not self.target.apart
        assert self.target.in_flight is None
        assert not self.target.mailbox
        assert self.spring.running == 0
        assert await ask(self.source, self.target, Spring.add, 1) == 2
        await trio.sleep(1)
        window = pair(self.source, self.target).window
        assert (window.in_flight, window.reply_bytes) == (0, 0)
        assert window.done_bytes == window.bytes_sent
        assert self.near.peer(self.far.address.endpoint).pending == 0
        assert not self.far.strays
        assert not self.near.strays


@asynccontextmanager
async def open_scene(place: str, mailbox_messages: int = MAILBOX_MESSAGES) -> AsyncIterator[Scene]:
    """``place``: where the target is, and how the wire is read."""
    async with open_small_world(simple=place != "leader") as world:
        near = await world.process("near")
        far = near if place == "local" else await world.process("far")
        spring = Spring()
        target = await world.cell(far, "target", spring, mailbox_messages)
        yield Scene(world, near, far, target, spring)


every_place = pytest.mark.parametrize("place", ["simple", "leader", "local"])
