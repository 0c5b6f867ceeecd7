"""A stream as one answer, in virtual time."""

import math
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from runtime.errors import ActorDeadError, WireError
from shell.collecting import MAX_ITEMS, collect


@asynccontextmanager
async def numbers(upto: float, every_s: float = 0.0) -> AsyncIterator[AsyncIterator[int]]:
    async def count() -> AsyncIterator[int]:
        number = 0
        while number < upto:
            await trio.sleep(every_s)
            yield number
            number += 1

    async with aclosing(count()) as items:  # type: ignore[type-var]
        yield items


@pytest.mark.parametrize("upto", [0, 1, MAX_ITEMS])
async def test_all_items(upto: int, autojump_clock: MockClock) -> None:
    assert await collect("numbers", numbers(upto)) == list(range(upto))
    with trio.fail_after(2):
        assert await collect("numbers", numbers(upto, 0.001)) == list(range(upto))


async def test_one_item_too_many_is_an_error(autojump_clock: MockClock) -> None:
    with pytest.raises(WireError, match="numbers has more than 1000 items"):
        await collect("numbers", numbers(MAX_ITEMS + 1))


async def test_a_stream_that_goes_on_is_said_to_before_the_deadline(
    autojump_clock: MockClock,
) -> None:
    with (
        trio.fail_after(2),
        pytest.raises(WireError, match="numbers had not ended in time: 3 items so far"),
    ):
        await collect("numbers", numbers(math.inf, 0.5))
    assert trio.current_time() == pytest.approx(1.9)


async def test_a_stream_that_gives_nothing_is_late(autojump_clock: MockClock) -> None:
    with trio.move_on_after(2) as patience:
        await collect("numbers", numbers(1, math.inf))
    assert patience.cancelled_caught
    assert trio.current_time() == pytest.approx(2)


async def test_an_error_of_the_stream_is_its_own(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def dead() -> AsyncIterator[AsyncIterator[int]]:
        raise ActorDeadError("1 is dead")
        yield

    with pytest.raises(ActorDeadError):
        await collect("numbers", dead())
