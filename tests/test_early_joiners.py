"""Who knocks while a system is still being opened, or resumed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.control.joining import Joining
from actors.supervision.roll import Roll
from runtime.address import Address
from runtime.messages import envelope as wire
from runtime.messages.codec import Buffer, decode

HERE = Address("s", "controller", 1, "tcp://127.0.0.1:7001?n=1")


class Desk:
    """What a joiner meets of the exchange: it hears what is told to those who are strangers."""

    def __init__(self) -> None:
        self.address = HERE
        self.joining: Any = None
        self.strays: Counter[str] = Counter()
        self.transport = self
        self.told: list[wire.Envelope] = []

    def tell_stale(self, endpoint: str, frames: list[Buffer]) -> None:
        self.told.append(decode(frames)[0][0])

    def disconnect(self, endpoint: str) -> None:
        pass


class Crew:
    """Nodes of whom only the roll is looked at, for nobody of these is let in."""

    def __init__(self) -> None:
        self.roll = Roll(HERE, lambda incarnation: f"tcp://127.0.0.1:1?n={incarnation}")


async def test_they_wait_until_all_who_were_there_before_have_their_names(
    autojump_clock: MockClock,
) -> None:
    desk, crew = Desk(), Crew()

    def name(wanted: str, taken: object) -> str:
        raise ValueError(f"no room for {wanted!r}")

    async with trio.open_nursery() as tasks:
        joining = Joining(desk, crew, tasks)  # type: ignore[arg-type]
        where = "tcp://127.0.0.1:7002?n=0"
        desk.joining(wire.Join(wire.VERSION, where, where, "module:Class", "7", "class", b"", 60.0))
        await wait_all_tasks_blocked()
        assert desk.told == []
        crew.roll.name_joiners(name)
        joining.begin()
        await wait_all_tasks_blocked()
        assert desk.told == [wire.Joined("no room for '7'")]
        tasks.cancel_scope.cancel()


def test_a_roll_asks_who_names_joiners_and_else_gives_what_is_wanted() -> None:
    roll = Crew().roll
    assert roll.name_of_joiner("far", "counter") == "far"
    assert roll.name_of_joiner("", "counter") == "counter-1"
    roll.name_joiners(lambda wanted, taken: f"{wanted or 'any'}-{taken('far')}")
    assert roll.name_of_joiner("", "counter") == "any-False"
