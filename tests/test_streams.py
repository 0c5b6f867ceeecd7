"""Streams between cells: order, items, ends, leaving."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from runtime.cells.stream import Stream
from runtime.errors import ActorDeadError, RemoteError, UnreachableError, WireError
from runtime.messages import envelope as wire
from runtime.messages.codec import encode
from tests.small_world import ask, stream, tell, tell_nowait
from tests.streaming import Spring, every_place, open_scene

BOUND_S = 1000


async def taken(items: Stream[object]) -> list[object]:
    return [item async for item in items]


# -- items


@every_place
@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 5000])
async def test_every_item_comes_in_order(place: str, count: int, autojump_clock: MockClock) -> None:
    async with open_scene(place) as scene:
        async with stream(scene.source, scene.target, Spring.numbers, count) as items:
            assert await taken(items) == list(range(count))
            for _ in range(2):
                with pytest.raises(StopAsyncIteration):
                    await anext(items)
        await scene.assert_over()


@every_place
async def test_items_come_when_they_are_yielded(place: str, autojump_clock: MockClock) -> None:
    async with open_scene(place) as scene:
        began = trio.current_time()
        async with stream(scene.source, scene.target, Spring.ticks, 5, 2.0) as items:
            came = [(item, trio.current_time() - began) async for item in items]
        assert came == [(0, 2.0), (1, 4.0), (2, 6.0), (3, 8.0), (4, 10.0)]
        await scene.assert_over()


@every_place
async def test_nothing_is_an_item_too(place: str, autojump_clock: MockClock) -> None:
    async with open_scene(place) as scene:
        async with stream(scene.source, scene.target, Spring.nothings, 3000) as items:
            assert await taken(items) == [None] * 3000
        await scene.assert_over()


@every_place
async def test_an_item_of_8_mib_comes_whole(place: str, autojump_clock: MockClock) -> None:
    async with open_scene(place) as scene:
        size = 8 * 1024 * 1024
        async with stream(scene.source, scene.target, Spring.blocks, 4, size) as items:
            number = 0
            async for item in items:
                assert item == bytes([number]) * size
                number += 1
                await trio.sleep(1)
                assert scene.spring.yielded <= number + 2  # one on its way, one in the yield
        assert number == 4
        await scene.assert_over()


@every_place
async def test_small_and_large_items_never_stick(place: str, autojump_clock: MockClock) -> None:
    sizes = [100, 300_000, 60_000, 5_000_000, 1, 200_000, 4_000_000, 3_000_000, 65_000, 5_000_000]
    async with open_scene(place) as scene:
        async with stream(scene.source, scene.target, Spring.sizes, sizes * 3) as items:
            with trio.fail_after(BOUND_S):
                assert [len(str(item)) async for item in items] == sizes * 3
        await scene.assert_over()


@every_place
async def test_an_item_of_the_wrong_type_is_a_wire_error(
    place: str, autojump_clock: MockClock
) -> None:
    async with open_scene(place) as scene:
        async with stream(scene.source, scene.target, Spring.wrong) as items:
            assert await anext(items) == 1
            with pytest.raises(WireError, match=r"Spring\.wrong.*does not fit"):
                await anext(items)
            assert await taken(items) == [3]
        await scene.assert_over()


@every_place
async def test_an_item_that_cannot_travel_ends_the_stream(
    place: str, autojump_clock: MockClock
) -> None:
    async with open_scene(place) as scene:
        async with stream(scene.source, scene.target, Spring.unfit) as items:
            assert await anext(items) == 1
            with pytest.raises(RemoteError, match=r"TypeError: .*Spring\.unfit.*cannot travel"):
                await anext(items)
        assert scene.spring.log == ["closed"]
        await scene.assert_over()


# -- backpressure


@every_place
async def test_who_does_not_take_holds_the_source_up(place: str, autojump_clock: MockClock) -> None:
    async with open_scene(place) as scene:
        spring = scene.spring
        async with stream(scene.source, scene.target, Spring.numbers, 100_000) as items:
            await trio.sleep(5)
            assert spring.yielded == 64 + 1
            for number in range(31):
                assert await anext(items) == number
            await trio.sleep(5)
            assert spring.yielded == 64 + 1
            assert await anext(items) == 31
            await trio.sleep(5)
            assert spring.yielded == 32 + 1024 + 1
            for number in range(32, 5000):
                assert await anext(items) == number
                assert spring.yielded <= number + 1 + 1024 + 1
                assert len(items.items) <= 1024
        await scene.assert_over()


@every_place
async def test_bytes_hold_the_source_up_too(place: str, autojump_clock: MockClock) -> None:
    async with open_scene(place) as scene:
        spring = scene.spring
        async with stream(scene.source, scene.target, Spring.blocks, 400, 100_000) as items:
            await trio.sleep(5)
            assert spring.yielded == 2 + 1  # 256 KiB
            for number in range(400):
                item = await anext(items)
                assert isinstance(item, bytes)
                assert item[0] == number % 256
                await wait_all_tasks_blocked()
                waiting = sum(len(part[2][0]) for part in items.items)
                assert waiting <= 4 * 1024 * 1024
        await scene.assert_over()


@every_place
async def test_nobody_else_waits_for_a_slow_consumer(place: str, autojump_clock: MockClock) -> None:
    async with open_scene(place) as scene:
        second = await scene.world.cell(scene.far, "second", Spring())
        async with stream(scene.source, scene.target, Spring.numbers, 1000):
            await trio.sleep(1)
            with trio.fail_after(1):
                assert await ask(scene.source, second, Spring.add, 1) == 2
                assert await ask(scene.source, scene.target, Spring.add_now, 1) == 2
                async with stream(scene.source, second, Spring.numbers, 3000) as others:
                    assert len(await taken(others)) == 3000
        await scene.assert_over()


async def test_a_source_that_never_rests_lets_its_process_work(
    autojump_clock: MockClock,
) -> None:
    """Both in one process: the consumer takes, and a clock goes on ticking."""
    async with open_scene("local") as scene, trio.open_nursery() as nursery:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await trio.lowlevel.checkpoint()
                ticks += 1

        nursery.start_soon(tick)
        async with stream(scene.source, scene.target, Spring.numbers, 20_000) as items:
            assert len(await taken(items)) == 20_000
        nursery.cancel_scope.cancel()
        assert ticks > 20


@every_place
async def test_a_source_that_always_has_room_can_be_left(
    place: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """As one would have whose consumer, in another process, is quicker than it is."""
    for name in ("item_credit.FIRST_ITEMS", "item_credit.FIRST_BYTES", "item_routing.WINDOW_ITEMS"):
        monkeypatch.setattr(f"runtime.traffic.{name}", 10**9)
    async with open_scene(place) as scene:
        async with stream(scene.source, scene.target, Spring.numbers, 10**6) as items:
            assert await anext(items) == 0
        await wait_all_tasks_blocked()
        assert 0 < scene.spring.yielded < 10**6
        await scene.assert_over()


@every_place
async def test_a_consumer_that_finds_all_its_items_waiting_lets_others_run(
    place: str, autojump_clock: MockClock
) -> None:
    async with open_scene(place) as scene, trio.open_nursery() as nursery:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await trio.lowlevel.checkpoint()
                ticks += 1

        async with stream(scene.source, scene.target, Spring.numbers, 60) as items:
            await trio.sleep(1)
            assert len(items.items) == 60
            nursery.start_soon(tick)
            async for _ in items:
                time.sleep(0.0015)  # noqa: ASYNC251  # so long it computes
        nursery.cancel_scope.cancel()
        assert ticks >= 30


# -- one message at a time


@every_place
async def test_a_stream_occupies_its_actor_until_it_ends(
    place: str, autojump_clock: MockClock
) -> None:
    async with open_scene(place) as scene, trio.open_nursery() as nursery:
        answered = []

        async def ask_later() -> None:
            await trio.sleep(1)
            await ask(scene.source, scene.target, Spring.add, 1)
            answered.append(trio.current_time())

        nursery.start_soon(ask_later)
        async with stream(scene.source, scene.target, Spring.ticks, 5, 1.0) as items:
            assert await taken(items) == [0, 1, 2, 3, 4]
            ended = trio.current_time()
        await scene.assert_over()
    assert answered == [ended]


@every_place
async def test_reentrant_streams_overlap_with_all_others(
    place: str, autojump_clock: MockClock
) -> None:
    async with open_scene(place) as scene:
        source, target = scene.source, scene.target
        async with (
            stream(source, target, Spring.beside, 100, 1.0) as first,
            stream(source, target, Spring.beside, 100, 1.0) as second,
            stream(source, target, Spring.ticks, 100, 1.0) as third,
        ):
            for number in range(3):
                began = trio.current_time()
                assert [await anext(each) for each in (first, second, third)] == [number] * 3
                assert trio.current_time() - began <= 1
            assert scene.spring.running == 3
            with trio.fail_after(1):
                assert await ask(source, target, Spring.add_now, 1) == 2
        await scene.assert_over()


@every_place
async def test_a_stream_is_one_message_in_the_accounts(
    place: str, autojump_clock: MockClock
) -> None:
    async with open_scene(place) as scene:
        async with stream(scene.source, scene.target, Spring.numbers, 500) as items:
            outbound = scene.source.outbounds[scene.target.address.incarnation]
            assert (outbound.window.sent, outbound.window.in_flight) == (1, 1)
            await taken(items)
        async with stream(scene.source, scene.target, Spring.numbers, 500) as items:
            await anext(items)
        await trio.sleep(1)
        window = outbound.window
        assert (window.sent, window.handled, window.failed) == (2, 1, 1)


# -- errors


@every_place
@pytest.mark.parametrize("count", [0, 3, 64, 200])
async def test_an_exception_comes_after_the_items_before_it(
    place: str, count: int, autojump_clock: MockClock
) -> None:
    async with open_scene(place) as scene:
        async with stream(scene.source, scene.target, Spring.fail_after, count) as items:
            await trio.sleep(1)
            for number in range(count):
                assert await anext(items) == number
            for _ in range(2):
                with pytest.raises(RemoteError, match="ValueError: dry") as caught:
                    await anext(items)
            assert 'raise ValueError("dry")' in caught.value.traceback_text
        await scene.assert_over()


@every_place
@pytest.mark.parametrize(
    "handler", [Spring.fail_at_the_end, Spring.fail_beside], ids=["ordinary", "reentrant"]
)
async def test_an_exception_that_nobody_hears_crashes_the_actor(
    place: str, handler: Callable[..., object], autojump_clock: MockClock
) -> None:
    async with open_scene(place) as scene:
        async with stream(scene.source, scene.target, handler) as items:
            assert await anext(items) == 1
        await trio.sleep(1)
        assert str(scene.world.ends["target"]) == "crashed(ValueError: could not clean up)"
        assert not scene.near.streams


@every_place
async def test_arguments_are_checked_before_anything_is_sent(
    place: str, autojump_clock: MockClock
) -> None:
    async with open_scene(place) as scene:
        source, target = scene.source, scene.target
        refused: list[Callable[[], object]] = [
            lambda: stream(source, target, Spring.numbers),
            lambda: stream(source, target, Spring.numbers, object()),
            lambda: stream(source, target, Spring.add, 1),
            lambda: tell_nowait(source, target, Spring.numbers, 1),
        ]
        for call in refused:
            with pytest.raises(TypeError, match=r"Spring\.(numbers|add)"):
                call()
        with pytest.raises(TypeError, match=r"Spring\.numbers is a stream: use stream\(\)"):
            await ask(source, target, Spring.numbers, 1)
        with pytest.raises(TypeError, match=r"Spring\.numbers is a stream: use stream\(\)"):
            await tell(source, target, Spring.numbers, 1)
        assert not source.outbounds
        async with stream(source, target, Spring.numbers, "ten") as items:
            with pytest.raises(WireError, match="count"):
                await anext(items)
        await scene.assert_over()


@every_place
async def test_a_stream_can_be_entered_once_and_used_within(
    place: str, autojump_clock: MockClock
) -> None:
    async with open_scene(place) as scene:
        numbers = stream(scene.source, scene.target, Spring.numbers, 10)
        with pytest.raises(trio.ClosedResourceError, match=r"Spring\.numbers was not entered"):
            await anext(numbers)
        async with numbers as items:
            assert await anext(items) == 0
        with pytest.raises(trio.ClosedResourceError, match=r"Spring\.numbers was left"):
            await anext(items)
        with pytest.raises(RuntimeError, match=r"Spring\.numbers was entered before"):
            await numbers.__aenter__()
        await scene.assert_over()


@every_place
async def test_two_tasks_cannot_wait_for_one_stream(place: str, autojump_clock: MockClock) -> None:
    async with open_scene(place) as scene:
        async with (
            stream(scene.source, scene.target, Spring.ticks, 3, 1.0) as items,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(anext, items)
            await wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError, match=r"Spring\.ticks"):
                await anext(items)
        await scene.assert_over()


@every_place
async def test_a_stream_that_would_wait_for_itself_is_refused(
    place: str, autojump_clock: MockClock
) -> None:
    async with open_scene(place) as scene:
        async with stream(scene.source, scene.target, Spring.of_itself) as items:
            with pytest.raises(RemoteError, match="ask cycle: target -> target"):
                await anext(items)
        async with stream(scene.source, scene.target, Spring.beside_itself) as items:
            assert await taken(items) == [0, 1, 2]
        await scene.assert_over()


# -- leaving


@every_place
@pytest.mark.parametrize("count", [0, 1, 64, 100])
async def test_leaving_closes_the_generator_at_its_source(
    place: str, count: int, autojump_clock: MockClock
) -> None:
    """Which waits for credit then, or sleeps."""
    async with open_scene(place) as scene:
        for handler, *args in ((Spring.numbers, 10**6), (Spring.ticks, 10**6, 0.5)):
            async with stream(scene.source, scene.target, handler, *args) as items:
                for number in range(count):
                    assert await anext(items) == number
                await trio.sleep(0.2)
                left_at = trio.current_time()
            assert trio.current_time() == left_at
            await wait_all_tasks_blocked()
            assert scene.spring.running == 0
            await scene.assert_over()


@every_place
async def test_a_queued_stream_that_was_left_never_begins(
    place: str, autojump_clock: MockClock
) -> None:
    async with open_scene(place) as scene, trio.open_nursery() as nursery:
        nursery.start_soon(ask, scene.source, scene.target, Spring.nap, 5.0)
        await wait_all_tasks_blocked()
        async with stream(scene.source, scene.target, Spring.numbers, 10):
            await wait_all_tasks_blocked()
            assert len(scene.target.mailbox) == 1
        await wait_all_tasks_blocked()
        assert not scene.target.mailbox
        await trio.sleep(5)
        assert scene.spring.yielded == 0
        await scene.assert_over()


@every_place
async def test_a_cancelled_wait_for_an_item_loses_none(
    place: str, autojump_clock: MockClock
) -> None:
    async with open_scene(place) as scene:
        got: list[object] = []
        async with stream(scene.source, scene.target, Spring.ticks, 50, 1.0) as items:
            while len(got) < 50:
                with trio.move_on_after(0.3):
                    got.append(await anext(items))
        assert got == list(range(50))
        await scene.assert_over()


@every_place
async def test_a_scope_around_a_yield_leaves_out_what_nobody_takes(
    place: str, autojump_clock: MockClock
) -> None:
    async with open_scene(place) as scene:
        async with stream(scene.source, scene.target, Spring.hurried, 70, 1.0) as items:
            await trio.sleep(3.5)
            assert await taken(items) == [*range(64), 67, 68, 69]
        assert scene.spring.log == [f"{n} was left out" for n in (64, 65, 66)]
        await scene.assert_over()


# -- deadlines


@every_place
async def test_the_deadline_at_the_entrance_is_the_generators(
    place: str, autojump_clock: MockClock
) -> None:
    async with open_scene(place) as scene:
        began = trio.current_time()
        numbers = stream(scene.source, scene.target, Spring.ticks, 100, 1.0)
        with trio.fail_after(3.5):
            items = await numbers.__aenter__()
        assert [await anext(items) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(trio.TooSlowError):
            await anext(items)
        assert trio.current_time() - began == 3.5
        assert scene.spring.log == ["cancelled"]
        await items.__aexit__(None, None, None)
        await scene.assert_over()


async def test_a_source_that_sees_the_deadline_first_leaves_it_to_the_consumer(
    autojump_clock: MockClock,
) -> None:
    async with open_scene("simple") as scene:
        with trio.move_on_after(3.5) as scope:
            async with stream(scene.source, scene.target, Spring.ticks, 100, 1.0) as items:
                assert await anext(items) == 0
                counts = (0,) * 5
                late = wire.Fail(items.outbound.number, items.id, "late", "", "", "", *counts)
                scene.near._route(scene.far.address.incarnation, encode(late))
                await anext(items)
        assert scope.cancelled_caught
        assert trio.current_time() == 3.5


# -- ends of actors and processes


@every_place
async def test_the_end_of_the_actor_comes_after_its_items(
    place: str, autojump_clock: MockClock
) -> None:
    async with open_scene(place) as scene:
        async with stream(scene.source, scene.target, Spring.beside, 1000, 1.0) as items:
            await trio.sleep(3.5)
            await tell(scene.source, scene.target, Spring.end)
            await trio.sleep(1)
            assert [await anext(items) for _ in range(3)] == [0, 1, 2]
            with pytest.raises(ActorDeadError):
                await anext(items)
        assert str(scene.world.ends["target"]) == "normal"
        assert (scene.spring.running, len(scene.near.streams)) == (0, 0)


@every_place
@pytest.mark.parametrize(
    ("handler", "args"),
    [(Spring.ticks, (1000, 1.0)), (Spring.beside, (1000, 1.0)), (Spring.numbers, (1000,))],
    ids=["asleep", "reentrant", "without credit"],
)
async def test_a_stop_that_does_not_wait_closes_the_generator(
    place: str,
    handler: Callable[..., object],
    args: tuple[object, ...],
    autojump_clock: MockClock,
) -> None:
    async with open_scene(place) as scene:
        async with stream(scene.source, scene.target, handler, *args) as items:
            await trio.sleep(3.5)
            scene.target.stop(force=True)
            await wait_all_tasks_blocked()
            assert scene.spring.running == 0
            with pytest.raises(ActorDeadError, match="killed"):
                await taken(items)
        assert str(scene.world.ends["target"]) == "killed"


@pytest.mark.parametrize("place", ["simple", "leader"])
async def test_the_death_of_the_sources_process_comes_after_its_items(
    place: str, autojump_clock: MockClock
) -> None:
    async with open_scene(place) as scene:
        async with stream(scene.source, scene.target, Spring.ticks, 1000, 1.0) as items:
            await trio.sleep(3.5)
            scene.world.kill(scene.far)
            assert [await anext(items) for _ in range(3)] == [0, 1, 2]
            for _ in range(2):
                with pytest.raises(ActorDeadError, match="killed"):
                    await anext(items)
        assert not scene.near.streams
        with pytest.raises(ActorDeadError):
            async with stream(scene.source, scene.target, Spring.ticks, 1000, 1.0):
                raise AssertionError("entered")


@pytest.mark.parametrize("place", ["simple", "leader"])
@pytest.mark.parametrize("handler", [Spring.ticks, Spring.beside], ids=["ordinary", "reentrant"])
async def test_the_death_of_the_consumers_process_closes_the_generator(
    place: str, handler: Callable[..., object], autojump_clock: MockClock
) -> None:
    async with (
        open_scene(place) as scene,
        stream(scene.source, scene.target, handler, 1000, 1.0) as items,
    ):
        await anext(items)
        assert scene.spring.running == 1
        scene.world.kill(scene.near)
        await wait_all_tasks_blocked()
        assert scene.spring.running == 0
        assert not scene.target.sources
        assert scene.world.ends == {}


@pytest.mark.parametrize("place", ["simple", "leader"])
async def test_a_verdict_ends_the_stream_and_closes_the_generator(
    place: str, autojump_clock: MockClock
) -> None:
    async with open_scene(place) as scene:
        async with stream(scene.source, scene.target, Spring.ticks, 1000, 1.0) as items:
            await trio.sleep(1.5)
            scene.near.verdict(scene.far.address.endpoint, "frozen")
            assert await anext(items) == 0
            with pytest.raises(UnreachableError, match="frozen"):
                await anext(items)
        scene.near.verdict(scene.far.address.endpoint, "")
        await scene.assert_over()


@every_place
async def test_the_end_of_the_consumers_exchange_ends_its_streams(
    place: str, autojump_clock: MockClock
) -> None:
    async with open_scene(place) as scene:
        async with stream(scene.source, scene.target, Spring.ticks, 1000, 1.0) as items:
            scene.near._shut()
            with pytest.raises(trio.ClosedResourceError, match="the system has ended"):
                await anext(items)
        assert not scene.near.streams


async def test_the_end_of_the_consuming_cell_closes_the_generator(
    autojump_clock: MockClock,
) -> None:
    """Also where nobody left the block."""
    async with open_scene("simple") as scene:
        consumer = await scene.world.cell(scene.near, "consumer", Spring())
        items = stream(consumer, scene.target, Spring.ticks, 1000, 1.0)
        await items.__aenter__()
        await anext(items)
        consumer.stop(force=False)
        await wait_all_tasks_blocked()
        assert scene.spring.running == 0
        assert not scene.target.sources
        assert not scene.near.streams
        with pytest.raises(ActorDeadError):
            await anext(items)
