"""The accounts of pairs over the wire: they add up at every step, and windows bound what waits."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from runtime.cells.cell import Cell
from runtime.errors import ActorDeadError, MailboxFullError, RemoteError, WireError
from runtime.messages.behaviour import Behaviour
from runtime.messages.codec import Buffer
from runtime.traffic.credit import FIRST_BYTES, FIRST_MESSAGES, WINDOW_BYTES, WINDOW_MESSAGES, share
from runtime.traffic.pair import Inbound, Outbound
from runtime.traffic.settling import REPORT_S
from tests.small_world import SmallWorld, ask, open_small_world, pair, tell, tell_nowait

BOUND_S = 10_000


class Worker(Behaviour):
    """Notes by sender what it does, for an account of its own."""

    def __init__(self) -> None:
        self.handled: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.busy: Counter[str] = Counter()
        self.notes: list[int] = []

    async def work(self, sender: str, nap_s: float, fail: bool, data: bytes) -> None:
        self.busy[sender] += 1
        try:
            if nap_s:
                await trio.sleep(nap_s)
            if fail:
                raise ValueError(sender)
        except BaseException:
            self.failed[sender] += 1
            raise
        else:
            self.handled[sender] += 1
        finally:
            self.busy[sender] -= 1

    async def note(self, number: int, data: bytes = b"") -> None:
        self.notes.append(number)

    async def nap(self, seconds: float) -> None:
        await trio.sleep(seconds)


def terms(outbound: Outbound) -> tuple[int, ...]:
    window = outbound.window
    return (
        window.handled, window.failed, window.expired, window.rejected, window.undelivered,
        window.in_flight,
    )  # fmt: skip


class Slow:
    """A fault: everything takes a while, and nothing overtakes."""

    def __init__(self) -> None:
        self.last: dict[tuple[int, int], float] = {}

    def __call__(self, source: int, target: int, frames: Sequence[Buffer]) -> Sequence[float]:
        now = trio.current_time()
        arrival = max(now + 0.037, self.last.get((source, target), 0.0) + 1e-6)
        self.last[source, target] = arrival
        return (arrival - now,)


class Auditor:
    """Holds every account there ever was against what the receivers know."""

    def __init__(self, world: SmallWorld) -> None:
        self.world = world
        self.seen: dict[int, tuple[Outbound, tuple[int, ...]]] = {}

    def look(self) -> None:
        """Every account adds up, and only ``in flight`` has ever fallen."""
        for process in self.world.processes:
            for outbound in process.outbounds.values():
                self.seen.setdefault(id(outbound), (outbound, (0,) * 6))
        for key, (outbound, before) in self.seen.items():
            now = terms(outbound)
            assert min(now) >= 0
            assert sum(now) == outbound.window.sent
            assert all(b <= n for b, n in zip(before[:-1], now[:-1], strict=True))
            inbound = self.inbound(outbound)
            if inbound is not None and outbound.closed is None:
                assert all(n <= known for n, known in zip(now, done(inbound), strict=False))
                assert outbound.window.sent >= sum(done(inbound)) + held(inbound)
            self.seen[key] = outbound, now

    def inbound(self, outbound: Outbound) -> Inbound | None:
        if outbound.local is not None:
            return outbound.local
        here = outbound.source.exchange
        for process in self.world.processes:
            if process.address.endpoint == outbound.target.endpoint:
                return process.peer(here.address.endpoint).inbounds.get(outbound.number)
        return None

    def settle(self) -> None:
        """Nothing is in flight, and both ends of every pair that lives agree."""
        self.look()
        for outbound, now in self.seen.values():
            assert now[-1] == 0
            inbound = self.inbound(outbound)
            if inbound is not None and outbound.closed is None:
                assert now[:4] == done(inbound)
                assert held(inbound) == 0
                assert outbound.window.done_bytes == outbound.window.bytes_sent


def done(inbound: Inbound) -> tuple[int, int, int, int]:
    ledger = inbound.ledger
    return ledger.handled, ledger.failed, ledger.expired, ledger.rejected


def held(inbound: Inbound) -> int:
    """Messages that wait in the mailbox or are being handled."""
    cell = inbound.cell
    if cell is None:
        return 0
    waiting = sum(its is inbound for its, _ in cell.mailbox)
    return waiting + (cell.in_flight is not None and cell.in_flight.inbound is inbound)


ASKED = (RemoteError, ActorDeadError, WireError, MailboxFullError)


@pytest.mark.parametrize("simple", [True, False], ids=["simple", "leader"])
@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
@pytest.mark.parametrize("seed", range(8))
async def test_every_account_adds_up_at_every_step(
    seed: int, late: bool, simple: bool, autojump_clock: MockClock
) -> None:
    """Asks, tells, cancels, deadlines, failures, misfits, floods, and the death of a process."""
    rng = random.Random(seed)
    async with open_small_world(simple) as world:
        near, far, doomed = [await world.process(name) for name in ("near", "far", "doomed")]
        if late:
            world.weather = Slow()
        workers = {"near": Worker(), "far": Worker(), "doomed": Worker()}
        targets = [
            await world.cell(near, "n", workers["near"]),
            await world.cell(far, "f", workers["far"], mailbox_messages=40, mailbox_bytes=300_000),
            await world.cell(doomed, "d", workers["doomed"]),
        ]
        sources = [
            world.mute(process, f"{process.address.name}{n}")
            for process in (near, doomed)
            for n in range(2)
        ]
        auditor = Auditor(world)
        scopes: list[trio.CancelScope] = []

        async def one(source: Cell, target: Cell, told: bool) -> None:
            name = source.address.name
            nap_s = rng.choice((0.0, 0.0, rng.random()))
            data = bytes(rng.choice((0, 100, 5000, 100_000)))
            args: tuple[object, ...] = (name, nap_s, not told and rng.random() < 0.2, data)
            if not told and rng.random() < 0.1:
                args = (name, "misfit", False, data)
            with trio.CancelScope() as scope:
                scopes.append(scope)
                if rng.random() < 0.3:
                    scope.deadline = trio.current_time() + rng.random()
                with suppress(*ASKED):
                    await (tell if told else ask)(source, target, Worker.work, *args)

        def burst(source: Cell, target: Cell) -> None:
            with suppress(MailboxFullError, ActorDeadError):
                for _ in range(rng.randrange(200)):
                    tell_nowait(source, target, Worker.work, source.address.name, 0.0, False, b"")

        with trio.fail_after(BOUND_S):
            async with trio.open_nursery() as nursery:
                for step in range(150):
                    alive = sources[:2] if step > 100 else sources
                    source, target = rng.choice(alive), rng.choice(targets)
                    action = rng.randrange(10)
                    if action < 7:
                        told = action < 3
                        nursery.start_soon(one, source, target, told)
                    elif action == 7 and source.address.endpoint != target.address.endpoint:
                        burst(source, target)
                    elif action == 8 and scopes:
                        rng.choice(scopes).cancel()
                    else:
                        await trio.sleep(rng.random())
                    auditor.look()
                    if step == 100:
                        for scope in scopes:
                            scope.cancel()  # who asks from the doomed process is doomed too
                            await wait_all_tasks_blocked()
                            auditor.look()
                        burst(sources[0], targets[2])
                        world.kill(doomed)
                    await wait_all_tasks_blocked()
                    auditor.look()
            await trio.sleep(100)
        world.processes.remove(doomed)
        auditor.seen = {
            key: (outbound, now)
            for key, (outbound, now) in auditor.seen.items()
            if outbound.source.exchange is not doomed
        }
        auditor.settle()
        for source in sources[:2]:
            name = source.address.name
            for target, worker in ((targets[0], "near"), (targets[1], "far")):
                window = pair(source, target).window
                assert window.handled == workers[worker].handled[name]
                assert window.failed == workers[worker].failed[name]
                assert workers[worker].busy[name] == 0
        assert not near.pending
        assert len(near.letters) or pair_count(auditor, doomed.address.endpoint) == 0


def pair_count(auditor: Auditor, endpoint: str) -> int:
    """How many messages to a process are undelivered."""
    return sum(
        outbound.window.undelivered
        for outbound, _ in auditor.seen.values()
        if outbound.target.endpoint == endpoint
    )


async def two(world: SmallWorld, **mailbox: int) -> tuple[Cell, Cell, Worker]:
    near, far = await world.process("near"), await world.process("far")
    worker = Worker()
    return world.mute(near, "source"), await world.cell(far, "target", worker, **mailbox), worker


async def test_what_was_handled_is_reported_after_100_ms(autojump_clock: MockClock) -> None:
    async with open_small_world() as world:
        source, target, _ = await two(world)
        await tell(source, target, Worker.note, 1)
        await wait_all_tasks_blocked()  # the first grant reports nothing yet
        await trio.sleep(1)
        window = pair(source, target).window
        assert (window.sent, window.handled) == (1, 1)
        began = trio.current_time()
        for number in range(5):
            await tell(source, target, Worker.note, number)
        await trio.sleep(REPORT_S - 0.001)
        assert (window.sent, window.handled) == (6, 1)
        await trio.sleep(0.002)
        assert (window.sent, window.handled) == (6, 6)
        assert trio.current_time() - began == pytest.approx(REPORT_S + 0.001)


async def test_half_a_window_is_reported_at_once(autojump_clock: MockClock) -> None:
    async with open_small_world() as world:
        source, target, _ = await two(world, mailbox_messages=40)
        await ask(source, target, Worker.note, 0)
        window = pair(source, target).window
        assert window.messages == 20
        for number in range(9):
            await tell(source, target, Worker.note, number)
        await wait_all_tasks_blocked()
        assert window.handled == 1
        await tell(source, target, Worker.note, 9)
        await wait_all_tasks_blocked()
        assert (window.handled, trio.current_time()) == (11, 0)


async def test_an_idle_pair_reports_nothing(autojump_clock: MockClock) -> None:
    async with open_small_world() as world:
        source, target, _ = await two(world)
        for number in range(3):
            await ask(source, target, Worker.note, number)
        await trio.sleep(1)
        sent = []

        def note(source: int, target: int, frames: Sequence[Buffer]) -> Sequence[float]:
            sent.append((source, target))
            return (0.0,)

        world.weather = note
        await trio.sleep(100)
        assert sent == []


async def test_windows_shrink_as_senders_multiply(autojump_clock: MockClock) -> None:
    async with open_small_world() as world:
        near, far = await world.process("near"), await world.process("far")
        target = await world.cell(far, "t", Worker(), mailbox_messages=100, mailbox_bytes=10_000)
        sources = []
        for count in range(1, 80):
            sources.append(world.mute(near if count % 2 else far, f"s{count}"))
            await ask(sources[-1], target, Worker.note, count)
            await wait_all_tasks_blocked()
            windows = {
                (pair(source, target).window.messages, pair(source, target).window.bytes)
                for source in sources
            }
            assert windows == {share(count, 100, 10_000)}


async def test_a_new_sender_starts_small_until_it_is_granted_more(
    autojump_clock: MockClock,
) -> None:
    async with open_small_world() as world:
        source, target, worker = await two(world)
        for number in range(FIRST_MESSAGES):
            tell_nowait(source, target, Worker.note, number)
        with pytest.raises(MailboxFullError, match="no credit from source to target for note"):
            tell_nowait(source, target, Worker.note, -1)
        await wait_all_tasks_blocked()
        window = pair(source, target).window
        assert (window.messages, window.bytes) == (WINDOW_MESSAGES, WINDOW_BYTES)
        assert worker.notes == list(range(FIRST_MESSAGES))


async def test_bytes_are_counted_as_messages_are(autojump_clock: MockClock) -> None:
    async with open_small_world() as world:
        source, target, worker = await two(world)
        await ask(source, target, Worker.note, 0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, source, target, Worker.nap, 10.0)
            await wait_all_tasks_blocked()
            tell_nowait(source, target, Worker.note, 1, bytes(WINDOW_BYTES - 1000))
            with pytest.raises(MailboxFullError):
                tell_nowait(source, target, Worker.note, 2, bytes(1000))
            tell_nowait(source, target, Worker.note, 3, bytes(900))
        await trio.sleep(1)
        assert worker.notes == [0, 1, 3]
        assert pair(source, target).window.in_flight == 0


async def test_one_larger_message_may_leave_when_nothing_is_in_flight(
    autojump_clock: MockClock,
) -> None:
    async with open_small_world() as world:
        source, target, worker = await two(world)
        large = bytes(FIRST_BYTES + 1)
        tell_nowait(source, target, Worker.note, 1, large)
        with pytest.raises(MailboxFullError):
            tell_nowait(source, target, Worker.note, 2)
        await trio.sleep(1)
        larger = bytes(WINDOW_BYTES + 1)
        tell_nowait(source, target, Worker.note, 3, larger)
        with pytest.raises(MailboxFullError):
            tell_nowait(source, target, Worker.note, 4)
        await tell(source, target, Worker.note, 5, larger)
        await tell(source, target, Worker.note, 6)
        await trio.sleep(1)
        assert worker.notes == [1, 3, 5, 6]


async def test_who_waits_for_credit_is_served_in_the_order_of_the_calls(
    autojump_clock: MockClock,
) -> None:
    async with open_small_world() as world:
        near, far = await world.process("near"), await world.process("far")
        source, worker = world.mute(near, "source"), Worker()
        target = await world.cell(far, "target", worker, mailbox_messages=6)
        await ask(source, target, Worker.note, -1)
        scopes = [trio.CancelScope() for _ in range(200)]

        async def teller(number: int) -> None:
            with scopes[number]:
                if number % 3:
                    await tell(source, target, Worker.note, number)
                else:
                    await ask(source, target, Worker.note, number, bytes(number * 100))

        with trio.fail_after(BOUND_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, source, target, Worker.nap, 10.0)
                await wait_all_tasks_blocked()
                for number in range(200):
                    nursery.start_soon(teller, number)
                    await wait_all_tasks_blocked()
                assert len(pair(source, target).waiters) == 198
                for number in (100, 2, 150, 199):  # in the line, at its head, at its end
                    scopes[number].cancel()
                    await wait_all_tasks_blocked()
                with pytest.raises(MailboxFullError):
                    tell_nowait(source, target, Worker.note, -2)
            await trio.sleep(1)
        gone = {100, 2, 150, 199}
        assert worker.notes == [-1, *(n for n in range(200) if n not in gone)]
        window = pair(source, target).window
        assert (window.sent, window.handled) == (198, 198)


async def test_a_small_message_does_not_overtake_a_large_one(autojump_clock: MockClock) -> None:
    async with open_small_world() as world:
        source, target, worker = await two(world, mailbox_bytes=20_000)
        await ask(source, target, Worker.note, 0)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, source, target, Worker.nap, 5.0)
            await wait_all_tasks_blocked()
            nursery.start_soon(tell, source, target, Worker.note, 1, bytes(50_000))
            await wait_all_tasks_blocked()
            nursery.start_soon(tell, source, target, Worker.note, 2)
            await wait_all_tasks_blocked()
            assert len(pair(source, target).waiters) == 2
            await trio.sleep(1)
            assert pair(source, target).window.in_flight == 1
        await trio.sleep(1)
        assert worker.notes == [0, 1, 2]


async def test_a_full_mailbox_refuses_and_says_so(autojump_clock: MockClock) -> None:
    """New senders may be more than it was made for; its bound holds all the same."""
    async with open_small_world() as world:
        near, far = await world.process("near"), await world.process("far")
        worker = Worker()
        target = await world.cell(far, "target", worker, mailbox_messages=100)
        first = world.mute(near, "first")
        refused = []

        async def asks(source: Cell) -> None:
            try:
                await ask(source, target, Worker.note, 0)
            except MailboxFullError as error:
                refused.append(str(error))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, first, target, Worker.nap, 10.0)
            await wait_all_tasks_blocked()
            sources = [world.mute(near, f"s{n}") for n in range(4)]
            for source in sources:
                for number in range(FIRST_MESSAGES - 1):
                    tell_nowait(source, target, Worker.note, number)
                nursery.start_soon(asks, source)
            await wait_all_tasks_blocked()
            assert len(target.mailbox) == 100
        await trio.sleep(1)
        assert refused == ["mailbox of target is full (100)"] * 4
        windows = [pair(source, target).window for source in sources]
        assert [window.in_flight for window in windows] == [0] * 4
        assert sum(window.sent for window in windows) == 4 * FIRST_MESSAGES
        assert sum(window.handled for window in windows) == 100
        assert sum(window.rejected for window in windows) == 4 * FIRST_MESSAGES - 100


async def test_a_lost_report_is_made_good_by_the_next(autojump_clock: MockClock) -> None:
    async with open_small_world() as world:
        source, target, _ = await two(world)
        await ask(source, target, Worker.note, 0)
        world.weather = lambda source, target, frames: () if source == 2 else (0.0,)
        for number in range(10):
            await tell(source, target, Worker.note, number)
        await trio.sleep(1)
        window = pair(source, target).window
        assert (window.handled, window.in_flight) == (1, 10)
        world.weather = lambda source, target, frames: (0.0,)
        await tell(source, target, Worker.note, 10)
        await trio.sleep(1)
        assert (window.handled, window.in_flight) == (12, 0)


async def test_what_a_dead_process_had_not_confirmed_is_a_dead_letter(
    autojump_clock: MockClock,
) -> None:
    async with open_small_world() as world:
        source, target, _ = await two(world)
        near, far = world.processes
        await ask(source, target, Worker.note, 0)
        account = pair(source, target)
        errors = []

        async def nap() -> None:
            try:
                await ask(source, target, Worker.nap, 100.0)
            except ActorDeadError as error:
                errors.append(str(error))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(nap)
            await wait_all_tasks_blocked()
            for number in range(7):
                await tell(source, target, Worker.note, number)
            world.kill(far)
        assert terms(account) == (1, 0, 0, 0, 8, 0)
        letters = near.letters.read()
        assert [(letter.handler, letter.count) for letter in letters] == [("nap", 1), ("", 7)]
        assert {(each.source, each.reason) for each in letters} == {("source", "killed(SIGKILL)")}
        assert errors == [f"{target.address} is dead: killed(SIGKILL)"]
        for send in (ask, tell):
            with pytest.raises(ActorDeadError):
                await send(source, target, Worker.note, 1)
        assert account.window.sent == 9


@pytest.mark.parametrize("local", [False, True], ids=["remote", "local"])
async def test_each_end_of_an_ask_is_counted_once(local: bool, autojump_clock: MockClock) -> None:
    async with open_small_world() as world:
        near, far = await world.process("near"), await world.process("far")
        source = world.mute(near, "source")
        target = await world.cell(near if local else far, "target", Worker())
        await ask(source, target, Worker.note, 1)
        for args in (("s", 0.0, True, b""), ("s", 0.5, True, b"")):
            with pytest.raises(RemoteError, match="ValueError: s"):
                await ask(source, target, Worker.work, *args)
        with pytest.raises(WireError):
            await ask(source, target, Worker.note, "x")
        with trio.move_on_after(1):
            await ask(source, target, Worker.nap, 10.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, source, target, Worker.nap, 2.0)
            await wait_all_tasks_blocked()
            with trio.move_on_after(1):
                await ask(source, target, Worker.note, 2)  # cancelled in the mailbox
        await trio.sleep(1)
        assert terms(pair(source, target)) == (2, 3, 1, 1, 0, 0)
