"""Runs of tells: under one envelope, and yet each for itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from runtime.cells import runs
from runtime.cells.cell import Cell
from runtime.errors import MailboxFullError, UnreachableError
from runtime.messages import envelope as wire
from runtime.messages.batch import MAX_RUN, Batch
from runtime.messages.behaviour import Behaviour
from runtime.messages.codec import Buffer, decode
from runtime.traffic.credit import Window
from runtime.traffic.outbox import FLOOD_S
from runtime.traffic.settling import REPORT_S
from runtime.wires.memory import faithful
from tests.small_world import SmallWorld, ask, open_small_world, pair, tell, tell_nowait


def tells(*sizes: int, handler: str = "add") -> Batch:
    batch = Batch()
    for size in sizes:
        batch.body += b"x" * size
        batch.tell(1, handler, size)
    return batch


def envelopes(batch: Batch) -> list[wire.Envelope]:
    return [part[0] for part in decode(batch.take())]


def test_one_tell_is_no_run() -> None:
    assert envelopes(tells(5)) == [wire.Tell(1, "add", 5)]


def test_tells_that_follow_each_other_share_an_envelope() -> None:
    assert envelopes(tells(5, 0, 7)) == [wire.Tells(1, "add", 12, 3)]


def test_a_run_is_no_longer_than_its_bound() -> None:
    batch = tells(*[1] * (MAX_RUN + 2))
    assert batch.count == 2
    assert envelopes(batch) == [wire.Tells(1, "add", MAX_RUN, MAX_RUN), wire.Tells(1, "add", 2, 2)]


def test_whatever_comes_between_ends_a_run() -> None:
    batch = tells(1, 1)
    batch.add(wire.Cancel(1, 9))
    batch.body += b"yz"
    batch.tell(1, "add", 2)
    batch.body += b"y"
    batch.tell(2, "add", 1)
    batch.body += b"y"
    batch.tell(2, "drop", 1)
    assert batch.count == 5
    assert envelopes(batch) == [
        wire.Tells(1, "add", 2, 2),
        wire.Cancel(1, 9),
        wire.Tell(1, "add", 2),
        wire.Tell(2, "add", 1),
        wire.Tell(2, "drop", 1),
    ]


def test_a_batch_that_was_taken_begins_anew() -> None:
    batch = tells(1, 1)
    batch.take()
    assert batch.count == 0
    batch.body += b"xx"
    batch.tell(1, "add", 2)
    assert envelopes(batch) == [wire.Tell(1, "add", 2)]


def test_a_run_is_taken_apart_into_its_tells() -> None:
    arrays = [msgspec.msgpack.encode(value) for value in ((1,), (2, "two"), ())]
    payload = b"".join(arrays)
    part = (wire.Tells(3, "add", len(payload), 3), memoryview(payload), ())
    apart = runs.take_apart(part)
    assert [bytes(each[1]) for each in apart] == arrays
    assert [each[0] for each in apart] == [wire.Tell(3, "add", len(raw)) for raw in arrays]


def test_what_is_no_run_stays_one_message() -> None:
    part = (wire.Tells(3, "add", 2, 2), memoryview(b"\xc1\xc1"), ())
    ((message, payload, _),) = runs.take_apart(part)
    assert (message, bytes(payload)) == (wire.Tell(3, "add", 2), b"\xc1\xc1")


class Scribe(Behaviour):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.gate = trio.Event()

    async def note(self, number: int) -> None:
        self.heard.append(number)
        if number < 0:
            raise ValueError(str(number))

    async def wait_at_two(self, number: int) -> None:
        self.heard.append(number)
        if number == 2:
            await self.gate.wait()

    async def leave_at_two(self, number: int) -> None:
        self.heard.append(number)
        if number == 2:
            self._cell.stop(False)

    async def ping(self) -> None: ...


class Odd(Behaviour):
    """What a teller may take a `Scribe` for: the same handler, but for its arguments."""

    async def note(self, number: int | str) -> None: ...


@pytest.fixture(params=[True, False], ids=["reader", "leader"])
def simple(request: pytest.FixtureRequest) -> bool:
    """How the world's processes read."""
    return bool(request.param)


@pytest.fixture(params=[True, False], ids=["here", "afar"])
def near(request: pytest.FixtureRequest) -> bool:
    """Whether both cells are in one process."""
    return bool(request.param)


