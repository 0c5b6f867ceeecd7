"""What outlives a death: snapshots, refs by name, monitors, links; and who hangs."""

from __future__ import annotations

from typing import Literal

import pytest
import trio

from actors import Actor, ActorRef, Down, reentrant
from actors.node import ComputeNode
from actors.system import System
from actors.testing.chronicle import chronicle
from actors.testing.virtual import VirtualSystem
from runtime.errors import ActorDeadError

Every = float | Literal["message"]


class Keeper(Actor):
    """Its state is a list of words."""

    def __init__(self, word: str = "") -> None:
        self.words = [word] if word else []
        self.ages: list[float] = []

    def snapshot(self) -> list[str]:
        if "spoilt" in self.words:
            raise ValueError("it is spoilt")
        return self.words

    def restore(self, state: list[str], age_s: float) -> None:
        if "bad" in state:
            raise ValueError("it is bad")
        self.words = state
        self.ages.append(age_s)

    async def add(self, word: str) -> list[str]:
        self.words.append(word)
        return self.words

    async def add_slowly(self, word: str) -> None:
        self.words.append(f"{word} begun")
        await trio.sleep(5)
        self.words[-1] = word

    @reentrant
    async def add_beside(self, word: str) -> None:
        self.words.append(word)
        await trio.sleep(5)

    async def all(self) -> list[str]:
        return self.words

    async def age_s(self) -> float:
        return self.ages[-1]

    async def bear(self, name: str, every: Every) -> ActorRef[Keeper]:
        return await self.spawn(
            Keeper, name=name, local=True, restart="permanent", snapshot_every_s=every
        )

    async def tie(self, ref: ActorRef[Actor]) -> None:
        self.link(ref)

    async def leave(self) -> None:
        self.finish()


async def killed(system: VirtualSystem, ref: ActorRef[Keeper]) -> ActorRef[Keeper]:
    """It was killed here and now; its next life."""
    with chronicle(system) as written:
        system.kill(ref)
        await written.until("started", ref.name)
    return await system.lookup(ref.name, Keeper)


async def states(system: System) -> dict[str, str]:
    return {row.name: row.state for row in await system.tree()}


# Snapshots.


@pytest.mark.parametrize(
    ("after_s", "words", "age_s"),
    [(0.9, ["first"], None), (1.1, ["first", "second"], 0.1), (2.5, ["first", "second"], 0.5)],
)
async def test_a_snapshot_is_taken_every_second(
    after_s: float, words: list[str], age_s: float | None, system: VirtualSystem
) -> None:
    ref = await system.spawn(Keeper, "first", restart="permanent")
    await ref.ask(Keeper.add, "second")
    await trio.sleep(after_s)
    ref = await killed(system, ref)
    assert await ref.ask(Keeper.all) == words
    if age_s is not None:
        assert await ref.ask(Keeper.age_s) == pytest.approx(age_s, abs=1e-3)


async def test_an_orderly_restart_loses_nothing(system: VirtualSystem) -> None:
    ref = await system.spawn(Keeper, "first", restart="permanent")
    await ref.ask(Keeper.add, "second")
    ref = await ref.restart()
    assert await ref.ask(Keeper.all) == ["first", "second"]


@pytest.mark.regrow(intensity=(100, 1.0))
async def test_with_message_nothing_that_was_answered_is_lost(system: VirtualSystem) -> None:
    ref = await system.spawn(Keeper, restart="permanent", snapshot_every_s="message")
    words: list[str] = []
    for number in range(10):
        words.append(str(number))
        assert await ref.ask(Keeper.add, str(number)) == words
        ref = await killed(system, ref)
    assert await ref.ask(Keeper.all) == words


async def test_a_death_before_the_reply_may_lose_the_message_but_no_other(
    system: VirtualSystem,
) -> None:
    ref = await system.spawn(Keeper, restart="permanent", snapshot_every_s="message")
    await ref.ask(Keeper.add, "kept")
    first = ref.incarnation
    system.network.fault = lambda source, target, frames: (0.1,) if source == first else (0.0,)

    async def ask() -> None:
        with pytest.raises(ActorDeadError, match="killed"):
            await ref.ask(Keeper.add, "lost")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(0.05)  # it is handled, and the state is on its way
        ref = await killed(system, ref)
    assert await ref.ask(Keeper.all) == ["kept"]


@pytest.mark.parametrize("every", [1.0, "message"])
async def test_a_local_cell_keeps_its_state_too(every: Every, system: VirtualSystem) -> None:
    host = await system.spawn(Keeper)
    ref = await host.ask(Keeper.bear, "cell", every)
    await ref.ask(Keeper.add, "kept")
    await trio.sleep(1.5)
    await ref.ask(Keeper.add, "fresh")
    await ref.kill()
    await trio.sleep(1)
    last = await system.lookup(ref.name, Keeper)
    assert await last.ask(Keeper.all) == ["kept", "fresh"][: 1 if every == 1.0 else 2]


