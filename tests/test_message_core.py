"""What the message core promises and did not keep: each of these failed when it was written."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import reentrant
from runtime.address import Address
from runtime.cells.cell import Cell
from runtime.errors import ActorError, MailboxFullError, RemoteError, WireError
from runtime.exits import ExitReason
from runtime.messages import codec
from runtime.messages import envelope as wire
from runtime.messages.batch import Batch
from runtime.messages.behaviour import Behaviour
from runtime.messages.signature import signature_of
from runtime.traffic.credit import Window
from tests.small_world import SmallWorld, ask, open_small_world, pair, tell, tell_nowait

BOUND_S = 1000


class Sample(Behaviour):
    def __init__(self) -> None:
        self.other: Cell | None = None
        self.seen: list[int] = []
        self.log: list[str] = []
        self.buffer = bytearray(8192)

    @property
    def _me(self) -> Cell:
        cell: Cell = self._cell
        return cell

    def _peer(self) -> Cell:
        assert self.other is not None
        return self.other

    async def note(self, number: int) -> int:
        self.seen.append(number)
        return number

    async def nap(self, seconds: float) -> None:
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            self.log.append("cancelled")
            raise
        self.log.append("slept")

    async def say(self, text: str, times: int) -> None:
        raise ValueError(text * times)

    async def half_a_character(self) -> None:
        raise ValueError("\udc80")

    async def misfit(self) -> None:
        raise WireError("inner")

    async def crash_after(self, seconds: float) -> None:
        async def crash() -> None:
            await trio.sleep(seconds)
            raise ValueError("background")

        assert self._me.nursery is not None
        self._me.nursery.start_soon(crash)

    async def ask_later(self) -> None:
        """A task of the cell asks the cell while this handler is suspended."""

        async def later() -> None:
            try:
                await ask(self._me, self._me, Sample.note, 5)
            except RuntimeError as error:
                self.log.append(str(error))

        assert self._me.nursery is not None
        self._me.nursery.start_soon(later)
        await trio.sleep(1)

    @reentrant
    async def openly(self, number: int) -> int:
        return number

    @reentrant
    async def ask_myself(self) -> object:
        return await ask(self._me, self._me, Sample.note, 1)

    @reentrant
    async def back(self) -> object:
        return await ask(self._me, self._peer(), Sample.openly, 1)

    async def there_and_back(self) -> object:
        return await ask(self._me, self._peer(), Sample.back)

    async def state(self) -> bytes:
        return self.buffer  # type: ignore[return-value]

    async def view(self) -> memoryview:
        return memoryview(self.buffer)

    async def scribble(self) -> None:
        self.buffer[:] = b"z" * len(self.buffer)

    async def take(self, value: Any) -> None: ...

    async def note_twice(self, number: int) -> int:
        """Nothing in it waits."""
        tell_nowait(self._me, self._me, Sample.note, number + 1)
        self.seen.append(number)
        if number < 0:
            raise ValueError("negative")
        return number


async def settle_in(world: SmallWorld, local: bool) -> tuple[Cell, Cell, Sample]:
    near, far = await world.process("near"), await world.process("far")
    actor = Sample()
    cell = await world.cell(near if local else far, "target", actor)
    return world.mute(near, "source"), cell, actor


both_places = pytest.mark.parametrize("local", [False, True], ids=["remote", "local"])


# 1. runtime/traffic/pair.py: Outbound.credit


@pytest.mark.parametrize("count", [1, 2])
async def test_who_waits_for_credit_can_be_cancelled(count: int, autojump_clock: MockClock) -> None:
    """Two at once, or one at the instant of the credit."""
    async with open_small_world() as world:
        source, target, actor = await settle_in(world, local=False)
        await ask(source, target, Sample.note, 0)
        async with trio.open_nursery() as busy:
            busy.start_soon(ask, source, target, Sample.nap, 50.0)
            await wait_all_tasks_blocked()
            with suppress(MailboxFullError):
                while True:
                    tell_nowait(source, target, Sample.note, 1)
            async with trio.open_nursery() as nursery:
                for _ in range(count):
                    nursery.start_soon(tell, source, target, Sample.note, 2)
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
                pair(source, target).wake()
        await trio.sleep(1)
        assert 2 not in actor.seen


# 2. runtime/messages/codec.py: decode


def test_text_that_is_none_is_a_wire_error() -> None:
    (frame,) = codec.encode(wire.Tell(1, "abc", 0))
    with pytest.raises(WireError):
        codec.decode([bytes(frame).replace(b"abc", b"\xff\xfe\xfd")])


# 3. runtime/traffic/settling.py: fail; runtime/messages/codec.py: Batch.add


@both_places
async def test_an_exception_of_any_text_reaches_its_asker(
    local: bool, autojump_clock: MockClock
) -> None:
    async with open_small_world() as world:
        source, target, _ = await settle_in(world, local)
        with trio.fail_after(BOUND_S):
            with pytest.raises(RemoteError, match="ValueError"):
                await ask(source, target, Sample.say, "x", 2_000_000)
            with pytest.raises(RemoteError, match="ValueError"):
                await ask(source, target, Sample.half_a_character)
            assert await ask(source, target, Sample.note, 1) == 1


# 4. runtime/cells/service.py: _take_apart


@both_places
async def test_a_told_misfit_for_a_reentrant_handler_is_rejected(
    local: bool, autojump_clock: MockClock
) -> None:
    async with open_small_world() as world:
        source, target, _ = await settle_in(world, local)
        await tell(source, target, Sample.openly, "no number")
        await trio.sleep(1)
        assert world.ends == {}
        assert pair(source, target).window.rejected == 1


# 5. runtime/cells/service.py: a reentrant message waits behind a suspended handler


@both_places
async def test_a_reentrant_handler_starts_while_another_is_suspended(
    local: bool, autojump_clock: MockClock
) -> None:
    async with open_small_world() as world:
        near, far = await world.process("near"), await world.process("far")
        one, two = Sample(), Sample()
        one.other = await world.cell(near if local else far, "two", two)
        two.other = await world.cell(near, "one", one)
        with trio.fail_after(BOUND_S):
            assert await ask(world.mute(near, "source"), two.other, Sample.there_and_back) == 1


# 6. runtime/cells/calls.py, inplace.py: what runs in place means what it means from afar


@both_places
async def test_an_ask_of_a_reentrant_handler_to_its_own_cell_is_a_cycle(
    local: bool, autojump_clock: MockClock
) -> None:
    """It is refused when the cell is busy, so it must be when it is idle."""
    async with open_small_world() as world:
        source, target, _ = await settle_in(world, local)
        with pytest.raises(RemoteError, match="ask cycle: target -> target"):
            await ask(source, target, Sample.ask_myself)


@both_places
async def test_a_wire_error_of_a_handler_is_the_askers(
    local: bool, autojump_clock: MockClock
) -> None:
    async with open_small_world() as world:
        source, target, _ = await settle_in(world, local)
        with pytest.raises(WireError, match="inner"):
            await ask(source, target, Sample.misfit)


@both_places
async def test_an_ask_in_a_cancelled_scope_is_not_sent(
    local: bool, autojump_clock: MockClock
) -> None:
    async with open_small_world() as world:
        source, target, actor = await settle_in(world, local)
        with trio.CancelScope() as scope:
            scope.cancel()
            await ask(source, target, Sample.note, 1)
        await trio.sleep(1)
        assert scope.cancelled_caught
        assert actor.seen == []


@both_places
async def test_the_end_of_a_cell_is_the_end_of_its_handlers(
    local: bool, autojump_clock: MockClock
) -> None:
    async with open_small_world() as world:
        source, target, actor = await settle_in(world, local)
        await ask(source, target, Sample.crash_after, 1.0)
        account = pair(source, target).window
        with pytest.raises(ActorError):
            await ask(source, target, Sample.nap, 5.0)
        assert trio.current_time() == 1
        await trio.sleep(9)
        assert actor.log == ["cancelled"]
        assert account.in_flight == 0


async def test_nobody_overtakes_an_ask_that_runs_in_place(autojump_clock: MockClock) -> None:
    async with open_small_world() as world:
        source, target, actor = await settle_in(world, local=True)
        await ask(source, target, Sample.note, 0)
        near = source.exchange
        near.tells = 63  # the next call is a checkpoint too

        async def second() -> None:
            while near.tells:
                await trio.lowlevel.checkpoint()
            tell_nowait(source, target, Sample.note, 2)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(second)
            nursery.start_soon(ask, source, target, Sample.note, 1)
        await trio.sleep(1)
        assert actor.seen == [0, 1, 2]


@both_places
async def test_a_handler_in_which_nothing_waits_ends_like_any_other(
    local: bool, autojump_clock: MockClock
) -> None:
    assert signature_of(Sample.note_twice).prompt
    async with open_small_world() as world:
        source, target, actor = await settle_in(world, local)
        for number in range(0, 30, 2):
            assert await ask(source, target, Sample.note_twice, number) == number
        with pytest.raises(RemoteError, match="ValueError: negative"):
            await ask(source, target, Sample.note_twice, -2)
        await trio.sleep(1)
        assert actor.seen == [*range(30), -2, -1]
        assert pair(source, target).window.totals()[:3] == (16, 15, 1)


# 7. runtime/cells/call.py: the chain of a task of the cell's nursery


async def test_a_task_of_the_cell_carries_no_chain_while_its_handler_runs(
    autojump_clock: MockClock,
) -> None:
    async with open_small_world() as world:
        source, target, actor = await settle_in(world, local=False)
        await ask(source, target, Sample.ask_later)
        await trio.sleep(1)
        assert (actor.log, actor.seen) == ([], [5])


# 8. runtime/messages/signature.py


@pytest.mark.parametrize("local", [False, True], ids=["remote", "local"])
async def test_what_happens_to_a_result_after_its_return_does_not_show(
    local: bool, autojump_clock: MockClock
) -> None:
    async with open_small_world(simple=False) as world:
        source, target, actor = await settle_in(world, local)
        results: list[object] = []

        async def ask_for(handler: Any) -> None:
            results.append(await ask(source, target, handler))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, source, target, Sample.nap, 1.0)
            await wait_all_tasks_blocked()
            nursery.start_soon(ask_for, Sample.state)
            await wait_all_tasks_blocked()
            await tell(source, target, Sample.scribble)
        assert results == [bytes(8192)]
        actor.buffer[:] = bytes(8192)
        await ask_for(Sample.view)
        actor.buffer[:] = b"z" * 8192
        assert results[1:] == [bytes(8192)]


class Plain(msgspec.Struct):
    x: int


def unset() -> Plain:
    plain = Plain(1)
    del plain.x
    return plain


def deep() -> list[Any]:
    found: list[Any] = []
    for _ in range(100_000):
        found = [found]
    return found


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(memoryview(b"abcdef")[::2], id="a view with gaps"),
        pytest.param([memoryview(b"abcdef")[::2]], id="a view with gaps, inside"),
        pytest.param(unset(), id="a field that is not there"),
        pytest.param(deep(), id="deep nesting"),
    ],
)
def test_whatever_cannot_travel_is_a_type_error_and_leaves_nothing(value: object) -> None:
    body = bytearray(b"before")
    with pytest.raises(TypeError, match="cannot travel"):
        signature_of(Sample.take).encode((["rest", value],), body)
    assert body == b"before"


# 9. runtime/messages/codec.py: head, body and the largest payload share one frame now


def test_the_largest_payload_may_follow_a_batch_that_nearly_left() -> None:
    batch = Batch()
    batch.body += bytes(65_500)
    assert not batch.add(wire.Tell(1, "h", 65_500))
    batch.body += bytes(codec.MAX_PAYLOAD_BYTES)
    batch.add(wire.Tell(1, "h" * 64, codec.MAX_PAYLOAD_BYTES))
    assert len(codec.decode(batch.take())) == 2


# 10. senders that are no more keep their share of a mailbox


async def test_a_local_cell_that_ends_gives_its_share_back(autojump_clock: MockClock) -> None:
    async with open_small_world() as world:
        source, target, _ = await settle_in(world, local=True)
        for number in range(20):
            cell = await world.cell(source.exchange, f"c{number}", Sample())
            await ask(cell, target, Sample.note, number)
            cell.end(ExitReason(kind="normal"))
            await trio.sleep(1)
        assert len(target.inbounds) == 0


async def test_a_pair_that_is_opened_twice_is_one_sender(autojump_clock: MockClock) -> None:
    async with open_small_world() as world:
        source, target, _ = await settle_in(world, local=False)
        await tell(source, target, Sample.note, 1)
        await trio.sleep(1)
        near, far = world.processes
        number = pair(source, target).number
        opening = wire.Open(
            number, "source", source.address.incarnation, "target", target.address.incarnation
        )
        for _ in range(5):
            near.say(near.peer(far.address.endpoint), opening)
        await trio.sleep(1)
        assert len(target.inbounds) == 1


async def test_the_first_word_of_the_dead_opens_nothing(autojump_clock: MockClock) -> None:
    """It was on its way when its sender died, and is read after that was heard."""
    async with open_small_world() as world:
        source, target, _ = await settle_in(world, local=False)
        near, far = world.processes
        far.down(near.address.endpoint, ExitReason(kind="killed", signal=9))
        hello = wire.Hello(near.address, "b", wire.VERSION)
        opening = wire.Open(
            1, "source", source.address.incarnation, "target", target.address.incarnation
        )
        far._route(near.address.incarnation, codec.encode(hello, opening))
        assert target.inbounds == []


# 11. runtime/wires/memory.py: the fake and the real thing


async def test_in_memory_too_a_peer_may_connect_before_the_other_is_there(
    autojump_clock: MockClock,
) -> None:
    async with open_small_world() as world:
        near = world.network.join(50)
        near.connect("memory:51")
        near.send("memory:51", [b"a"])
        assert world.network.join(51).receive() == (50, [b"a"])


async def test_in_memory_too_a_close_ends_the_wait(autojump_clock: MockClock) -> None:
    async with open_small_world() as world:
        transport = world.network.join(50)
        ended = []

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await transport.wait()
            ended.append(True)

        with trio.fail_after(BOUND_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await wait_all_tasks_blocked()
                transport.close()
        assert ended == [True]


async def test_a_hello_with_an_endpoint_of_nonsense_raises_nothing(
    autojump_clock: MockClock,
) -> None:
    async with open_small_world() as world:
        _, target, _ = await settle_in(world, local=False)
        far = world.processes[1]
        for number, endpoint in enumerate(("memory:x", "memory:", "", "memory:-1")):
            hello = wire.Hello(Address("s", "x", 90 + number, endpoint), "b", wire.VERSION)
            opening = wire.Open(1, "x", 90 + number, "target", target.address.incarnation)
            far._route(90 + number, codec.encode(hello, opening))
            await wait_all_tasks_blocked()


# 12. smaller things


async def test_a_tell_after_the_end_says_so(autojump_clock: MockClock) -> None:
    async with open_small_world() as world:
        source, target, _ = await settle_in(world, local=False)
        await tell(source, target, Sample.note, 1)
    with pytest.raises(trio.ClosedResourceError):
        tell_nowait(source, target, Sample.note, 1)


def test_no_count_of_an_account_ever_falls() -> None:
    window = Window()
    for _ in range(5):
        window.spend(1)
    window.acknowledge(3, 0, 0, 0, 3)
    window.acknowledge(0, 4, 0, 0, 4)
    assert (window.handled, window.failed) == (3, 0)
