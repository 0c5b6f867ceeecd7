"""Budgets, waits, escalation and the way back to one's place, in virtual time."""

from __future__ import annotations

import logging
import random
from typing import Any

import pytest
import trio

from actors import Actor, ActorRef, ChildSpec, Supervisor, child, reentrant
from actors.system import System
from actors.testing.chronicle import chronicle
from actors.testing.virtual import VirtualSystem
from runtime.address import CONTROLLER
from runtime.errors import ActorDeadError
from runtime.messages.behaviour import Strategy


class Leaf(Actor):
    def __init__(self, number: int = 0) -> None:
        self.number = number

    @reentrant
    async def grow(
        self, name: str = "", number: int = 0, restart: str = "permanent"
    ) -> ActorRef[Leaf]:
        return await self.spawn(Leaf, number, name=name or None, restart=restart)  # type: ignore[arg-type]

    async def leave(self) -> None:
        self.finish()

    async def hold(self) -> None:
        await trio.sleep_forever()


class Pair(Supervisor):
    """Two permanent leaves."""

    intensity = (2, 10.0)

    def children(self) -> list[ChildSpec[Any]]:
        return [child(Leaf, name="a"), child(Leaf, name="b")]

    async def hold(self) -> None:
        await trio.sleep_forever()

    async def grow(self, name: str) -> ActorRef[Leaf]:
        return await self.spawn(Leaf, name=name, restart="permanent")


async def kill(system: VirtualSystem, *names: str) -> None:
    """All of them, at one instant."""
    for ref in [await system.lookup(name) for name in names]:
        system.kill(ref)


async def states(system: System) -> dict[str, str]:
    return {row.name: row.state for row in await system.tree()}


async def guardians(system: System) -> dict[str, str]:
    return {row.name: row.guardian for row in await system.tree()}


# Budgets.


@pytest.mark.parametrize(
    ("deaths", "survives"),
    [([1.0, 2.0], True), ([1.0, 2.0, 10.9], False), ([1.0, 2.0, 11.0], False),
     ([1.0, 2.0, 11.01], True), ([1.0, 2.0, 11.01, 11.9], False)],
)  # fmt: skip
async def test_a_supervisor_may_spend_its_intensity_in_any_period(
    deaths: list[float], survives: bool, system: VirtualSystem
) -> None:
    top = await system.spawn(Pair, name="top", restart="temporary")
    with chronicle(system) as written:
        for turn, at in enumerate(deaths):
            await trio.sleep_until(written.began_at + at)
            await kill(system, "ab"[turn % 2])
        await trio.sleep(1)
    assert written.times("died", "top") == ([] if survives else [deaths[-1]])
    if survives:
        assert await states(system) == {"top": "ok", "a": "ok", "b": "ok"}
    else:
        assert await states(system) == {"top": "dead"}
        reason = await top.wait()
        last = "ab"[(len(deaths) - 1) % 2]
        assert (reason.kind, reason.error, reason.message) == (
            "crashed",
            "RestartIntensity",
            f"more than 2 restarts in 10 s; {last} ended last: killed(SIGKILL)",
        )