async def test_no_snapshot_is_taken_in_the_middle_of_a_handler(system: VirtualSystem) -> None:
    ref = await system.spawn(Keeper, restart="permanent")
    await ref.tell(Keeper.add, "first")
    await trio.sleep(1.5)
    await ref.tell(Keeper.add_slowly, "second")
    await trio.sleep(3)
    ref = await killed(system, ref)
    assert await ref.ask(Keeper.all) == ["first"]
    await ref.tell(Keeper.add_slowly, "second")
    await trio.sleep(5.001)  # and one is taken as soon as it is over
    ref = await killed(system, ref)
    assert await ref.ask(Keeper.all) == ["first", "second"]


async def test_a_reentrant_handler_lets_snapshots_in(system: VirtualSystem) -> None:
    ref = await system.spawn(Keeper, restart="permanent")
    await ref.tell(Keeper.add_beside, "beside")
    await trio.sleep(1.5)
    ref = await killed(system, ref)
    assert await ref.ask(Keeper.all) == ["beside"]


async def test_of_a_temporary_child_none_is_taken(system: VirtualSystem) -> None:
    ref = await system.spawn(Keeper, "first", snapshot_every_s=0.1)
    await ref.ask(Keeper.add, "second")
    await trio.sleep(10)
    system.kill(ref)
    await trio.sleep(1)
    ref = await ref.restart()
    assert await ref.ask(Keeper.all) == ["first"]


@pytest.mark.regrow(intensity=(2, 10.0))
async def test_a_state_that_cannot_be_restored_is_a_start_that_fails(system: VirtualSystem) -> None:
    ref = await system.spawn(Keeper, name="x", restart="permanent")
    await ref.ask(Keeper.add, "bad")
    await trio.sleep(2)
    system.kill(ref)
    await trio.sleep(10)
    assert await states(system) == {"x": "given up"}
    reason = await ref.following().wait()
    assert str(reason) == "crashed(SpawnError: ValueError: it is bad)"
    fresh = await system.spawn(Keeper, "new", name="x")
    assert await fresh.ask(Keeper.all) == ["new"]


@pytest.mark.parametrize("every", [1.0, "message"])
async def test_a_snapshot_that_raises_is_a_crash(every: Every, system: VirtualSystem) -> None:
    ref = await system.spawn(Keeper, name="x", restart="permanent", snapshot_every_s=every)
    await ref.ask(Keeper.add, "kept")
    await trio.sleep(1.5)
    await ref.tell(Keeper.add, "spoilt")
    await trio.sleep(1.5)
    assert str(await ref.wait()) == "crashed(ValueError: it is spoilt)"
    ref = await system.lookup("x", Keeper)
    assert await ref.ask(Keeper.all) == ["kept"]


@pytest.mark.regrow(intensity=(1, 10.0))
async def test_a_dead_child_that_is_spawned_again_has_its_state(system: VirtualSystem) -> None:
    ref = await system.spawn(Keeper, name="x", restart="permanent")
    await ref.ask(Keeper.add, "kept")
    await trio.sleep(2)
    system.kill(await killed(system, ref))
    await trio.sleep(1)
    assert await states(system) == {"x": "given up"}
    ref = await system.spawn(Keeper, name="x", restart="permanent")
    assert await ref.ask(Keeper.all) == ["kept"]
    await ref.stop()
    ref = await system.spawn(Keeper, name="x", restart="permanent")
    assert await ref.ask(Keeper.all) == []


async def test_a_stopwatch_goes_on_counting(system: VirtualSystem) -> None:
    node = await system.spawn(
        ComputeNode, name="1", restart="permanent", snapshot_every_s="message"
    )
    await node.ask(ComputeNode.start)
    await trio.sleep(3)
    system.kill(node)
    await trio.sleep(4)
    node = await system.lookup("1", ComputeNode)
    assert await node.ask(ComputeNode.time) == pytest.approx(7000, abs=1)
    await node.ask(ComputeNode.stop)
    system.kill(node)
    await trio.sleep(4)
    node = await system.lookup("1", ComputeNode)
    assert await node.ask(ComputeNode.time) == pytest.approx(7000, abs=1)


# Between two lives.


async def waiting(system: VirtualSystem) -> ActorRef[Keeper]:
    """A ref to the name of one that waits for its third life."""
    ref = await system.spawn(Keeper, name="x", restart="permanent")
    system.kill(await killed(system, ref))
    await trio.sleep(0.001)
    assert await states(system) == {"x": "restarting"}
    return ref.following()


async def test_nobody_is_reached_between_two_lives(system: VirtualSystem) -> None:
    ref = await waiting(system)
    with pytest.raises(ActorDeadError, match="x is not alive"):
        await system.lookup("x")
    with pytest.raises(ActorDeadError, match="x is not alive"):
        await ref.ask(Keeper.all)
    await trio.sleep(1)
    assert await ref.ask(Keeper.all) == []
    assert await system.lookup("x")


