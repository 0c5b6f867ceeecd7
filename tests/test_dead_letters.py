"""Dead letters: what was accepted for somebody and handled nowhere can be read, and watched."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio

from actors import Actor, ActorError, ActorRef, DeadLetter
from actors.testing.virtual import VirtualSystem
from runtime.traffic.letters import KEPT, REPORTED
from tests.small_world import open_small_world, tell_nowait
from tests.test_accounts import Worker


class Clerk(Actor):
    """Writes, and reads slowly."""

    async def read(self, nap_s: float = 0.0) -> None:
        if nap_s:
            await trio.sleep(nap_s)

    async def write(self, other: ActorRef[Clerk], count: int, nap_s: float = 0.0) -> None:
        for _ in range(count):
            with suppress(ActorError):
                other.tell_nowait(Clerk.read, nap_s)

    async def wait(self, other: ActorRef[Clerk], nap_s: float) -> None:
        await other.ask(Clerk.read, nap_s)

    async def host(self, count: int) -> None:
        """A local child gets more than it lives to read."""
        child = await self.spawn(Clerk, name="child", local=True)
        for _ in range(count):
            child.tell_nowait(Clerk.read, 100.0)
        await trio.sleep(1)
        await child.kill()


def brief(letter: DeadLetter) -> tuple[str, str, str, int, str]:
    return letter.source, letter.target, letter.handler, letter.count, letter.reason


async def test_those_of_the_whole_tree_can_be_read_with_their_ages(system: VirtualSystem) -> None:
    a, b = await system.spawn(Clerk, name="a"), await system.spawn(Clerk, name="b")
    c = await system.spawn(Clerk, name="c", parent=a)
    assert await system.dead_letters() == []
    await c.ask(Clerk.write, b, 3, 50.0)
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with suppress(ActorError):
                await a.ask(Clerk.wait, b, 1.0)

        nursery.start_soon(wait)
        await trio.sleep(1)
        system.kill(b)
    await trio.sleep(7)
    letters = await system.dead_letters()
    assert sorted(map(brief, letters)) == [
        ("a", "b", "read", 1, "killed(SIGKILL)"),
        ("c", "b", "", 3, "killed(SIGKILL)"),
    ]
    assert {letter.incarnation for letter in letters} == {b.incarnation}
    assert [letter.age_s for letter in letters] == [7.0, 7.0]


async def test_a_tell_that_is_refused_is_a_dead_letter_of_its_receiver(
    system: VirtualSystem,
) -> None:
    a = await system.spawn(Clerk, name="a", mailbox_messages=4)
    b = await system.spawn(Clerk, name="b")
    await b.ask(Clerk.write, a, 10, 1.0)
    letters = await system.dead_letters()
    assert [brief(letter) for letter in letters] == [
        ("b", "a", "read", 10, "mailbox of a is full (0)")
    ] or all(letter.handler == "read" for letter in letters)
    audit = await system.audit()
    assert audit.rejected == sum(letter.count for letter in letters)


async def test_what_a_local_cell_did_not_live_to_read_is_told_once(system: VirtualSystem) -> None:
    a = await system.spawn(Clerk, name="a")
    await a.ask(Clerk.host, 4)
    letters = await system.dead_letters()
    assert [(each.source, each.target, each.handler) for each in letters] == [
        ("a", "a/child", "read")
    ]
    audit = await system.audit()
    assert audit.balances
    assert letters[0].count == audit.rejected + audit.undelivered


@pytest.mark.regrow
async def test_the_ring_is_bounded_and_what_is_alike_shares_a_letter() -> None:
    async with open_small_world() as world:
        near, far = [await world.process(name) for name in ("near", "far")]
        target = await world.cell(far, "t", Worker())
        for number in range(KEPT + 20):
            source = world.mute(near, f"s{number}")
            tell_nowait(source, target, Worker.nap, 100.0)
            tell_nowait(source, target, Worker.nap, 100.0)
        world.kill(far)
        letters = near.letters.read()
        assert len(letters) == KEPT
        assert {letter.count for letter in letters} == {2}
        assert [letter.source for letter in letters][:: KEPT - 1] == ["s20", f"s{KEPT + 19}"]


async def test_who_watches_hears_of_new_ones_within_100_ms(system: VirtualSystem) -> None:
    a, b = await system.spawn(Clerk, name="a"), await system.spawn(Clerk, name="b")
    d = await system.spawn(Clerk, name="d")
    await a.ask(Clerk.write, b, 2, 50.0)
    system.kill(b)
    await trio.sleep(1)
    await a.ask(Clerk.write, d, 3, 50.0)
    async with system.watch_dead_letters() as letters:
        system.kill(d)
        began = trio.current_time()
        letter = await anext(letters)
        assert brief(letter) == ("a", "d", "", 3, "killed(SIGKILL)")
        assert round(trio.current_time() - began, 6) == 0.1
    await trio.sleep(0.1)
    assert system.exchange.letters.heard == []
    async with system.watch_dead_letters() as letters:
        with trio.move_on_after(5):
            await anext(letters)
            raise AssertionError("it is told of old ones")


async def test_an_actor_may_watch(system: VirtualSystem) -> None:
    class Watcher(Actor):
        async def first(self) -> DeadLetter:
            async with self.system.watch_dead_letters() as letters:
                return await anext(letters)

    a, b = await system.spawn(Clerk, name="a"), await system.spawn(Clerk, name="b")
    watcher = await system.spawn(Watcher)
    async with trio.open_nursery() as nursery:
        heard: list[DeadLetter] = []

        async def watch() -> None:
            heard.append(await watcher.ask(Watcher.first))

        nursery.start_soon(watch)
        await trio.sleep(1)
        await a.ask(Clerk.write, b, 3, 50.0)
        system.kill(b)
    assert [brief(letter) for letter in heard] == [("a", "b", "", 3, "killed(SIGKILL)")]


async def test_too_many_at_a_time_are_summed_up(system: VirtualSystem) -> None:
    class Host(Actor):
        async def scatter(self, other: ActorRef[Clerk], cells: int) -> None:
            for number in range(cells):
                child = await self.spawn(Scatterer, name=f"c{number}", local=True)
                await child.ask(Scatterer.write, other)

    class Scatterer(Actor):
        async def write(self, other: ActorRef[Clerk]) -> None:
            other.tell_nowait(Clerk.read, 1000.0)

    host, b = await system.spawn(Host, name="h"), await system.spawn(Clerk, name="b")
    await host.ask(Host.scatter, b, REPORTED + 10)
    system.kill(b)
    await trio.sleep(1)
    letters = await system.dead_letters()
    assert len(letters) == REPORTED + 1
    assert sum(letter.count for letter in letters) == REPORTED + 10
    assert brief(letters[-1]) == ("h", "", "", 10, "more than could be told one by one")
