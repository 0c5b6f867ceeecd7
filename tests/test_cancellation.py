"""Whenever an ask, a tell or a stream is cancelled, nothing of it is left, and nobody else notices.

Over a whole system in virtual time: `tests.axe` cuts the operation at each of its points, and
`tests.census` compares what there is after with what there was before.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Actor, ActorRef, reentrant
from actors.testing.virtual import VirtualSystem
from runtime.errors import MailboxFullError
from tests.axe import cut
from tests.census import actors, census, exchanges, settle


class Worker(Actor):
    """``begun`` and ``running``: how many of its handlers have begun, and not ended.

    Those of bystanders, ``add``, ``busy`` and ``rest``, are not counted.
    """

    def __init__(self) -> None:
        self.begun = self.running = 0

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.begun += 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    async def add(self, number: int) -> int:
        return number + 1

    async def note(self, text: str) -> None:
        pass

    async def busy(self, seconds: float) -> float:
        await trio.sleep(seconds)
        return seconds

    @reentrant
    async def rest(self, seconds: float) -> float:
        await trio.sleep(seconds)
        return seconds

    async def nap(self, seconds: float) -> float:
        with self._counted():
            await trio.sleep(seconds)
            await trio.lowlevel.checkpoint()
            return seconds

    @reentrant
    async def doze(self, seconds: float) -> float:
        with self._counted():
            await trio.sleep(seconds)
            return seconds

    async def fail(self) -> None:
        await trio.lowlevel.checkpoint()
        raise LookupError("as asked")

    async def pass_on(self, to: ActorRef[Worker], seconds: float) -> float:
        """Asks another in the course of it, and cleans up with a further ask."""
        with self._counted():
            try:
                return await to.ask(Worker.nap, seconds)
            finally:
                with trio.move_on_after(1, shield=True):
                    await to.ask(Worker.rest, 0.001)

    async def pass_both_on(self, to: ActorRef[Worker], seconds: float) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(to.ask, Worker.doze, seconds)
            nursery.start_soon(to.ask, Worker.nap, seconds)

    async def numbers(self, count: int) -> AsyncIterator[int]:
        with self._counted():
            for number in range(count):
                yield number

    async def ticks(self, count: int, seconds: float) -> AsyncIterator[int]:
        with self._counted():
            for number in range(count):
                await trio.sleep(seconds)
                yield number

    @reentrant
    async def beside(self, count: int, seconds: float) -> AsyncIterator[int]:
        for number in range(count):
            await trio.sleep(seconds)
            yield number

    async def relayed(self, to: ActorRef[Worker], count: int) -> AsyncIterator[int]:
        """A stream that consumes another."""
        with self._counted():
            async with to.stream(Worker.ticks, count, 0.02) as items:
                async for item in items:
                    yield item


class Stage:
    """``far`` and ``other`` have processes of their own, ``near`` is a cell of the program's."""

    def __init__(
        self, system: VirtualSystem, far: ActorRef[Worker], near: ActorRef[Worker]
    ) -> None:
        self.system, self.far, self.near = system, far, near
        self.other: ActorRef[Worker] = far

    async def bystand(self, ref: ActorRef[Worker], busy_s: float) -> None:
        """Whatever happens to others, this is answered."""
        async with trio.open_nursery() as nursery:
            if busy_s:
                nursery.start_soon(self._answered, ref, Worker.busy, busy_s)
                await wait_all_tasks_blocked()
            nursery.start_soon(self._answered, ref, Worker.rest, 0.2)
            await trio.sleep(0.01)
            nursery.start_soon(self._answered, ref, Worker.busy, 0.1)  # after the operation's
            await trio.sleep(0.001)
            assert await ref.ask(Worker.add, 1) == 2
            async with ref.stream(Worker.beside, 3, 0.05) as items:
                assert [item async for item in items] == [0, 1, 2]

    async def _answered(self, ref: ActorRef[Worker], handler: Any, seconds: float) -> None:
        assert await ref.ask(handler, seconds) == seconds


Operation = Callable[[Stage], Awaitable[object]]


async def ask(stage: Stage) -> None:
    assert await stage.far.ask(Worker.add, 1) == 2


async def ask_for_long(stage: Stage) -> None:
    assert await stage.far.ask(Worker.nap, 0.1) == 0.1


async def ask_twice_at_once(stage: Stage) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.far.ask, Worker.nap, 0.1)
        nursery.start_soon(stage.far.ask, Worker.nap, 0.1)


async def ask_reentrant(stage: Stage) -> None:
    assert await stage.far.ask(Worker.doze, 0.1) == 0.1


async def ask_in_place(stage: Stage) -> None:
    assert await stage.near.ask(Worker.add, 1) == 2
    await trio.lowlevel.checkpoint()


async def ask_in_place_for_long(stage: Stage) -> None:
    assert await stage.near.ask(Worker.nap, 0.1) == 0.1


async def ask_in_place_nested(stage: Stage) -> None:
    assert await stage.near.ask(Worker.pass_on, stage.far, 0.1) == 0.1


async def ask_nested(stage: Stage) -> None:
    assert await stage.far.ask(Worker.pass_on, stage.other, 0.1) == 0.1


async def ask_nested_at_once(stage: Stage) -> None:
    await stage.far.ask(Worker.pass_both_on, stage.other, 0.1)


async def ask_back(stage: Stage) -> None:
    """From another process to a cell of ours, and on."""
    assert await stage.far.ask(Worker.pass_on, stage.near, 0.1) == 0.1


async def ask_following(stage: Stage) -> None:
    forget_holders(stage)
    assert await stage.far.following().ask(Worker.nap, 0.1) == 0.1


