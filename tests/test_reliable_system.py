"""Whole systems on a network that loses, doubles and reorders: all holds as on a good one."""

from __future__ import annotations

import pytest
import trio

from actors import Actor, ActorDeadError, ActorRef
from actors.testing.virtual import VirtualSystem
from runtime.weather.weather import Weather


def rough(loss: float, seed: int) -> Weather:
    return Weather(drop=loss, duplicate=loss, reorder=loss, seed=seed)


ROUGH = [(0.01, 1), (0.05, 2), (0.05, 3), (0.2, 4)]
every_weather = pytest.mark.parametrize(
    "regrow_options", [{"weather": rough(loss, seed)} for loss, seed in ROUGH], ids=map(str, ROUGH)
)


class Counter(Actor):
    def __init__(self) -> None:
        self.value = 0
        self.order: list[int] = []

    async def add(self, number: int) -> int:
        self.order.append(number)
        self.value += 1
        return self.value

    async def told(self, number: int) -> None:
        self.order.append(number)

    async def all(self) -> list[int]:
        return self.order

    async def fall(self) -> None:
        raise ValueError("fallen")


class Relay(Actor):
    """Tells and asks somebody else."""

    async def tell(self, target: ActorRef[Counter], count: int) -> None:
        for number in range(count):
            await target.tell(Counter.told, number)

    async def ask(self, target: ActorRef[Counter], count: int) -> int:
        value = 0
        for number in range(count):
            value = await target.ask(Counter.add, number)
        return value


@every_weather
async def test_every_ask_and_tell_is_handled_once_and_in_order(system: VirtualSystem) -> None:
    relay, teller = await system.spawn(Relay), await system.spawn(Relay)
    asked, told = await system.spawn(Counter), await system.spawn(Counter)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(teller.ask, Relay.tell, told, 2000)
        assert await relay.ask(Relay.ask, asked, 200) == 200
    assert await asked.ask(Counter.all) == list(range(200))
    await trio.sleep(5)
    assert await told.ask(Counter.all) == list(range(2000))
    audit = await system.audit()
    assert audit.balances
    assert audit.undelivered == audit.in_flight == 0
    assert system.network.faults


@every_weather
async def test_what_falls_comes_back_once_and_what_is_killed_is_told_of_once(
    system: VirtualSystem,
) -> None:
    lives = []
    system.nodes.listeners.append(lambda it: lives.append((it.what, it.name)))
    one = await system.spawn(Counter, name="one", restart="permanent")
    two = await system.spawn(Counter, name="two", restart="permanent")
    for _ in range(3):
        await one.tell(Counter.fall)
        system.kill(two)
        await trio.sleep(30)
        one, two = await system.lookup("one", Counter), await system.lookup("two", Counter)
        assert await one.ask(Counter.add, 1) == 1
        assert await two.ask(Counter.add, 1) == 1
    assert lives.count(("died", "one")) == lives.count(("died", "two")) == 3


@pytest.mark.regrow(weather=Weather(), reliable=True)
async def test_a_network_that_is_parted_for_a_while_loses_nothing(system: VirtualSystem) -> None:
    """What is in the air when the path breaks is lost below, as with a broken connection."""
    relay, sink = await system.spawn(Relay), await system.spawn(Counter)
    assert await relay.ask(Relay.ask, sink, 10) == 10
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay.ask, Relay.tell, sink, 500)
        await lose_everything_for(system, 8.0)
    assert len(await sink.ask(Counter.all)) == 510
    assert (await sink.ask(Counter.all))[10:] == list(range(500))
    audit = await system.audit()
    assert audit.balances
    assert audit.undelivered == 0


async def lose_everything_for(system: VirtualSystem, duration_s: float) -> None:
    system.network.weather = Weather(drop=1.0)
    await trio.sleep(duration_s)
    system.network.weather = Weather()


@pytest.mark.regrow(weather=Weather(), reliable=True)
async def test_what_cannot_be_resumed_is_undelivered_to_the_last_message(
    system: VirtualSystem,
) -> None:
    relay, sink = await system.spawn(Relay), await system.spawn(Counter)
    await relay.ask(Relay.tell, sink, 100)
    await trio.sleep(1)
    system.network.weather = Weather(drop=1.0)
    await system_tells(sink, 50)
    system.kill(sink)
    await trio.sleep(1)
    system.network.weather = Weather()
    await trio.sleep(5)
    audit = await system.audit()
    assert audit.balances
    assert (audit.handled, audit.undelivered, audit.in_flight) == (101, 50, 0)
    assert sum(letter.count for letter in system.exchange.letters.read()) == 50
    with pytest.raises(ActorDeadError):
        await sink.ask(Counter.all)


async def system_tells(sink: ActorRef[Counter], count: int) -> None:
    for number in range(count):
        await sink.tell(Counter.told, number)
