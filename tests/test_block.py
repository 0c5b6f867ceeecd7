"""A condition holds inside its block, and says so if there never was one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
import trio

from runtime.block import block
from runtime.wires.memory import MemoryNetwork


class Room:
    def __init__(self) -> None:
        self.lit = False

    @block
    def light(self, on: bool = True) -> Iterator[None]:
        """It is lit."""
        self.lit = on
        try:
            yield
        finally:
            self.lit = False


def test_it_holds_inside_its_block_however_that_is_left() -> None:
    room = Room()
    with suppress(KeyError), room.light():
        seen = room.lit
        raise KeyError
    assert (seen, room.lit) == (True, False)
    with room.light(on=False):
        assert not room.lit


def test_one_that_is_never_entered_does_nothing_and_is_warned_of() -> None:
    room = Room()
    with pytest.warns(RuntimeWarning, match=r"light\(\) was never entered, and did nothing"):
        room.light()
    assert not room.lit


@pytest.mark.parametrize("name", ["partition", "cut", "throttle", "weather_of"])
async def test_those_of_a_network_are_such(name: str) -> None:
    async with trio.open_nursery() as nursery:
        network = MemoryNetwork(nursery)
    calls = {
        "partition": lambda: network.partition("a", "b"),
        "cut": lambda: network.cut("a", to="b"),
        "throttle": lambda: network.throttle("a", to="b", bytes_per_s=1),
        "weather_of": lambda: network.weather_of(None),
    }
    with pytest.warns(RuntimeWarning, match=rf"with \.\.\.{name}\("):
        calls[name]()
