"""A chronicle: all that became of nodes while it was open, in order, at exact instants."""

from __future__ import annotations

import pytest
import trio

from actors import Actor
from actors.system import System
from actors.testing.chaos import Chaos
from actors.testing.chronicle import chronicle
from actors.testing.virtual import VirtualSystem


class Idle(Actor):
    """Does nothing."""


@pytest.mark.regrow(on=["virtual", "real"])
async def test_it_tells_who_died_and_who_came_back_in_order(system: System, chaos: Chaos) -> None:
    a = await system.spawn(Idle, name="a", restart="permanent")
    await system.spawn(Idle, name="b")
    with chronicle(system) as written:
        await chaos.kill(a)
        first = await written.until("started", "a")
        assert await written.until("started", "a") == first
        await a.following().kill()
        second = await written.until("started", "a", 2)
    await a.following().kill()
    assert written.names("died") == written.names("started") == "a a"
    assert written.times("started", "a") == [first, second]
    assert written.times("started", "b") == []
    assert [line[1] for line in written.lines] == ["died", "started"] * 2
    assert written.lines == sorted(written.lines, key=lambda line: line[0])


async def test_its_instants_count_from_its_beginning(system: VirtualSystem) -> None:
    ref = await system.spawn(Idle, name="a")
    await trio.sleep(1.1)
    with chronicle(system) as written:
        await trio.sleep(0.1)
        system.freeze(ref)
        await trio.sleep(5)
        await ref.stop()
    assert written.began_at == 1.1
    assert written.lines == [
        (-0.1, "silent", "a"),  # since its last beat
        (5.1, "died", "a"),
        (5.1, "removed", "a"),
    ]
