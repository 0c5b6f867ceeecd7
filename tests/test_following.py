"""Following refs: whoever holds the name now."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.actor import Actor
from actors.ref import ActorRef, ref_to
from runtime.address import CONTROLLER, Address
from runtime.cells import asks, tells
from runtime.cells.cell import Cell
from runtime.cells.stream import Stream
from runtime.errors import ActorDeadError, MailboxFullError
from runtime.messages.signature import signature_of
from runtime.traffic.exchange import Exchange
from tests.small_court import SmallCourt, open_small_court

Handler = Callable[..., object]


class Holder(Actor):
    def __init__(self, life: int = 1) -> None:
        self.life = life
        self.notes: list[list[int]] = []

    async def which(self) -> int:
        return self.life

    async def lives(self) -> AsyncIterator[int]:
        for _ in range(3):
            yield self.life

    async def note(self, numbers: list[int]) -> int:
        self.notes.append(numbers)
        return self.life

    async def leave(self) -> None:
        self.finish()


async def ask(source: Cell, who: Address, handler: Handler, *args: object) -> object:
    return await asks.ask(source, who, signature_of(handler), args)


async def tell(source: Cell, who: Address, handler: Handler, *args: object) -> None:
    await tells.tell(source, who, signature_of(handler), args)


def tell_nowait(source: Cell, who: Address, handler: Handler, *args: object) -> None:
    tells.tell_nowait(source, who, signature_of(handler), args)


def stream(source: Cell, who: Address, handler: Handler, *args: object) -> Stream[object]:
    return Stream(source, who, signature_of(handler), args)


def notes(cell: Cell) -> list[list[int]]:
    assert isinstance(cell.actor, Holder)
    return cell.actor.notes


class Scene:
    """Somebody who speaks in one process, and the first holder of a name in another."""

    def __init__(self, court: SmallCourt, speaker: Cell, home: Exchange, holder: Cell) -> None:
        self.court, self.speaker, self.home, self.holder = court, speaker, home, holder
        self.ref: ActorRef[Holder] = ref_to(holder.address).following()

    async def next_life(self, life: int, home: Exchange | None = None) -> Cell:
        self.holder = await self.court.cell(home or self.home, "holder", Holder(life))
        return self.holder

    @property
    def lookups(self) -> int:
        return len(self.court.names.asked)


async def set_scene(court: SmallCourt, together: bool = False) -> Scene:
    home = await court.process("home")
    process = home if together else await court.process("away")
    holder = await court.cell(home, "holder", Holder())
    return Scene(court, court.world.mute(process, "speaker"), home, holder)


together_or_apart = pytest.mark.parametrize("together", [True, False], ids=["together", "apart"])


@together_or_apart
async def test_it_reaches_each_life_of_the_name_and_asks_once_for_each(
    together: bool, autojump_clock: MockClock
) -> None:
    async with open_small_court() as court:
        scene = await set_scene(court, together)
        speaker, ref = scene.speaker, scene.ref
        for life in (1, 2, 3):
            for _ in range(3):
                assert await ask(speaker, ref, Holder.which) == life
            await tell(speaker, ref, Holder.note, [life])
            tell_nowait(speaker, ref, Holder.note, [life, life])
            await trio.sleep(1)
            assert notes(scene.holder) == [[life], [life, life]]
            assert scene.lookups == life
            assert len(court.fates.monitors) == 1
            await tell(speaker, ref, Holder.leave)
            await trio.sleep(1)
            await scene.next_life(life + 1)


@together_or_apart
async def test_it_streams_from_each_life_of_the_name(
    together: bool, autojump_clock: MockClock
) -> None:
    async with open_small_court() as court:
        scene = await set_scene(court, together)
        for life in (1, 2):
            for _ in range(2):
                lives: Stream[object] = Stream(
                    scene.speaker, scene.ref, signature_of(Holder.lives), ()
                )
                async with lives as items:
                    assert [item async for item in items] == [life] * 3
            assert scene.lookups == life
            await tell(scene.speaker, scene.ref, Holder.leave)
            await trio.sleep(1)
            with pytest.raises(ActorDeadError):
                await stream(scene.speaker, scene.ref, Holder.lives).__aenter__()
            await scene.next_life(life + 1)
            court.names.asked.pop()
        assert not scene.speaker.exchange.streams


async def test_it_reaches_the_next_life_in_another_process(autojump_clock: MockClock) -> None:
    async with open_small_court() as court:
        scene = await set_scene(court)
        assert await ask(scene.speaker, scene.ref, Holder.which) == 1
        court.kill(scene.home)
        await scene.next_life(2, await court.process("new home"))
        assert await ask(scene.speaker, scene.ref, Holder.which) == 2
        assert notes(scene.holder) == []


async def test_the_death_of_its_process_counts_before_the_controller_has_told_of_the_end(
    autojump_clock: MockClock,
) -> None:
    async with open_small_court() as court:
        scene = await set_scene(court)
        assert await ask(scene.speaker, scene.ref, Holder.which) == 1
        court.world.kill(scene.home)  # the peers have heard, the certificate is not there yet
        await scene.next_life(2, await court.process("new home"))
        assert await ask(scene.speaker, scene.ref, Holder.which) == 2
        assert len(scene.speaker.exchange.holders) == 1


@together_or_apart
async def test_between_two_lives_the_actor_is_dead(
    together: bool, autojump_clock: MockClock
) -> None:
    async with open_small_court() as court:
        scene = await set_scene(court, together)
        speaker, ref = scene.speaker, scene.ref
        await tell(speaker, ref, Holder.leave)
        await trio.sleep(1)
        for verb in (ask, tell):
            with pytest.raises(ActorDeadError, match="holder is not alive") as caught:
                await verb(speaker, ref, Holder.which)
            assert caught.value.reason is not None
            assert caught.value.reason.kind == "normal"
        assert speaker.exchange.holders == {}


async def test_a_name_that_nobody_ever_held_is_a_dead_actor(autojump_clock: MockClock) -> None:
    async with open_small_court() as court:
        scene = await set_scene(court)
        nobody = Address("s", "nobody", 0, "")
        with pytest.raises(ActorDeadError, match="no actor is named nobody"):
            await ask(scene.speaker, nobody, Holder.which)
        with pytest.raises(ActorDeadError, match="no actor is named nobody"):
            await tell(scene.speaker, nobody, Holder.which)


async def test_a_name_of_another_system_is_not_looked_up(autojump_clock: MockClock) -> None:
    async with open_small_court() as court:
        scene = await set_scene(court)
        foreign = Address("another", "holder", 0, "")
        await ask(scene.speaker, scene.ref, Holder.which)
        for verb in (ask, tell):
            with pytest.raises(ActorDeadError, match="of another system"):
                await verb(scene.speaker, foreign, Holder.which)
        with pytest.raises(ActorDeadError, match="of another system"):
            tell_nowait(scene.speaker, foreign, Holder.which)
        assert scene.lookups == 1


async def test_who_cannot_wait_is_told_that_the_name_is_not_looked_up(
    autojump_clock: MockClock,
) -> None:
    async with open_small_court() as court:
        scene = await set_scene(court)
        with pytest.raises(
            MailboxFullError, match="the name holder is not yet looked up"
        ) as caught:
            tell_nowait(scene.speaker, scene.ref, Holder.note, [1])
        assert caught.value.__cause__ is None
        await wait_all_tasks_blocked()
        assert scene.lookups == 0
        await ask(scene.speaker, scene.ref, Holder.which)
        tell_nowait(scene.speaker, scene.ref, Holder.note, [2])
        await trio.sleep(1)
        assert notes(scene.holder) == [[2]]


async def test_what_cannot_travel_raises_before_anybody_is_asked(
    autojump_clock: MockClock,
) -> None:
    async with open_small_court() as court:
        scene = await set_scene(court)
        for verb in (ask, tell):
            with pytest.raises(TypeError, match=r"note: numbers=.* cannot travel") as caught:
                await verb(scene.speaker, scene.ref, Holder.note, object())
            assert caught.value.__context__ is caught.value.__cause__
        assert scene.lookups == 0


async def test_what_changes_while_the_name_is_looked_up_changes_nothing(
    autojump_clock: MockClock,
) -> None:
    async with open_small_court() as court:
        scene = await set_scene(court)
        court.names.delay_s = 1.0
        numbers = [1, 2]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell, scene.speaker, scene.ref, Holder.note, numbers)
            await trio.sleep(0.5)
            numbers.append(3)
        await trio.sleep(1)
        assert notes(scene.holder) == [[1, 2]]


async def test_one_that_is_cancelled_meanwhile_has_sent_nothing(
    autojump_clock: MockClock,
) -> None:
    async with open_small_court() as court:
        scene = await set_scene(court)
        court.names.delay_s = 1.0
        for verb in (ask, tell):
            with trio.move_on_after(0.5) as scope:
                await verb(scene.speaker, scene.ref, Holder.note, [1])
            assert scope.cancelled_caught
        await trio.sleep(5)
        assert notes(scene.holder) == []
        assert scene.speaker.exchange.pending == {}
        assert scene.speaker.exchange.holders == {}


async def test_many_that_ask_at_once_watch_it_once(autojump_clock: MockClock) -> None:
    async with open_small_court() as court:
        scene = await set_scene(court)
        court.names.delay_s = 1.0
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(ask, scene.speaker, scene.ref, Holder.note, [number])
        assert sorted(notes(scene.holder)) == [[number] for number in range(10)]
        assert len(court.fates.monitors) == 1


async def test_nothing_is_sent_again_to_the_next_life(autojump_clock: MockClock) -> None:
    async with open_small_court() as court:
        scene = await set_scene(court)
        first = scene.holder
        await ask(scene.speaker, scene.ref, Holder.which)
        await tell(scene.speaker, scene.ref, Holder.leave)
        await tell(scene.speaker, scene.ref, Holder.note, [1])  # to the first, which is ending
        await trio.sleep(1)
        second = await scene.next_life(2)
        assert await ask(scene.speaker, scene.ref, Holder.which) == 2
        assert (notes(first), notes(second)) == ([], [])


async def test_the_controller_can_be_followed(autojump_clock: MockClock) -> None:
    async with open_small_court() as court:
        scene = await set_scene(court)
        court.records[1] = record = court.records[scene.holder.address.incarnation]
        record.address = court.controller.address
        root = Address("s", CONTROLLER, 0, "")
        answer = await ask(scene.speaker, root, type(court.names).look_up, "nobody")
        assert "no actor is named nobody" in str(answer)


def test_a_following_ref_is_a_value_like_any_other() -> None:
    exact: ActorRef[Holder] = ActorRef("s", "holder", 7, "memory:7")
    ref = exact.following()
    assert type(ref) is ActorRef
    assert (ref.name, ref.incarnation, ref.endpoint) == ("holder", 0, "")
    assert ref == ref.following() == Address("s", "holder", 0, "elsewhere")
    assert ref != exact
    data = msgspec.msgpack.encode(ref)
    assert msgspec.msgpack.decode(data, type=ActorRef[Holder]) == ref
