"""Nobody keeps what was large once it has been handled."""

from __future__ import annotations

import sys

import pytest
import trio
from trio.testing import MockClock

from runtime.errors import RemoteError
from runtime.messages.behaviour import Behaviour
from runtime.wires.transport import IDLE_S
from tests.small_world import ask, open_small_world, tell


class Eater(Behaviour):
    async def eat(self, data: memoryview) -> int:
        return len(data)

    async def give(self, data: memoryview) -> memoryview:
        return data

    async def fail(self, data: memoryview) -> None:
        raise ValueError("it does not taste")


@pytest.mark.parametrize("simple", [True, False], ids=["a reader", "leader and followers"])
@pytest.mark.parametrize("where", ["here", "there"])
async def test_an_idle_cell_keeps_no_ones_data(
    where: str, simple: bool, autojump_clock: MockClock
) -> None:
    async with open_small_world(simple) as world:
        near = await world.process("near")
        far = near if where == "here" else await world.process("far")
        source, eater = world.mute(near, "source"), await world.cell(far, "eater", Eater())
        data = bytes(100_000)  # the memory transport hands over the object itself
        before = sys.getrefcount(data)
        for handler in (Eater.eat, Eater.give):
            await ask(source, eater, handler, data)
            await trio.sleep(IDLE_S)
            assert sys.getrefcount(data) == before
        await tell(source, eater, Eater.eat, data)
        await trio.sleep(IDLE_S)
        assert sys.getrefcount(data) == before
        with pytest.raises(RemoteError, match="it does not taste"):
            await ask(source, eater, Eater.fail, data)
        await trio.sleep(IDLE_S)
        assert sys.getrefcount(data) == before
