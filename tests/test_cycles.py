"""Asks that would wait for themselves are refused at once; what only looks like it is not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import reentrant
from runtime.cells.cell import Cell
from runtime.cells.sending import CREDIT_WAIT_S
from runtime.errors import MailboxFullError, RemoteError
from runtime.messages.behaviour import Behaviour
from tests.small_world import SmallWorld, ask, open_small_world, pair, stream, tell, tell_nowait

BOUND_S = 1000


class Knot(Behaviour):
    """Asks along a line of cells, the first of which is itself or another."""

    def __init__(self) -> None:
        self.line: dict[str, Cell] = {}
        self.notes: list[int] = []
        self.errors: list[str] = []
        self.handed_on = trio.Event()

    def _at(self, name: str) -> Cell:
        return self.line[name]

    @property
    def _me(self) -> Cell:
        cell: Cell = self._cell
        return cell

    async def end(self) -> str:
        return self._me.address.name

    async def note(self, number: int) -> None:
        self.notes.append(number)

    async def walk(self, way: list[str]) -> str:
        """Ask the first of the way to walk the rest."""
        if not way:
            return self._me.address.name
        return str(await ask(self._me, self._at(way[0]), Knot.walk, way[1:]))

    @reentrant
    async def walk_openly(self, way: list[str]) -> str:
        if not way:
            return self._me.address.name
        return str(await ask(self._me, self._at(way[0]), Knot.walk_openly, way[1:]))

    async def spring(self, way: list[str]) -> AsyncIterator[str]:
        """One item: the end of the way."""
        yield await self.walk(way)

    async def spring_openly(self, way: list[str]) -> AsyncIterator[str]:
        yield str(await ask(self._me, self._at(way[0]), Knot.walk_openly, way[1:]))

    async def consume(self, way: list[str]) -> list[str]:
        """What the first of the way streams, that walks the rest."""
        async with stream(self._me, self._at(way[0]), Knot.spring, way[1:]) as items:
            return [str(item) async for item in items]

    async def consume_openly(self, way: list[str]) -> list[str]:
        async with stream(self._me, self._at(way[0]), Knot.spring_openly, way[1:]) as items:
            return [str(item) async for item in items]

    async def start_walking(self, way: list[str]) -> None:
        """Tell the first of the way to walk the rest: nobody waits for it."""
        await tell(self._me, self._at(way[0]), Knot.try_walking, way[1:])

    async def try_walking(self, way: list[str]) -> None:
        try:
            self.notes.append(len(await self.walk(way)))
        except (RuntimeError, RemoteError) as error:
            self.errors.append(str(error))

    async def hand_on(self, way: list[str]) -> None:
        """A task of the cell's own walks, when this handler is done."""

        async def later() -> None:
            await self.handed_on.wait()
            await self.try_walking(way)

        assert self._me.nursery is not None
        self._me.nursery.start_soon(later)

    async def tell_myself(self, count: int) -> int:
        for number in range(count):
            await tell(self._me, self._me, Knot.note, number)
        return len(self.notes)

    async def fill_myself(self) -> int:
        """Tell itself until it is full: how many there was room for."""
        count = 0
        began = trio.current_time()
        while True:
            try:
                await tell(self._me, self._me, Knot.note, count)
            except MailboxFullError:
                assert trio.current_time() == began
                return count
            count += 1

    async def flood(self, name: str, nap_s: float) -> str:
        """Fill the pair to another, twice with a nap between, then tell it once more."""
        self._fill(name)
        await trio.sleep(nap_s)  # the other's first grant comes
        self._fill(name)
        try:
            await tell(self._me, self._at(name), Knot.note, 1)
        except MailboxFullError as error:
            return str(error)
        return "told"

    def _fill(self, name: str) -> None:
        with suppress(MailboxFullError):
            while True:
                tell_nowait(self._me, self._at(name), Knot.note, 0)

    async def nap(self, seconds: float) -> None:
        await trio.sleep(seconds)


PLACES = {
    "remote": {"a": "p", "b": "q", "c": "r"},
    "local": {"a": "p", "b": "p", "c": "p"},
    "mixed": {"a": "p", "b": "q", "c": "p"},
}


async def settle_in(world: SmallWorld, places: dict[str, str]) -> tuple[Cell, dict[str, Cell]]:
    """A cell that only sends, and the cells a, b, c at their places."""
    processes = {name: await world.process(name) for name in ("o", *sorted(set(places.values())))}
    actors = {name: Knot() for name in places}
    cells = {
        name: await world.cell(processes[place], name, actors[name])
        for name, place in places.items()
    }
    for actor in actors.values():
        actor.line = cells
    return world.mute(processes["o"], "outside"), cells


def knot(cell: Cell) -> Knot:
    assert isinstance(cell.actor, Knot)
    return cell.actor


