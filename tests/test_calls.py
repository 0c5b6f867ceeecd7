"""Asks and tells between cells, on every transport and with both ways of reading."""

from __future__ import annotations

import gc
import math
import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from runtime.address import Address
from runtime.cells import asks, tells
from runtime.cells.cell import Cell
from runtime.errors import (
    ActorDeadError,
    MailboxFullError,
    RemoteError,
    UnreachableError,
    WireError,
)
from runtime.exits import ExitReason
from runtime.messages.behaviour import Behaviour, handlers_of
from runtime.messages.signature import signature_of
from runtime.traffic.exchange import Exchange
from runtime.wires.memory import MemoryNetwork
from runtime.wires.zmq_transport import ZmqTransport


class Counter(Behaviour):
    def __init__(self) -> None:
        self.value = 0
        self.seen: list[int] = []
        self.started: list[str] = []
        self.ended: list[str] = []
        self.gate = trio.Event()

    async def add(self, amount: int) -> int:
        self.value += amount
        return self.value

    async def note(self, number: int) -> None:
        self.seen.append(number)

    async def sleep(self, name: str, seconds: float) -> str:
        self.started.append(name)
        try:
            await trio.sleep(seconds)
        finally:
            self.ended.append(name)
        return name

    async def wait(self, name: str) -> None:
        self.started.append(name)
        await self.gate.wait()

    async def fail(self, text: str) -> None:
        raise ValueError(text)

    async def echo(self, data: bytes) -> bytes:
        return data

    async def both(self, first: str, second: int = 7, *, third: bool = False) -> str:
        return f"{first} {second} {third}"


class Pair:
    """Two processes in one trio run: ``near`` asks, ``far`` runs a Counter."""

    def __init__(self, near: Exchange, far: Exchange, source: Cell, cell: Cell, actor: Counter):
        self.near, self.far, self.source, self.cell, self.actor = near, far, source, cell, actor
        self.target = cell.address
        self.reason: list[ExitReason] = []

    async def ask(self, handler: Callable[..., object], *args: object, **kwargs: object) -> object:
        signature = signature_of(handler)
        return await asks.ask(self.source, self.target, signature, signature.bind(args, kwargs))

    async def tell(self, handler: Callable[..., object], *args: object) -> None:
        await tells.tell(self.source, self.target, signature_of(handler), args)

    def tell_nowait(self, handler: Callable[..., object], *args: object) -> None:
        tells.tell_nowait(self.source, self.target, signature_of(handler), args)


async def seen(condition: Callable[[], object]) -> None:
    """It holds; the caller bounds the wait."""
    while not condition():  # noqa: ASYNC110
        await trio.sleep(0.001)


@asynccontextmanager
async def open_pair(kind: str, simple: bool) -> AsyncIterator[Pair]:
    offset = trio.current_time() - time.monotonic() if kind == "ipc" else 0.0
    with tempfile.TemporaryDirectory() as folder:
        async with trio.open_nursery() as nursery:
            network = MemoryNetwork(nursery)

            def exchange(name: str, incarnation: int) -> Exchange:
                transport = (
                    ZmqTransport(f"ipc://{folder}/{incarnation}", incarnation, nursery)
                    if kind == "ipc"
                    else network.join(incarnation)
                )
                address = Address("s", name, incarnation, transport.endpoint)
                return Exchange(address, transport, boot_id="b", clock_offset=offset, simple=simple)

            near = exchange("near", 1)
            far = exchange("far", 2)
            source = Cell(near, near.address, {})
            near.cells[1] = source
            cell = Cell(far, far.address, handlers_of(Counter))
            actor = Counter()
            pair = Pair(near, far, source, cell, actor)
            started = trio.Event()

            async def live() -> None:
                pair.reason.append(await cell.run(actor, started.set))

            try:
                async with trio.open_nursery() as running:
                    await running.start(near.run)
                    await running.start(far.run)
                    running.start_soon(live)
                    await started.wait()
                    yield pair
                    running.cancel_scope.cancel()
            finally:
                near.transport.close()
                far.transport.close()
                nursery.cancel_scope.cancel()


KINDS = [
    pytest.param("memory", True, id="memory-simple"),
    pytest.param("memory", False, id="memory-leader"),
    pytest.param("ipc", True, id="ipc-simple", marks=pytest.mark.real),
    pytest.param("ipc", False, id="ipc-leader", marks=pytest.mark.real),
]
every_kind = pytest.mark.parametrize(("kind", "simple"), KINDS)


