"""What a call looks like on the wire, and what is refused before it leaves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import WireError
from runtime.messages.behaviour import Behaviour, handlers_of
from runtime.messages.buffers import OWN_FRAME_BYTES
from runtime.messages.codec import MAX_PAYLOAD_BYTES
from runtime.messages.signature import Parameters, signature_of


class Point(msgspec.Struct):
    x: int
    y: int


class Thing:
    pass


class Sample(Behaviour):
    async def nothing(self) -> None: ...
    async def plain(self, first: int, second: str) -> str:
        return f"{first} {second}"

    async def full(self, first: int, second: str = "b", *, third: bool = False) -> str:
        return f"{first} {second} {third}"

    async def data(self, small: bytes, large: bytes) -> bytes:
        return small + large

    async def views(self, a: memoryview, b: bytearray, c: bytes | None) -> memoryview:
        return a

    async def anything(self, value: Any) -> Any:
        return value

    async def unannotated(self, value):  # type: ignore[no-untyped-def]
        return value

    async def point(self, point: Point) -> Point:
        return point

    async def stream(self, n: int) -> AsyncIterator[int]:
        yield n

    async def _hidden(self) -> None: ...
    def ordinary(self) -> None: ...
    @staticmethod
    async def static(n: int) -> None: ...
    @classmethod
    async def of_class(cls) -> None: ...
    async def on_stop(self, reason: object) -> None: ...


def call(handler: Callable[..., Any], *args: object, **kwargs: object) -> tuple[Any, ...]:
    """The arguments as the receiver has them."""
    signature = signature_of(handler)
    body = bytearray(b"before")
    positions, buffers = signature.encode(signature.bind(args, kwargs), body)
    return signature.decode(body[6:], positions, [memoryview(each) for each in buffers])


def test_a_table_of_handlers_has_the_public_ones() -> None:
    table = handlers_of(Sample)
    assert set(table) == {
        "nothing", "plain", "full", "data", "views", "anything", "unannotated", "point", "stream",
    }  # fmt: skip
    assert [name for name in table if table[name].streams] == ["stream"]


class Waiting(Behaviour):
    async def await_it(self) -> None:
        await trio.lowlevel.checkpoint()

    async def enter_it(self) -> None:
        async with trio.open_nursery():
            pass

    async def iterate_it(self) -> None:
        async for _ in self.stream():
            pass

    async def within(self) -> object:
        return [_ async for _ in self.stream()]

    async def stream(self) -> AsyncIterator[int]:
        yield 1

    async def at_once(self, number: int) -> int:
        async def wait() -> None:
            await trio.lowlevel.checkpoint()

        del wait
        return sum(each for each in range(number))

    async def with_keyword(self, *, number: int) -> int:
        return number


def test_what_cannot_wait_is_prompt() -> None:
    table = handlers_of(Waiting)
    assert [name for name in table if table[name].prompt] == ["at_once", "with_keyword"]


async def test_the_caller_fills_the_defaults_in() -> None:
    assert call(Sample.full, 1) == (1, "b", False)
    assert call(Sample.full, 1, "c", third=True) == (1, "c", True)
    assert call(Sample.full, second="d", first=2) == (2, "d", False)
    assert call(Sample.nothing) == ()
    signature = signature_of(Sample.full)
    assert await signature.run(Sample(), *call(Sample.full, 1, third=True)) == "1 b True"


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((), {}), ((1, 2, 3), {}), ((1,), {"nope": 1}), ((1,), {"first": 1})],
    ids=["missing", "too many", "unknown", "twice"],
)
def test_a_wrong_call_is_the_type_error_of_a_plain_one(
    args: tuple[object, ...], kwargs: dict[str, object]
) -> None:
    with pytest.raises(TypeError, match=r"Sample\.full: "):
        signature_of(Sample.full).bind(args, kwargs)


def function(*, hint: object = int, returns: object = None) -> Callable[..., Any]:
    async def handler(self: object, value: object) -> None: ...

    handler.__annotations__ = {"value": hint, "return": returns}
    handler.__qualname__ = "Sample.handler"
    return handler


def test_an_annotation_that_cannot_travel_names_handler_and_parameter() -> None:
    union = Point | type("Other", (msgspec.Struct,), {"__annotations__": {"x": int}})
    with pytest.raises(TypeError, match=r"Sample\.handler: value cannot travel"):
        signature_of(function(hint=union))
    with pytest.raises(TypeError, match=r"Sample\.handler: return cannot travel"):
        signature_of(function(returns=union))


def test_open_ended_parameters_are_refused() -> None:
    async def many(self: object, *args: int) -> None: ...
    async def named(self: object, **kwargs: int) -> None: ...

    for handler, name in ((many, "args"), (named, "kwargs")):
        with pytest.raises(TypeError, match=rf"\*{name} cannot travel"):
            signature_of(handler)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(lambda self: None, id="lambda"),
        pytest.param(Sample().plain, id="bound method"),
        pytest.param(Sample.static, id="static method"),
        pytest.param(Sample.of_class, id="class method"),
        pytest.param(Sample.ordinary, id="plain def"),
        pytest.param(Sample._hidden, id="underscored"),
        pytest.param(Sample, id="class"),
        pytest.param(len, id="builtin"),
        pytest.param("plain", id="text"),
        pytest.param([], id="unhashable"),
    ],
)
def test_what_is_no_handler_is_refused(given: Any) -> None:
    with pytest.raises(TypeError):
        signature_of(given)


def cycle() -> list[object]:
    found: list[object] = []
    found.append(found)
    return found


CANNOT: dict[str, object] = {
    "an object": Thing(),
    "a large int": 2**64,
    "a small int": -(2**63) - 1,
    "half a character": "\udc80",
    "half a character, inside": ["ok", {"k": "\udc80"}],
    "a cycle": cycle(),
    "a function": len,
    "a complex": 1j,
}


@pytest.mark.parametrize("value", CANNOT.values(), ids=CANNOT.keys())
def test_a_value_that_cannot_travel_is_a_type_error_and_leaves_nothing(value: object) -> None:
    body = bytearray(b"before")
    with pytest.raises(TypeError, match=r"Sample\.anything: value=.* cannot travel"):
        signature_of(Sample.anything).encode((value,), body)
    assert body == b"before"
    with pytest.raises(TypeError, match=r"Sample\.anything: the result .* cannot travel"):
        signature_of(Sample.anything).encode_result(value)


def test_more_than_a_message_may_be_is_a_value_error_and_leaves_nothing() -> None:
    large = bytes(MAX_PAYLOAD_BYTES)
    signature = signature_of(Sample.anything)
    body = bytearray(b"before")
    for value in (large, [large]):
        with pytest.raises(ValueError, match=f"are more than {MAX_PAYLOAD_BYTES}"):
            signature.encode((value,), body)
        assert body == b"before"
    for value in (large + b"x", [large]):
        with pytest.raises(ValueError, match=f"more than {MAX_PAYLOAD_BYTES}"):
            signature.encode_result(value)


@pytest.mark.parametrize(
    ("handler", "array", "match"),
    [
        pytest.param(Sample.plain, [1], "length", id="too few"),
        pytest.param(Sample.plain, [1, "a", 3], "length", id="too many"),
        pytest.param(Sample.plain, ["a", "a"], "`first`", id="wrong type"),
        pytest.param(Sample.plain, [1, 2], "`second`", id="wrong second"),
        pytest.param(Sample.point, [{"x": 1, "y": "a"}], r"`point\.y`", id="inside"),
        pytest.param(Sample.nothing, {}, "array", id="no array"),
    ],
)
def test_a_misfit_is_a_wire_error_that_names_the_parameter(
    handler: Callable[..., Any], array: object, match: str
) -> None:
    with pytest.raises(WireError, match=match):
        signature_of(handler).decode(msgspec.msgpack.encode(array), (), ())


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.binary(max_size=40), st.lists(st.tuples(st.integers(), st.binary(max_size=9))))
def test_any_bytes_are_arguments_or_a_wire_error(
    payload: bytes, apart: list[tuple[int, bytes]]
) -> None:
    positions = [position for position, _ in apart]
    buffers = [memoryview(buffer) for _, buffer in apart]
    for signature in handlers_of(Sample).values():
        try:
            args = signature.decode(payload, positions, buffers)
        except WireError:
            continue
        assert len(args) == signature.arity


def test_nothing_is_no_bytes() -> None:
    signature = signature_of(Sample.nothing)
    assert signature.encode_result(None) == (b"", (), ())
    assert signature.decode_result(b"", ()) is None


@pytest.mark.parametrize("size", [0, 1, OWN_FRAME_BYTES - 1, OWN_FRAME_BYTES, 100_000])
def test_large_bytes_travel_beside_the_array(size: int) -> None:
    data = bytes(size)
    signature = signature_of(Sample.data)
    body = bytearray()
    positions, buffers = signature.encode((b"small", data), body)
    if size >= OWN_FRAME_BYTES:
        assert (positions, list(buffers)) == ((1,), [data])
        assert len(body) < 20
    else:
        assert (positions, buffers) == ((), ())
    assert call(Sample.data, b"small", data) == (b"small", data)
    whole = bytearray()
    assert signature.encode((b"small", data), whole, whole=True) == ((), ())
    assert signature.decode(whole, (), ()) == (b"small", data)
    payload, _, apart = signature.encode_result(data)
    assert signature.decode_result(payload, apart) == data


@pytest.mark.parametrize("size", [10, 10_000])
def test_buffers_arrive_as_their_parameter_says(size: int) -> None:
    data = bytes(size)
    a, b, c = call(Sample.views, data, data, data)
    assert [type(each) for each in (a, b, c)] == [memoryview, bytearray, bytes]
    assert a == b == c == data
    assert call(Sample.views, memoryview(data), bytearray(data), None)[1:] == (data, None)
    assert call(Sample.anything, data) == (data,)


def test_bytes_for_a_parameter_that_takes_none_are_a_wire_error() -> None:
    array = msgspec.msgpack.encode([1, "a"])
    for position in (0, 1, 2, -1, 2**40):
        with pytest.raises(WireError, match=f"argument {position} takes no bytes"):
            signature_of(Sample.plain).decode(array, (position,), (memoryview(b"x"),))
    with pytest.raises(WireError, match="the result is bytes"):
        signature_of(Sample.plain).decode_result(b"", [b"x"])


@pytest.mark.parametrize("size", [10, 10_000])
def test_what_happens_to_an_argument_after_the_call_does_not_show(size: int) -> None:
    data = bytearray(size)
    items = [1, 2, 3]
    signature = signature_of(Sample.anything)
    bodies = bytearray(), bytearray()
    positions, buffers = signature.encode((data,), bodies[0])
    signature.encode((items,), bodies[1])
    data[:] = b"x" * size
    items.clear()
    views = [memoryview(each) for each in buffers]
    assert signature.decode(bodies[0], positions, views) == (bytes(size),)
    assert signature.decode(bodies[1], (), ()) == ([1, 2, 3],)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary()
    | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@settings(derandomize=True, deadline=None)
@given(VALUES)
def test_a_plain_value_comes_back_as_it_was(value: object) -> None:
    assert call(Sample.anything, value) == (value,)
    assert call(Sample.unannotated, value) == (value,)
    signature = signature_of(Sample.anything)
    payload, _, buffers = signature.encode_result(value)
    assert signature.decode_result(payload, buffers) == value


def test_a_constructor_is_compiled_like_a_handler() -> None:
    class Made:
        def __init__(self, start: int, *, step: int = 1) -> None: ...

    parameters = Parameters(Made.__init__)
    body = bytearray()
    parameters.encode(parameters.bind((5,), {}), body)
    assert parameters.decode(body, (), ()) == (5, 1)


def test_a_signature_is_compiled_once() -> None:
    assert signature_of(Sample.plain) is signature_of(Sample.plain)
