"""Whenever the consumer of a stream is cancelled: nothing of the stream is left at either end."""

from __future__ import annotations

import itertools
import random
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from runtime.errors import MailboxFullError
from tests.axe import cut
from tests.small_world import ask, stream, tell_nowait
from tests.streaming import Scene, Spring, every_place, open_scene

Consume = Callable[[Scene], Awaitable[None]]


async def to_the_end(scene: Scene) -> None:
    async with stream(scene.source, scene.target, Spring.ticks, 3, 0.1) as items:
        assert [item async for item in items] == [0, 1, 2]


async def slowly(scene: Scene) -> None:
    """The source waits for credit in between."""
    async with stream(scene.source, scene.target, Spring.numbers, 70) as items:
        for number in range(40):
            assert await anext(items) == number
            if not number % 10:
                await trio.sleep(0.1)


async def beside_another(scene: Scene) -> None:
    async with (
        stream(scene.source, scene.target, Spring.beside, 100, 0.1) as first,
        stream(scene.source, scene.target, Spring.beside, 100, 0.15) as second,
    ):
        for number in range(3):
            assert [await anext(first), await anext(second)] == [number, number]


async def after_a_wait_for_credit(scene: Scene) -> None:
    """The pair's window is full when the stream is entered, and the actor is busy."""
    await ask(scene.source, scene.target, Spring.add, 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, scene.source, scene.target, Spring.nap, 0.5)
        await wait_all_tasks_blocked()
        try:
            while True:
                tell_nowait(scene.source, scene.target, Spring.add, 1)
        except MailboxFullError:
            pass
        async with stream(scene.source, scene.target, Spring.ticks, 3, 0.1) as items:
            assert await anext(items) == 0


async def large(scene: Scene) -> None:
    async with stream(scene.source, scene.target, Spring.blocks, 5, 300_000) as items:
        assert len([item async for item in items]) == 5


WAYS = [to_the_end, slowly, beside_another, after_a_wait_for_credit, large]


@every_place
@pytest.mark.parametrize("consume", WAYS, ids=lambda way: way.__name__)
async def test_a_cancelled_consumer_leaves_nothing(
    place: str, consume: Consume, autojump_clock: MockClock
) -> None:
    async with open_scene(place, mailbox_messages=16) as scene:
        for step in itertools.count(1):
            over = await cut(partial(consume, scene), step)
            await wait_all_tasks_blocked()
            assert scene.spring.running == 0
            await scene.assert_over()
            if over:
                break
        assert step > 5


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("place", ["simple", "leader", "local"])
async def test_many_consumers_that_come_and_go_leave_nothing(
    place: str, seed: int, autojump_clock: MockClock
) -> None:
    rng = random.Random(seed)
    async with open_scene(place) as scene:
        whole = 0

        async def consume() -> None:
            nonlocal whole
            for _ in range(20):
                count = rng.choice((1, 10, 200))
                handler, *args = rng.choice(
                    ((Spring.numbers, count), (Spring.beside, 3, 0.01), (Spring.ticks, 2, 0.01))
                )
                with trio.move_on_after(rng.choice((0.01, 0.1, 100.0))):
                    async with stream(scene.source, scene.target, handler, *args) as items:
                        expected = 0
                        async for item in items:
                            assert item == expected
                            expected += 1
                            if rng.random() < 0.01:
                                break
                            if rng.random() < 0.02:
                                await trio.sleep(0.01)
                        else:
                            whole += 1

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(consume)
        assert whole > 20
        await scene.assert_over()
        assert scene.world.ends == {}
