"""Leader and followers: whoever waits reads, and somebody always does."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from runtime.messages.behaviour import Behaviour
from runtime.wires.leader import Leader
from runtime.wires.memory import MemoryNetwork, MemoryTransport
from runtime.wires.reading import Seat
from tests.small_world import ask, open_small_world, pair, tell

BOUND_S = 1000


class Sleeper(Behaviour):
    def __init__(self) -> None:
        self.notes: list[int] = []

    async def add(self, number: int) -> int:
        return number + 1

    async def note(self, number: int) -> None:
        self.notes.append(number)

    async def nap(self, seconds: float) -> float:
        await trio.sleep(seconds)
        return seconds


class Asker(Seat):
    asks = True


class Desk:
    """A leader over a transport whose every message is the number of a seat to wake."""

    def __init__(self, network: MemoryNetwork) -> None:
        self.inbox = network.join(1)
        self.sender = network.join(2)
        self.sender.connect(self.inbox.endpoint)
        self.seats: dict[int, Seat] = {}
        self.routed: list[int] = []
        self.readers: list[str] = []
        self.flush: Callable[[], bool] = lambda: True
        self.suspended: Callable[[], None] = lambda: None
        self.leader = Leader(
            self.inbox,
            self._drain,
            lambda: self.flush(),
            lambda: self.suspended(),
            lambda: None,
        )

    def _drain(self, seat: Seat | None = None) -> None:
        self.readers.append(trio.lowlevel.current_task().name)
        while (message := self.inbox.receive()) is not None:
            number = int(bytes(message[1][0]))
            self.routed.append(number)
            if number in self.seats:
                self.leader.wake(self.seats[number])
            if seat is not None and seat.ready:
                return

    def send(self, number: int) -> None:
        self.sender.send(self.inbox.endpoint, [b"%d" % number])

    async def sit(self, number: int) -> None:
        seat = self.seats[number] = Seat()
        try:
            await self.leader.until(seat)
        finally:
            del self.seats[number]


@asynccontextmanager
async def open_desk() -> AsyncIterator[Desk]:
    async with trio.open_nursery() as nursery:
        desk = Desk(MemoryNetwork(nursery))
        nursery.start_soon(desk.leader.run, name="standby")
        await wait_all_tasks_blocked()
        with trio.fail_after(BOUND_S):
            yield desk
        nursery.cancel_scope.cancel()


async def test_the_standby_reads_when_nobody_waits(autojump_clock: MockClock) -> None:
    async with open_desk() as desk:
        for number in range(10):
            desk.send(number)
            await wait_all_tasks_blocked()
        assert desk.routed == list(range(10))
        assert set(desk.readers) == {"standby"}


async def test_followers_are_woken_by_whoever_reads(
    autojump_clock: MockClock,
) -> None:
    async with open_desk() as desk, trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(desk.sit, number, name=f"sitter {number}")
            await wait_all_tasks_blocked()
        assert set(desk.readers) == {"standby"}
        for number in range(5):
            desk.send(number)
            await wait_all_tasks_blocked()
        assert desk.routed == list(range(5))
        assert len(nursery.child_tasks) == 0


async def test_whom_the_standby_wakes_reads_from_then_on() -> None:
    """Else every message would cost a tick more, for as long as the process lives.

    By trio's own clock: under others the lead is given on at the end of every tick.
    """
    async with open_desk() as desk, trio.open_nursery() as nursery:

        async def sit_again_and_again() -> None:
            for number in range(4):
                await desk.sit(number)

        nursery.start_soon(sit_again_and_again, name="sitter")
        await wait_all_tasks_blocked()
        for number in range(4):
            desk.readers.clear()
            desk.send(number)
            await wait_all_tasks_blocked()
            assert desk.readers[0] == ("sitter" if number else "standby")


async def test_a_cancelled_leader_hands_the_lead_on(autojump_clock: MockClock) -> None:
    async with open_desk() as desk:
        scopes: list[trio.CancelScope] = []
        woken = []

        async def sit(number: int) -> None:
            with trio.CancelScope() as scope:
                scopes.append(scope)
                await desk.sit(number)
                woken.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(sit, number)
                await wait_all_tasks_blocked()
            for number in range(7):  # whoever leads, sooner or later it is its turn
                scopes[number].cancel()
                await wait_all_tasks_blocked()
                desk.send(100 + number)
                await wait_all_tasks_blocked()
                assert desk.routed[-1] == 100 + number
            desk.send(7)
        assert woken == [7]


async def test_a_leader_that_is_woken_from_outside_leaves(autojump_clock: MockClock) -> None:
    async with open_desk() as desk, trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(desk.sit, number)
            await wait_all_tasks_blocked()
        for number in (1, 0, 2):
            desk.leader.wake(desk.seats[number])
            await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 0
        desk.send(5)
        await wait_all_tasks_blocked()
        assert desk.routed == [5]


async def test_a_seat_that_is_ready_does_not_wait(autojump_clock: MockClock) -> None:
    async with open_desk() as desk:
        seat = Seat()
        desk.leader.wake(seat)
        await desk.leader.until(seat)


async def test_a_lead_is_not_vacant_for_long_in_a_busy_process(
    autojump_clock: MockClock,
) -> None:
    """A process that never sleeps reads all the same."""
    async with open_desk() as desk:
        for number in range(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(desk.sit, number)
                await wait_all_tasks_blocked()
                desk.send(number)  # the lead falls vacant when it has been routed
            desk.send(100 + number)
            for _ in range(4):
                await trio.lowlevel.checkpoint()
            assert desk.routed[-1] == 100 + number


@pytest.mark.parametrize("seed", range(10))
async def test_everything_is_routed_whoever_comes_and_goes(
    autojump_clock: MockClock, seed: int
) -> None:
    rng = random.Random(seed)
    async with open_desk() as desk:
        sent: list[int] = []
        waiting: deque[tuple[int, trio.CancelScope]] = deque()
        left = []

        async def sit(number: int, scope: trio.CancelScope) -> None:
            with scope:
                await desk.sit(number)
            left.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(1000):
                scope = trio.CancelScope()
                waiting.append((number, scope))
                nursery.start_soon(sit, number, scope)
                await trio.lowlevel.checkpoint()
                if rng.random() < 0.5:
                    await wait_all_tasks_blocked()
                for _ in range(rng.randrange(4)):
                    if not waiting:
                        break
                    rng.shuffle(waiting)
                    number, scope = waiting.pop()
                    action = rng.randrange(4)
                    if action == 0:
                        scope.cancel()
                    elif action == 1 and number in desk.seats:
                        desk.leader.wake(desk.seats[number])
                        scope.cancel()  # at the same time
                    else:
                        if action == 2:
                            scope.deadline = trio.current_time() + rng.choice((0.0, 0.5, 1.0))
                        sent.append(number)
                        desk.send(number)
                        if number not in desk.seats:
                            scope.cancel()
                if rng.random() < 0.1:
                    await trio.sleep(rng.choice((0.5, 1.0)))
            while waiting:
                number, _ = waiting.pop()
                await wait_all_tasks_blocked()
                sent.append(number)
                desk.send(number)
        assert sorted(left) == list(range(1000))
        await wait_all_tasks_blocked()
        assert desk.routed == sent


@pytest.mark.parametrize("where", ["flush", "suspended"])
async def test_an_exception_at_the_end_of_a_tick_is_raised(
    autojump_clock: MockClock, where: str
) -> None:
    """trio would take the instrument away, and nothing would ever be sent again."""

    def fail() -> bool:
        raise ValueError("no room")

    async with trio.open_nursery() as nursery:
        desk = Desk(MemoryNetwork(nursery))
        nursery.start_soon(desk.sit, 1)
        await wait_all_tasks_blocked()
        raised = trio.Event()

        async def run() -> None:
            with pytest.raises(ValueError, match="no room"):
                await desk.leader.run()
            raised.set()

        nursery.start_soon(run)
        await wait_all_tasks_blocked()
        setattr(desk, where, fail)
        with trio.fail_after(BOUND_S):
            await raised.wait()
        setattr(desk, where, lambda: True)
        desk.send(1)  # whoever sits still leads


async def test_what_the_transport_raises_ends_the_run_and_is_no_readers_error(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def break_down() -> None:
        raise ValueError("no socket")

    async with trio.open_nursery() as nursery:
        desk = Desk(MemoryNetwork(nursery))
        raised = trio.Event()

        async def run() -> None:
            with pytest.raises(ValueError, match="no socket"):
                await desk.leader.run()
            raised.set()

        nursery.start_soon(run)
        nursery.start_soon(desk.sit, 1)
        await wait_all_tasks_blocked()
        monkeypatch.setattr(desk.inbox, "wait", break_down)
        nursery.start_soon(desk.leader.until, Asker())  # it takes the lead
        with trio.fail_after(BOUND_S):
            await raised.wait()
        nursery.cancel_scope.cancel()


async def test_a_flush_that_left_something_behind_is_called_again(
    autojump_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        answers = [False, False, True]
        calls = 0

        def flush() -> bool:
            nonlocal calls
            calls += 1
            return answers.pop(0) if answers else True

        desk.flush = flush
        await trio.sleep(1)
        assert calls >= 3
        assert answers == []


# -- in an exchange


@pytest.mark.parametrize("seed", range(4))
async def test_no_ask_hangs_over_thousands_with_random_cancels(
    autojump_clock: MockClock, seed: int
) -> None:
    rng = random.Random(seed)
    async with open_small_world(simple=False) as world:
        near, far = await world.process("near"), await world.process("far")
        source = world.mute(near, "source")
        targets = [await world.cell(far, f"t{n}", Sleeper()) for n in range(3)]
        answered = cancelled = 0

        async def asker() -> None:
            nonlocal answered, cancelled
            for _ in range(150):
                target = rng.choice(targets)
                number = rng.randrange(1000)
                with trio.CancelScope() as scope:
                    scope.deadline = trio.current_time() + rng.choice((0.0, 0.01, 0.5, 1000.0))
                    if rng.random() < 0.3:
                        nap = rng.choice((0.0, 0.01, 0.02))
                        assert await ask(source, target, Sleeper.nap, nap) == nap
                    else:
                        assert await ask(source, target, Sleeper.add, number) == number + 1
                    answered += 1
                cancelled += scope.cancelled_caught

        with trio.fail_after(BOUND_S):
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(asker)
            await trio.sleep(1)
        assert answered + cancelled == 1500
        assert answered > 100
        assert cancelled > 100
        assert not near.pending
        assert near.peer(far.address.endpoint).pending == 0
        for target in targets:
            window = pair(source, target).window
            assert (window.in_flight, target.in_flight, len(target.mailbox)) == (0, None, 0)


async def test_the_lead_is_handed_on_when_a_handler_suspends(autojump_clock: MockClock) -> None:
    """The service task leads while its mailbox is empty; its handler must not take that along."""
    async with open_small_world(simple=False) as world:
        near, far = await world.process("near"), await world.process("far")
        source = world.mute(near, "source")
        sleeper, other = Sleeper(), Sleeper()
        first = await world.cell(far, "first", sleeper)
        second = await world.cell(far, "second", other)
        order = []

        async def nap() -> None:
            await ask(source, first, Sleeper.nap, 5.0)
            order.append(("first", trio.current_time()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(nap)
            await wait_all_tasks_blocked()
            for number in range(3):
                await ask(source, second, Sleeper.add, number)
                await tell(source, first, Sleeper.note, number)
                order.append(("second", trio.current_time()))
                await trio.sleep(1)
            assert sleeper.notes == []
            assert len(first.mailbox) == 3
        assert order == [("second", 0.0), ("second", 1.0), ("second", 2.0), ("first", 5.0)]
        await wait_all_tasks_blocked()
        assert sleeper.notes == [0, 1, 2]


async def test_two_processes_ask_each_other_at_the_same_time(autojump_clock: MockClock) -> None:
    async with open_small_world(simple=False) as world:
        near, far = await world.process("near"), await world.process("far")
        cells = [await world.cell(near, "a", Sleeper()), await world.cell(far, "b", Sleeper())]
        mutes = [world.mute(near, "c"), world.mute(far, "d")]
        answers = []

        async def asker(source: int, number: int) -> None:
            answers.append(await ask(mutes[source], cells[1 - source], Sleeper.add, number))

        with trio.fail_after(BOUND_S):
            for number in range(200):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(asker, 0, number)
                    nursery.start_soon(asker, 1, number)
        assert answers == [n + 1 for n in range(200) for _ in range(2)]


async def test_a_leader_can_be_run_again_after_its_end(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        inbox: MemoryTransport = MemoryNetwork(nursery).join(1)
        leader = Leader(inbox, lambda seat=None: None, lambda: True, lambda: None, lambda: None)
        for _ in range(3):
            async with trio.open_nursery() as running:
                running.start_soon(leader.run)
                await wait_all_tasks_blocked()
                running.cancel_scope.cancel()