everywhere = pytest.mark.parametrize("places", PLACES.values(), ids=PLACES.keys())
both_readings = pytest.mark.parametrize("simple", [True, False], ids=["simple", "leader"])


@everywhere
@both_readings
@pytest.mark.parametrize(
    ("way", "cycle"),
    [
        pytest.param(["a"], "a -> a", id="one"),
        pytest.param(["b", "a"], "a -> b -> a", id="two"),
        pytest.param(["b", "c", "a"], "a -> b -> c -> a", id="three"),
        pytest.param(["b", "c", "b"], "a -> b -> c -> b", id="the tail"),
    ],
)
async def test_a_cycle_of_asks_is_refused_at_once(
    places: dict[str, str], simple: bool, way: list[str], cycle: str, autojump_clock: MockClock
) -> None:
    async with open_small_world(simple) as world:
        outside, cells = await settle_in(world, places)
        with trio.fail_after(BOUND_S):
            with pytest.raises(RemoteError, match=f"ask cycle: {cycle}$"):
                await ask(outside, cells["a"], Knot.walk, way)
            assert trio.current_time() == 0
            for cell in cells.values():  # and everybody is free again
                assert await ask(outside, cell, Knot.end) == cell.address.name


@everywhere
async def test_the_one_who_closes_the_cycle_gets_a_runtime_error(
    places: dict[str, str], autojump_clock: MockClock
) -> None:
    async with open_small_world() as world:
        outside, cells = await settle_in(world, places)
        await ask(outside, cells["a"], Knot.try_walking, ["b", "a"])
        # b closed it: a hears of b's RuntimeError as a RemoteError
        assert knot(cells["a"]).errors == ["RuntimeError: ask cycle: a -> b -> a"]
        await ask(outside, cells["a"], Knot.try_walking, ["a"])
        assert knot(cells["a"]).errors[1:] == ["ask cycle: a -> a"]


@everywhere
async def test_a_refused_ask_is_rejected_in_the_account(
    places: dict[str, str], autojump_clock: MockClock
) -> None:
    async with open_small_world() as world:
        outside, cells = await settle_in(world, places)
        await ask(outside, cells["a"], Knot.try_walking, ["b", "a"])
        window = pair(cells["b"], cells["a"]).window
        assert (window.sent, window.rejected, window.in_flight) == (1, 1, 0)


@everywhere
async def test_a_line_that_meets_nobody_twice_is_no_cycle(
    places: dict[str, str], autojump_clock: MockClock
) -> None:
    async with open_small_world() as world:
        outside, cells = await settle_in(world, places)
        for _ in range(3):
            assert await ask(outside, cells["a"], Knot.walk, ["b", "c"]) == "c"
            assert await ask(outside, cells["c"], Knot.walk, ["b", "a"]) == "a"


@everywhere
async def test_a_reentrant_handler_may_be_met_again(
    places: dict[str, str], autojump_clock: MockClock
) -> None:
    async with open_small_world() as world:
        outside, cells = await settle_in(world, places)
        with trio.fail_after(BOUND_S):
            way = ["b", "c", "a", "a", "b"]
            assert await ask(outside, cells["a"], Knot.walk_openly, way) == "b"


@everywhere
async def test_two_who_ask_each_other_from_outside_are_no_cycle_but_in_each_other(
    places: dict[str, str], autojump_clock: MockClock
) -> None:
    """Each is refused or served, whoever is first; none waits."""
    async with open_small_world() as world:
        outside, cells = await settle_in(world, places)
        with trio.fail_after(BOUND_S):
            for _ in range(20):
                async with trio.open_nursery() as nursery:
                    for name in "abc":
                        await wait_all_tasks_blocked()
                        nursery.start_soon(ask, outside, cells[name], Knot.try_walking, [name, "a"])


@everywhere
async def test_who_tells_does_not_wait(places: dict[str, str], autojump_clock: MockClock) -> None:
    async with open_small_world() as world:
        outside, cells = await settle_in(world, places)
        with trio.fail_after(BOUND_S):
            await ask(outside, cells["a"], Knot.start_walking, ["b", "a"])
            await trio.sleep(1)
        assert knot(cells["b"]).notes == [1]
        assert knot(cells["b"]).errors == []


@everywhere
async def test_a_told_handler_that_asks_itself_is_a_cycle_all_the_same(
    places: dict[str, str], autojump_clock: MockClock
) -> None:
    async with open_small_world() as world:
        outside, cells = await settle_in(world, places)
        with trio.fail_after(BOUND_S):
            await ask(outside, cells["a"], Knot.start_walking, ["b", "c", "b"])
            await trio.sleep(1)
        assert knot(cells["b"]).errors == ["RuntimeError: ask cycle: b -> c -> b"]


