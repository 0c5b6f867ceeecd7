"""A node that is cut off for long is lost: its place is taken, and it is told to end."""

from __future__ import annotations

import pytest
import trio

from actors import Actor, ActorDeadError, Down, child
from actors.testing.virtual import VirtualSystem

every_wire = pytest.mark.parametrize(
    "regrow_options", [{"reliable": False}, {"reliable": True}], ids=["trusting", "reliable"]
)


class Keeper(Actor):
    def __init__(self) -> None:
        self.got = 0

    async def take(self) -> int:
        self.got += 1
        return self.got


def lives(system: VirtualSystem, name: str) -> list[int]:
    """The incarnations of a name that run somewhere."""
    return [each.incarnation for each in system.host.bodies.values() if each.name == name]


@every_wire
@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
async def test_a_node_that_is_cut_off_for_a_minute_is_lost(
    system: VirtualSystem, restart: str
) -> None:
    probe = await system.probe()
    ref = await system.spawn(Keeper, name="x", restart=restart)  # type: ignore[arg-type]
    probe.monitor(ref)
    assert await ref.ask(Keeper.take) == 1
    died: list[float] = []
    system.nodes.listeners.append(lambda it: died.append(it.at) if it.what == "died" else None)
    await trio.sleep(3.1 - trio.current_time())
    system.part(ref)
    for _ in range(5):
        await ref.tell(Keeper.take)
    await trio.sleep(57)
    assert died == []
    await trio.sleep(3)
    assert died == [pytest.approx(63.0)]  # its last beat, and a minute
    assert (await ref.wait()).kind == "lost"
    assert [down.reason.kind for down in probe.came(Down)] == ["lost"]
    with pytest.raises(ActorDeadError, match="lost"):
        await ref.ask(Keeper.take)
    audit = await system.audit()
    assert audit.undelivered == 5
    assert audit.balances
    await trio.sleep(5)
    if restart == "temporary":
        with pytest.raises((LookupError, ActorDeadError)):
            await system.lookup("x", Keeper)
        return
    heir = await system.lookup("x", Keeper)
    assert await heir.ask(Keeper.take) == 1
    assert lives(system, "x") == [ref.incarnation, heir.incarnation]


@every_wire
async def test_one_that_comes_back_after_it_was_lost_is_told_to_end(system: VirtualSystem) -> None:
    ref = await system.spawn(Keeper, name="x", restart="permanent", lost_after_s=10)
    await trio.sleep(1)
    system.part(ref)
    await trio.sleep(20)
    heir = await system.lookup("x", Keeper)
    assert heir.incarnation > ref.incarnation
    assert await heir.ask(Keeper.take) == 1
    system.heal()
    await trio.sleep(3)
    assert lives(system, "x") == [heir.incarnation]
    assert await system.lookup("x", Keeper) == heir
    assert await heir.ask(Keeper.take) == 2
    with pytest.raises(ActorDeadError):
        await ref.ask(Keeper.take)
    assert (await ref.wait()).kind == "lost"


@every_wire
async def test_one_that_is_heard_in_time_is_not_lost(system: VirtualSystem) -> None:
    ref = await system.spawn(Keeper, name="x", restart="permanent", lost_after_s=10)
    for _ in range(3):
        system.part(ref)
        await trio.sleep(9)
        system.heal()
        await trio.sleep(1)
    assert await ref.ask(Keeper.take) == 1
    assert lives(system, "x") == [ref.incarnation]


@pytest.mark.regrow(deadline_s=4000)
async def test_one_that_is_only_frozen_is_never_lost(system: VirtualSystem) -> None:
    ref = await system.spawn(Keeper, name="x", restart="permanent", lost_after_s=10)
    system.freeze(ref)
    await trio.sleep(3600)
    system.thaw(ref)
    await trio.sleep(1)
    assert await ref.ask(Keeper.take) == 1


@pytest.mark.parametrize("value", [0, -1, float("inf"), "soon"])
def test_a_time_that_makes_no_sense_is_refused(value: object) -> None:

    with pytest.raises(ValueError, match="lost_after_s"):
        child(Keeper, lost_after_s=value)  # type: ignore[arg-type]