@pytest.mark.regrow(seed=0, runs=3, intensity=(100, 100.0))
async def test_the_first_restart_is_at_once_and_the_others_wait_a_share_of_their_bound(
    regrow_seed: int, system: VirtualSystem
) -> None:
    chance = random.Random(regrow_seed)
    bounds = [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    await system.spawn(Leaf, name="a", restart="permanent")
    with chronicle(system) as written:
        for count, bound in enumerate(bounds, 1):
            await kill(system, "a")
            up_at = await written.until("started", "a", count)
            died_at = written.times("died", "a")[-1]
            assert up_at - died_at == pytest.approx(bound * chance.random(), abs=1e-6)
            await trio.sleep(0.5)


async def test_a_minute_of_life_makes_good(system: VirtualSystem) -> None:
    await system.spawn(Leaf, name="a", restart="permanent")
    with chronicle(system) as written:
        for count in range(1, 4):
            await kill(system, "a")
            await written.until("started", "a", count)
        await trio.sleep(60)
        await kill(system, "a")
        assert await written.until("started", "a", 4) == written.times("died", "a")[-1]
        await kill(system, "a")
        last = await written.until("started", "a", 5) - written.times("died", "a")[-1]
        assert 0 < last < 0.1


@pytest.mark.regrow(intensity=(1, 10.0))
async def test_the_controller_gives_up_says_so_and_lives(
    system: VirtualSystem, caplog: pytest.LogCaptureFixture
) -> None:
    other = await system.spawn(Leaf, name="other", restart="permanent")
    first = await system.spawn(Leaf, name="a", restart="permanent")
    with chronicle(system) as written:
        await kill(system, "a")
        await written.until("started", "a")
        await kill(system, "a")
        await trio.sleep(100)
    assert written.names("started") == "a"
    assert await states(system) == {"other": "ok", "a": "given up"}
    warnings = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert warnings == ["a given up: more than 1 restarts in 10 s; a ended last: killed(SIGKILL)"]
    with pytest.raises(ActorDeadError, match="not the last of its name"):
        await first.restart()
    last = await first.following().restart()
    assert last.incarnation > first.incarnation
    assert await states(system) == {"other": "ok", "a": "ok"}
    await kill(system, "a")
    await trio.sleep(1)
    assert await states(system) == {"other": "ok", "a": "ok"}
    assert (await system.lookup("other")) == other


async def test_a_chain_of_supervisors_escalates_to_the_controller(system: VirtualSystem) -> None:
    class Lower(Supervisor):
        intensity = (0, 10.0)

        def children(self) -> list[ChildSpec[Any]]:
            return [child(Leaf, name="leaf"), child(Leaf, name="other")]

    class Upper(Supervisor):
        intensity = (0, 10.0)

        def children(self) -> list[ChildSpec[Any]]:
            return [child(Lower, name="lower"), child(Leaf, name="aside")]

    upper = await system.spawn(Upper, name="upper", restart="permanent")
    lower = await system.lookup("lower")
    with chronicle(system) as written:
        await kill(system, "leaf")
        await trio.sleep(1)
    assert {at for at, _, _ in written.lines} == {0.0}
    assert written.names("died").split()[:3] == ["leaf", "other", "lower"]
    assert written.names("died").split()[3:] == ["aside", "upper"]
    assert written.names("started") == "leaf other lower aside upper"
    assert str(await lower.wait()) == (
        "crashed(RestartIntensity: more than 0 restarts in 10 s; leaf ended last: killed(SIGKILL))"
    )
    assert str(await upper.wait()) == (
        "crashed(RestartIntensity: more than 0 restarts in 10 s; "
        f"lower ended last: {await lower.wait()})"
    )
    assert set((await states(system)).values()) == {"ok"}


# Supervisors that do not answer.


@pytest.mark.parametrize("trouble", ["suspended", "frozen", "hung", "dead"])
async def test_a_supervisor_in_trouble_holds_up_nobodys_return(
    trouble: str, system: VirtualSystem
) -> None:
    top = await system.spawn(Pair, name="top")
    if trouble == "suspended":
        await top.tell(Pair.hold)
    else:
        {"frozen": system.freeze, "hung": system.hang, "dead": system.kill}[trouble](top)
    await trio.sleep(2)
    with chronicle(system) as written:
        await kill(system, "a")
        await trio.sleep(1)
    assert written.lines == [(0.0, "died", "a"), (0.0, "started", "a")]


async def test_a_frozen_supervisor_over_its_budget_is_killed_and_regrown(
    system: VirtualSystem,
) -> None:
    top = await system.spawn(Pair, name="top", restart="permanent")
    system.freeze(top)
    for _ in range(3):
        await kill(system, "a")
        await trio.sleep(0.5)
    assert str(await top.wait()) == "killed(SIGKILL)"
    await trio.sleep(1)
    assert await states(system) == {"top": "ok", "a": "ok", "b": "ok"}


# Guardians.


@pytest.mark.regrow(seed=1)
async def test_the_children_of_a_killed_middle_node_come_back_to_it(system: VirtualSystem) -> None:
    middle = await system.spawn(Leaf, name="middle", restart="permanent")
    await middle.ask(Leaf.grow, "child")
    deeper = await (await system.lookup("child", Leaf)).ask(Leaf.grow, "deeper")
    before = {row.name: row.incarnation for row in await system.tree()}
    await kill(system, "middle")
    await trio.sleep(0.1)
    await kill(system, "middle")  # so that the next life is some way off
    with chronicle(system) as written:
        assert await guardians(system) == {
            "middle": CONTROLLER,
            "child": CONTROLLER,
            "deeper": "child",
        }
        assert 0 < await written.until("started", "middle") < 0.1
    assert await guardians(system) == {
        "middle": CONTROLLER,
        "child": "middle",
        "deeper": "child",
    }
    after = {row.name: row.incarnation for row in await system.tree()}
    assert after["middle"] > max(before.values())
    assert {**after, "middle": 0} == {**before, "middle": 0}
    await trio.sleep(10)  # they are listened to
    assert set((await states(system)).values()) == {"ok"}
    await deeper.tell(Leaf.leave)


async def test_the_children_of_one_that_does_not_return_stay_with_their_guardian(
    system: VirtualSystem,
) -> None:
    upper = await system.spawn(Leaf, name="upper")
    middle = await upper.ask(Leaf.grow, "middle", restart="temporary")
    await middle.ask(Leaf.grow, "child")
    await middle.ask(Leaf.grow, restart="permanent")
    assert await states(system) == dict.fromkeys(["upper", "middle", "child", "leaf-1"], "ok")
    system.kill(middle)
    await trio.sleep(10)
    assert await states(system) == {"upper": "ok", "middle": "dead", "child": "ok"}
    assert (await guardians(system))["child"] == "upper"
    await kill(system, "child")
    await trio.sleep(10)
    assert (await guardians(system))["child"] == "upper"
    assert await states(system) == {"upper": "ok", "middle": "dead", "child": "ok"}
    await kill(system, "upper")
    await trio.sleep(10)
    assert (await guardians(system))["child"] == CONTROLLER


@pytest.mark.parametrize(
    "strategy",
    [
        pytest.param(strategy, marks=pytest.mark.regrow(strategy=strategy))
        for strategy in ("one_for_all", "rest_for_one")
    ],
)
@pytest.mark.regrow(intensity=(1, 10.0))
async def test_adopted_children_are_supervised_one_for_one_outside_the_guardians_budget(
    strategy: Strategy, system: VirtualSystem
) -> None:
    top = await system.spawn(Pair, name="top", strategy=strategy)
    system.kill(top)
    with chronicle(system) as written:
        for count in range(1, 6):
            await kill(system, "a")
            await written.until("started", "a", count)
        assert written.names("died") == "top a a a a a"
        await kill(system, "a")
        await trio.sleep(1)
        assert await states(system) == {"top": "dead", "a": "given up", "b": "ok"}
        await kill(system, "b")
        await written.until("started", "b")
    await system.spawn(Leaf, name="own", restart="permanent")
    await kill(system, "own")
    await trio.sleep(1)
    assert (await states(system))["own"] == "ok"


async def test_a_regrown_supervisor_takes_its_children_back(system: VirtualSystem) -> None:
    top = await system.spawn(Pair, name="top", restart="permanent")
    await top.ask(Pair.grow, "more")
    before = await system.tree()
    system.kill(top)
    await kill(system, "b")
    await trio.sleep(1)
    after = await system.tree()
    assert [(row.name, row.state, row.guardian) for row in after] == [
        (row.name, "ok", row.guardian) for row in before
    ]
    same = {
        old.name for old, new in zip(before, after, strict=True)
        if old.incarnation == new.incarnation
    }  # fmt: skip
    assert same == {"a", "more"}


async def test_a_regrown_parent_with_other_wishes_replaces_its_children(
    system: VirtualSystem,
) -> None:
    class Other(Leaf):
        pass

    lives = 0

    class Fickle(Supervisor):
        def children(self) -> list[ChildSpec[Any]]:
            nonlocal lives
            lives += 1
            return [
                child(Leaf, 1, name="equal"),
                child(Leaf, lives, name="arguments"),
                child(Leaf if lives == 1 else Other, 1, name="class"),
            ]

    top = await system.spawn(Fickle, name="top", restart="permanent")
    before = {row.name: row.incarnation for row in await system.tree()}
    with chronicle(system) as written:
        system.kill(top)
        await trio.sleep(1)
    after = {row.name: row.incarnation for row in await system.tree()}
    assert set((await states(system)).values()) == {"ok"}
    assert {name for name in before if before[name] == after[name]} == {"equal"}
    assert written.names("died") == "top arguments class"
    assert written.names("removed") == "arguments class"


@pytest.mark.regrow(seed=0, runs=21)
async def test_half_of_a_tree_killed_at_one_instant_comes_back(
    regrow_seed: int, system: VirtualSystem, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    chance = random.Random(regrow_seed)
    refs = [await system.spawn(Leaf, name="n0", restart="permanent")]
    for number in range(1, 31):
        parent = refs[(number - 1) // 2]
        refs.append(await parent.ask(Leaf.grow, f"n{number}"))
    before = await system.tree()
    victims = set(chance.sample(range(31), 15))
    with chronicle(system) as written:
        for number in chance.sample(sorted(victims), 15):
            system.kill(refs[number])
        await trio.sleep(10)
    after = await system.tree()
    assert [(row.name, row.parent, row.guardian, row.state) for row in after] == [
        (row.name, row.parent, row.parent, "ok") for row in before
    ]
    renewed = {
        number for number, ref in enumerate(refs)
        if (await system.lookup(f"n{number}")) != ref
    }  # fmt: skip
    assert renewed == victims
    assert sorted(written.names("started").split()) == sorted(f"n{n}" for n in victims)
    assert {at for at, _, _ in written.lines} == {0.0}
    assert sorted(each.getMessage() for each in caplog.records) == sorted(
        f"n{number} lives again, after killed(SIGKILL)" for number in victims
    )
