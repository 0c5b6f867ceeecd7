"""One value of each kind that travels, and an actor that gives back whatever it is given."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict

import attrs
import msgspec

from actors.actor import Actor
from actors.ref import ActorRef
from runtime.address import Address


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 9


class Point(msgspec.Struct, frozen=True):
    x: int
    y: int = 0


class Circle(msgspec.Struct, tag=True):
    centre: Point
    radius: float


class Square(msgspec.Struct, tag=True):
    corner: Point
    side: float


@dataclass
class Order:
    number: int
    lines: list[str] = field(default_factory=list)
    due: datetime.date | None = None


@attrs.define
class Parcel:
    weight: decimal.Decimal
    stamps: frozenset[int] = frozenset()


class Pair(NamedTuple):
    left: int
    right: str


class Options(TypedDict):
    depth: int
    colour: NotRequired[Colour]


class Tree(msgspec.Struct):
    label: str
    children: list[Tree] = []


class Counter(Actor):
    """Refs are to one of these."""

    async def add(self, amount: int) -> int:
        return amount


class Directory(msgspec.Struct):
    first: ActorRef[Counter]
    others: dict[str, ActorRef[Any]]


REF: ActorRef[Any] = ActorRef("system", "counter", 7, "memory:7")
FOLLOWING: ActorRef[Any] = ActorRef("system", "counter", 0, "memory:7")
WHEN = datetime.datetime(2024, 2, 29, 12, 30, 1, 999, tzinfo=datetime.UTC)

TRAVELS: dict[str, tuple[Any, Any]] = {
    "nothing": (None, None),
    "flag": (bool, True),
    "largest": (int, 2**64 - 1),
    "smallest": (int, -(2**63)),
    "number": (float, -0.5),
    "text": (str, "ünïcode\0 🐍"),
    "small_bytes": (bytes, b"\0\xff"),
    "large_bytes": (bytes, b"\0\xff" * 4096),
    "large_bytearray": (bytearray, bytearray(b"\0\xff" * 4096)),
    "large_view": (memoryview, memoryview(b"\0\xff" * 4096)),
    "small_view": (memoryview, memoryview(b"\0\xff")),
    "moment": (datetime.datetime, WHEN),
    "naive": (datetime.datetime, WHEN.replace(tzinfo=None)),
    "day": (datetime.date, WHEN.date()),
    "hour": (datetime.time, WHEN.time()),
    "span": (datetime.timedelta, datetime.timedelta(days=-1, microseconds=3)),
    "uuid": (uuid.UUID, uuid.UUID(int=5)),
    "decimal": (decimal.Decimal, decimal.Decimal("1.10")),
    "enumeration": (Colour, Colour.BLUE),
    "int_enumeration": (Level, Level.HIGH),
    "literal": (Literal["a", "b", 3], 3),
    "struct": (Point, Point(1, 2)),
    "dataclass": (Order, Order(1, ["a"], WHEN.date())),
    "attrs": (Parcel, Parcel(decimal.Decimal("0.5"), frozenset({1, 2}))),
    "named_tuple": (Pair, Pair(1, "a")),
    "typed_dict": (Options, {"depth": 1, "colour": Colour.RED}),
    "list": (list[int], [1, 2]),
    "tuple": (tuple[int, str], (1, "a")),
    "any_tuple": (tuple[int, ...], (1, 2, 3)),
    "set": (set[str], {"a", "b"}),
    "frozenset": (frozenset[Pair], frozenset({Pair(1, "a")})),
    "dict": (dict[int, list[Point]], {1: [Point(1)]}),
    "tree": (Tree, Tree("a", [Tree("b", [Tree("c")])])),
    "optional": (Point | None, Point(3)),
    "scalars": (int | str | None, "a"),
    "tagged": (Circle | Square, Square(Point(0), 2.0)),
    "constrained": (Annotated[int, msgspec.Meta(ge=0)], 5),
    "anything": (Any, {"a": [1, None, 2.5, b"x", {"b": True}]}),
    "moment_as_anything": (Any, WHEN),
    "ref_by_name": (ActorRef["Counter"], REF),
    "ref_of_class": (ActorRef[Counter], REF),
    "ref_of_any": (ActorRef[Any], REF),
    "following_ref": (ActorRef[Counter], FOLLOWING),
    "maybe_ref": (ActorRef[Counter] | None, REF),
    "refs": (list[ActorRef[Counter]], [REF, FOLLOWING]),
    "refs_by_name": (dict[str, tuple[ActorRef[Any], int]], {"a": (REF, 1)}),
    "set_of_refs": (set[ActorRef[Counter]], {REF}),
    "refs_in_a_struct": (Directory, Directory(REF, {"a": FOLLOWING})),
    "address": (Address, Address("system", "counter", 7, "memory:7")),
}
"""By handler: the annotation, and a value."""

Handler = Callable[..., Coroutine[Any, Any, Any]]


def giving_back(name: str, hint: Any) -> Handler:
    """A handler that takes one value and returns it."""

    async def handler(self: object, value: Any) -> Any:
        return value

    handler.__name__ = name
    handler.__qualname__ = f"Mirror.{name}"
    handler.__annotations__ = {"value": hint, "return": hint}
    return handler


class Mirror(Actor):
    """Has a handler for each of `TRAVELS`, besides these."""

    def __init__(self, seen: object = None) -> None:
        self.seen = seen


HANDLERS = {name: giving_back(name, hint) for name, (hint, _) in TRAVELS.items()}
for _name, _handler in HANDLERS.items():
    setattr(Mirror, _name, _handler)


def same(given: Any, got: Any) -> bool:
    """Whether it is equal, and of the same type; refs to the last field."""
    if isinstance(given, Address):
        return type(got) is type(given) and given == got and given.endpoint == got.endpoint
    return type(got) is type(given) and bool(given == got)
