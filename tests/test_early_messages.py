"""Who is spoken to before he is up: by those whom he told of himself, or who knew that he comes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

import pytest
import trio
import trio.testing

from actors import Actor, ActorDeadError, ActorRef, MailboxFullError, SpawnError, WireError
from actors.ref import ref_to
from actors.testing.virtual import VirtualSystem
from runtime.address import Address
from runtime.cells import asks, tells
from runtime.cells.local_cells import LocalCells, Recipe
from runtime.messages import envelope as wire
from runtime.messages.constructor import constructor_of
from runtime.messages.signature import signature_of
from shell.reach import reach
from tests.small_world import open_small_world


class Registry(Actor):
    """Asks at once whoever registers."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.last: ActorRef[Early] | None = None

    async def register(self, who: ActorRef[Early]) -> None:
        self.last = who
        try:
            self.heard.append(await who.ask(Early.hello))
        except (ActorDeadError, RuntimeError) as error:
            self.heard.append(str(error))

    async def again(self) -> str:
        assert self.last is not None
        return await self.last.ask(Early.hello)

    async def all(self) -> list[str]:
        return self.heard


class Early(Actor):
    def __init__(self, registry: ActorRef[Registry], how: str) -> None:
        self.registry = registry
        self.how = how
        self.up = False

    async def on_start(self) -> None:
        if self.how == "ask":
            await self.registry.ask(Registry.register, self.ref)
        else:
            await self.registry.tell(Registry.register, self.ref)
        await trio.sleep(1)
        if self.how == "fail":
            raise ValueError("it will not do")
        self.up = True

    async def hello(self) -> str:
        return "hello" if self.up else "too early"


