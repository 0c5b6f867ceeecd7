"""What may be sent: there and back through a handler, and what is refused before it leaves."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from trio.testing import MockClock

from actors.system import System
from runtime.cells.cell import Cell
from runtime.errors import WireError
from runtime.messages.behaviour import handlers_of
from runtime.messages.constructor import constructor_of
from runtime.messages.signature import signature_of
from tests.small_world import ask, open_small_world, pair, tell, tell_nowait
from tests.travellers import HANDLERS, TRAVELS, Mirror, Point, same


class Odd:
    """Nothing knows how to write it down."""


def deep(depth: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(depth):
        nested = [nested]
    return nested


def generator() -> Iterator[int]:
    yield 1


def released() -> memoryview:
    view = memoryview(b"x" * 5000)
    view.release()
    return view


CANNOT: dict[str, object] = {
    "an object": Odd(),
    "a class": Odd,
    "a set of objects": {Odd()},
    "an object deep inside": {"a": [(1, {"b": Odd()})]},
    "an object in a struct": Point(Odd()),  # type: ignore[arg-type]
    "a lambda": lambda: None,
    "a generator": generator(),
    "a large int": 2**64,
    "a small int": -(2**63) - 1,
    "half a character": "\udc80",
    "half a character as a key": {"\udc80": 1},
    "too deep": deep(100_000),
    "a complex": 1j,
    "an exception": ValueError("no"),
    "a lock": threading.Lock(),
    "a released view": released(),
}
cannot = pytest.mark.parametrize("value", CANNOT.values(), ids=CANNOT.keys())


@asynccontextmanager
async def open_pair(where: str) -> AsyncIterator[tuple[Cell, Cell]]:
    """Somebody who asks, and a `Mirror`, in one process or in two."""
    async with open_small_world() as world:
        near = await world.process("near")
        far = near if where == "here" else await world.process("far")
        yield world.mute(near, "source"), await world.cell(far, "mirror", Mirror())


everywhere = pytest.mark.parametrize("where", ["here", "there"])


@everywhere
@pytest.mark.parametrize("name", TRAVELS)
async def test_it_goes_there_and_comes_back(
    where: str, name: str, autojump_clock: MockClock
) -> None:
    _, value = TRAVELS[name]
    async with open_pair(where) as (source, mirror):
        assert same(value, await ask(source, mirror, HANDLERS[name], value))


@pytest.mark.regrow(on="real")
async def test_all_of_it_goes_to_a_process_and_comes_back(system: System) -> None:
    mirror = await system.spawn(Mirror)
    for name, (_, value) in TRAVELS.items():
        assert same(value, await mirror.ask(HANDLERS[name], value)), name
    assert same(mirror, await mirror.ask(HANDLERS["ref_of_any"], mirror))


async def test_what_nobody_annotates_comes_as_msgpack_has_it(autojump_clock: MockClock) -> None:
    async with open_pair("there") as (source, mirror):
        for name, plain in (
            ("uuid", "00000000-0000-0000-0000-000000000005"),
            ("decimal", "1.10"),
            ("enumeration", "blue"),
            ("tuple", [1, "a"]),
            ("struct", {"x": 1, "y": 2}),
            ("ref_of_any", ["system", "counter", 7, "memory:7"]),
        ):
            value = TRAVELS[name][1]
            assert await ask(source, mirror, HANDLERS["anything"], value) == plain


async def test_a_value_of_another_type_is_the_askers_wire_error(
    autojump_clock: MockClock,
) -> None:
    async with open_pair("there") as (source, mirror):
        for name, value in (
            ("struct", {"x": "a"}),
            ("enumeration", "green"),
            ("ref_of_class", "counter"),
        ):
            with pytest.raises(WireError, match=rf"Mirror\.{name}: .*`value"):
                await ask(source, mirror, HANDLERS[name], value)


# What cannot travel.


@everywhere
@cannot
async def test_what_cannot_travel_is_a_type_error_and_nothing_is_sent(
    where: str, value: object, autojump_clock: MockClock
) -> None:
    async with open_pair(where) as (source, mirror):
        anything = HANDLERS["anything"]
        assert await ask(source, mirror, anything, 1) == 1
        account = pair(source, mirror).window
        before = account.sent, account.bytes_sent
        strays = dict(mirror.exchange.strays)
        refused = pytest.raises(TypeError, match=r"Mirror\.anything: value=.* cannot travel: .")
        with refused:
            await ask(source, mirror, anything, value)
        with refused:
            await tell(source, mirror, anything, value)
        with refused:
            tell_nowait(source, mirror, anything, value)
        assert (account.sent, account.bytes_sent) == before
        assert await ask(source, mirror, anything, 2) == 2  # nothing is left over in the batch
        assert account.sent == before[0] + 1
        assert mirror.exchange.strays == strays


@cannot
def test_a_constructors_argument_is_refused_alike(value: object) -> None:
    parameters = constructor_of(Mirror)
    assert parameters is not None
    encoded = bytearray()
    with pytest.raises(TypeError, match=r"Mirror\.__init__: seen=.* cannot travel: ."):
        parameters.encode(parameters.bind((value,), {}), encoded, whole=True)
    assert not encoded


@pytest.mark.regrow(on="real")
async def test_nothing_is_spawned_for_an_argument_that_cannot_travel(system: System) -> None:
    before = [row.name for row in await system.tree()]
    with pytest.raises(TypeError, match=r"Mirror\.__init__: seen=.* cannot travel"):
        await system.spawn(Mirror, Odd())
    assert [row.name for row in await system.tree()] == before


async def a_function(self: object, value: Callable[[], int]) -> None: ...
async def some_object(self: object, value: Odd) -> None: ...
async def objects_inside(self: object, value: dict[str, list[Odd | None]]) -> None: ...
async def an_iterator(self: object, value: Iterator[int]) -> None: ...
async def from_nowhere(self: object, value: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    "handler", [a_function, some_object, objects_inside, an_iterator], ids=lambda h: h.__name__
)
def test_an_annotation_that_nothing_can_satisfy_is_refused(handler: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=rf"{handler.__name__}: value cannot travel: "):
        signature_of(handler)


def test_an_annotation_that_leads_nowhere_is_refused() -> None:
    with pytest.raises(TypeError, match=r"from_nowhere: an annotation leads nowhere: .*Nowhere"):
        signature_of(from_nowhere)


def test_an_annotation_that_msgpack_satisfies_is_taken() -> None:
    async def anything(self: object, a: object, b: list[object]) -> object: ...

    signature_of(anything)
    assert set(handlers_of(Mirror)) == set(TRAVELS)
