"""Text to arguments, by annotations; handlers as Python writes them; results as JSON."""

import dataclasses
import datetime
import decimal
import enum
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal, NewType, Optional, Union

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Actor
from runtime.errors import WireError
from runtime.messages.behaviour import handlers_of
from runtime.messages.signature import Signature
from shell.arguments import read_arguments, read_word
from shell.results import plain
from shell.signatures import describe


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Point(msgspec.Struct):
    x: int
    y: int = 0


@dataclasses.dataclass
class Size:
    width: float


Metres = NewType("Metres", float)
Label = NewType("Label", str)
UTC = datetime.UTC
NOON = datetime.datetime(2026, 1, 2, 12)


@pytest.mark.parametrize(
    ("hint", "word", "value"),
    [
        (str, "", ""),
        (str, "5", "5"),
        (str, "null", "null"),
        (str, '"x"', '"x"'),
        (Label, "5", "5"),
        (str | None, "null", "null"),
        (Optional[str], "x", "x"),  # noqa: UP045
        (str | int, "5", "5"),
        (str | bytes, "x", "x"),
        (bytes, "aGk=", b"aGk="),
        (bytes, "é", b"\xc3\xa9"),
        (bytes, "", b""),
        (bytearray, "hi", bytearray(b"hi")),
        pytest.param(memoryview, "hi", memoryview(b"hi"), id="memoryview-hi"),
        (bytes | None, "hi", b"hi"),
        (bytes | int, "5", b"5"),
        (int, "5", 5),
        (int, "-5", -5),
        (int, "5.0", 5),
        (Annotated[int, msgspec.Meta(gt=4)], "5", 5),
        (float, "5", 5.0),
        (float, "1e-3", 0.001),
        (Metres, "5", 5.0),
        (int | float, "5", 5),
        (int | float, "5.5", 5.5),
        (Union[int, float, None], "null", None),  # noqa: UP007
        (bool, "true", True),
        (bool, "0", False),
        (int | None, "5", 5),
        (int | None, "null", None),
        (None, "null", None),
        (Colour, "red", Colour.RED),
        (Level, "1", Level.LOW),
        (Colour | None, "null", None),
        (Literal["a", 1], "a", "a"),
        (Literal["a", 1], "1", 1),
        (decimal.Decimal, "1.50", decimal.Decimal("1.50")),
        (uuid.UUID, "00000000-0000-0000-0000-00000000000a", uuid.UUID(int=10)),
        (datetime.datetime, "2026-01-02T12:00:00", NOON),
        (datetime.datetime, "2026-01-02T12:00:00Z", NOON.replace(tzinfo=UTC)),
        (datetime.date, "2026-01-02", datetime.date(2026, 1, 2)),
        (datetime.time, "03:04:00", datetime.time(3, 4)),
        (datetime.timedelta, "PT5S", datetime.timedelta(seconds=5)),
        (datetime.timedelta, "5", datetime.timedelta(seconds=5)),
        (list[int], "[1, 2]", [1, 2]),
        (list[int] | None, "null", None),
        (str | list[str], '"x"', "x"),
        (int | list[int], "[5]", [5]),
        (tuple[str, ...], '["a"]', ("a",)),
        (dict[str, float], '{"a": 1}', {"a": 1.0}),
        (dict[int, str], '{"1": "a"}', {1: "a"}),
        (set[int], "[1, 1]", {1}),
        (Point, '{"x": 3}', Point(3)),
        (Size, '{"width": 3}', Size(3.0)),
        (Point | None, "null", None),
        (Any, '{"a": [1, null]}', {"a": [1, None]}),
        (Any, "5", 5),
        (Any, '"x"', "x"),
        (bytes | list[int], '"aGk="', b"hi"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_word_is_what_its_parameter_is(hint: Any, word: str, value: object) -> None:
    got = read_word(word, hint)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("hint", "word"),
    [
        (int, "x"),
        (int, ""),
        (int, "5.5"),
        (float, "5 m"),
        (bool, "yes"),
        (int | None, "None"),
        (Colour, "RED"),
        (Literal["a"], "b"),
        (uuid.UUID, "x"),
        (decimal.Decimal, "x"),
        (datetime.datetime, "yesterday"),
        (list[int], "1"),
        (list[int], "[1"),
        (list[int], '["1"]'),
        (Point, '{"y": 3}'),
        (Any, "hello"),
        (Any, ""),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(hint: Any, word: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_word(word, hint)


@given(st.text(st.characters(codec="utf-8")))
def test_text_stays_text(word: str) -> None:
    assert read_word(word, str) == word
    assert read_word(word, bytes) == word.encode()


class Chatty(Actor):
    def __init__(self, name: str, size: int = 3, *, loud: bool = False) -> None:
        """Not shown."""

    async def add(self, amount: int, times: float = 1.0) -> int:
        """Add to the counter.

        And more.
        """
        raise NotImplementedError

    async def put(self, point: Point, label: "str | None" = None) -> None:
        raise NotImplementedError

    async def anything(self, value):  # type: ignore[no-untyped-def]
        raise NotImplementedError

    async def numbers(self, upto: int) -> AsyncIterator[int]:
        yield upto

    async def things(self):  # type: ignore[no-untyped-def]
        yield 1

    async def when(self, at: datetime.datetime, *, zone: str = "utc") -> dict[str, list[bytes]]:
        """\tTell the time\x07."""
        raise NotImplementedError


HANDLERS = handlers_of(Chatty)
CONSTRUCTOR = Signature.__mro__[1](Chatty.__init__)


@pytest.mark.parametrize(
    ("handler", "words", "args", "keywords"),
    [
        ("add", ["5"], (5,), {}),
        ("add", ["5", "2"], (5, 2.0), {}),
        ("put", ['{"x": 1}', "null"], (Point(1), "null"), {}),
        ("anything", ["[]"], ([],), {}),
        (
            "when",
            ["2026-01-02T12:00:00", "x"],
            (NOON,),
            {"zone": "x"},
        ),
        ("numbers", ["3"], (3,), {}),
    ],
)
def test_words_are_taken_in_the_order_of_the_parameters(
    handler: str, words: list[str], args: tuple[object, ...], keywords: dict[str, object]
) -> None:
    assert read_arguments(handler, HANDLERS[handler], words) == (args, keywords)


def test_a_constructors_arguments() -> None:
    assert read_arguments("Chatty", CONSTRUCTOR, ["a", "5", "1"]) == (("a", 5), {"loud": True})
    assert read_arguments("Bare", None, []) == ((), {})


@pytest.mark.parametrize(
    ("handler", "words", "why"),
    [
        ("add", [], "add needs amount"),
        ("add", ["x"], "add: amount='x': Expected `int`, got `str`"),
        ("add", ["1", "2", "3"], "add takes at most 2 arguments, but was given '3' too"),
        ("numbers", ["1", "\n"], "numbers takes at most 1 argument, but was given '\\n' too"),
        ("things", ["x"], "things takes no arguments, but was given 'x'"),
        ("put", ['{"y": 1}'], "put: point='{\"y\": 1}': Object missing required field `x`"),
        ("put", ["{"], "put: point='{': Input data was truncated"),
        ("anything", ["[" * 5000], f"anything: value='{'[' * 100}...': it nests too deeply"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_wrong_names_the_parameter_and_the_word(
    handler: str, words: list[str], why: str
) -> None:
    with pytest.raises(WireError) as caught:
        read_arguments(handler, HANDLERS[handler], words)
    assert str(caught.value) == why


def test_a_class_without_a_constructor_takes_nothing() -> None:
    with pytest.raises(WireError, match="Bare takes no arguments, but was given 'x'"):
        read_arguments("Bare", None, ["x"])


def test_handlers_are_shown_as_python_writes_them() -> None:
    point = f"{Point.__module__}.Point"
    assert describe(HANDLERS.values()) == [
        "add(amount: int, times: float = 1.0) -> int  Add to the counter.",
        "anything(value)",
        "numbers(upto: int) -> stream of int",
        f"put(point: {point}, label: str | None = None) -> None",
        "things() -> stream",
        "when(at: datetime.datetime, *, zone: str = 'utc') -> dict[str, list[bytes]]"
        "  Tell the time\\x07.",
    ]


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        (None, None),
        (5, 5),
        (True, True),
        ("x", "x"),
        (1.5, 1.5),
        (float("nan"), None),
        (b"\xc3\xa9", "é"),
        (bytearray(b"hi"), "hi"),
        pytest.param(memoryview(b"hi"), "hi", id="memoryview"),
        (b"\xff", "\\xff"),
        ([b"hi"], ["aGk="]),
        (Point(1), {"x": 1, "y": 0}),
        (Size(1.0), {"width": 1.0}),
        ({1: (2, {3})}, {"1": [2, [3]]}),
        (Colour.RED, "red"),
        (Level.LOW, 1),
        (decimal.Decimal("1.50"), "1.50"),
        (datetime.timedelta(seconds=5), "PT5S"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_results_are_what_json_can_carry(result: object, shown: object) -> None:
    assert plain(result) == shown
