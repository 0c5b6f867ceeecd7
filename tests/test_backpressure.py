"""Backpressure between real processes: memory, order, fairness, and who need not wait."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest
import trio

from actors.ref import ActorRef
from actors.system import System
from runtime.detection.guard import BEAT_S
from runtime.messages import envelope as wire
from tests.pressure import Measured, Slow, Taken, Teller

pytestmark = [pytest.mark.real, pytest.mark.regrow(on="real", deadline_s=100)]

MIB = 1024 * 1024
DELAY_S = 5 * 0.05
"""Five times what is promised."""


async def growth(*refs: ActorRef[Any], since: list[int]) -> list[float]:
    """By how much the memory of each was ever larger than it was then, MiB."""
    peaks = [await ref.ask(Measured.peak) for ref in refs]
    return [(peak - before) / MIB for peak, before in zip(peaks, since, strict=True)]


async def all_taken(slow: ActorRef[Slow], count: int) -> Taken:
    """What it has taken, once it is so many; a tell has no answer."""
    while (taken := await slow.ask(Slow.taken)).count < count:  # noqa: ASYNC110
        await trio.sleep(0.01)
    return taken


async def test_a_million_tells_take_no_memory_and_keep_their_order(system: System) -> None:
    count = 1_000_000
    slow, teller = await system.spawn(Slow), await system.spawn(Teller)
    await teller.ask(Teller.tell, slow, "a", 10_000)
    await all_taken(slow, 10_000)
    await slow.ask(Slow.begin)
    before = [await slow.ask(Measured.rest), await teller.ask(Measured.rest)]
    await teller.ask(Teller.tell, slow, "a", count)
    taken = await all_taken(slow, count)
    assert (taken.count, taken.out_of_order) == (count, 0)
    assert max(await growth(slow, teller, since=before)) < 32


async def test_large_tells_take_the_memory_of_a_few(system: System) -> None:
    count = 64
    slow, teller = await system.spawn(Slow, 1, 0.005), await system.spawn(Teller)
    await teller.ask(Teller.tell_data, slow, 4096, 1)
    await all_taken(slow, 1)
    await slow.ask(Slow.begin)
    before = [await slow.ask(Measured.rest), await teller.ask(Measured.rest)]
    await teller.ask(Teller.tell_data, slow, 8 * MIB, count)
    taken = await all_taken(slow, count)
    assert (taken.count, taken.out_of_order) == (count, 0)
    assert max(await growth(slow, teller, since=before)) < 64


async def test_many_tellers_get_their_shares(system: System) -> None:
    tellers, count = 8, 50_000
    slow = await system.spawn(Slow)
    refs = [await system.spawn(Teller) for _ in range(tellers)]
    for number, ref in enumerate(refs):
        await ref.ask(Teller.tell, slow, str(number), 1000)
    await all_taken(slow, tellers * 1000)
    await slow.ask(Slow.begin)
    before = [await ref.ask(Measured.rest) for ref in (slow, *refs)]
    async with trio.open_nursery() as nursery:
        for number, ref in enumerate(refs):
            nursery.start_soon(ref.ask, Teller.tell, slow, str(number), count)
    taken = await all_taken(slow, tellers * count)
    assert (taken.count, taken.out_of_order) == (tellers * count, 0)
    assert max(await growth(slow, *refs, since=before)) < 32
    shares = taken.by_teller.values()
    assert len(shares) == tellers

    assert min(shares) > sum(shares) / tellers / 2


async def open_flood(system: System, nursery: trio.Nursery, slow: ActorRef[Slow]) -> None:
    for number in range(3):
        teller = await system.spawn(Teller)
        nursery.start_soon(teller.ask, Teller.tell_until_cancelled, slow, str(number))
    await trio.sleep(0.3)


@pytest.mark.parametrize("local", [False, True], ids=["in a node", "in the controller's process"])
async def test_a_flood_delays_a_cancel_little(system: System, local: bool) -> None:
    async with trio.open_nursery() as nursery:
        slow = await system.spawn(Slow, local=local)
        judge = await system.spawn(Teller)
        await open_flood(system, nursery, slow)
        delays = [await judge.ask(Teller.cancel_delay_s, slow) for _ in range(20)]

        assert max(delays) < DELAY_S
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("local", [False, True], ids=["in a node", "in the controller's process"])
async def test_a_flood_delays_a_beat_little(system: System, local: bool) -> None:
    async with trio.open_nursery() as nursery:
        slow = await system.spawn(Slow, local=local)
        await open_flood(system, nursery, slow)
        beats: dict[str, list[float]] = {}
        hear = system.exchange.control[wire.Beat]

        def heard(peer: Any, beat: Any, payload: memoryview) -> None:
            beats.setdefault(peer.endpoint, []).append(time.monotonic())
            hear(peer, beat, payload)

        system.exchange.control[wire.Beat] = heard
        await trio.sleep(3)
        system.exchange.control[wire.Beat] = hear
        gaps = [late - early for times in beats.values() for early, late in pairwise(times)]

        assert len(beats) == 3 + (not local)
        assert max(gaps) < BEAT_S + DELAY_S
        nursery.cancel_scope.cancel()