async def teller_and_scribe(world: SmallWorld, near: bool = False) -> tuple[Cell, Cell, Scribe]:
    scribe = Scribe()
    here = await world.process("here")
    teller = world.mute(here, "teller")
    cell = await world.cell(here if near else await world.process("there"), "scribe", scribe)
    return teller, cell, scribe


def account(window: Window) -> dict[str, int]:
    terms = ("sent", "handled", "failed", "rejected", "undelivered", "in_flight")
    return {term: count for term in terms if (count := getattr(window, term))}


async def test_a_run_is_handled_in_order_and_accounted_for(
    simple: bool, near: bool, autojump_clock: MockClock
) -> None:
    async with open_small_world(simple) as world:
        teller, cell, scribe = await teller_and_scribe(world, near)
        for number in range(1000):
            await tell(teller, cell, Scribe.note, number)
        await trio.sleep(REPORT_S * 2)
        assert scribe.heard == list(range(1000))
        window = pair(teller, cell).window
        assert account(window) == {"sent": 1000, "handled": 1000}
        assert window.done_bytes == window.bytes_sent


async def test_one_that_does_not_fit_is_refused_and_the_others_are_handled(
    simple: bool, near: bool, autojump_clock: MockClock
) -> None:
    async with open_small_world(simple) as world:
        teller, cell, scribe = await teller_and_scribe(world, near)
        for value in (1, 2, "three", 4):
            tell_nowait(teller, cell, Odd.note, value)
        await trio.sleep(REPORT_S * 2)
        assert scribe.heard == [1, 2, 4]
        assert account(pair(teller, cell).window) == {"sent": 4, "handled": 3, "rejected": 1}


async def test_one_that_raises_ends_the_cell_and_the_rest_is_refused(
    simple: bool, near: bool, autojump_clock: MockClock
) -> None:
    async with open_small_world(simple) as world:
        teller, cell, scribe = await teller_and_scribe(world, near)
        for number in (1, 2, -3, 4, 5):
            tell_nowait(teller, cell, Scribe.note, number)
        window = pair(teller, cell).window
        await trio.sleep(REPORT_S * 2)
        assert scribe.heard == [1, 2, -3]
        assert world.ends["scribe"].error == "ValueError"
        assert world.ends["scribe"].handler == "note"
        assert account(window) == {"sent": 5, "handled": 2, "failed": 1, "rejected": 2}
        assert window.done_bytes == window.bytes_sent


async def test_what_was_handled_before_one_that_waits_is_reported_while_it_waits(
    simple: bool, near: bool, autojump_clock: MockClock
) -> None:
    async with open_small_world(simple) as world:
        teller, cell, scribe = await teller_and_scribe(world, near)
        for number in range(5):
            tell_nowait(teller, cell, Scribe.wait_at_two, number)
        await trio.sleep(REPORT_S * 2)
        assert scribe.heard == [0, 1, 2]
        assert account(pair(teller, cell).window) == {"sent": 5, "handled": 2, "in_flight": 3}
        scribe.gate.set()
        await trio.sleep(REPORT_S * 2)
        assert scribe.heard == [0, 1, 2, 3, 4]
        assert account(pair(teller, cell).window) == {"sent": 5, "handled": 5}


async def test_a_cell_that_ends_in_the_middle_begins_no_other(
    simple: bool, near: bool, autojump_clock: MockClock
) -> None:
    async with open_small_world(simple) as world:
        teller, cell, scribe = await teller_and_scribe(world, near)
        for number in range(5):
            tell_nowait(teller, cell, Scribe.leave_at_two, number)
        window = pair(teller, cell).window
        await trio.sleep(REPORT_S * 2)
        assert scribe.heard == [0, 1, 2]
        assert account(window) == {"sent": 5, "handled": 3, "rejected": 2}


async def test_a_cell_that_is_interrupted_in_the_middle_loses_no_account(
    simple: bool, near: bool, autojump_clock: MockClock
) -> None:
    async with open_small_world(simple) as world:
        teller, cell, scribe = await teller_and_scribe(world, near)
        for number in range(5):
            tell_nowait(teller, cell, Scribe.wait_at_two, number)
        window = pair(teller, cell).window
        await wait_all_tasks_blocked()
        cell.stop(True)
        await trio.sleep(REPORT_S * 2)
        assert scribe.heard == [0, 1, 2]
        expected = {"sent": 5, "handled": 2, "failed": 1, "rejected": 2}
        assert account(window) == expected