@every_kind
async def test_an_ask_brings_the_result(kind: str, simple: bool) -> None:
    async with open_pair(kind, simple) as pair:
        with trio.fail_after(5):
            assert [await pair.ask(Counter.add, n) for n in (1, 2, 3)] == [1, 3, 6]
            assert await pair.ask(Counter.both, "a", third=True) == "a 7 True"


@every_kind
async def test_tells_are_handled_in_order(kind: str, simple: bool) -> None:
    async with open_pair(kind, simple) as pair:
        with trio.fail_after(20):
            for n in range(5000):
                await pair.tell(Counter.note, n)
            await pair.ask(Counter.add, 0)
        assert pair.actor.seen == list(range(5000))


@every_kind
async def test_many_asks_at_once_each_get_their_own(kind: str, simple: bool) -> None:
    async with open_pair(kind, simple) as pair:
        results = []

        async def one(n: int) -> None:
            results.append((n, await pair.ask(Counter.both, str(n), n)))

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for n in range(300):
                    nursery.start_soon(one, n)
        assert sorted(results) == [(n, f"{n} {n} False") for n in range(300)]


@every_kind
async def test_an_exception_goes_to_the_asker_and_the_actor_goes_on(
    kind: str, simple: bool
) -> None:
    async with open_pair(kind, simple) as pair:
        with trio.fail_after(5):
            with pytest.raises(RemoteError, match="ValueError: no good") as caught:
                await pair.ask(Counter.fail, "no good")
            assert "raise ValueError(text)" in caught.value.traceback_text
            assert await pair.ask(Counter.add, 1) == 1


@every_kind
async def test_a_wrong_argument_never_reaches_the_handler(kind: str, simple: bool) -> None:
    async with open_pair(kind, simple) as pair:
        with trio.fail_after(5):
            with pytest.raises(WireError, match="amount"):
                await pair.ask(Counter.add, "three")
            assert await pair.ask(Counter.add, 1) == 1


@every_kind
async def test_a_large_argument_travels_in_a_frame_of_its_own(kind: str, simple: bool) -> None:
    async with open_pair(kind, simple) as pair:
        with trio.fail_after(20):
            for size in (1, 4095, 4096, 300_000, 8_000_000):
                data = random.Random(size).randbytes(size)
                assert await pair.ask(Counter.echo, data) == data
        window = pair.source.outbounds[pair.target.incarnation].window
        assert (window.handled, window.in_flight) == (5, 0)


@every_kind
async def test_a_told_exception_ends_the_cell_and_every_ask(kind: str, simple: bool) -> None:
    async with open_pair(kind, simple) as pair:
        with trio.fail_after(5):
            await pair.tell(Counter.fail, "boom")
            with pytest.raises(ActorDeadError):
                await pair.ask(Counter.add, 1)
        (reason,) = pair.reason
        assert (reason.kind, reason.error, reason.message) == ("crashed", "ValueError", "boom")


@every_kind
async def test_cancelling_an_ask_cancels_its_handler(kind: str, simple: bool) -> None:
    async with open_pair(kind, simple) as pair:
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pair.ask, Counter.sleep, "long", 1000)
                await seen(lambda: pair.actor.started)
                nursery.cancel_scope.cancel()
            assert await pair.ask(Counter.add, 1) == 1  # the cell is free again
        assert pair.actor.started == pair.actor.ended == ["long"]
        assert not pair.near.pending


@every_kind
async def test_a_queued_ask_that_is_cancelled_never_starts(kind: str, simple: bool) -> None:
    async with open_pair(kind, simple) as pair:

        async def cancelled(scope: trio.CancelScope) -> None:
            with scope:
                await pair.ask(Counter.sleep, "second", 1000)

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pair.ask, Counter.wait, "first")
                await seen(lambda: pair.actor.started)
                scope = trio.CancelScope()
                nursery.start_soon(cancelled, scope)
                await seen(lambda: pair.cell.mailbox)
                scope.cancel()
                await seen(lambda: not pair.cell.mailbox)
                pair.actor.gate.set()
            assert await pair.ask(Counter.add, 1) == 1
        assert pair.actor.started == ["first"]
        window = pair.source.outbounds[pair.target.incarnation].window
        assert (window.handled, window.expired, window.in_flight) == (2, 1, 0)