async def test_a_monitor_watches_one_life(system: VirtualSystem) -> None:
    probe = await system.probe()
    first = await system.spawn(Keeper, name="x", restart="permanent")
    probe.monitor(first)
    probe.monitor(first.following())
    second = await killed(system, first)
    probe.monitor(first)
    probe.monitor(first.following())
    await trio.sleep(1)
    assert [down.ref for down in probe.came(Down)] == [first] * 3
    await killed(system, second)
    await trio.sleep(1)
    assert [down.ref for down in probe.came(Down)] == [first, first, first, second]


async def test_the_linked_return_each_by_its_own_spec_and_unlinked(system: VirtualSystem) -> None:
    one = await system.spawn(Keeper, name="one", restart="permanent")
    other = await system.spawn(Keeper, name="other", restart="permanent")
    await one.ask(Keeper.tie, other)
    with chronicle(system) as written:
        system.kill(one)
        await trio.sleep(1)
    assert sorted(written.names("died").split()) == ["one", "other"]
    assert sorted(written.names("started").split()) == ["one", "other"]
    assert (await other.wait()).error == "LinkedExit"
    with chronicle(system) as written:
        system.kill(await system.lookup("one"))
        await trio.sleep(1)
    assert written.names("died") == "one"


# Who hangs.


async def test_one_that_hangs_is_killed_and_lives_again(
    system: VirtualSystem, caplog: pytest.LogCaptureFixture
) -> None:
    top = await system.spawn(Keeper, name="top")
    ref = await system.spawn(Keeper, name="x", parent=top, restart="permanent", hang_after_s=5.0)
    await trio.sleep(2)
    with chronicle(system) as written:
        system.hang(ref)
        await trio.sleep(10)
    assert written.names("silent") == "x"
    (died_at,) = written.times("died", "x")
    assert 4.75 <= died_at <= 5.0  # since its last beat
    assert written.times("started", "x") == [died_at]
    assert str(await ref.wait()) == "killed(SIGKILL)"
    messages = [each.getMessage() for each in caplog.records]
    assert messages == ["x is killed: it has not yielded for 5 s"]


@pytest.mark.regrow(deadline_s=2000)
async def test_one_that_hangs_without_a_bound_is_left_alone(system: VirtualSystem) -> None:
    ref = await system.spawn(Keeper, name="x", restart="permanent")
    system.hang(ref)
    await trio.sleep(1000)
    assert await states(system) == {"x": "busy"}
    system.yield_again(ref)
    await trio.sleep(1)
    assert await states(system) == {"x": "ok"}


async def test_one_that_yields_in_time_is_given_its_whole_time_again(system: VirtualSystem) -> None:
    ref = await system.spawn(Keeper, name="x", restart="permanent", hang_after_s=5.0)
    for _ in range(5):
        system.hang(ref)
        await trio.sleep(4)
        system.yield_again(ref)
        await trio.sleep(0.5)
    assert await system.lookup("x") == ref


async def test_one_that_is_frozen_does_not_hang(system: VirtualSystem) -> None:
    ref = await system.spawn(Keeper, name="x", restart="permanent", hang_after_s=2.0)
    system.freeze(ref)
    await trio.sleep(100)
    system.thaw(ref)
    await trio.sleep(1)
    assert await system.lookup("x") == ref


async def test_one_whose_beats_are_lost_does_not_hang(system: VirtualSystem) -> None:
    ref = await system.spawn(Keeper, name="x", restart="permanent", hang_after_s=2.0)
    system.network.fault = lambda source, target, frames: (
        () if source == ref.incarnation else (0.0,)
    )
    await trio.sleep(100)
    assert await states(system) == {"x": "busy"}
    system.network.fault = lambda source, target, frames: (0.0,)
    await trio.sleep(1)
    assert await system.lookup("x") == ref


async def test_one_that_hangs_and_is_stopped_is_only_stopped(
    system: VirtualSystem, caplog: pytest.LogCaptureFixture
) -> None:
    ref = await system.spawn(Keeper, name="x", restart="permanent", hang_after_s=5.0)
    system.hang(ref)
    await trio.sleep(2)
    await ref.stop()
    await trio.sleep(10)
    assert await states(system) == {}
    assert not caplog.records


async def test_a_last_word_is_heard_though_the_news_of_the_death_is_faster(
    system: VirtualSystem,
) -> None:
    ref = await system.spawn(Keeper, name="x")
    await ref.ask(Keeper.bear, "cell", 1.0)
    system.network.fault = lambda source, target, frames: (
        (0.5,) if source == ref.incarnation else (0.0,)
    )
    await ref.tell(Keeper.leave)
    assert str(await ref.wait()) == "normal"
    assert trio.current_time() == 0.5
    await trio.sleep(1)
    assert await states(system) == {}
