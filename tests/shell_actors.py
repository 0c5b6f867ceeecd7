"""Classes of actors that the real shell's tests run: ``tests.shell_actors:Counter``."""

import dataclasses
import datetime
import enum
import os
from collections.abc import AsyncIterator

import msgspec
import trio

from actors import Actor


class Colour(enum.Enum):
    RED = "red"


class Point(msgspec.Struct):
    x: int
    y: int = 0


@dataclasses.dataclass
class Box:
    corner: Point
    sides: dict[str, float]


class Counter(Actor):
    """Counts, and answers with what it was given."""

    def __init__(self, start: int = 0, label: str = "", *, step: float = 1.0) -> None:
        if start < 0:
            raise ValueError(f"start must not be negative: {start}")
        self._value = start
        self._label = label
        self._step = step

    async def add(self, amount: int) -> int:
        """Add to the counter, and return it."""
        self._value += amount
        return self._value

    async def made_of(self) -> list[int | str | float]:
        return [self._value, self._label, self._step]

    async def types(self, text: str, data: bytes, colour: Colour, at: datetime.datetime) -> str:
        return repr((text, data, colour.name, at.isoformat()))

    async def boxes(self, box: Box, others: list[Point] | None = None) -> list[Point]:
        return [box.corner, *(others or ())]

    async def raw(self) -> bytes:
        return b"caf\xc3\xa9"

    async def fail(self, message: str) -> None:
        raise ValueError(message)

    async def ponder(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def end(self) -> None:
        """Finish, as it should."""
        self.finish()

    async def leave(self, code: int) -> None:
        os._exit(code)

    async def numbers(self, upto: int) -> AsyncIterator[int]:
        """Count."""
        for number in range(upto):
            yield number


class Boss(Actor):
    """Has a node and a cell under it."""

    def __init__(self, greeting: str = "hello") -> None:
        self._greeting = greeting

    async def on_start(self) -> None:
        print(self._greeting)
        await self.spawn(Counter, 1, name="kid")
        await self.spawn(Counter, 2, name="cell", local=True)

    async def hire(self, name: str) -> None:
        await self.spawn(Counter, name=name)

    async def end(self) -> None:
        self.finish()

    async def leave(self, code: int) -> None:
        os._exit(code)
