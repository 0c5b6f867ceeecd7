"""Whatever comes over the wire: nothing is raised, and only ``strays`` count it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import reentrant
from runtime.address import Address
from runtime.cells.cell import Cell
from runtime.errors import ActorError, WireError
from runtime.exits import ExitReason
from runtime.messages import envelope as wire
from runtime.messages.behaviour import Behaviour
from runtime.messages.codec import Buffer, encode
from runtime.traffic.exchange import Exchange
from runtime.traffic.pair import Inbound
from tests.small_world import SmallWorld, ask, open_small_world, pair, stream, tell

BOUND_S = 1000
Envelopes = list[wire.Envelope]


class Patient(Behaviour):
    """Nothing that comes in can end it."""

    def __init__(self) -> None:
        self.seen = 0

    async def count(self, number: int) -> int:
        self.seen += 1
        return number

    async def keep(self, data: bytes) -> bytes:
        self.seen += 1
        return data

    async def few(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    @reentrant
    async def many(self, count: int) -> AsyncIterator[int]:
        for number in range(100 * count):
            yield number


class Scene:
    """``near`` asks and tells ``far``; what passes from near to far is recorded."""

    def __init__(self, world: SmallWorld, near: Exchange, far: Exchange, target: Cell) -> None:
        self.world, self.near, self.far, self.target = world, near, far, target
        self.source = world.mute(near, "source")
        self.passed: list[Sequence[Buffer]] = []
        world.weather = self._record

    def _record(self, source: int, target: int, frames: Sequence[Buffer]) -> Sequence[float]:
        if target == self.far.address.incarnation:
            self.passed.append(frames)
        return (0.0,)

    async def talk(self) -> None:
        """Some of everything that is said between two cells."""
        for number in range(3):
            await ask(self.source, self.target, Patient.count, number)
            await tell(self.source, self.target, Patient.count, number)
        await ask(self.source, self.target, Patient.keep, bytes(5000))
        with trio.move_on_after(0):
            await ask(self.source, self.target, Patient.count, 1)
        await ask(self.target, self.target, Patient.count, 1)
        await self.drink()
        await trio.sleep(1)

    async def drink(self) -> None:
        """A stream to its end, and one that is left."""
        async with stream(self.source, self.target, Patient.few, 5) as items:
            assert [item async for item in items] == [0, 1, 2, 3, 4]
        async with stream(self.source, self.target, Patient.many, 5) as items:
            for number in range(200):
                assert await anext(items) == number

    def state(self) -> object:
        """All of far that a message may change, but for the strays."""
        far = self.far
        return (
            {endpoint: (peer.dead, peer.verdict) for endpoint, peer in far.peers.items()},
            dict(far._callers),
            [(i.number, i.source, ledger_of(i)) for i in self.target.inbounds],
            {number: o.window.sent for number, o in far.outbounds.items()},
            list(far.pending),
            list(far.cells),
            len(self.target.mailbox),
            self.target.ending,
            len(far.letters),
            list(far.streams),
            list(self.target.sources),
        )

    async def is_well(self) -> None:
        """Somebody new is served as ever, and the accounts add up."""
        stranger = await self.world.process("stranger")
        source = self.world.mute(stranger, "new")
        with trio.fail_after(BOUND_S):
            assert await ask(source, self.target, Patient.count, 5) == 5
            assert await ask(source, self.target, Patient.keep, b"x" * 9000) == b"x" * 9000
            async with stream(source, self.target, Patient.few, 100) as items:
                assert [item async for item in items] == list(range(100))
        await trio.sleep(1)
        window = pair(source, self.target).window
        assert (window.sent, window.handled, window.in_flight) == (3, 3, 0)
        assert self.world.ends == {}
        for process in (self.near, self.far):
            for outbound in process.outbounds.values():
                counts = outbound.window
                assert counts.in_flight >= 0
                assert 0 <= counts.done <= counts.sent
                assert 0 <= counts.done_bytes <= counts.bytes_sent
                assert min(counts.messages, counts.bytes) >= 1


def ledger_of(inbound: Inbound) -> tuple[int, ...]:
    ledger = inbound.ledger
    return (
        ledger.handled, ledger.failed, ledger.expired, ledger.rejected, ledger.done_bytes,
        ledger.messages, ledger.bytes,
    )  # fmt: skip


def in_a_scene(check: Callable[[Scene], Awaitable[None]]) -> None:
    """Run ``check`` after some talk, in virtual time."""

    async def main() -> None:
        async with open_small_world() as world:
            near, far = await world.process("near"), await world.process("far")
            target = await world.cell(far, "target", Patient())
            scene = Scene(world, near, far, target)
            await scene.talk()
            await check(scene)

    trio.run(main, clock=MockClock(autojump_threshold=0))


INCARNATIONS = st.sampled_from([0, 1, 2, 3, 4, 9, 2**63])


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.lists(st.tuples(INCARNATIONS, st.lists(st.binary(max_size=60), max_size=4))))
def test_any_frames_raise_nothing_and_change_nothing(
    messages: list[tuple[int, list[bytes]]],
) -> None:
    async def check(scene: Scene) -> None:
        before, strays = scene.state(), scene.far.strays.total()
        for incarnation, frames in messages:
            scene.far._route(incarnation, frames)
        await wait_all_tasks_blocked()
        assert scene.state() == before
        assert scene.far.strays.total() == strays + len(messages)
        await scene.is_well()

    in_a_scene(check)


NUMBERS = st.sampled_from([-(2**63), -1, 0, 1, 2, 3, 64, 2**31, 2**63 - 1, 2**64 - 1])
PAIRS = st.sampled_from([-1, 1, 2, 3, 4, 5, 2**63])
SIZES = st.sampled_from([-1, 0, 0, 0, 1, 5, 2**63])
TEXTS = st.sampled_from(
    ["", "count", "keep", "few", "many", "_serve", "on_stop", "__init__", "no such", "\u00e9"]
)
NO_FRAMES: st.SearchStrategy[tuple[int, ...]] = st.sampled_from([(), (), (0,), (-1, 2**40)])
CHAINS: st.SearchStrategy[tuple[str, ...]] = st.sampled_from([(), ("target",), ("a",) * 50])
ENDPOINTS = st.sampled_from(["memory:1", "memory:2", "memory:77"])
ADDRESSES = st.builds(
    Address, st.sampled_from(["s", "t"]), st.just("who"), st.sampled_from([0, 1, 2, 9]), ENDPOINTS
)
REASONS = st.builds(ExitReason, kind=st.just("normal"))
DEADLINES = st.sampled_from([0.0, -1.0, 1e308, -1e308, float("inf"), float("-inf")])
COUNTS = (NUMBERS,) * 5
RUNS = st.sampled_from(  # all of one and its calls
    [(0, (), ()), (2, (1, 2), (1, 1)), (0, (2, 2), (0, 0)), (2, (1, 2), (3, -1)), (2, (1,), (1, 1))]
)
MESSAGES: st.SearchStrategy[wire.Envelope] = st.one_of(
    st.builds(wire.Open, PAIRS, TEXTS, NUMBERS, TEXTS, st.sampled_from([0, 3, 4, 2**63])),
    st.builds(wire.Tell, PAIRS, TEXTS, SIZES, NO_FRAMES),
    st.builds(wire.Ask, PAIRS, TEXTS, SIZES, NUMBERS, DEADLINES, CHAINS, NO_FRAMES),
    st.builds(wire.Reply, PAIRS, NUMBERS, SIZES, *COUNTS, NO_FRAMES),
    st.builds(wire.Fail, PAIRS, NUMBERS, TEXTS, TEXTS, TEXTS, TEXTS, *COUNTS),
    st.builds(lambda pair, name, run: wire.Asks(pair, name, *run), PAIRS, TEXTS, RUNS),
    st.builds(lambda pair, run, *counts: wire.Replies(pair, *run, *counts), PAIRS, RUNS, *COUNTS),
    st.builds(wire.Cancel, PAIRS, NUMBERS),
    st.builds(wire.Credit, PAIRS, *COUNTS, NUMBERS, NUMBERS),
    st.builds(wire.Item, PAIRS, NUMBERS, SIZES, NO_FRAMES),
    st.builds(wire.More, PAIRS, NUMBERS, NUMBERS, NUMBERS),
    st.builds(wire.Close, PAIRS),
)
CONTROL: st.SearchStrategy[wire.Envelope] = st.one_of(
    st.builds(wire.Welcome, TEXTS, SIZES, ADDRESSES, NUMBERS, DEADLINES, NUMBERS, NUMBERS),
    st.builds(wire.Started, ENDPOINTS),
    st.builds(wire.StartFailed, TEXTS, TEXTS, TEXTS),
    st.builds(wire.Exiting, REASONS, NUMBERS),
    st.builds(wire.Stop, NUMBERS, st.booleans()),
    st.builds(wire.Beat, NUMBERS),
    st.builds(wire.Heard, NUMBERS),
    st.builds(wire.Guardian, NUMBERS, ADDRESSES),
    st.builds(wire.Guard, NUMBERS, ADDRESSES, NUMBERS),
    st.builds(wire.Unguard, NUMBERS, NUMBERS),
    st.builds(wire.Watch, ENDPOINTS),
    st.builds(wire.Unwatch, ENDPOINTS),
    st.builds(wire.Down, ENDPOINTS, REASONS),
    st.builds(wire.Verdict, ENDPOINTS, TEXTS),
    st.builds(wire.Pace, DEADLINES),
)
HELLOS = st.builds(wire.Hello, ADDRESSES, TEXTS, st.sampled_from([0, 1, 2]))
BATCHES = st.lists(st.lists(MESSAGES | CONTROL, min_size=1, max_size=6), max_size=8)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(BATCHES)
def test_a_stranger_without_a_hello_changes_nothing(batches: list[Envelopes]) -> None:
    async def check(scene: Scene) -> None:
        before, strays = scene.state(), scene.far.strays.total()
        for batch in batches:
            scene.far._route(9, encode(*batch, body=b"\x91\x05" * 5))
        await wait_all_tasks_blocked()
        assert scene.state() == before
        assert scene.far.strays.total() == strays + len(batches)
        await scene.is_well()

    in_a_scene(check)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.lists(st.lists(CONTROL, min_size=1, max_size=6), max_size=8))
def test_control_that_nobody_registered_for_changes_nothing(batches: list[Envelopes]) -> None:
    async def check(scene: Scene) -> None:
        before = scene.state()
        for batch in batches:
            frames = encode(*batch, body=b"\x91\x05" * 5)
            scene.far._route(scene.near.address.incarnation, frames)
        await wait_all_tasks_blocked()
        assert scene.state() == before
        await scene.is_well()

    in_a_scene(check)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    st.lists(
        st.tuples(INCARNATIONS, st.lists(MESSAGES | CONTROL | HELLOS, min_size=1, max_size=6)),
        max_size=12,
    )
)
def test_envelopes_in_any_order_do_no_harm(batches: list[tuple[int, Envelopes]]) -> None:
    """From those who are known, and from those who say hello in the middle of it."""

    async def check(scene: Scene) -> None:
        for incarnation, batch in batches:
            scene.far._route(incarnation, encode(*batch, body=b"\x91\x05" * 5))
            await wait_all_tasks_blocked()
        await scene.is_well()

    in_a_scene(check)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    st.lists(
        st.lists(
            st.one_of(
                st.builds(wire.Item, st.just(1), st.integers(0, 12), SIZES, NO_FRAMES),
                st.builds(wire.More, st.just(1), st.integers(0, 12), NUMBERS, NUMBERS),
                MESSAGES,
            ),
            min_size=1,
            max_size=6,
        ),
        max_size=8,
    )
)
def test_answers_in_any_order_do_no_harm_to_a_consumer(batches: list[Envelopes]) -> None:
    """Its streams may be spoilt, and so may its asks; nothing is raised, and nothing hangs."""

    async def check(scene: Scene) -> None:
        near, far = scene.near, scene.far.address.incarnation
        with trio.move_on_after(10):
            async with (
                stream(scene.source, scene.target, Patient.many, 5) as items,
                stream(scene.source, scene.target, Patient.few, 5),
            ):
                for batch in batches:
                    near._route(far, encode(*batch, body=b"\x91\x05" * 5))
                    await wait_all_tasks_blocked()
                with suppress(ActorError):
                    async for _ in items:
                        pass
        await trio.sleep(1)
        assert not near.streams
        assert not scene.target.sources
        await scene.is_well()

    in_a_scene(check)


@pytest.mark.parametrize(
    "envelope",
    [
        pytest.param(wire.Item(1, 9**9, 0), id="item to nobody"),
        pytest.param(wire.Item(99, 2, 0), id="item of another pair"),
        pytest.param(wire.More(99, 2, 1, 1), id="more for nobody"),
    ],
)
def test_what_belongs_to_no_stream_is_counted(envelope: wire.Envelope) -> None:
    async def check(scene: Scene) -> None:
        for process, other in ((scene.near, scene.far), (scene.far, scene.near)):
            if process is scene.near or envelope.pair == 99:  # type: ignore[attr-defined]
                before = process.strays.total()
                process._route(other.address.incarnation, encode(envelope))
                assert process.strays.total() == before + 1
        await scene.is_well()

    in_a_scene(check)


def test_a_stream_that_is_told_or_asked_is_refused() -> None:
    """By those who know its class by another name for the same handler."""

    class Elsewhere(Behaviour):
        async def many(self, count: int) -> int:
            return count

        async def few(self, count: int) -> int:
            return count

        async def count(self, number: int) -> AsyncIterator[int]:
            yield number

    async def check(scene: Scene) -> None:
        source, target = scene.world.mute(scene.near, "stranger"), scene.target
        for handler in (Elsewhere.many, Elsewhere.few):
            await tell(source, target, handler, 3)
        await trio.sleep(1)
        window = pair(source, target).window
        assert (window.sent, window.rejected) == (2, 2)
        for handler in (Elsewhere.many, Elsewhere.few):
            with (
                trio.fail_after(BOUND_S),
                pytest.raises(WireError, match="target answers with a stream: do not ask it"),
            ):
                await ask(source, target, handler, 3)
        async with stream(source, target, Elsewhere.count, 3) as items:
            with pytest.raises(WireError, match="count is no stream there"):
                await anext(items)
        await trio.sleep(1)
        assert not target.sources
        assert not scene.near.pending
        await scene.is_well()

    in_a_scene(check)


def test_more_items_than_were_granted_end_the_stream() -> None:
    async def check(scene: Scene) -> None:
        async with stream(scene.source, scene.target, Patient.many, 5) as items:
            await anext(items)
            flood = [wire.Item(items.outbound.number, items.id, 0)] * 1100
            scene.near._route(scene.far.address.incarnation, encode(*flood))
            assert scene.near.strays == {"more items than granted": 1}
            with pytest.raises(WireError, match="more items than were granted"):
                async for _ in items:
                    pass
        await trio.sleep(1)
        assert not scene.target.sources
        await scene.is_well()

    in_a_scene(check)


@pytest.mark.parametrize(
    "envelope",
    [
        pytest.param(wire.Reply(1, 2, 0, 99, 0, 0, 0, 0), id="more handled than sent"),
        pytest.param(wire.Reply(1, 2, 0, 2**63, 0, 0, 0, 0), id="huge"),
        pytest.param(wire.Reply(1, 2, 0, -5, 6, 0, 0, 0), id="negative"),
        pytest.param(wire.Replies(1, 0, (2,), (0,), 99, 0, 0, 0, 0), id="a run handled more"),
        pytest.param(wire.Credit(1, 99, 0, 0, 0, 10**9, 1024, 4096), id="untrue credit"),
        pytest.param(wire.Credit(99, 1, 0, 0, 0, 0, 1024, 4096), id="credit to nobody"),
        pytest.param(wire.Reply(99, 2, 0, 1, 0, 0, 0, 0), id="answer to nobody"),
    ],
)
async def test_an_untrue_report_leaves_the_account_alone(
    envelope: wire.Envelope, autojump_clock: MockClock
) -> None:
    async with open_small_world() as world:
        near, far = await world.process("near"), await world.process("far")
        scene = Scene(world, near, far, await world.cell(far, "target", Patient()))
        await scene.talk()
        outbound = pair(scene.source, scene.target)
        assert outbound.number == 1
        window = outbound.window
        counts = window.sent, window.handled, window.expired, window.done, window.done_bytes
        near._route(far.address.incarnation, encode(envelope))
        assert counts == (
            window.sent, window.handled, window.expired, window.done, window.done_bytes
        )  # fmt: skip


def changed(rng: random.Random, frames: Sequence[Buffer]) -> list[bytes]:
    """The same with some bytes changed, doubled or left out."""
    mutated = []
    for frame in frames:
        data = bytearray(frame)
        for _ in range(rng.randrange(4)):
            at = rng.randrange(len(data) + 1)
            action = rng.randrange(4)
            if action == 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            elif action == 1:
                data[at:at] = data[at : at + rng.randrange(9)]
            elif action == 2:
                del data[at : at + rng.randrange(9)]
            else:
                del data[at:]
        mutated.append(bytes(data))
    return mutated


@pytest.mark.parametrize("seed", range(40))
def test_a_real_batch_that_was_damaged_does_no_harm(seed: int) -> None:
    async def check(scene: Scene) -> None:
        rng = random.Random(seed)
        recorded = list(scene.passed)
        near = scene.near.address.incarnation
        for _ in range(300):
            frames = changed(rng, rng.choice(recorded))
            scene.far._route(rng.choice((near, near, near, 0, 9)), frames)
            await wait_all_tasks_blocked()
        await scene.is_well()

    in_a_scene(check)


@pytest.mark.parametrize("seed", range(10))
def test_real_batches_in_another_order_and_twice_do_no_harm(seed: int) -> None:
    async def check(scene: Scene) -> None:
        rng = random.Random(seed)
        recorded = list(scene.passed)
        for _ in range(100):
            scene.far._route(scene.near.address.incarnation, rng.choice(recorded))
            if rng.random() < 0.3:
                await wait_all_tasks_blocked()
        await scene.is_well()

    in_a_scene(check)


def test_a_hello_opens_the_door_for_its_own_incarnation_alone() -> None:
    async def check(scene: Scene) -> None:
        hello = partial(Address, name="who", endpoint="memory:77")
        for incarnation, greeting in (
            (9, wire.Hello(hello(system="s", incarnation=8), "b", wire.VERSION)),
            (9, wire.Hello(hello(system="t", incarnation=9), "b", wire.VERSION)),
            (9, wire.Hello(hello(system="s", incarnation=9), "b", wire.VERSION + 1)),
        ):
            before = scene.state()
            scene.far._route(incarnation, encode(greeting))
            assert scene.state() == before
        own = Address("s", "who", 9, scene.far.address.endpoint)
        scene.far._route(9, encode(wire.Hello(own, "b", wire.VERSION)))
        assert 9 not in scene.far._callers
        assert scene.far.strays == {"no hello": 3, "own endpoint": 1}
        greeting = wire.Hello(hello(system="s", incarnation=9), "b", wire.VERSION)
        scene.far._route(9, encode(greeting))
        assert 9 in scene.far._callers

    in_a_scene(check)
