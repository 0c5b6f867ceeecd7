"""What `runtime.wires.reliable` promises beyond what every transport does, see test_transports."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from runtime.messages.codec import Buffer
from runtime.wires.memory import MemoryNetwork
from runtime.wires.mended import Mended
from runtime.wires.packet import ANSWER, FLEETING, NUMBERED, PROBE, WINDOW, Packet, decode, encode
from runtime.wires.resending import BURST_PACKETS
from runtime.wires.round_trip import MAX_S
from runtime.wires.transport import IDLE_S
from tests.test_transports import numbered, rough, solid

Got = list[tuple[int, bytes]]
KINDS = {ANSWER: "answer", FLEETING: "fleeting", NUMBERED: "numbered", PROBE: "probe"}


class World:
    """A network whose packets are written down, and the processes on it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.network = MemoryNetwork(nursery, self._fault)
        self.befall: Callable[[int, int, str], Sequence[float]] = lambda s, t, kind: (0.0,)
        self.log: list[tuple[int, int, str]] = []
        self.got: dict[int, Got] = {}

    def _fault(self, source: int, target: int, frames: Sequence[Buffer]) -> Sequence[float]:
        kind = KINDS[decode(frames[-1]).kind]
        self.log.append((source, target, kind))
        return self.befall(source, target, kind)

    def lose(self, *kinds: str) -> None:
        """Lose all packets of these kinds from now on."""
        self.befall = lambda source, target, kind: () if kind in kinds else (0.0,)

    def open(self, incarnation: int, read: bool = True) -> Mended:
        transport = Mended(self.network.join(incarnation), self.nursery)
        self.got[incarnation] = []
        if read:
            self.nursery.start_soon(self._keep_reading, transport, self.got[incarnation])
        return transport

    async def _keep_reading(self, transport: Mended, got: Got) -> None:
        while True:
            while (message := transport.receive()) is not None:
                source, frames = solid(message)
                got.append((source, frames[0]))
            await transport.wait()

    def count(self, kind: str, source: int = 1) -> int:
        return sum(each[0] == source and each[2] == kind for each in self.log)


@asynccontextmanager
async def open_world() -> AsyncIterator[World]:
    async with trio.open_nursery() as nursery:
        yield World(nursery)
        nursery.cancel_scope.cancel()


def words(got: Got) -> list[bytes]:
    return [word for _, word in got]


