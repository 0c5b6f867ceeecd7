"""Rows: the memory network by itself, and a whole tree on it in virtual time.

Virtual time needs a trio run of its own, and so a process of its own.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable

import trio
from trio.testing import MockClock

from actors import Actor, ActorRef
from actors.testing.virtual import open_virtual_system
from runtime.detection.guard import BEAT_S
from runtime.messages.codec import encode
from runtime.messages.envelope import Tell
from runtime.weather.event_log import EventLog
from runtime.weather.weather import Weather
from runtime.wires.memory import MemoryNetwork
from tests.bench_row import TEXT, Note, Round, Row, at_least

EVENTS = 20_000
BATCH = 100
NODES = 100
FAN_OUT = 10
VIRTUAL_S = 60.0


def events_per_s(count: int, weather: Weather | None = None, log: EventLog | None = None) -> float:
    """Messages that were sent, and read at the other end if they came."""
    rate = 0.0

    async def measure() -> None:
        nonlocal rate
        async with trio.open_nursery() as nursery:
            network = MemoryNetwork(nursery, weather=weather, log=log)
            near, far = network.join(1, "near"), network.join(2, "far")
            near.connect(far.endpoint)
            frames = encode(Tell(1, "hear", len(TEXT)), body=TEXT.encode())
            began = time.perf_counter()
            for _ in range(count // BATCH):
                for _ in range(BATCH):
                    near.send(far.endpoint, frames)
                while far.receive() is not None:
                    pass
                if weather is not None:
                    await trio.sleep(1.0)
            rate = count / (time.perf_counter() - began)

    _alone(measure)
    return rate


def _alone(measure: Callable[[], object]) -> None:
    """Drive it in virtual time, outside the run of the benchmark."""
    trio.run(measure, clock=MockClock(autojump_threshold=0))  # type: ignore[arg-type]


def copies_per_s(count: int) -> float:
    """The floor: the frames are copied, and pass through a queue."""
    frames = encode(Tell(1, "hear", len(TEXT)), body=TEXT.encode())
    queue: deque[tuple[int, list[bytes]]] = deque()
    began = time.perf_counter()
    for _ in range(count // BATCH):
        for _ in range(BATCH):
            queue.append((1, [bytes(frame) for frame in frames]))
        while queue:
            queue.popleft()
    return count / (time.perf_counter() - began)


class Branch(Actor):
    """A node of the tree."""

    async def grow(self, count: int) -> list[ActorRef[Branch]]:
        return [await self.spawn(Branch) for _ in range(count)]


def hours_per_s(virtual_s: float, by_cpu: bool = False) -> float:
    """Virtual hours a second, of the wall or of a processor, of `NODES` that only live."""
    rate = cpu_s = 0.0

    async def measure() -> None:
        nonlocal rate, cpu_s
        async with open_virtual_system() as system:
            top = [await system.spawn(Branch) for _ in range(FAN_OUT)]
            for each in top:
                await each.ask(Branch.grow, NODES // FAN_OUT - 1)
            cpu_s = -time.process_time()
            began = time.perf_counter()
            await trio.sleep(virtual_s)
            rate = virtual_s / 3600 / (time.perf_counter() - began)
            cpu_s += time.process_time()

    _alone(measure)
    return virtual_s / 3600 / cpu_s if by_cpu else rate


def hours_of_sleepers_per_s(virtual_s: float) -> float:
    """The floor: as many tasks, which do no more than wake at each beat."""

    async def wake() -> None:
        for beat in range(round(virtual_s / BEAT_S)):
            await trio.sleep_until((beat + 1) * BEAT_S)

    async def measure() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(NODES):
                nursery.start_soon(wake)

    began = time.perf_counter()
    _alone(measure)
    return virtual_s / 3600 / (time.perf_counter() - began)


async def _elsewhere(call: str) -> float:
    """What this says in a process of its own."""
    code = f"from tests.bench_virtual import *; print({call})"
    done = await trio.run_process([sys.executable, "-c", code], capture_stdout=True)
    return float(done.stdout)


class Events(Row):
    """Messages through the memory network, from `send` to `receive`."""

    name = "memory network, events"
    floor_name = "a copy through a deque"
    unit = "/s"
    must = None
    aim = at_least(0.1)
    judged = False

    async def round(self) -> Round:
        count = EVENTS // 5 if self.quick else EVENTS
        weather = "Weather(drop=0.01, duplicate=0.01, delay=0.1)"
        windy = await _elsewhere(f"events_per_s({count}, {weather})")
        logged = await _elsewhere(f"events_per_s({count}, None, EventLog(1))")
        calm = await _elsewhere(f"events_per_s({count})")
        floor = await _elsewhere(f"copies_per_s({count})")
        notes = {"under weather": Note(windy, "/s"), "with a log": Note(logged, "/s")}
        return Round(calm, floor, notes)


class Hours(Row):
    """How fast time passes for a tree of 100 nodes that beat."""

    name = "virtual hours of 100 nodes"
    floor_name = "as many tasks that only sleep a beat"
    unit = "h"
    must = None
    aim = at_least(0.1)
    judged = False

    async def round(self) -> Round:
        virtual_s = VIRTUAL_S / 6 if self.quick else VIRTUAL_S
        figure = await _elsewhere(f"hours_per_s({virtual_s})")
        floor = await _elsewhere(f"hours_of_sleepers_per_s({virtual_s})")
        by_cpu = await _elsewhere(f"hours_per_s({virtual_s}, True)")
        return Round(figure, floor, {"a second of processor time": Note(by_cpu, "h")})


ROWS: list[type[Row]] = [Events, Hours]
