"""Four verdicts: each with its evidence, at its exact instant, and none that is false."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors import Actor, ActorRef, Down, Recovered, Suspected, reentrant
from actors.supervision.record import Happened
from actors.testing.probe import Probe
from actors.testing.virtual import VirtualSystem
from runtime.weather.weather import Weather

BEAT_S = 0.25
WEATHER_S = 3600.0 if os.environ.get("REGROW_LONG") else 300.0


class Node(Actor):
    """Starts others of its kind, and can be kept waiting."""

    @reentrant
    async def grow(self, name: str) -> ActorRef[Node]:
        return await self.spawn(Node, name=name)

    async def wait(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def ping(self) -> str:
        return "here"


async def chain(system: VirtualSystem, depth: int) -> ActorRef[Node]:
    """The last of so many, each the guardian of the next."""
    ref = await system.spawn(Node, name="n1")
    for number in range(2, depth + 1):
        ref = await ref.ask(Node.grow, f"n{number}")
    return ref


async def watch(system: VirtualSystem, ref: ActorRef[Node]) -> Probe[Any]:
    probe = await system.probe()
    probe.monitor(ref, suspicions=True)
    return probe


def suspicions(probe: Probe[Any]) -> list[tuple[float, str, str]]:
    found: list[tuple[float, str, str]] = []
    for each in probe.arrivals:
        if isinstance(each.message, Suspected):
            found.append((each.at, each.message.kind, each.message.evidence))
        else:
            assert isinstance(each.message, Recovered)
            found.append((each.at, "ok", ""))
    return found


Ail = Callable[[VirtualSystem, ActorRef[Node]], None]
AILMENTS: dict[str, tuple[Ail, Ail, str]] = {
    "frozen": (
        lambda system, ref: system.freeze(ref),
        lambda system, ref: system.thaw(ref),
        "its process is stopped by a signal (state T)",
    ),
    "busy": (
        lambda system, ref: system.hang(ref),
        lambda system, ref: system.yield_again(ref),
        "handler wait has run for 1.1 s, in state S",
    ),
    "cut off": (
        lambda system, ref: system.part(ref),
        lambda system, ref: system.heal(),
        "nothing can be learned from its host",
    ),
}


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("kind", AILMENTS)
async def test_each_verdict_has_its_evidence_and_its_instant(
    kind: str, depth: int, system: VirtualSystem
) -> None:
    begin, end, evidence = AILMENTS[kind]
    ref = await chain(system, depth)
    probe = await watch(system, ref)
    await trio.sleep(1.0)
    await ref.tell(Node.wait, 1000.0)
    await trio.sleep(0.1)
    begin(system, ref)  # the last beat came at 1.0
    await trio.sleep(8.9)
    assert suspicions(probe) == [(1.0 + 4.5 * BEAT_S, kind, evidence)]
    end(system, ref)
    await trio.sleep(30)
    (_, recovered) = suspicions(probe)
    assert recovered[1] == "ok"
    assert 10.0 <= recovered[0] <= 10.0 + BEAT_S
    assert [row.state for row in await system.tree()] == ["ok"] * (depth + 1)


@pytest.mark.parametrize("depth", [1, 2, 5])
async def test_a_death_is_known_at_once(depth: int, system: VirtualSystem) -> None:
    ref = await chain(system, depth)
    probe = await watch(system, ref)
    await trio.sleep(1.1)
    system.kill(ref)
    await trio.sleep(10)
    down = await probe.expect(Down, ref=ref, within_s=0)
    assert (probe.arrivals[0].at, str(down.reason)) == (1.1, "killed(SIGKILL)")


async def test_a_loop_that_turns_though_no_beats_arrive_is_told_from_one_that_hangs(
    system: VirtualSystem,
) -> None:
    ref = await chain(system, 1)
    probe = await watch(system, ref)
    for _ in range(2):  # the second silence is judged by itself
        system.network.fault = lambda source, target, frames: (
            () if source == ref.incarnation else (0.0,)
        )
        await trio.sleep(10)
        system.network.fault = lambda source, target, frames: (0.0,)
        await trio.sleep(10)
        system.hang(ref)
        await trio.sleep(10)
        system.yield_again(ref)
        await trio.sleep(10)
    assert [why for _, kind, why in suspicions(probe) if kind == "busy"] == [
        "its loop turns, but no beats arrive",
        "it lives, in state S",
    ] * 2


async def test_a_verdict_changes_when_its_evidence_does(system: VirtualSystem) -> None:
    ref = await chain(system, 1)
    probe = await watch(system, ref)
    await trio.sleep(1.1)
    system.freeze(ref)
    await trio.sleep(3.9)
    system.part(ref)
    await trio.sleep(5)
    system.thaw(ref)
    await trio.sleep(5)
    system.heal()
    await trio.sleep(5)
    kinds = [kind for _, kind, _ in suspicions(probe)]
    assert kinds == ["frozen", "cut off", "ok"]
    instants = [at for at, _, _ in suspicions(probe)]
    assert instants[0] == 2.125
    assert 5.0 <= instants[1] <= 5.0 + BEAT_S  # it is looked at every beat
    assert instants[2] == 15.0  # what it had sent comes at once


async def test_who_is_cut_off_with_its_guardian_is_judged_by_those_who_are_left(
    system: VirtualSystem,
) -> None:
    guardian = await system.spawn(Node, name="n1")
    ward = await guardian.ask(Node.grow, "n2")
    other = await system.spawn(Node, name="n3")
    await trio.sleep(1.1)
    system.part(guardian, ward)
    await trio.sleep(8.9)
    states = {row.name: row.state for row in await system.tree()}
    assert states == {"n1": "cut off", "n2": "cut off", "n3": "ok"}
    system.heal()
    await trio.sleep(10)
    assert {row.state for row in await system.tree()} == {"ok"}
    assert [await each.ask(Node.ping) for each in (guardian, ward, other)] == ["here"] * 3


# No verdict without a reason.


async def grown(system: VirtualSystem) -> list[ActorRef[Node]]:
    """Eight nodes in three generations."""
    refs = [await system.spawn(Node, name=f"n{number}") for number in range(2)]
    for number in range(2, 8):
        refs.append(await refs[number // 2 - 1].ask(Node.grow, f"n{number}"))
    return refs


@pytest.mark.regrow(
    seed=0, runs=2, deadline_s=2 * WEATHER_S, weather=Weather(delay=0.01, delay_s=2 * BEAT_S)
)
async def test_late_messages_are_no_silence(system: VirtualSystem) -> None:
    refs = await grown(system)
    heard: list[Happened] = []
    with system.listen(heard.append):
        for _ in range(int(WEATHER_S / 60)):
            await trio.sleep(60)
            assert [await ref.ask(Node.ping) for ref in refs] == ["here"] * 8
    assert heard == []


@pytest.mark.parametrize("still_s", [0.9, 1.2, 3.0, 60.0])
async def test_an_observer_that_stood_still_suspects_nobody(
    still_s: float, system: VirtualSystem
) -> None:
    refs = await grown(system)
    heard: list[Happened] = []
    with system.listen(heard.append):
        for offset_s in (1.0, 1.1, 1.2, 1.3):
            await trio.sleep(offset_s)
            system.freeze_controller()
            await trio.sleep(still_s)
            system.thaw_controller()
            await trio.sleep(10)
    assert heard == []
    assert [await ref.ask(Node.ping) for ref in refs] == ["here"] * 8


@pytest.mark.regrow(deadline_s=20_000)
@pytest.mark.parametrize("still_s", [0.9, 1.2, 3.0, 3600.0])
async def test_a_machine_that_stood_still_suspects_nobody(
    still_s: float, system: VirtualSystem, regrow_clock: MockClock
) -> None:
    await grown(system)
    heard: list[Happened] = []
    with system.listen(heard.append):
        for offset_s in (1.0, 1.1, 1.2, 1.3):
            await trio.sleep(offset_s)
            regrow_clock.jump(still_s)
            await trio.sleep(10)
    assert heard == []


async def test_an_observer_that_stood_still_finds_who_is_silent_all_the_same(
    system: VirtualSystem,
) -> None:
    refs = await grown(system)
    heard: list[tuple[float, str, str]] = []
    with system.listen(lambda it: heard.append((trio.current_time(), it.what, it.name))):
        await trio.sleep(1.1)
        system.freeze_controller()
        system.freeze(refs[1])
        await trio.sleep(3)
        system.thaw_controller()
        await trio.sleep(10)
    ((at, what, name),) = heard
    assert (what, name) == ("silent", "n1")
    assert 4.1 < at < 4.1 + 5 * BEAT_S