@every_kind
async def test_an_ask_with_a_long_deadline_is_never_cancelled(kind: str, simple: bool) -> None:
    """Scopes are reused over messages: the deadline of one must never hit another."""
    async with open_pair(kind, simple) as pair:
        rng = random.Random(1)
        cancelled = 0

        async def impatient() -> None:
            nonlocal cancelled
            for _ in range(40):
                with trio.move_on_after(rng.random() * 0.004) as scope:
                    await pair.ask(Counter.sleep, "x", rng.random() * 0.004)
                cancelled += scope.cancelled_caught

        async def patient() -> None:
            for _ in range(40):
                with trio.fail_after(1000):
                    assert await pair.ask(Counter.sleep, "y", rng.random() * 0.002) == "y"

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(impatient)
                    nursery.start_soon(patient)
        assert cancelled
        assert not pair.near.pending
        assert pair.cell.in_flight is None


@every_kind
async def test_no_credit_makes_tell_wait_and_tell_nowait_raise(kind: str, simple: bool) -> None:
    async with open_pair(kind, simple) as pair:
        with trio.fail_after(5):
            await pair.ask(Counter.add, 0)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pair.ask, Counter.sleep, "busy", 1.0)
                await trio.sleep(0.05)
                sent = 1023  # the sleeping ask is in flight too
                for number in range(sent):
                    pair.tell_nowait(Counter.note, number)
                with pytest.raises(MailboxFullError):
                    pair.tell_nowait(Counter.note, sent)
                with trio.move_on_after(0.05) as scope:
                    await pair.tell(Counter.note, -1)
                assert scope.cancelled_caught
            await pair.tell(Counter.note, sent)
            await pair.ask(Counter.add, 0)
        assert pair.actor.seen == list(range(sent + 1))
        window = pair.source.outbounds[pair.target.incarnation].window
        assert window.sent == window.handled
        assert not pair.source.outbounds[pair.target.incarnation].waiters


@every_kind
async def test_the_death_of_a_peer_ends_every_ask_and_accounts_for_it(
    kind: str, simple: bool
) -> None:
    async with open_pair(kind, simple) as pair:
        errors = []

        async def one() -> None:
            try:
                await pair.ask(Counter.sleep, "x", 1000)
            except ActorDeadError as error:
                errors.append(str(error))

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(one)
                await trio.sleep(0.05)
                pair.near.down(pair.far.address.endpoint, ExitReason(kind="killed", signal=9))
            assert errors == ["far.2 is dead: killed(SIGKILL)"] * 5
            with pytest.raises(ActorDeadError):
                await pair.ask(Counter.add, 1)
            with pytest.raises(ActorDeadError):
                await pair.tell(Counter.note, 1)
        assert [letter.count for letter in pair.near.letters.read()] == [5]


@every_kind
async def test_a_verdict_ends_the_asks_and_they_are_not_executed_later(
    kind: str, simple: bool
) -> None:
    async with open_pair(kind, simple) as pair:
        errors = []

        async def waits(name: str) -> None:
            try:
                await pair.ask(Counter.sleep, name, 0.2)
            except UnreachableError as error:
                errors.append(str(error))

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(waits, "first")
                await trio.sleep(0.02)
                nursery.start_soon(waits, "second")
                await trio.sleep(0.02)
                pair.near.verdict(pair.target.endpoint, "frozen")
                with pytest.raises(UnreachableError, match="frozen"):
                    await pair.ask(Counter.add, 1)
            pair.near.verdict(pair.target.endpoint, "")
            assert await pair.ask(Counter.add, 1) == 1
        assert errors == ["far.2 is unreachable: frozen"] * 2
        assert "second" not in pair.actor.started


@every_kind
async def test_garbage_is_counted_and_dropped(kind: str, simple: bool) -> None:
    async with open_pair(kind, simple) as pair:
        with trio.fail_after(5):
            await pair.ask(Counter.add, 1)
            rng = random.Random(3)
            for _ in range(200):
                frames = [rng.randbytes(rng.randrange(40)) for _ in range(rng.randrange(1, 5))]
                pair.near.transport.send(pair.target.endpoint, frames)
            assert await pair.ask(Counter.add, 1) == 2
        assert sum(pair.far.strays.values()) == 200


async def test_a_deadline_passes_at_its_instant(autojump_clock: MockClock) -> None:
    async with open_pair("memory", True) as pair:
        began = trio.current_time()
        with trio.move_on_after(3):
            await pair.ask(Counter.sleep, "x", 10)
        assert trio.current_time() - began == 3
        await wait_all_tasks_blocked()
        assert pair.actor.ended == ["x"]
        assert pair.cell.scope is not None
        assert pair.cell.scope.deadline == math.inf
    gc.collect()