@pytest.fixture(params=[False, True], ids=["process", "local"])
def local(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


async def test_what_comes_during_the_start_is_handled_after_it(
    local: bool, system: VirtualSystem
) -> None:
    registry = await system.spawn(Registry, local=local)
    await system.spawn(Early, registry, "tell", local=local)
    assert await registry.ask(Registry.again) == "hello"
    assert await registry.ask(Registry.all) == ["hello"]


async def test_what_comes_during_a_start_that_fails_is_told_so(
    local: bool, system: VirtualSystem
) -> None:
    registry = await system.spawn(Registry, local=local)
    with pytest.raises(SpawnError, match="it will not do"):
        await system.spawn(Early, registry, "fail", name="early", local=local)
    (said,) = await registry.ask(Registry.all)
    assert said.endswith("early.3 has ended: crashed(ValueError: it will not do)")


async def test_an_ask_that_the_start_itself_waits_for_is_a_cycle(
    local: bool, system: VirtualSystem
) -> None:
    registry = await system.spawn(Registry, name="registry", local=local)
    await system.spawn(Early, registry, "ask", name="early", local=local)
    (said,) = await registry.ask(Registry.all)
    assert said.startswith("ask cycle: ")
    assert await registry.ask(Registry.again) == "hello"


class Diary(Actor):
    """Who is spoken to before his process has him."""

    def __init__(self, fails: bool = False) -> None:
        if fails:
            raise ValueError("it will not do")
        self.noted: list[int] = []

    async def note(self, number: int) -> None:
        self.noted.append(number)

    async def all(self) -> list[int]:
        return self.noted

    async def each(self) -> AsyncIterator[int]:
        for number in self.noted:
            yield number

    async def never(self) -> None:
        await trio.sleep_forever()


class Other(Actor):
    async def something(self) -> None: ...


@asynccontextmanager
async def ordered(
    system: VirtualSystem, fails: bool = False, mailbox_messages: int = 8192
) -> AsyncIterator[ActorRef[Diary]]:
    """A ref to an actor whose start has been ordered, and no more."""

    async def order() -> None:
        with pytest.raises(SpawnError) if fails else nullcontext():
            await system.spawn(Diary, fails, name="diary", mailbox_messages=mailbox_messages)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(order)
        while (record := system.nodes.records.get("diary")) is None:
            await trio.lowlevel.checkpoint()
        assert not record.settled.is_set()
        yield ref_to(record.address)


async def test_what_comes_before_the_actor_is_there_is_handled_in_order(
    system: VirtualSystem,
) -> None:
    async with ordered(system) as diary:
        await diary.tell(Diary.note, 0)
        for number in range(1, 20):
            diary.tell_nowait(Diary.note, number)
        assert await diary.ask(Diary.all) == list(range(20))
        diary.tell_nowait(Diary.note, 20)
        async with diary.stream(Diary.each) as numbers:
            assert [each async for each in numbers] == list(range(21))
    assert (await system.audit()).balances


async def test_a_stream_and_a_trace_that_come_before_the_actor_is_there_are_served(
    system: VirtualSystem,
) -> None:
    async with ordered(system) as diary:
        diary.tell_nowait(Diary.note, 1)
        async with diary.stream(Diary.each) as numbers:
            traced = await system.trace(diary, Diary.all)
            assert [each async for each in numbers] == [1]
    assert traced.result == [1]
    assert {"received", "queued", "started", "ended"} <= {each.station for each in traced.stations}


async def test_many_asks_at_once_that_come_before_the_actor_is_there_are_answered(
    system: VirtualSystem,
) -> None:
    answers: list[list[int]] = []

    async def ask() -> None:
        answers.append(await diary.ask(Diary.all))

    async with ordered(system) as diary:
        diary.tell_nowait(Diary.note, 7)
        async with trio.open_nursery() as nursery:
            for _ in range(60):
                nursery.start_soon(ask)
    assert answers == [[7]] * 60
    assert (await system.audit()).balances


async def test_who_is_on_order_can_be_reached(system: VirtualSystem) -> None:
    async with ordered(system) as diary:
        await reach(diary)


async def test_what_comes_for_an_actor_that_cannot_be_made_is_told_so(
    system: VirtualSystem,
) -> None:
    async with ordered(system, fails=True) as diary:
        diary.tell_nowait(Diary.note, 1)
        with pytest.raises(ActorDeadError, match="it will not do"):
            await diary.ask(Diary.all)
    assert (await system.audit()).balances
    assert sum(letter.count for letter in await system.dead_letters()) == 1


async def test_what_the_actor_has_no_handler_for_is_refused_once_that_is_known(
    system: VirtualSystem,
) -> None:
    async with ordered(system) as diary:
        other = ref_to(diary)
        with pytest.raises(WireError, match="has no handler 'something'"):
            await other.ask(Other.something)
        assert await diary.ask(Diary.all) == []


async def test_an_early_ask_that_is_cancelled_is_never_begun(
    system: VirtualSystem,
) -> None:
    async with ordered(system) as diary:
        with trio.move_on_after(0) as patience:
            await diary.ask(Diary.never)
        assert patience.cancelled_caught
        async with trio.open_nursery() as nursery:
            nursery.start_soon(diary.ask, Diary.never)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert await diary.ask(Diary.all) == []
    assert (await system.audit()).balances


async def test_what_does_not_fit_into_the_mailbox_is_refused_once_that_is_known(
    system: VirtualSystem,
) -> None:
    async with ordered(system, mailbox_messages=4) as diary:
        for number in range(20):
            diary.tell_nowait(Diary.note, number)
        with pytest.raises(MailboxFullError, match=r"mailbox of diary is full \(4\)"):
            await diary.ask(Diary.all)
        assert await diary.ask(Diary.all) == [0, 1, 2, 3]
    assert (await system.audit()).balances
    assert sum(letter.count for letter in await system.dead_letters()) == 16


@pytest.mark.parametrize("fails", [False, True], ids=["starts", "fails"])
async def test_a_cell_beside_others_can_be_spoken_to_from_the_order_on(
    fails: bool, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_small_world() as world:
        process = await world.process("a")
        source = world.mute(process, "source")
        cells = LocalCells(process)
        arguments = bytearray()
        constructor = constructor_of(Diary)
        assert constructor is not None
        constructor.encode((fails,), arguments)
        address = Address("s", "a/diary", 1000, process.address.endpoint)
        with cells.wanting("token", Recipe(Diary, bytes(arguments), None)):
            process.say(process.here, wire.Run(address, 0, 0, token="token"))
        note, every = signature_of(Diary.note), signature_of(Diary.all)
        await tells.tell(source, address, note, note.bind((1,), {}))
        if fails:
            with pytest.raises(ActorDeadError, match="it will not do"):
                await asks.ask(source, address, every, ())
        else:
            assert await asks.ask(source, address, every, ()) == [1]
