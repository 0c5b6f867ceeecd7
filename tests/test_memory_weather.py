"""The memory network does to messages what its weather says, at exact instants."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from zlib import crc32

import pytest
import trio
from trio.testing import MockClock

from actors import Actor, ActorRef
from actors.testing.virtual import VirtualSystem, open_virtual_system
from runtime.messages import envelope as wire
from runtime.messages.codec import encode
from runtime.weather.event_log import EventLog
from runtime.weather.weather import Delay, Drop, Duplicate, Fault, Reorder, Rule, Weather
from runtime.wires.memory import MemoryNetwork
from runtime.wires.memory_transport import MemoryTransport

ASK = (wire.Ask(1, "f", 0, 7),)
BEAT = (wire.Beat(1),)


class World:
    """Processes a, b and c, who say letters to each other."""

    def __init__(self, nursery: trio.Nursery, network: MemoryNetwork) -> None:
        self.network = network
        self.ends = {name: network.join(number, name) for number, name in enumerate("abc", start=1)}
        for end in self.ends.values():
            for other in self.ends.values():
                if other is not end:
                    end.connect(other.endpoint)
        self.came: list[str] = []
        for name, end in self.ends.items():
            nursery.start_soon(self._listen, name, end)

    async def _listen(self, name: str, end: MemoryTransport) -> None:
        while True:
            while (message := end.receive()) is not None:
                source, frames = message
                said = bytes(frames[-1]).decode()
                self.came.append(f"{' abc'[source]}{name} {said} {trio.current_time():g}")
            await end.wait()

    def say(self, way: str, *letters: str, head: tuple[wire.Envelope, ...] = ASK) -> None:
        source, target = way[0], way[1]
        for letter in letters:
            frames = [*encode(*head), letter.encode()]
            self.ends[source].send(self.ends[target].endpoint, frames)

    async def after(self, seconds: float) -> list[str]:
        """What has come in the meantime, and at that instant."""
        came: list[str] = []
        self.came = came
        await trio.sleep(seconds)
        await trio.testing.wait_all_tasks_blocked()
        return came


@pytest.fixture
def world(nursery: trio.Nursery) -> World:
    return World(nursery, MemoryNetwork(nursery))


async def test_without_weather_all_comes_at_once(world: World, autojump_clock: MockClock) -> None:
    world.say("ab", "x", "y")
    world.say("cb", "z")
    assert await world.after(0) == ["ab x 0", "ab y 0", "cb z 0"]
    assert world.network.faults == []


async def test_equal_delays_keep_the_order_of_sending(
    world: World, autojump_clock: MockClock
) -> None:
    world.network.weather = Weather(latency_s=0.5)
    letters = [chr(65 + number) for number in range(26)]
    world.say("ab", *letters)
    assert await world.after(1) == [f"ab {letter} 0.5" for letter in letters]


async def test_what_was_late_is_not_overtaken_once_the_weather_is_over(
    world: World, autojump_clock: MockClock
) -> None:
    with world.network.weather_of(Weather(latency_s=0.5)):
        world.say("ab", "x")
    assert world.network.weather is None
    world.say("ab", "y")
    world.say("cb", "z")
    assert await world.after(0.25) == ["cb z 0"]
    world.say("ab", "v")
    assert await world.after(1) == ["ab x 0.5", "ab y 0.5", "ab v 0.5"]


async def test_what_is_due_earlier_comes_earlier(world: World, autojump_clock: MockClock) -> None:
    world.network.weather = Weather(Rule(source="c", latency_s=0.25), latency_s=1.0)
    world.say("ab", "x")
    assert await world.after(0.5) == []
    world.say("cb", "y")
    assert await world.after(1) == ["cb y 0.75", "ab x 1"]


async def test_what_is_overdue_is_not_overtaken_either(
    world: World, autojump_clock: MockClock
) -> None:
    with world.network.weather_of(Weather(latency_s=0.5)):
        world.say("ab", "x")
    autojump_clock.jump(1.0)
    world.say("ab", "y")
    assert await world.after(0) == ["ab x 1", "ab y 1"]


def listed(*faults: Fault) -> Weather:
    return Weather.only(faults)


async def test_faults_strike_the_messages_that_they_name(
    world: World, autojump_clock: MockClock
) -> None:
    faults = [
        Drop("a", "b", "ask", 2),
        Delay("a", "b", "ask", 3, 0.5),
        Duplicate("a", "b", "ask", 4, 0.25),
        Reorder("a", "b", "ask", 5, 1.5),
        Drop("b", "a", "beat", 1),
    ]
    world.network.weather = listed(*faults, Drop("a", "c", "ask", 1))
    world.say("ab", "1", "2")
    world.say("ab", "-", head=BEAT)
    world.say("ab", "3", "4", "5", "6")
    world.say("ba", "1")
    world.say("ba", "-", "+", head=BEAT)
    came = await world.after(5)
    at_once = ["ab 1 0", "ab - 0", "ba 1 0", "ba + 0"]
    assert sorted(came[:4]) == sorted(at_once)
    assert came[4:] == ["ab 3 0.5", "ab 4 0.5", "ab 6 0.5", "ab 4 0.75", "ab 5 2"]
    assert world.network.faults == faults


async def test_one_fault_less_changes_no_other(world: World, autojump_clock: MockClock) -> None:
    async def play(weather: Weather) -> tuple[list[str], list[Fault]]:
        async with trio.open_nursery() as nursery:
            fresh = World(nursery, MemoryNetwork(nursery, weather=weather))
            for way in ("ab", "ba", "cb"):
                fresh.say(way, *"abcdefgh")
            came = await fresh.after(5)
            nursery.cancel_scope.cancel()
        return sorted(each[:4] for each in came), fresh.network.faults

    chance = Weather(drop=0.3, duplicate=0.2, reorder=0.2, seed=4)
    came, faults = await play(chance)
    assert len(faults) > 5
    assert await play(Weather.only(faults, *chance.rules)) == (came, faults)
    for each in faults:
        fewer = [other for other in faults if other is not each]
        assert (await play(Weather.only(fewer)))[1] == fewer


async def test_messages_are_counted_over_all_lives_of_a_name(
    world: World, autojump_clock: MockClock
) -> None:
    network = world.network
    network.weather = listed(Drop("a", "b", "ask", 3))
    world.say("ab", "1", "2")
    world.ends["a"].cut()
    again = world.ends["a"] = network.join(1001, "a")
    again.connect(world.ends["b"].endpoint)
    world.say("ab", "3")
    assert network.faults == [Drop("a", "b", "ask", 3)]


async def test_a_log_counts_nothing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    for log in (None, EventLog(10)):
        network = MemoryNetwork(nursery, log=log)
        world = World(nursery, network)
        world.say("ab", "1", "2")
        network.weather = listed(Drop("a", "b", "ask", 1), Drop("a", "b", "ask", 2))
        world.say("ab", "3")
        network.weather = None
        world.say("ab", "4")
        network.weather = listed(Drop("a", "b", "ask", 3))
        world.say("ab", "5")
        assert [each.ordinal for each in network.faults] == [1, 3]


# -- conditions


async def test_across_a_partition_all_waits_until_it_is_over(
    world: World, autojump_clock: MockClock
) -> None:
    with world.network.partition({"a", "c"}, "b"):
        world.say("ab", "1", "2")
        world.say("bc", "3")
        world.say("ac", "4")
        assert await world.after(1) == ["ac 4 0"]
        assert world.network.apart(1, 2)
        assert not world.network.apart(1, 3)
    world.say("ab", "5")
    assert sorted(await world.after(1)) == ["ab 1 1", "ab 2 1", "ab 5 1", "bc 3 1"]
    assert not world.network.apart(1, 2)


async def test_what_a_partition_loses_is_lost(world: World, autojump_clock: MockClock) -> None:
    with world.network.partition("a", "b", lost=True):
        world.say("ab", "1")
    assert await world.after(1) == []


async def test_a_cut_is_one_way(world: World, autojump_clock: MockClock) -> None:
    with world.network.cut("a", to={"b"}):
        world.say("ab", "1")
        world.say("ba", "2")
        world.say("ac", "3")
        assert sorted(await world.after(1)) == ["ac 3 0", "ba 2 0"]
        assert world.network.apart(1, 2)
        assert world.network.apart(2, 1)
    assert await world.after(0) == ["ab 1 1"]


async def test_partitions_overlap_and_end_each_for_itself(
    world: World, autojump_clock: MockClock
) -> None:
    network = world.network
    with ExitStack() as first:
        first.enter_context(network.partition("a"))
        world.say("ab", "1")
        with network.cut("a", to="b"):
            world.say("ab", "2")
            world.say("ac", "3")
            network.part([3])
            first.close()
            world.say("ac", "4")
            assert await world.after(1) == []
        assert await world.after(1) == ["ab 1 1", "ab 2 1"]
        network.heal()
        assert await world.after(1) == ["ac 3 2", "ac 4 2"]


async def test_a_partition_ends_with_its_block_however_that_is_left(
    world: World, autojump_clock: MockClock
) -> None:
    with suppress(KeyError), world.network.partition("a", "b"):
        world.say("ab", "1")
        raise KeyError("mine")
    assert await world.after(1) == ["ab 1 0"]


async def test_a_throttle_lets_so_many_pass(world: World, autojump_clock: MockClock) -> None:
    with world.network.throttle("a", to="b", messages_per_s=4):
        world.say("ab", "1", "2")
        world.say("ba", "3")
        world.say("ab", "-", head=BEAT)
    world.say("ab", "4")
    assert await world.after(1) == ["ba 3 0", "ab 1 0.25", "ab 2 0.5", "ab 4 0.5", "ab - 0.75"]


async def test_a_network_that_is_trusted_refuses_to_break_its_promise(
    world: World, autojump_clock: MockClock
) -> None:
    network = world.network
    network.weather = Weather(drop=0.5)
    with pytest.raises(RuntimeError, match=r"Weather\(Rule\(drop=0.5\), seed=0\) drops, doubles"):
        network.trust()
    network.weather = None
    network.trust()
    with pytest.raises(RuntimeError, match="reliable=True"):
        network.weather = Weather(reorder=0.5)
    with pytest.raises(RuntimeError, match="lose"), network.partition("a", "b", lost=True):
        raise AssertionError
    assert network.weather is None
    world.say("ab", "1")
    assert await world.after(0) == ["ab 1 0"]
    network.weather = Weather(delay=0.5, latency_s=1.0, bytes_per_s=1e6)


async def test_part_is_about_lives_and_a_partition_about_names(
    world: World, autojump_clock: MockClock
) -> None:
    network = world.network
    network.join(1001, "a")
    network.part([1])
    assert network.apart(1, 2)
    assert not network.apart(1001, 2)
    network.heal()
    with network.partition("a"):
        assert network.apart(1, 2)
        assert network.apart(1001, 2)


# -- the log


async def test_the_log_tells_each_fate(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    log = EventLog(100)
    network = MemoryNetwork(nursery, log=log)
    world = World(nursery, network)
    world.say("ab", "1")
    network.weather = listed(Drop("a", "b", "ask", 1), Delay("a", "b", "ask", 2, 0.5))
    world.say("ab", "2", "3")
    with network.partition("a", "b"):
        world.say("ab", "4")
        await trio.sleep(0.25)
    with network.partition("a", "b", lost=True):
        world.say("ab", "5")
    world.say("ac", "6", head=BEAT)
    world.ends["b"].cut()
    await trio.sleep(1)
    lines = [line.split(" ") for line in log.lines]
    assert [" ".join((line[0], line[3][0], line[4], line[7])) for line in lines] == [
        "000000.000000000 b ask passed",
        "000000.000000000 b ask dropped",
        "000000.000000000 b ask late",
        "000000.000000000 b ask held",
        "000000.250000000 b ask late",
        "000000.250000000 b ask lost",
        "000000.250000000 c beat passed",
        "000000.500000000 b ask came",
        "000000.500000000 b ask vanished",
        "000000.500000000 b ask came",
        "000000.500000000 b ask vanished",
    ]
    frames = [*encode(*ASK), b"1"]
    checksum = f"{crc32(b''.join(frames)):08x}"
    assert lines[0][1:7] == ["a.1", ">", "b.2", "ask", str(sum(map(len, frames))), checksum]


async def test_a_log_keeps_its_last_lines_and_sums_all() -> None:
    few, many = EventLog(2), EventLog(10)
    for log in (few, many):
        for number in range(4):
            log.add(number / 8, f"line {number}")
    assert few.digest == many.digest
    assert str(few) == "(2 lines before)\n000000.250000000 line 2\n000000.375000000 line 3"
    few.add(1, "")
    assert few.digest != many.digest
    with pytest.raises(ValueError, match="at least one line, not 0"):
        EventLog(0)
    with pytest.raises(ValueError, match="at least one line, not -1"):
        open_virtual_system(log=-1)


# -- whole systems


class Echo(Actor):
    """Says it again."""

    async def echo(self, word: str) -> str:
        return word

    async def pass_on(self, other: ActorRef[Echo], word: str) -> str:
        return await other.ask(Echo.echo, word)


async def test_two_actors_that_are_parted_think_each_other_cut_off(system: VirtualSystem) -> None:
    one = await system.spawn(Echo, name="one")
    with system.network.partition(one, "controller"):
        await trio.sleep(2)
        assert [row.state for row in await system.tree()] == ["cut off"]
    await trio.sleep(1)
    assert [row.state for row in await system.tree()] == ["ok"]
    assert await one.ask(Echo.echo, "word") == "word"


async def test_latency_is_what_an_ask_takes(system: VirtualSystem) -> None:
    one, two = [await system.spawn(Echo) for _ in range(2)]
    await one.ask(Echo.pass_on, two, "word")
    with system.network.weather_of(Weather(Rule(source=one, target=two, latency_s=0.5))):
        began = trio.current_time()
        assert await one.ask(Echo.pass_on, two, "word") == "word"
        assert trio.current_time() - began == 0.5


@pytest.mark.regrow(log=1000)
async def test_a_log_of_a_system_tells_what_became_of_its_nodes(system: VirtualSystem) -> None:
    one = await system.spawn(Echo, name="one")
    await trio.sleep(1)
    system.kill(one)
    await trio.sleep(0.5)
    log = system.network.log
    assert log is not None
    facts = [line for line in log.lines if line.count(" ") == 2]
    assert facts == ["000000.000000000 one.2 started", "000001.000000000 one.2 died"]