async def ask_with_a_deadline(stage: Stage) -> None:
    with suppress(trio.TooSlowError), trio.fail_after(0.05):
        await stage.far.ask(Worker.nap, 0.1)


async def ask_within_a_deadline(stage: Stage) -> None:
    """It is over before its deadline, and somebody else's is not."""
    with trio.fail_after(0.05):
        await stage.far.ask(Worker.nap, 0.03)


async def ask_what_fails(stage: Stage) -> None:
    with suppress(Exception):
        await stage.far.ask(Worker.fail)


async def ask_without_credit(stage: Stage) -> None:
    """Its bystander keeps it busy."""
    fill(stage.far)
    assert await stage.far.ask(Worker.add, 1) == 2


async def tell_without_credit(stage: Stage) -> None:
    fill(stage.far)
    await stage.far.tell(Worker.note, "x" * 10)
    await stage.far.tell(Worker.note, "x" * 10)


async def tell_following(stage: Stage) -> None:
    forget_holders(stage)
    await stage.far.following().tell(Worker.note, "x")


def forget_holders(stage: Stage) -> None:
    """Nobody in the program's process knows any more who holds which name."""
    exchange = stage.system.exchange
    exchange.holders.clear()
    for number in list(exchange.vigil._watches):
        exchange.vigil.give_up(number)


def fill(ref: ActorRef[Worker]) -> None:
    with suppress(MailboxFullError):
        while True:
            ref.tell_nowait(Worker.note, "x" * 10)


async def stream(stage: Stage) -> None:
    async with stage.far.stream(Worker.ticks, 3, 0.02) as items:
        assert [item async for item in items] == [0, 1, 2]


async def stream_fast(stage: Stage) -> None:
    async with stage.far.stream(Worker.numbers, 20) as items:
        assert [item async for item in items] == list(range(20))


async def stream_and_leave(stage: Stage) -> None:
    async with stage.far.stream(Worker.numbers, 3000) as items:
        for number in range(3):
            assert await anext(items) == number
            await trio.sleep(0.01)


async def stream_in_place(stage: Stage) -> None:
    async with stage.near.stream(Worker.ticks, 3, 0.02) as items:
        assert [item async for item in items] == [0, 1, 2]


async def stream_following(stage: Stage) -> None:
    forget_holders(stage)
    async with stage.far.following().stream(Worker.ticks, 2, 0.02) as items:
        assert [item async for item in items] == [0, 1]


async def stream_relayed(stage: Stage) -> None:
    async with stage.far.stream(Worker.relayed, stage.other, 3) as items:
        assert [item async for item in items] == [0, 1, 2]


async def stream_without_credit(stage: Stage) -> None:
    fill(stage.far)
    async with stage.far.stream(Worker.ticks, 2, 0.02) as items:
        assert [item async for item in items] == [0, 1]


async def look_up(stage: Stage) -> None:
    assert await stage.system.lookup(stage.far.name) == stage.far


async def see_the_tree(stage: Stage) -> None:
    assert len(await stage.system.tree()) == 3


FREE = [
    ask,
    ask_for_long,
    ask_twice_at_once,
    ask_reentrant,
    ask_in_place,
    ask_in_place_for_long,
    ask_in_place_nested,
    ask_nested,
    ask_nested_at_once,
    ask_back,
    ask_following,
    ask_with_a_deadline,
    ask_within_a_deadline,
    ask_what_fails,
    tell_following,
    stream,
    stream_fast,
    stream_and_leave,
    stream_in_place,
    stream_following,
    stream_relayed,
    look_up,
    see_the_tree,
]
QUEUED = [
    ask,
    ask_for_long,
    ask_reentrant,
    ask_in_place,
    ask_nested,
    ask_in_place_nested,
    ask_following,
    ask_without_credit,
    tell_without_credit,
    stream,
    stream_in_place,
    stream_relayed,
    stream_without_credit,
]
CASES = [
    *(pytest.param(each, 0.0, id=each.__name__) for each in FREE),
    *(pytest.param(each, 0.1, id=f"{each.__name__}_queued") for each in QUEUED),
]


@pytest.mark.parametrize(("operation", "busy_s"), CASES)
@pytest.mark.regrow(seed=0, runs=2)
async def test_whenever_it_is_cancelled_nothing_is_left_and_nobody_else_notices(
    operation: Operation, busy_s: float, system: VirtualSystem
) -> None:
    room = 2 if operation.__name__.endswith("without_credit") else 16
    stage = Stage(
        system,
        await system.spawn(Worker, mailbox_messages=room),
        await system.spawn(Worker, local=True, mailbox_messages=room),
    )
    stage.other = await system.spawn(Worker)
    for ref in (stage.far, stage.near, stage.other):
        await stage.bystand(ref, 0.0)
    await stage.far.ask(Worker.pass_on, stage.other, 0.0)
    await stage.far.ask(Worker.pass_on, stage.near, 0.0)
    await trio.sleep(3)
    before = census(system)
    workers = [actor for actor in actors(system) if isinstance(actor, Worker)]
    assert len(workers) == 3
    for step in itertools.count(1):
        async with trio.open_nursery() as others:
            for ref in (stage.far, stage.near):
                others.start_soon(stage.bystand, ref, busy_s)
            await wait_all_tasks_blocked()
            over = await cut(partial(operation, stage), step)
            await trio.sleep(0.005)
            assert [worker.running for worker in workers] == [0, 0, 0]
            begun = [worker.begun for worker in workers]
        forget_holders(stage)
        await settle(system, before)
        assert [worker.begun for worker in workers] == begun
        assert [exchange.strays for exchange in exchanges(system)] == [{}, {}, {}]
        await operation(stage)
        if over:
            break
    assert step > 1
