"""A crowd of messages at a cell whose handler is suspended, some of them for reentrant handlers."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.actor import reentrant
from runtime.messages.behaviour import Behaviour
from runtime.messages.signature import Signature
from tests.small_world import ask, open_small_world, tell


class Host(Behaviour):
    def __init__(self) -> None:
        self.door = trio.Event()
        self.served: list[int] = []

    async def wait(self) -> None:
        await self.door.wait()

    async def serve(self, guest: int) -> None:
        self.served.append(guest)

    @reentrant
    async def peek(self) -> int:
        return len(self.served)


class Counting(dict[str, Signature]):
    """Handlers that note how often one is looked up."""

    looked_up = 0

    def get(self, *key: object) -> Signature | None:  # type: ignore[override]
        self.looked_up += 1
        return super().get(*key)  # type: ignore[call-overload, no-any-return]


async def test_each_of_a_crowd_is_looked_at_a_few_times_only(autojump_clock: MockClock) -> None:
    async with open_small_world() as world:
        near, far = await world.process("near"), await world.process("far")
        host = Host()
        source, cell = world.mute(near, "source"), await world.cell(far, "host", host)
        handlers = cell.handlers = Counting(cell.handlers)
        crowd = 1000
        await tell(source, cell, Host.serve, 0)  # brings the whole window
        await ask(source, cell, Host.peek)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, source, cell, Host.wait)
            await wait_all_tasks_blocked()
            for number in range(1, crowd):
                await tell(source, cell, Host.serve, number)
            await wait_all_tasks_blocked()
            host.door.set()
            await wait_all_tasks_blocked()
        assert host.served == list(range(crowd))
        assert handlers.looked_up < 4 * crowd


async def test_who_stood_behind_one_that_gave_up_is_let_in(autojump_clock: MockClock) -> None:
    async with open_small_world() as world:
        near, far = await world.process("near"), await world.process("far")
        host = Host()
        first, second = world.mute(near, "first"), world.mute(near, "second")
        cell = await world.cell(far, "host", host)
        peeks: list[object] = []

        async def peek() -> None:
            peeks.append(await ask(second, cell, Host.peek))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, first, cell, Host.wait)
            await wait_all_tasks_blocked()
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as impatient:
                    impatient.start_soon(ask, second, cell, Host.wait)
                    await wait_all_tasks_blocked()
                    nursery.start_soon(peek)
                    await wait_all_tasks_blocked()
                    assert peeks == []  # never ahead of its own pair
                    scope.cancel()
            await wait_all_tasks_blocked()
            assert peeks == [0]
            host.door.set()
