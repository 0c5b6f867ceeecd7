"""Runs of asks and of their answers: under one envelope, and yet each for itself."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from runtime.cells.cell import Cell
from runtime.errors import ActorDeadError, MailboxFullError, RemoteError, WireError
from runtime.messages import envelope as wire
from runtime.messages.batch import MAX_RUN, Batch
from runtime.messages.behaviour import Behaviour
from runtime.messages.codec import decode, encode
from runtime.traffic.credit import Ledger
from runtime.traffic.outbox import BATCH_MESSAGES, BATCH_S
from tests.small_world import SmallWorld, ask, open_small_world, pair, stream

CHAIN = ("a.1",)


def envelopes(batch: Batch) -> list[wire.Envelope]:
    return [part[0] for part in decode(batch.take())]


def asks(*sizes: int, chain: tuple[str, ...] = ()) -> Batch:
    batch = Batch()
    for id, size in enumerate(sizes, 1):
        batch.body += b"x" * size
        batch.ask(7, "add", size, id, chain)
    return batch


def replies(ledger: Ledger, *sizes: int) -> Batch:
    batch = Batch()
    for id, size in enumerate(sizes, 1):
        batch.body += b"x" * size
        ledger.handled += 1
        batch.reply(7, ledger, size, id)
    return batch


def test_one_ask_is_no_run() -> None:
    assert envelopes(asks(5, chain=CHAIN)) == [wire.Ask(7, "add", 5, 1, 0.0, CHAIN)]


def test_asks_that_follow_each_other_share_an_envelope() -> None:
    assert envelopes(asks(5, 0, chain=CHAIN)) == [wire.Asks(7, "add", 5, (1, 2), (5, 0), CHAIN)]


def test_one_reply_is_no_run() -> None:
    assert envelopes(replies(Ledger(), 5)) == [wire.Reply(7, 1, 5, 1, 0, 0, 0, 0)]


def test_replies_that_follow_each_other_tell_the_counts_once() -> None:
    ledger = Ledger()
    assert envelopes(replies(ledger, 5, 0)) == [wire.Replies(7, 5, (1, 2), (5, 0), 2, 0, 0, 0, 0)]
    assert ledger.unreported == 0


def test_a_run_is_no_longer_than_its_bound() -> None:
    for batch in (asks(*[0] * (MAX_RUN + 1)), replies(Ledger(), *[0] * (MAX_RUN + 1))):
        assert (batch.count, batch.messages) == (2, MAX_RUN + 1)
        first, second = envelopes(batch)
        assert isinstance(first, wire.Asks | wire.Replies)
        assert len(first.ids) == MAX_RUN
        assert isinstance(second, wire.Ask | wire.Reply)
        assert second.id == MAX_RUN + 1


def test_what_comes_between_keeps_its_turn() -> None:
    batch, ledger, other = Batch(), Ledger(), Ledger()
    for id in (1, 2):
        batch.ask(7, "add", 0, id, ())
    batch.tell(7, "add", 0)
    batch.ask(7, "add", 0, 3, ())
    batch.ask(7, "drop", 0, 4, ())
    batch.ask(8, "drop", 0, 5, ())
    batch.ask(8, "drop", 0, 6, CHAIN)
    batch.reply(9, ledger, 0, 7)
    batch.reply(6, other, 0, 8)
    batch.add(wire.Cancel(7, 1))
    assert (batch.messages, batch.count) == (10, 9)
    assert envelopes(batch) == [
        wire.Asks(7, "add", 0, (1, 2), (0, 0)),
        wire.Tell(7, "add", 0),
        wire.Ask(7, "add", 0, 3),
        wire.Ask(7, "drop", 0, 4),
        wire.Ask(8, "drop", 0, 5),
        wire.Ask(8, "drop", 0, 6, 0.0, CHAIN),
        wire.Reply(9, 7, 0, 0, 0, 0, 0, 0),
        wire.Reply(6, 8, 0, 0, 0, 0, 0, 0),
        wire.Cancel(7, 1),
    ]


def test_a_batch_that_was_taken_begins_anew() -> None:
    batch = asks(0, 0)
    batch.take()
    batch.ask(7, "add", 0, 9, ())
    assert envelopes(batch) == [wire.Ask(7, "add", 0, 9)]


@pytest.mark.parametrize(
    ("size", "ids", "sizes"),
    [
        pytest.param(3, (1, 2), (3,), id="a size too few"),
        pytest.param(3, (1,), (1, 2), id="an id too few"),
        pytest.param(3, (1, 2), (1, 1), id="bytes of nobody"),
        pytest.param(3, (1, 2), (4, -1), id="less than nothing"),
    ],
)
def test_a_run_that_does_not_say_whose_its_bytes_are_is_refused(
    size: int, ids: tuple[int, ...], sizes: tuple[int, ...]
) -> None:
    for run in (
        wire.Asks(7, "add", size, ids, sizes),
        wire.Replies(7, size, ids, sizes, 1, 0, 0, 0, 0),
    ):
        with pytest.raises(WireError, match=f"{type(run).__name__} of 3 bytes"):
            decode(encode(run, body=b"xyz"))


# -- between two processes


class Oracle(Behaviour):
    """Answers, notes in which order, and fails or waits when asked to."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.spent_s = 0.0
        self.gate = trio.Event()

    async def answer(self, number: int) -> int:
        self.heard.append(number)
        if number == 13:
            raise ValueError("unlucky")
        return number * 2

    async def end(self, number: int) -> int:
        if number == 3:
            raise SystemExit
        return number

    async def dawdle(self, number: int) -> int:
        self.heard.append(number)
        self.spent_s += 1.0
        return number

    async def wait(self, number: int) -> int:
        self.heard.append(number)
        await self.gate.wait()
        return number

    async def count(self, number: int) -> AsyncIterator[int]:
        for each in range(number):
            yield each