async def test_a_first_word_that_was_lost_is_said_again(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        near, far = world.open(1), world.open(2)
        near.connect(far.endpoint)
        world.lose("numbered")
        near.send(far.endpoint, [b"hello"])
        await trio.sleep(0.2)
        assert world.got[2] == []
        world.lose()
        await trio.sleep(0.2)
        assert world.got[2] == [(1, b"hello")]
        assert world.count("numbered") == 2


async def test_a_peer_may_be_spoken_to_before_it_is_there(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        near = world.open(1)
        near.connect("memory:2")
        for frames in numbered(0, 100):
            near.send("memory:2", frames)
        await trio.sleep(3600)
        assert near.holds("memory:2")
        world.open(2)
        await trio.sleep(MAX_S)
        assert words(world.got[2]) == [b"%d" % n for n in range(100)]
        assert not near.holds("memory:2")


@pytest.mark.parametrize("seed", range(4))
async def test_both_may_open_at_once_in_any_weather(autojump_clock: MockClock, seed: int) -> None:
    async with open_world() as world:
        weather = rough(seed)
        world.befall = lambda source, target, kind: weather(source, target, [])
        rng = random.Random(seed)
        ends = {n: world.open(n) for n in (1, 2, 3)}
        said = dict.fromkeys([(a, b) for a in ends for b in ends if a != b], 0)
        for a, b in said:
            ends[a].connect(ends[b].endpoint)
        for _ in range(500):
            a, b = rng.choice(list(said))
            ends[a].send(ends[b].endpoint, [b"%d" % said[a, b]])
            said[a, b] += 1
            if rng.random() < 0.1:
                await trio.sleep(rng.uniform(0, 0.1))
        await trio.sleep(10)
        for (a, b), count in said.items():
            heard = [word for source, word in world.got[b] if source == a]
            assert heard == [b"%d" % n for n in range(count)]
            assert not ends[a].holds(ends[b].endpoint)


async def test_a_network_that_loses_everything_for_a_while_costs_nothing_else(
    autojump_clock: MockClock,
) -> None:
    async with open_world() as world:
        near, far = world.open(1), world.open(2)
        near.connect(far.endpoint)
        near.send(far.endpoint, [b"first"])
        await trio.sleep(1)
        world.lose(*KINDS.values())
        for frames in numbered(0, 1000):
            near.send(far.endpoint, frames)
        await trio.sleep(10)
        assert world.count("numbered") == 1001  # nothing goes again into the blue
        assert world.count("probe") <= 12
        world.lose()
        await trio.sleep(MAX_S)
        assert words(world.got[2]) == [b"first", *(b"%d" % n for n in range(1000))]
        assert world.count("numbered") == 2001


async def test_to_a_peer_that_was_given_up_nothing_is_said_any_more(
    autojump_clock: MockClock,
) -> None:
    async with open_world() as world:
        near, far = world.open(1), world.open(2)
        near.connect(far.endpoint)
        far.cut()
        near.send(far.endpoint, [b"word"])
        await trio.sleep(60)
        said = world.count("probe")
        assert 30 <= said <= 40
        near.disconnect(far.endpoint)
        await trio.sleep(3600)
        assert world.count("probe") == said
        assert not near.holds(far.endpoint)
        assert not near._timed
        assert not near._ticks


async def test_what_an_old_connection_said_is_not_heard_after_the_next_one(
    autojump_clock: MockClock,
) -> None:
    async with open_world() as world:
        near, far = world.open(1), world.open(2)
        near.connect(far.endpoint)
        near.send(far.endpoint, [b"old 1"])
        await trio.sleep(1)
        world.befall = lambda source, target, kind: (0.0, 5.0) if source == 1 else ()
        near.send(far.endpoint, [b"old 2"])
        near.send_once(far.endpoint, [b"old life"])
        near.disconnect(far.endpoint)
        near.connect(far.endpoint)
        world.lose()
        near.send(far.endpoint, [b"new"])
        await trio.sleep(60)
        assert words(world.got[2]) == [b"old 1", b"old 2", b"old life", b"new"]
        assert far.strays["another session"] == 2


async def test_a_hole_that_is_never_filled_is_forgotten_with_its_peer(
    autojump_clock: MockClock,
) -> None:
    async with open_world() as world:
        near, far = world.open(1), world.open(2)
        far.connect(near.endpoint)
        near.connect(far.endpoint)
        near.send(far.endpoint, [b"0"])
        await trio.sleep(1)
        world.befall = lambda source, target, kind: () if len(world.log) == lost else (0.0,)
        lost = len(world.log) + 1
        near.send(far.endpoint, [b"1"])
        near.send(far.endpoint, [b"2"])
        await wait_all_tasks_blocked()
        near.cut()
        await trio.sleep(1)
        assert far.holds(near.endpoint)
        far.disconnect(near.endpoint)
        assert not far.holds(near.endpoint)
        link = far._links[near.endpoint]
        assert link.receiving is not None
        assert len(link.receiving) == 0
        # and what comes late of it is no news
        (session,) = near._sessions
        world.network.carry(1, far.endpoint, [b"1", encode(Packet(NUMBERED, session, 2, 99))])
        await trio.sleep(1)
        assert words(world.got[2]) == [b"0"]


async def test_an_idle_connection_closes_one_way_and_the_other_goes_on(
    autojump_clock: MockClock,
) -> None:
    async with open_world() as world:
        near, far = world.open(1), world.open(2)
        near.connect(far.endpoint)
        far.connect(near.endpoint)
        for _ in range(3):
            near.send(far.endpoint, [b"to far"])
            far.send(near.endpoint, [b"to near"])
            await trio.sleep(1)
            assert not far.holds(near.endpoint)
            far.disconnect(near.endpoint)
            near.send(far.endpoint, [b"to far"])
            await trio.sleep(1)
            far.connect(near.endpoint)
        assert words(world.got[2]) == [b"to far"] * 6
        assert words(world.got[1]) == [b"to near"] * 3


async def test_a_way_that_is_open_for_answers_alone_closes_when_idle(
    autojump_clock: MockClock,
) -> None:
    async with open_world() as world:
        near, far = world.open(1), world.open(2)
        near.connect(far.endpoint)
        near.send(far.endpoint, [b"word"])
        await trio.sleep(IDLE_S - 1)
        assert far.inner._peers == {near.endpoint}  # type: ignore[attr-defined]
        await trio.sleep(2)
        assert far.inner._peers == set()  # type: ignore[attr-defined]
        near.send(far.endpoint, [b"word"])
        await trio.sleep(1)
        assert words(world.got[2]) == [b"word"] * 2
        assert not near.holds(far.endpoint)


async def test_the_next_life_of_a_name_is_another_process(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        near, far = world.open(1), world.open(2)
        near.connect(far.endpoint)
        near.send(far.endpoint, [b"1"])
        await trio.sleep(1)
        far.cut()
        near.send(far.endpoint, [b"lost"])
        near.disconnect(far.endpoint)
        after = world.open(3)
        near.connect(after.endpoint)
        after.connect(near.endpoint)
        near.send(after.endpoint, [b"2"])
        after.send(near.endpoint, [b"3"])
        await trio.sleep(60)
        assert words(world.got[2]) == [b"1"]
        assert words(world.got[3]) == [b"2"]
        assert world.got[1] == [(3, b"3")]


@pytest.mark.parametrize("who", ["near", "far"])
async def test_one_that_stood_still_for_an_hour_goes_on_without_a_storm(
    autojump_clock: MockClock, who: str
) -> None:
    async with open_world() as world:
        near, far = world.open(1), world.open(2)
        near.connect(far.endpoint)
        near.send(far.endpoint, [b"first"])
        await trio.sleep(1)
        frozen = {"near": near, "far": far}[who]
        frozen.hold()
        for frames in numbered(0, 200):
            near.send(far.endpoint, frames)
        await trio.sleep(3600)
        assert world.count("probe") <= (1810 if who == "far" else 0)
        world.log.clear()
        frozen.release()
        await trio.sleep(5)
        assert words(world.got[2]) == [b"first", *(b"%d" % n for n in range(200))]
        assert world.count("numbered") == (0 if who == "far" else 200)
        assert world.count("answer", 2) <= 10
        assert world.count("probe") == 0


async def test_signs_of_life_wait_for_nothing_and_go_once(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        near, far = world.open(1), world.open(2)
        near.connect(far.endpoint)
        world.lose("numbered")
        for frames in numbered(0, WINDOW + 100):
            near.send(far.endpoint, frames)
        near.send_once(far.endpoint, [b"alive"])
        await trio.sleep(0.01)
        assert words(world.got[2]) == [b"alive"]
        world.lose("fleeting")
        near.send_once(far.endpoint, [b"unheard"])
        world.befall = lambda source, target, kind: (0.0, 0.0, 3.0)
        near.send_once(far.endpoint, [b"alive still"])
        await trio.sleep(10)
        assert [word for word in words(world.got[2]) if not word.isdigit()] == [
            b"alive",
            b"alive still",
        ]
        assert len(world.got[2]) == WINDOW + 102
        assert world.count("fleeting") == 3


async def test_frames_are_not_copied_and_let_go_when_they_have_arrived(
    autojump_clock: MockClock,
) -> None:
    async with open_world() as world:
        near, far = world.open(1), world.open(2)
        near.connect(far.endpoint)
        passed: list[Buffer] = []
        send = near.inner.send

        def spy(endpoint: str, frames: Sequence[Buffer]) -> bool:
            passed.extend(frames)
            return send(endpoint, frames)

        near.inner.send = spy  # type: ignore[method-assign]
        large = memoryview(bytes(100_000))
        world.lose("numbered")
        near.send(far.endpoint, [b"head", large])
        await trio.sleep(0.1)
        world.lose()
        await trio.sleep(1)
        assert sum(each is large for each in passed) == 2
        assert len(near._links[far.endpoint].sending or ()) == 0


async def test_a_farewell_lasts_until_the_last_word_has_come(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        near, far = world.open(1, read=False), world.open(2)
        near.connect(far.endpoint)
        world.lose("numbered")
        near.send(far.endpoint, [b"farewell"])
        world.nursery.start_soon(later, 1.0, world.lose)
        await near.farewell(far.endpoint)
        assert words(world.got[2]) == [b"farewell"]
        assert 1 <= trio.current_time() <= 1 + MAX_S
        near.close()
        with pytest.raises(KeyError):
            near.send(far.endpoint, [b"more"])


async def later(delay_s: float, act: Callable[[], None]) -> None:
    await trio.sleep(delay_s)
    act()


async def test_a_farewell_to_who_does_not_answer_is_the_caller_s_to_end(
    autojump_clock: MockClock,
) -> None:
    async with open_world() as world:
        near, far = world.open(1, read=False), world.open(2)
        near.connect(far.endpoint)
        far.hold()
        near.send(far.endpoint, [b"farewell"])
        with trio.move_on_after(1) as scope:
            await near.farewell(far.endpoint)
        assert scope.cancelled_caught
        await near.farewell("memory:9")  # unknown: nothing is owed
        near.close()


async def test_no_task_is_left_when_nothing_is_due(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        network = MemoryNetwork(nursery)
        near, far = (Mended(network.join(n), nursery) for n in (1, 2))
        near.connect(far.endpoint)
        far.connect(near.endpoint)
        near.send(far.endpoint, [b"word"])
        assert far.receive() == (1, [b"word"])
        assert far.receive() is None
        assert near.receive() is None
        await trio.sleep(1)
        assert not nursery.child_tasks
        near.send(far.endpoint, [b"word"])
        near.close()
        far.close()
    # the nursery has ended by itself


@pytest.mark.parametrize(
    ("source", "frames", "stray"),
    [
        (1, [b"noise"], "no packet"),
        (1, [], "no packet"),
        (1, [bytes(51)], ""),
        (1, [b"", b"\3" + bytes(50)], "another session"),
        (0, [b"x", b"\1" + bytes(9) + b"\1" + bytes(7) + b"\1" + bytes(40)], "another session"),
    ],
)
async def test_what_is_no_packet_of_ours_is_counted_and_harms_nobody(
    autojump_clock: MockClock, source: int, frames: list[bytes], stray: str
) -> None:
    async with open_world() as world:
        world.network.fault = lambda source, target, frames: (0.0,)
        near, far = world.open(1), world.open(2)
        near.connect(far.endpoint)
        world.network.carry(source, far.endpoint, frames)
        near.send(far.endpoint, [b"word"])
        await trio.sleep(1)
        assert world.got[2] == [(1, b"word")]
        assert dict(far.strays) == ({stray: 1} if stray else {})


async def test_who_says_that_it_lives_nowhere_is_not_answered(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        far = world.open(2)
        near = world.open(1)
        near.endpoint = "nowhere"
        near.connect(far.endpoint)
        near.send(far.endpoint, [b"word"])
        await trio.sleep(10)
        assert words(world.got[2]) == [b"word"]
        assert far.strays["no way back"] > 0
        assert near.holds(far.endpoint)


async def test_what_goes_again_goes_in_bursts(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        near, far = world.open(1), world.open(2)
        near.connect(far.endpoint)
        world.lose("numbered")
        for frames in numbered(0, 10 * BURST_PACKETS):
            near.send(far.endpoint, frames)
        world.befall = lambda source, target, kind: () if kind == "numbered" else (0.01,)
        world.log.clear()
        await trio.sleep(0.3)
        assert world.count("numbered") == BURST_PACKETS
        world.lose()
        await trio.sleep(10)
        assert words(world.got[2]) == [b"%d" % n for n in range(10 * BURST_PACKETS)]