@pytest.mark.parametrize(("tick_s", "messages"), [(0.0, 1), (FLOOD_S, 5)])
async def test_a_flood_gathers_over_its_pauses_but_not_for_long(
    tick_s: float, messages: int, autojump_clock: MockClock
) -> None:
    async with open_small_world(simple=False) as world:
        teller, cell, scribe = await teller_and_scribe(world)
        await tell(teller, cell, Scribe.note, 0)  # they know each other, and there is credit
        await trio.sleep(REPORT_S * 2)
        here, now, sent = teller.exchange, 0.0, Counter[int]()
        here.clock, here.tells = lambda: now, 0

        def count(source: int, target: int, frames: Sequence[Buffer]) -> Sequence[float]:
            sent[source] += 1
            return faithful(source, target, frames)

        world.weather = count
        for number in range(640):
            await tell(teller, cell, Scribe.note, number)
            if number % 64 == 63:
                now += tick_s
        await trio.sleep(REPORT_S * 2)
        assert sent[here.address.incarnation] == messages
        assert scribe.heard == [0, *range(640)]


async def test_a_flood_holds_back_nobody_who_waits(autojump_clock: MockClock) -> None:
    async with open_small_world(simple=False) as world:
        teller, cell, scribe = await teller_and_scribe(world)
        teller.exchange.clock = lambda: 0.0
        flooding = True

        async def flood() -> None:
            number = 0
            while flooding:
                await tell(teller, cell, Scribe.note, number := number + 1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            for _ in range(10):
                await ask(teller, cell, Scribe.ping)
            flooding = False
        assert scribe.heard


async def test_an_ask_between_tells_keeps_its_turn(
    simple: bool, near: bool, autojump_clock: MockClock
) -> None:
    async with open_small_world(simple) as world:
        teller, cell, scribe = await teller_and_scribe(world, near)
        tell_nowait(teller, cell, Scribe.note, 1)
        tell_nowait(teller, cell, Scribe.note, 2)
        await ask(teller, cell, Scribe.ping)
        assert scribe.heard == [1, 2]


@pytest.mark.parametrize("count", [-1, 0, MAX_RUN + 1, 2**40])
async def test_a_count_that_cannot_be_is_one_message_that_does_not_fit(
    count: int, autojump_clock: MockClock
) -> None:
    async with open_small_world() as world:
        teller, cell, scribe = await teller_and_scribe(world)
        await tell(teller, cell, Scribe.note, 1)
        await wait_all_tasks_blocked()
        inbound = cell.inbounds[0]
        payload = memoryview(b"\x91\x01" * 2)
        cell.deliver_run(inbound, (wire.Tells(inbound.number, "note", 4, count), payload, ()))
        await trio.sleep(REPORT_S * 2)
        assert scribe.heard == [1]
        assert inbound.ledger.rejected == 1


@pytest.mark.parametrize("count", [1, 3, 64])
async def test_a_count_that_is_wrong_is_one_message_that_does_not_fit(
    count: int, autojump_clock: MockClock
) -> None:
    async with open_small_world() as world:
        teller, cell, scribe = await teller_and_scribe(world)
        await tell(teller, cell, Scribe.note, 1)
        await wait_all_tasks_blocked()
        inbound = cell.inbounds[0]
        payload = memoryview(b"\x91\x01" * 2)
        cell.deliver_run(inbound, (wire.Tells(inbound.number, "note", 4, count), payload, ()))
        await trio.sleep(REPORT_S * 2)
        assert scribe.heard == [1]
        assert inbound.ledger.rejected == 1


async def test_a_mailbox_counts_the_messages_of_a_run(autojump_clock: MockClock) -> None:
    async with open_small_world() as world:
        scribe = Scribe()
        teller = world.mute(await world.process("here"), "teller")
        process = await world.process("there")
        cell = await world.cell(process, "scribe", scribe, mailbox_messages=8)
        tell_nowait(teller, cell, Scribe.wait_at_two, 2)
        await wait_all_tasks_blocked()
        inbound = cell.inbounds[0]
        run = (wire.Tells(inbound.number, "note", 12, 6), memoryview(b"\x91\x01" * 6), ())
        cell.deliver_run(inbound, run)
        cell.deliver_run(inbound, run)
        assert (len(cell.mailbox), cell.more, inbound.ledger.rejected) == (1, 5, 6)
        scribe.gate.set()
        await wait_all_tasks_blocked()
        assert (cell.more, scribe.heard) == (0, [2, 1, 1, 1, 1, 1, 1])


async def test_tells_of_one_process_are_a_run_while_they_wait(autojump_clock: MockClock) -> None:
    async with open_small_world() as world:
        teller, cell, scribe = await teller_and_scribe(world, near=True)
        for number in range(MAX_RUN + 2):
            tell_nowait(teller, cell, Scribe.note, number)
        tell_nowait(teller, cell, Scribe.wait_at_two, -1)
        tell_nowait(teller, cell, Scribe.note, -2)
        counts = [getattr(part[0], "count", 1) for _, part in cell.mailbox]
        assert (counts, cell.more) == ([MAX_RUN, 2, 1, 1], MAX_RUN)
        await wait_all_tasks_blocked()
        assert (scribe.heard[:-2], scribe.heard[-2:]) == ([*range(MAX_RUN + 2)], [-1, -2])


async def test_a_full_mailbox_takes_in_no_more_of_its_own_process(
    autojump_clock: MockClock,
) -> None:
    async with open_small_world() as world:
        here = await world.process("here")
        teller = world.mute(here, "teller")
        cell = await world.cell(here, "scribe", Scribe(), mailbox_messages=8)
        for number in range(4):
            tell_nowait(teller, cell, Scribe.note, number)
        pair(teller, cell).window.grant(100, 1000)  # as if it had been meant for a larger one
        for number in range(6):
            tell_nowait(teller, cell, Scribe.note, number)
        assert (len(cell.mailbox), cell.more, cell.inbounds[0].ledger.rejected) == (1, 7, 2)


async def test_what_cannot_travel_or_has_no_credit_joins_no_run(
    near: bool, autojump_clock: MockClock
) -> None:
    async with open_small_world() as world:
        teller, cell, scribe = await teller_and_scribe(world, near)
        tell_nowait(teller, cell, Scribe.note, 0)
        with pytest.raises(TypeError, match=r"Scribe.note: number=<object"):
            tell_nowait(teller, cell, Scribe.note, object())
        pair(teller, cell).window.grant(2, 1000)
        tell_nowait(teller, cell, Scribe.note, 1)
        with pytest.raises(MailboxFullError):
            tell_nowait(teller, cell, Scribe.note, 2)
        await trio.sleep(REPORT_S * 2)
        assert scribe.heard == [0, 1]
        assert account(pair(teller, cell).window) == {"sent": 2, "handled": 2}


async def test_a_run_is_not_joined_when_its_target_is_thought_frozen(
    autojump_clock: MockClock,
) -> None:
    async with open_small_world(simple=False) as world:
        teller, cell, _ = await teller_and_scribe(world)
        tell_nowait(teller, cell, Scribe.note, 1)
        teller.exchange.verdict(cell.address.endpoint, "frozen")
        with pytest.raises(UnreachableError, match="frozen"):
            tell_nowait(teller, cell, Scribe.note, 2)
        teller.exchange.verdict(cell.address.endpoint, "")
        tell_nowait(teller, cell, Scribe.note, 3)
        assert pair(teller, cell).window.sent == 2


async def test_a_run_is_not_joined_when_the_exchange_has_ended(autojump_clock: MockClock) -> None:
    async with open_small_world(simple=False) as world:
        teller, cell, _ = await teller_and_scribe(world)
        tell_nowait(teller, cell, Scribe.note, 1)
        teller.exchange._shut()
        with pytest.raises(trio.ClosedResourceError, match="ended"):
            tell_nowait(teller, cell, Scribe.note, 2)


async def test_a_run_is_not_joined_past_somebody_who_waits_for_credit(
    autojump_clock: MockClock,
) -> None:
    async with open_small_world(simple=False) as world:
        teller, cell, scribe = await teller_and_scribe(world)
        tell_nowait(teller, cell, Scribe.note, 0)
        await trio.sleep(1)
        tell_nowait(teller, cell, Scribe.note, 1)
        window = pair(teller, cell).window
        granted = window.messages
        window.grant(1, 10**6)
        exchange, now = teller.exchange, teller.exchange.clock()
        exchange.clock = lambda: now
        exchange.flooding = True  # so that the run stays open
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell, teller, cell, Scribe.note, 2)
            nursery.start_soon(tell, teller, cell, Scribe.note, 3)
            while not pair(teller, cell).waiters:
                await trio.lowlevel.checkpoint()
            window.grant(granted, 10**6)
            assert pair(teller, cell).peer.batch.tells is not None
            with pytest.raises(MailboxFullError):
                tell_nowait(teller, cell, Scribe.note, 4)
            pair(teller, cell).wake()
            exchange.flooding = False
        await wait_all_tasks_blocked()
        assert sorted(scribe.heard) == [0, 1, 2, 3]
