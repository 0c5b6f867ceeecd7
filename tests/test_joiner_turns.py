"""Commands to a node that has an id and is not yet up: they wait, and keep the order of the lines.

So it is with who joins by hand: he has a place as soon as he is let in.
"""

from __future__ import annotations

import pytest
import trio

from actors import Actor, SpawnError
from actors.testing.virtual import VirtualSystem
from runtime.errors import ActorDeadError
from shell.forest import Forest
from shell.naming import by_name
from shell.options import Options
from shell.tree import UnknownVerb


class Diary(Actor):
    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.noted: list[int] = []

    async def on_start(self) -> None:
        await trio.sleep(1)
        if self.fails:
            raise ValueError("it will not do")

    async def note(self, number: int) -> list[int]:
        self.noted.append(number)
        return self.noted


async def found(system: VirtualSystem) -> Forest:
    """A shell on the system, once it has an id for the actor."""
    while "diary" not in system.nodes.places:
        await trio.lowlevel.checkpoint()
    return Forest(system, Options(), by_name)


@pytest.mark.parametrize("apart_s", [0.0, 0.0001, 0.001, 0.1])
async def test_who_speaks_to_one_that_is_coming_up_is_heard_in_the_order_of_the_lines(
    apart_s: float, system: VirtualSystem
) -> None:
    heard: dict[int, object] = {}

    async def speak(number: int) -> None:
        heard[number] = await forest.execute("diary", "note", [str(number)])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: system.spawn(Diary, name="diary"))
        forest = await found(system)
        for number in range(20):
            nursery.start_soon(speak, number)
            await trio.sleep(apart_s)
    assert heard == {number: list(range(number + 1)) for number in range(20)}


async def test_one_that_is_coming_up_answers_to_a_ping(system: VirtualSystem) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: system.spawn(Diary, name="diary"))
        forest = await found(system)
        assert await forest.ping("diary")
        with pytest.raises(UnknownVerb):
            await forest.execute("diary", "dance", [])


async def test_who_speaks_to_one_that_does_not_come_up_is_told_so(system: VirtualSystem) -> None:
    async def spawn() -> None:
        with pytest.raises(SpawnError):
            await system.spawn(Diary, True, name="diary")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(spawn)
        forest = await found(system)
        with pytest.raises(ActorDeadError, match="it will not do"):
            await forest.execute("diary", "note", ["1"])
