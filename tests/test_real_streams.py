"""Streams between real processes, some of which are killed."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import assert_type

import pytest
import trio

from actors.ref import ActorRef
from actors.system import System
from runtime.errors import ActorDeadError, ActorError
from tests.real import ANSWER_S, freeze
from tests.real_streams import Consumer, Source

pytestmark = [pytest.mark.real, pytest.mark.regrow(on="real")]

MIB = 1024 * 1024
places = pytest.mark.parametrize("local", [False, True], ids=["process", "local"])


async def until_idle(source: ActorRef[Source]) -> None:
    """No generator of it runs."""
    with trio.fail_after(ANSWER_S):
        while (await source.ask(Source.state))[0]:  # noqa: ASYNC110
            await trio.sleep(0.02)


@places
async def test_the_root_and_every_node_can_consume(local: bool, system: System) -> None:
    source = await system.spawn(Source, local=local)
    consumer = await system.spawn(Consumer, local=local)
    stream = source.stream(Source.numbers, 3000)
    with trio.fail_after(ANSWER_S):
        async with stream as numbers:
            assert_type(numbers, AsyncIterator[int])
            assert [number async for number in numbers] == list(range(3000))
        assert await consumer.ask(Consumer.sum_up, source, 3000) == sum(range(3000))
        async with consumer.stream(Consumer.doubled, source, 3000) as doubled:
            assert [number async for number in doubled] == list(range(0, 6000, 2))
        assert await source.ask(Source.strays) == {}


@places
async def test_leaving_closes_the_whole_chain_of_generators(local: bool, system: System) -> None:
    source = await system.spawn(Source, local=local)
    consumer = await system.spawn(Consumer)
    with trio.fail_after(ANSWER_S):
        async with consumer.stream(Consumer.doubled, source, 10**6) as doubled:
            async for number in doubled:
                if number == 1000:
                    break
    await until_idle(source)
    with trio.fail_after(ANSWER_S):
        assert await consumer.ask(Consumer.sum_up, source, 3) == 3


async def test_a_source_that_never_rests_answers_and_can_be_left(system: System) -> None:
    source = await system.spawn(Source)
    with trio.fail_after(ANSWER_S):
        async with source.stream(Source.numbers, 10**8) as numbers:
            async for number in numbers:
                if number % 10_000 == 0:
                    assert (await source.ask(Source.state))[0] == 1
                if number == 50_000:
                    break
    await until_idle(source)
    assert (await source.ask(Source.state))[1] < 100_000


async def test_a_killed_source_is_an_error_after_its_items(system: System) -> None:
    source = await system.spawn(Source)
    pid = await source.ask(Source.pid)
    taken = []
    async with source.stream(Source.slow, 0.01) as numbers:
        with trio.fail_after(ANSWER_S), pytest.raises(ActorDeadError, match="SIGKILL"):  # noqa: PT012
            async for number in numbers:
                taken.append(number)
                if number == 20:
                    os.kill(pid, signal.SIGKILL)
    assert taken[:21] == list(range(21))


@pytest.mark.parametrize("way", [Consumer.hang_on, Consumer.hold], ids=["taking", "holding"])
async def test_the_generator_of_a_killed_consumer_is_closed(way: object, system: System) -> None:
    async with trio.open_nursery() as nursery:
        source = await system.spawn(Source)
        consumer = await system.spawn(Consumer)
        pid = await consumer.ask(Consumer.pid)

        async def consume() -> None:
            with suppress(ActorError):
                if way is Consumer.hold:
                    await consumer.ask(Consumer.hold, source)
                else:
                    await consumer.ask(Consumer.hang_on, source, 0.001)

        nursery.start_soon(consume)
        with trio.fail_after(ANSWER_S):
            while (await source.ask(Source.state))[1] < 20:  # noqa: ASYNC110
                await trio.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        await until_idle(source)
        with trio.fail_after(ANSWER_S):
            async with source.stream(Source.numbers, 100) as numbers:
                assert len([number async for number in numbers]) == 100


async def test_a_frozen_source_is_told_apart(system: System) -> None:
    source = await system.spawn(Source)
    await freeze(await source.ask(Source.pid))
    with trio.fail_after(ANSWER_S), pytest.raises(ActorError, match="frozen"):
        async with source.stream(Source.numbers, 100) as numbers:
            await anext(numbers)
    await source.kill()


async def test_large_items_do_not_pile_up_at_either_end(system: System) -> None:
    """64 items of 8 MiB, and the root takes its time."""
    source = await system.spawn(Source)
    before = (await source.ask(Source.state))[2]
    count = 64
    async with source.stream(Source.blocks, count, 8 * MIB) as blocks:
        for number in range(count):
            with trio.fail_after(ANSWER_S):
                block = await anext(blocks)
            assert (len(block), block[-1]) == (8 * MIB, number)
            await trio.sleep(0.01)
            assert (await source.ask(Source.state))[1] <= number + 3
    after = (await source.ask(Source.state))[2]
    assert after - before < 64 * MIB
