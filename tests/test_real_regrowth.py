"""Supervision and regrowth with real processes, and kill -9."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable

import pytest
import trio

from actors import ActorRef
from actors.node import ComputeNode
from actors.system import System
from actors.testing.chronicle import Chronicle, chronicle
from runtime.address import CONTROLLER
from runtime.messages.behaviour import Restart, Strategy
from runtime.processes import procfs
from runtime.traffic.registrar import Row
from tests.real import ANSWER_S, alive, freeze, is_spare
from tests.regrown import Group, Home, Mortal

pytestmark = [pytest.mark.real, pytest.mark.regrow(on="real")]

BACK_S = 2.5
"""Five times what a restart takes that waits for a new zygote, and the longest first wait."""


async def rows(system: System) -> dict[str, Row]:
    return {row.name: row for row in await system.tree()}


async def settled(system: System, **states: str) -> dict[str, Row]:
    """These, and nobody else, are so; every place by its name."""
    with trio.fail_after(BACK_S):
        now = await rows(system)
        while {name: row.state for name, row in now.items()} != states:
            await trio.sleep(0.002)
            now = await rows(system)
    return now


async def started(written: Chronicle, name: str, count: int = 1) -> None:
    with trio.fail_after(BACK_S):
        await written.until("started", name, count)


async def kill(system: System, *names: str) -> None:
    """kill -9, as close together as can be."""
    found = await rows(system)
    for name in names:
        assert found[name].state == "ok"
        os.kill(found[name].pid, signal.SIGKILL)


# The grid.

End = Callable[[ActorRef[Mortal]], Awaitable[object]]


async def kill_it(ref: ActorRef[Mortal]) -> None:
    os.kill(await ref.ask(Mortal.pid), signal.SIGKILL)


async def terminate_it(ref: ActorRef[Mortal]) -> None:
    os.kill(await ref.ask(Mortal.pid), signal.SIGTERM)


ENDS: dict[str, tuple[End, str]] = {
    "kill -9": (kill_it, "killed(SIGKILL)"),
    "exit 3": (lambda ref: ref.tell(Mortal.exit, 3), "exited(3)"),
    "exit 0": (lambda ref: ref.tell(Mortal.exit, 0), "exited(0)"),
    "crash": (lambda ref: ref.tell(Mortal.crash), "crashed(ValueError: as told)"),
    "nursery": (lambda ref: ref.tell(Mortal.crash_beside), "crashed(ValueError: as told)"),
    "normal": (lambda ref: ref.tell(Mortal.leave), "normal"),
    "SIGTERM": (terminate_it, "shutdown"),
}
RESTARTS: tuple[Restart, ...] = ("permanent", "transient", "temporary")
FATES: dict[str, tuple[str, str, str]] = {  # what b is then, or nothing at all
    "kill -9": ("ok", "ok", "dead"),
    "exit 3": ("ok", "ok", "dead"),
    "exit 0": ("ok", "dead", "dead"),
    "crash": ("ok", "ok", "dead"),
    "nursery": ("ok", "ok", "dead"),
    "normal": ("ok", "", ""),
    "SIGTERM": ("ok", "", ""),
}


@pytest.mark.parametrize("restart", RESTARTS)
@pytest.mark.parametrize("end", ENDS)
async def test_each_restart_type_after_each_end(end: str, restart: Restart, system: System) -> None:
    how, reason = ENDS[end]
    fate = FATES[end][RESTARTS.index(restart)]
    await system.spawn(Group, restart, name="top")
    ref = await system.lookup("b", Mortal)
    before = await rows(system)
    with chronicle(system) as written:
        await how(ref)
        with trio.fail_after(ANSWER_S):
            assert str(await ref.wait()) == reason
        if fate == "ok":
            await started(written, "b")
    b = {"b": fate} if fate else {}
    after = await settled(system, top="ok", a="ok", **b, c="ok")
    renewed = {name for name in after if after[name].incarnation != before[name].incarnation}
    assert renewed == ({"b"} if fate == "ok" else set())
    for name in ("a", "b", "c") if fate == "ok" else ("a", "c"):
        assert await (await system.lookup(name, Mortal)).ask(Mortal.add, 1) == 1


@pytest.mark.parametrize(
    ("strategy", "stopped", "returned"),
    [("one_for_one", "", "b"), ("rest_for_one", "c", "b c"), ("one_for_all", "c a", "a b c")],
)
async def test_each_strategy(
    strategy: Strategy, stopped: str, returned: str, system: System
) -> None:
    await system.spawn(Group, "permanent", name="top", strategy=strategy)
    with chronicle(system) as written:
        await kill(system, "b")
        await started(written, returned[-1])
    assert written.names("died").split() == ["b", *stopped.split()]
    assert written.names("started") == returned
    await settled(system, top="ok", a="ok", b="ok", c="ok")


async def test_a_supervisor_over_its_budget_is_regrown(system: System) -> None:
    top = await system.spawn(
        Group, "permanent", name="top", restart="permanent", intensity=(1, 10.0)
    )
    with chronicle(system) as written:
        await kill(system, "b")
        await started(written, "b")
        await kill(system, "a")
        await started(written, "top")
    with trio.fail_after(ANSWER_S):
        assert (await top.wait()).error == "RestartIntensity"
    await settled(system, top="ok", a="ok", b="ok", c="ok")


# Trees.


async def test_a_killed_middle_node_returns_and_its_children_come_back_to_it(
    system: System,
) -> None:
    upper = await system.spawn(Mortal, name="upper")
    middle = await system.spawn(Mortal, name="middle", restart="permanent", parent=upper)
    child = await middle.ask(Mortal.bear, "child")
    deeper = await child.ask(Mortal.bear, "deeper")
    await deeper.ask(Mortal.add, 1)
    with chronicle(system) as written:
        await kill(system, "middle")
        await started(written, "middle")
    now = await settled(system, upper="ok", middle="ok", child="ok", deeper="ok")
    assert {name: row.guardian for name, row in now.items()} == {
        "upper": CONTROLLER, "middle": "upper", "child": "middle", "deeper": "child",
    }  # fmt: skip
    assert await system.lookup("child") == child
    assert await deeper.ask(Mortal.add, 1) == 2
    assert (await system.lookup("middle")).incarnation > middle.incarnation
    await trio.sleep(2)  # and it listens to them
    await settled(system, upper="ok", middle="ok", child="ok", deeper="ok")


@pytest.mark.regrow(intensity=(20, 10.0))
async def test_half_of_twenty_permanent_nodes_are_killed_at_once(system: System) -> None:
    names = [f"n{number}" for number in range(20)]
    refs = {name: await system.spawn(Mortal, name=name, restart="permanent") for name in names}
    await kill(system, *names[::2])
    with trio.fail_after(BACK_S):
        for name in names[::2]:
            await refs[name].wait()
    await settled(system, **dict.fromkeys(names, "ok"))
    for name in names:
        last = await system.lookup(name, Mortal)
        assert (last == refs[name]) == (name in names[1::2])
        assert await last.ask(Mortal.add, 1) == 1


async def test_a_frozen_supervisor_holds_up_nobodys_return(system: System) -> None:
    await system.spawn(Group, "permanent", name="top")
    await freeze((await rows(system))["top"].pid)
    with chronicle(system) as written:
        await kill(system, "a")
        await started(written, "a")
    assert await (await system.lookup("a", Mortal)).ask(Mortal.add, 1) == 1


async def test_one_that_hangs_is_killed_and_lives_again(system: System) -> None:
    ref = await system.spawn(Mortal, name="x", restart="permanent", hang_after_s=1.5)
    await ref.tell(Mortal.hang)
    with trio.fail_after(5 * 1.75):
        assert str(await ref.wait()) == "killed(SIGKILL)"
    await settled(system, x="ok")
    assert await ref.following().ask(Mortal.add, 1) == 1


# Deaths in the middle of a restart.


def zygote() -> int:
    (pid,) = [pid for pid in procfs.children(os.getpid()) if alive(pid)]
    return pid


@pytest.mark.parametrize("wait_s", [0.0, 0.002, 0.005, 0.01, 0.02])
@pytest.mark.regrow(intensity=(20, 10.0))
async def test_the_zygote_may_die_while_a_restart_is_under_way(
    wait_s: float, system: System
) -> None:
    refs = [await system.spawn(Mortal, name=name, restart="permanent") for name in "abc"]
    victim = zygote()
    await kill(system, "a", "b")
    await trio.sleep(wait_s)
    os.kill(victim, signal.SIGKILL)
    for ref in refs[:2]:
        with trio.fail_after(BACK_S):
            await ref.wait()
    await settled(system, a="ok", b="ok", c="ok")
    for ref in refs:
        assert await ref.following().ask(Mortal.add, 1) == 1


@pytest.mark.regrow(intensity=(20, 10.0))
async def test_a_node_may_be_killed_during_its_restart(system: System) -> None:
    ref = await system.spawn(Mortal, name="x", restart="permanent")
    first = await ref.ask(Mortal.pid)
    seen = {first}
    os.kill(first, signal.SIGKILL)
    with trio.fail_after(BACK_S):
        while len(seen) < 4:
            for pid in procfs.children(zygote()):
                if pid not in seen and alive(pid) and not is_spare(pid):
                    os.kill(pid, signal.SIGKILL)
                    seen.add(pid)
            await trio.lowlevel.checkpoint()
    await settled(system, x="ok")
    assert await ref.following().ask(Mortal.add, 1) == 1


@pytest.mark.regrow(intensity=(20, 10.0))
async def test_a_stop_during_restarts_ends_them(system: System) -> None:
    top = await system.spawn(Group, "permanent", name="top", strategy="one_for_all")
    b = (await system.lookup("b")).following()
    for wait_s in (0.0, 0.005, 0.02):
        await b.kill()
        await trio.sleep(wait_s)
    with trio.fail_after(ANSWER_S):
        await top.stop()
    assert await rows(system) == {}
    await trio.sleep(0.5)
    assert await rows(system) == {}


# State.


async def test_a_stopwatch_goes_on_counting(system: System) -> None:
    node = await system.spawn(
        ComputeNode, name="1", restart="permanent", snapshot_every_s="message"
    )
    await node.ask(ComputeNode.start)
    began_at = trio.current_time()
    with chronicle(system) as written:
        await kill(system, "1")  # right after the reply
        await started(written, "1")
    await trio.sleep(0.2)
    low = trio.current_time() - began_at
    counted_s = await node.following().ask(ComputeNode.time) / 1000
    high = trio.current_time() - began_at
    assert low - 0.002 <= counted_s <= high + 0.25  # it began before we were told


async def test_a_cell_lives_again_in_its_process_and_returns_with_it(system: System) -> None:
    home = await system.spawn(Home, name="home", restart="permanent")
    cell = await system.lookup("home/cell", Mortal)
    pid = await cell.ask(Mortal.pid)
    assert await cell.ask(Mortal.add, 1) == 1
    with chronicle(system) as written:
        await cell.tell(Mortal.crash)
        await started(written, "home/cell")
        cell = await system.lookup("home/cell", Mortal)
        assert await cell.ask(Mortal.pid) == pid
        assert await cell.ask(Mortal.add, 1) == 2
        os.kill(pid, signal.SIGKILL)
        await started(written, "home/cell", 2)
        await started(written, "home")
    cell = await system.lookup("home/cell", Mortal)
    assert await cell.ask(Mortal.pid) != pid
    assert await cell.ask(Mortal.add, 1) == 3
    assert (await system.lookup("home")).incarnation > home.incarnation