@everywhere
async def test_a_task_that_outlives_its_handler_carries_no_chain(
    places: dict[str, str], autojump_clock: MockClock
) -> None:
    async with open_small_world() as world:
        outside, cells = await settle_in(world, places)
        with trio.fail_after(BOUND_S):
            await ask(outside, cells["a"], Knot.hand_on, ["b", "a"])
            knot(cells["a"]).handed_on.set()
            await trio.sleep(1)
        assert knot(cells["a"]).errors == []
        assert knot(cells["a"]).notes == [1]


async def test_a_tell_to_oneself_never_waits(autojump_clock: MockClock) -> None:
    async with open_small_world() as world:
        outside, cells = await settle_in(world, PLACES["remote"])
        assert await ask(outside, cells["a"], Knot.tell_myself, 64) == 0
        await wait_all_tasks_blocked()
        assert knot(cells["a"]).notes == list(range(64))
        with trio.fail_after(BOUND_S):
            room = await ask(outside, cells["a"], Knot.fill_myself)
        assert room == pair(cells["a"], cells["a"]).window.messages
        await wait_all_tasks_blocked()
        assert knot(cells["a"]).notes[64:] == list(range(int(str(room))))
        assert pair(cells["a"], cells["a"]).window.rejected == 0


@everywhere
async def test_two_that_tell_each_other_with_full_windows_come_loose(
    places: dict[str, str], autojump_clock: MockClock
) -> None:
    async with open_small_world() as world:
        outside, cells = await settle_in(world, places)
        answers: dict[str, object] = {}

        async def flood(name: str, other: str) -> None:
            answers[name] = await ask(outside, cells[name], Knot.flood, other, 1.0)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood, "a", "b")
            nursery.start_soon(flood, "b", "a")
        assert trio.current_time() == 1 + CREDIT_WAIT_S
        # the one that gives up first frees the other, if it is not at its own end already
        given_up = {
            "a": "no credit from a to b for 30 s",
            "b": "no credit from b to a for 30 s",
            "told": "told",
        }
        assert all(answer in given_up.values() for answer in answers.values())
        assert list(answers.values()) != ["told", "told"]


async def test_a_wait_for_credit_ends_with_the_handlers_deadline(
    autojump_clock: MockClock,
) -> None:
    async with open_small_world() as world:
        outside, cells = await settle_in(world, PLACES["remote"])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, outside, cells["b"], Knot.nap, 1000.0)
            await wait_all_tasks_blocked()
            with trio.move_on_after(5) as scope:
                await ask(outside, cells["a"], Knot.flood, "b", 1.0)
            assert scope.cancelled_caught
            assert trio.current_time() == 5
            await wait_all_tasks_blocked()
            assert not pair(cells["a"], cells["b"]).waiters
            assert await ask(outside, cells["a"], Knot.end) == "a"
            nursery.cancel_scope.cancel()


# Streams in the chain.


@everywhere
@both_readings
async def test_a_generator_that_asks_whoever_consumes_it_is_a_cycle(
    places: dict[str, str], simple: bool, autojump_clock: MockClock
) -> None:
    async with open_small_world(simple) as world:
        outside, cells = await settle_in(world, places)
        with trio.fail_after(BOUND_S):
            for way, cycle in ((["b", "a"], "a -> b -> a"), (["b", "c", "a"], "a -> b -> c -> a")):
                with pytest.raises(RemoteError, match=f"ask cycle: {cycle}$"):
                    await ask(outside, cells["a"], Knot.consume, way)
            with pytest.raises(RemoteError, match=r"ask cycle: a -> a$"):
                await ask(outside, cells["a"], Knot.consume, ["a"])
            assert trio.current_time() == 0
            for cell in cells.values():
                assert await ask(outside, cell, Knot.end) == cell.address.name


@everywhere
@both_readings
async def test_a_generator_may_ask_a_reentrant_handler_of_its_consumer(
    places: dict[str, str], simple: bool, autojump_clock: MockClock
) -> None:
    async with open_small_world(simple) as world:
        outside, cells = await settle_in(world, places)
        with trio.fail_after(BOUND_S):
            assert await ask(outside, cells["a"], Knot.consume_openly, ["b", "a"]) == ["a"]
            assert await ask(outside, cells["a"], Knot.consume_openly, ["b", "c", "a"]) == ["a"]


@everywhere
async def test_who_consumes_outside_of_any_handler_is_in_no_cycle(
    places: dict[str, str], autojump_clock: MockClock
) -> None:
    async with open_small_world() as world:
        outside, cells = await settle_in(world, places)
        with trio.fail_after(BOUND_S):
            async with stream(outside, cells["b"], Knot.spring, ["a", "c"]) as items:
                assert [item async for item in items] == ["c"]
