"""A scene in which much happens at once, written down: two runs of it are compared byte for byte.

    python -c "from tests.lively import main; main()" SEED [RUNS]

prints one digest a run (not ``-m``: the names of classes are part of what is said). A tree under
supervision, asks and tells across it, streams, monitors, local cells, crashes, kills, a frozen
node, late messages and a partition.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import trio
from trio.testing import MockClock

from actors import Actor, ActorRef, Down, reentrant
from actors.testing.virtual import VirtualSystem, open_virtual_system
from runtime.errors import ActorError
from runtime.weather.event_log import EventLog
from runtime.weather.weather import Rule, Weather

LINES = 1_000_000


class Singer(Actor):
    """Knows the others, and talks to them."""

    def __init__(self, voice: int = 0) -> None:
        self.voice = voice
        self.heard = 0

    @reentrant
    async def hear(self, note: int) -> int:
        self.heard += note
        return self.heard

    async def pass_on(self, others: list[ActorRef[Singer]], note: int) -> int:
        total = 0
        for other in others:
            await other.tell(Singer.hear, note)
            total += await other.ask(Singer.hear, note)
        return total

    @reentrant
    async def scale(self, count: int) -> AsyncIterator[int]:
        for note in range(count):
            yield note
            if note % 7 == 6:
                await trio.sleep(0.003)

    async def listen(self, other: ActorRef[Singer], count: int) -> int:
        total = 0
        async with other.stream(Singer.scale, count) as scale:
            async for note in scale:
                total += note
        return total

    async def break_off(self) -> None:
        raise ValueError(f"voice {self.voice} breaks")


class Choir(Actor):
    """Supervises singers, some in processes of their own, one beside itself."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.singers: list[ActorRef[Singer]] = []
        self.downs: list[str] = []

    async def on_start(self) -> None:
        name = self.ref.name
        for number in range(self.size):
            singer = await self.spawn(
                Singer, number, name=f"{name}-{number}", restart="permanent", local=number == 0
            )
            self.monitor(singer)
            self.singers.append(singer)

    async def members(self) -> list[ActorRef[Singer]]:
        return self.singers

    async def on_down(self, down: Down) -> None:
        self.downs.append(str(down.reason))


async def scene(seed: int, weather: Weather | None) -> EventLog:
    """Play it; what was written down."""
    async with open_virtual_system(
        seed=seed, weather=weather, log=LINES, intensity=(100, 1.0)
    ) as system:
        network = system.network
        choirs = [
            await system.spawn(Choir, 3, name=f"choir{number}", restart="permanent")
            for number in range(2)
        ]
        singers = [each for choir in choirs for each in await choir.ask(Choir.members)]
        async with trio.open_nursery() as nursery:
            for number, singer in enumerate(singers):
                nursery.start_soon(_sing, singer, singers, number)
                nursery.start_soon(_listen, singer, singers[number - 1])
            await trio.sleep(0.1)
            system.freeze(singers[2])
            with network.partition(singers[1], {choirs[1], singers[5]}):
                await trio.sleep(0.3)
                system.kill(singers[1])
                await singers[4].tell(Singer.break_off)
                await trio.sleep(2.0)
            system.thaw(singers[2])
            system.kill(choirs[1])
            await trio.sleep(1.0)
        await _settled(system)
        assert network.log is not None
        return network.log
    raise AssertionError("a block that swallows nothing")


async def _sing(singer: ActorRef[Singer], others: list[ActorRef[Singer]], note: int) -> None:
    for _ in range(8):
        try:
            await singer.ask(Singer.pass_on, [each for each in others if each != singer], note)
        except ActorError:
            await trio.sleep(0.05)
        await trio.sleep(0.02)


async def _listen(singer: ActorRef[Singer], other: ActorRef[Singer]) -> None:
    for _ in range(5):
        try:
            await singer.following().ask(Singer.listen, other, 20)
        except ActorError:
            await trio.sleep(0.1)


async def _settled(system: VirtualSystem) -> None:
    await system.audit()
    await system.tree()


def run(seed: int, weather: Weather | None = None) -> EventLog:
    """One scene, by itself."""

    async def bounded() -> EventLog:
        with trio.fail_after(60):
            return await scene(seed, weather)

    return trio.run(bounded, clock=MockClock(autojump_threshold=0))


def windy(seed: int) -> Weather:
    """Nothing is lost, but much is late."""
    return Weather(
        Rule(kinds="beats", latency_s=0.001),
        seed=seed,
        latency_s=0.002,
        delay=0.1,
        delay_s=(0.0, 0.05),
    )


def main() -> None:
    seed, runs = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    for _ in range(runs):
        log = run(seed, windy(seed))
        print(log.digest, log.count)