@pytest.fixture(params=[True, False], ids=["reader", "leader"])
def simple(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


class Scene:
    """One who asks, and an oracle in another process with room for ``mailbox_messages``."""

    def __init__(self, world: SmallWorld, source: Cell, target: Cell, oracle: Oracle) -> None:
        self.world, self.source, self.target, self.oracle = world, source, target, oracle
        self.passed: list[wire.Envelope] = []
        world.weather = self._record

    def _record(self, _from: int, _to: int, frames: object) -> tuple[float, ...]:
        self.passed += [part[0] for part in decode(frames)]  # type: ignore[arg-type]
        return (0.0,)

    def kinds(self) -> set[type]:
        return {type(each) for each in self.passed}


async def open_scene(world: SmallWorld, mailbox_messages: int = 1024) -> Scene:
    source = world.mute(await world.process("here"), "source")
    oracle = Oracle()
    there = await world.process("there")
    there.clock = lambda: oracle.spent_s
    target = await world.cell(there, "oracle", oracle, mailbox_messages)
    assert await ask(source, target, Oracle.answer, 0) == 0
    await trio.sleep(1)
    return Scene(world, source, target, oracle)


async def test_many_who_ask_at_once_get_each_his_own_answer(
    simple: bool, autojump_clock: MockClock
) -> None:
    got: dict[int, object] = {}
    async with open_small_world(simple) as world:
        scene = await open_scene(world)

        async def inquire(number: int) -> None:
            try:
                got[number] = await ask(scene.source, scene.target, Oracle.answer, number)
            except RemoteError as error:
                got[number] = str(error)

        async with trio.open_nursery() as nursery:
            for number in range(1, 40):
                nursery.start_soon(inquire, number)
        assert {number: got[number] for number in got if number != 13} == {
            number: number * 2 for number in range(1, 40) if number != 13
        }
        assert "unlucky" in str(got[13])
        await trio.sleep(1)
        window = pair(scene.source, scene.target).window
        assert window.totals() == (40, 39, 1, 0, 0, 0)
        assert (window.reply_bytes, window.in_flight) == (0, 0)
        if not simple:
            assert {wire.Asks, wire.Replies} <= scene.kinds()


async def test_one_of_a_run_is_cancelled_alone(autojump_clock: MockClock) -> None:
    got: list[object] = []
    async with open_small_world(simple=False) as world:
        scene = await open_scene(world)
        scopes = [trio.CancelScope() for _ in range(4)]

        async def inquire(number: int) -> None:
            with scopes[number]:
                got.append(await ask(scene.source, scene.target, Oracle.wait, number))

        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(inquire, number)
            await wait_all_tasks_blocked()
            running = scene.oracle.heard[-1]
            waiting = next(number for number in range(4) if number != running)
            scopes[waiting].cancel()
            await trio.sleep(1)
            scene.oracle.gate.set()
        assert sorted(got, key=str) == sorted(set(range(4)) - {waiting}, key=str)
        assert waiting not in scene.oracle.heard[1:]
        await trio.sleep(1)
        assert pair(scene.source, scene.target).window.totals() == (5, 4, 0, 1, 0, 0)


async def test_a_run_that_has_no_room_is_taken_in_as_far_as_there_is(
    autojump_clock: MockClock,
) -> None:
    ends: list[str] = []
    async with open_small_world(simple=False) as world:
        scene = await open_scene(world, mailbox_messages=4)
        inbound = scene.target.inbounds[0]

        async def hold() -> None:
            await ask(scene.source, scene.target, Oracle.wait, 1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hold)
            await wait_all_tasks_blocked()
            refused = inbound.ledger.rejected
            run = wire.Asks(inbound.number, "answer", 12, tuple(range(90, 96)), (2,) * 6)
            scene.target.deliver_asks(inbound, run, memoryview(b"\x91\x01" * 6))
            ends = [type(part[0]).__name__ for _, part in scene.target.mailbox]
            assert ends == ["Ask"] * 4
            assert inbound.ledger.rejected == refused + 2
            assert scene.target.waiting_bytes == 8
            scene.oracle.gate.set()
        await wait_all_tasks_blocked()
        assert scene.oracle.heard == [0, 1, 1, 1, 1, 1]
        assert scene.target.waiting_bytes == 0


async def test_nobody_of_a_run_waits_for_one_who_is_not_there(autojump_clock: MockClock) -> None:
    ends: list[type] = []
    async with open_small_world(simple=False) as world:
        scene = await open_scene(world)
        scene.target.stop(force=True)
        await wait_all_tasks_blocked()

        async def inquire() -> None:
            try:
                await ask(scene.source, scene.target, Oracle.answer, 1)
            except (ActorDeadError, MailboxFullError) as error:
                ends.append(type(error))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(inquire)
        assert ends == [ActorDeadError] * 5


async def test_a_deadline_travels_with_its_own_ask(autojump_clock: MockClock) -> None:
    late: list[int] = []
    async with open_small_world(simple=False) as world:
        scene = await open_scene(world)

        async def inquire(number: int) -> None:
            with trio.move_on_after(number) as scope:
                await ask(scene.source, scene.target, Oracle.wait, number)
            if scope.cancelled_caught:
                late.append(number)

        async with trio.open_nursery() as nursery:
            for number in (3, 1, 2):
                nursery.start_soon(inquire, number)
        assert late == [1, 2, 3]
        deadlines = [each.deadline for each in scene.passed if isinstance(each, wire.Ask)]
        assert len(set(deadlines)) == len(deadlines) == 3


async def test_the_end_of_a_stream_may_come_in_a_run(autojump_clock: MockClock) -> None:
    async with open_small_world(simple=False) as world:
        scene = await open_scene(world)
        here, there = world.processes
        async with stream(scene.source, scene.target, Oracle.count, 10_000) as items:
            assert await anext(items) == 0
            await wait_all_tasks_blocked()
            (id,) = here.streams
            number = pair(scene.source, scene.target).number
            run = wire.Replies(number, 0, (id,), (0,), 2, 0, 0, 0, 0)
            here._route(there.address.incarnation, encode(run))
            rest = [item async for item in items]
        assert rest == list(range(1, len(rest) + 1))
        assert 0 < len(rest) < 9_999


async def test_a_run_of_answers_to_nobody_is_counted(autojump_clock: MockClock) -> None:
    async with open_small_world(simple=False) as world:
        scene = await open_scene(world)
        here, there = world.processes
        frames = encode(wire.Replies(99, 0, (1, 2), (0, 0), 1, 0, 0, 0, 0))
        here._route(there.address.incarnation, frames)
        frames = encode(wire.Asks(99, "answer", 0, (1, 2, 3), (0, 0, 0)))
        there._route(here.address.incarnation, frames)
        assert here.strays["answer to nobody"] == 2
        assert there.strays["unknown pair"] == 3
        assert await ask(scene.source, scene.target, Oracle.answer, 4) == 8


async def test_a_batch_of_asks_that_has_gathered_for_long_leaves(
    autojump_clock: MockClock,
) -> None:
    async with open_small_world(simple=False) as world:
        scene = await open_scene(world)
        exchange, now = scene.source.exchange, 0.0
        exchange.clock = lambda: now
        peer = pair(scene.source, scene.target).peer
        for id in range(BATCH_MESSAGES - 1):
            exchange.grown(peer, peer.batch.ask(1, "answer", 0, id, ()))
        now = 2 * BATCH_S
        assert peer.batch.messages == BATCH_MESSAGES - 1
        exchange.grown(peer, peer.batch.ask(1, "answer", 0, 99, ()))
        assert peer.batch.messages == 0


# -- those that cannot suspend, in their mailbox


async def inquire(scene: Scene, handler: object, *numbers: int) -> list[object]:
    """What each is answered, or how that failed, of asks that leave together."""
    got: list[object] = [None] * len(numbers)

    async def one(at: int) -> None:
        try:
            got[at] = await ask(scene.source, scene.target, handler, numbers[at])  # type: ignore[arg-type]
        except (ActorDeadError, RemoteError, WireError) as error:
            got[at] = type(error)

    async with trio.open_nursery() as nursery:
        for at in range(len(numbers)):
            nursery.start_soon(one, at)
    return got


def hold(scene: Scene) -> None:
    """Nothing that has come begins until `release`."""
    scene.target.taken = True


def release(scene: Scene) -> None:
    scene.target.release()
    scene.target.exchange.reading.wake(scene.target)


def asks_now(scene: Scene, handler: str, *numbers: int) -> None:
    """A run of asks with the ids 90, 91, ... has come."""
    inbound = scene.target.inbounds[0]
    ids = tuple(range(90, 90 + len(numbers)))
    run = wire.Asks(inbound.number, handler, 2 * len(ids), ids, (2,) * len(ids))
    payload = b"".join(b"\x91" + bytes([number]) for number in numbers)
    scene.target.deliver_asks(inbound, run, memoryview(payload))


async def test_a_run_waits_as_one_and_counts_as_many(autojump_clock: MockClock) -> None:
    async with open_small_world(simple=False) as world:
        scene = await open_scene(world)
        hold(scene)
        asks_now(scene, "answer", 1, 2, 3)
        cell = scene.target
        assert (len(cell.mailbox), cell.more, cell.waiting_bytes) == (1, 2, 6)
        release(scene)
        await wait_all_tasks_blocked()
        assert (len(cell.mailbox), cell.more, cell.waiting_bytes) == (0, 0, 0)
        assert scene.oracle.heard == [0, 1, 2, 3]
        assert cell.inbounds[0].ledger.handled == 4


async def test_a_run_of_asks_that_may_suspend_waits_each_for_itself(
    autojump_clock: MockClock,
) -> None:
    async with open_small_world(simple=False) as world:
        scene = await open_scene(world)
        hold(scene)
        asks_now(scene, "wait", 1, 2, 3)
        assert (len(scene.target.mailbox), scene.target.more) == (3, 0)
        scene.oracle.gate.set()
        release(scene)
        await wait_all_tasks_blocked()
        assert scene.oracle.heard == [0, 1, 2, 3]


async def test_one_of_a_run_that_waits_is_unqueued_alone(autojump_clock: MockClock) -> None:
    async with open_small_world(simple=False) as world:
        scene = await open_scene(world)
        cell = scene.target
        inbound = cell.inbounds[0]
        hold(scene)
        asks_now(scene, "answer", 1, 2, 3)
        cell.cancel(inbound, 91)
        assert (len(cell.mailbox), cell.more, cell.waiting_bytes) == (2, 0, 4)
        release(scene)
        await wait_all_tasks_blocked()
        assert scene.oracle.heard == [0, 1, 3]
        assert (inbound.ledger.handled, inbound.ledger.expired) == (3, 1)


async def test_a_run_whose_sender_is_no_more_is_unqueued(autojump_clock: MockClock) -> None:
    async with open_small_world(simple=False) as world:
        scene = await open_scene(world)
        cell = scene.target
        hold(scene)
        asks_now(scene, "answer", 1, 2, 3)
        cell.orphan(cell.inbounds[0])
        assert (len(cell.mailbox), cell.more, cell.waiting_bytes) == (0, 0, 0)
        release(scene)
        await wait_all_tasks_blocked()
        assert scene.oracle.heard == [0]


async def test_when_the_slice_is_over_what_has_not_begun_can_be_cancelled(
    autojump_clock: MockClock,
) -> None:
    async with open_small_world(simple=False) as world:
        scene = await open_scene(world)
        cell = scene.target
        exchange, inbound = cell.exchange, cell.inbounds[0]
        drain = exchange.drain

        def drain_and_cancel() -> None:
            drain()
            if scene.oracle.heard == [0, 1, 2]:
                cell.cancel(inbound, 93)

        exchange.drain = drain_and_cancel  # type: ignore[method-assign, assignment]
        asks_now(scene, "dawdle", 1, 2, 3, 4, 5)
        await wait_all_tasks_blocked()
        assert scene.oracle.heard == [0, 1, 2, 3, 5]
        assert (inbound.ledger.handled, inbound.ledger.expired) == (5, 1)
        assert (len(cell.mailbox), cell.more, cell.waiting_bytes) == (0, 0, 0)


async def test_one_of_a_run_that_does_not_fit_is_refused_alone(autojump_clock: MockClock) -> None:
    async with open_small_world(simple=False) as world:
        scene = await open_scene(world)
        inbound = scene.target.inbounds[0]
        run = wire.Asks(inbound.number, "answer", 6, (90, 91, 92), (2, 2, 2))
        scene.target.deliver_asks(inbound, run, memoryview(b"\x91\x01" + b"\x91\xc2" + b"\x91\x03"))
        await wait_all_tasks_blocked()
        assert scene.oracle.heard == [0, 1, 3]
        assert (inbound.ledger.handled, inbound.ledger.rejected) == (3, 1)
        assert scene.target.ending is None


async def test_one_of_a_run_that_raises_fails_alone(autojump_clock: MockClock) -> None:
    async with open_small_world(simple=False) as world:
        scene = await open_scene(world)
        assert await inquire(scene, Oracle.answer, 1, 12, 13, 14) == [2, 24, RemoteError, 28]
        assert await inquire(scene, Oracle.answer, 13, 13, 13) == [RemoteError] * 3
        await trio.sleep(1)
        assert pair(scene.source, scene.target).window.totals() == (8, 4, 4, 0, 0, 0)


async def test_who_follows_the_last_of_a_run_finds_nobody(autojump_clock: MockClock) -> None:
    async with open_small_world(simple=False) as world:
        scene = await open_scene(world)
        hold(scene)
        asks_now(scene, "end", 1, 2, 3, 4, 5)
        inbound = scene.target.inbounds[0]
        release(scene)
        await wait_all_tasks_blocked()
        assert world.ends["oracle"].kind == "normal"
        assert (inbound.ledger.handled, inbound.ledger.failed, inbound.ledger.rejected) == (3, 1, 2)


async def test_a_run_for_one_who_is_ending_is_refused(autojump_clock: MockClock) -> None:
    async with open_small_world(simple=False) as world:
        scene = await open_scene(world)
        inbound = scene.target.inbounds[0]
        hold(scene)
        asks_now(scene, "answer", 1, 2)
        scene.target.stop(force=True)
        asks_now(scene, "answer", 3, 4)
        release(scene)
        await wait_all_tasks_blocked()
        assert scene.oracle.heard == [0]
        assert (inbound.ledger.handled, inbound.ledger.rejected) == (1, 4)
