"""Actors that press on each other: tellers that do not wait, and one who is slower than they."""

from __future__ import annotations

import time

import msgspec
import trio

from actors.actor import Actor, reentrant
from actors.ref import ActorRef


class Taken(msgspec.Struct, frozen=True):
    """What a `Slow` has had. ``by_teller``: how many, when the first of them was done."""

    count: int
    out_of_order: int
    by_teller: dict[str, int]


class Measured(Actor):
    """Knows its own memory."""

    async def rest(self) -> int:
        """The resident memory now, bytes; from here on its peak is counted anew."""
        with open("/proc/self/clear_refs", "w") as file:  # noqa: ASYNC230
            file.write("5")
        return _status("VmRSS")

    async def peak(self) -> int:
        """The largest it has been since, bytes."""
        return _status("VmHWM")


def _status(name: str) -> int:
    with open("/proc/self/status") as file:
        lines = dict(line.split(":", 1) for line in file)
    return int(lines[name].split()[0]) * 1024


class Slow(Measured):
    """Takes what it is told, and sleeps a little after every ``sleep_every`` messages."""

    def __init__(self, sleep_every: int = 10_000, sleep_s: float = 0.01) -> None:
        self._sleep_every = sleep_every
        self._sleep_s = sleep_s
        self._next: dict[str, int] = {}
        self._count = 0
        self._out_of_order = 0
        self._first_done: dict[str, int] = {}
        self._cancelled_at = 0.0

    async def begin(self) -> None:
        """Count anew."""
        self._next.clear()
        self._first_done.clear()
        self._count = self._out_of_order = 0

    async def take(self, teller: str, number: int, last: bool) -> None:
        self._out_of_order += number != self._next.get(teller, 0)
        self._next[teller] = number + 1
        if last and not self._first_done:
            self._first_done = dict(self._next)
        self._count += 1
        if self._count % self._sleep_every == 0:
            await trio.sleep(self._sleep_s)

    async def take_data(self, number: int, data: memoryview) -> None:
        self._out_of_order += number != self._next.get("", 0) or data[-1] != number
        self._next[""] = number + 1
        self._count += 1
        await trio.sleep(self._sleep_s)

    async def taken(self) -> Taken:
        return Taken(self._count, self._out_of_order, self._first_done)

    @reentrant
    async def hold(self) -> None:
        """Return never; note when it is cancelled."""
        try:
            await trio.sleep_forever()
        finally:
            self._cancelled_at = time.monotonic()

    @reentrant
    async def held(self) -> None:
        """Whoever has asked to `hold` before, holds."""

    @reentrant
    async def cancelled_at(self) -> float:
        """On CLOCK_MONOTONIC."""
        return self._cancelled_at


class Teller(Measured):
    """Tells as fast as it may."""

    async def tell(self, slow: ActorRef[Slow], name: str, count: int) -> None:
        for number in range(count):
            await slow.tell(Slow.take, name, number, number == count - 1)

    @reentrant
    async def tell_until_cancelled(self, slow: ActorRef[Slow], name: str) -> None:
        number = 0
        while True:
            await slow.tell(Slow.take, name, number, False)
            number += 1

    async def tell_data(self, slow: ActorRef[Slow], size: int, count: int) -> None:
        for number in range(count):
            data = bytes(size - 1) + bytes([number])
            await slow.tell(Slow.take_data, number, memoryview(data))

    async def cancel_delay_s(self, slow: ActorRef[Slow]) -> float:
        """From a cancellation here until the handler there is cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(slow.ask, Slow.hold)
            await trio.sleep(0.001)  # it has been sent
            await slow.ask(Slow.held)
            began = time.monotonic()
            nursery.cancel_scope.cancel()
        at = 0.0
        while at < began:
            at = await slow.ask(Slow.cancelled_at)
        return at - began
