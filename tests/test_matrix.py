"""The kill matrix: everybody is hit by everything at any moment, and nobody waits for ever.

``make matrix`` runs all cells, each with a controller that is a process of its own. What is
checked of each: who is told what and how soon; that everybody who waited is told the truth; that
those who were not hit go on; and that nothing is left: of a dead node its strays, at the end of
the system its processes, zombies among them, its run folder, sockets and ports.

The combinations that mean nothing (`tests.matrix_cells.MEANINGLESS`):

* zygote x everything but signals, other than while spawning: no code of a user's runs in it but
  imports;
* zygote x closed-router: it has no ZeroMQ socket.

Bounds are five times what is promised. Cells under load are played one at a time, by however many
workers: two loads on two cores make a process wait for its turn for longer than the bound. What a
teller still waits for a processor (the kernel counts it) is no part of its lateness.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio

from tests.cgroups import why_not
from tests.matrix_cells import (
    ALL,
    CELLS,
    CODE,
    MEANINGLESS,
    TREE,
    WHY,
    Cell,
    core,
    expected,
    mismatches,
)
from tests.matrix_scene import Scene, birth, open_scene
from tests.real import ANSWER_S, END_S, GONE_S, until

TOLD_S = 5 * 0.05
"""A death is told within 50 ms of it."""
LAST_WORD_S = 5 * 1.0
"""One that said that it ends, and why, but nobody can have heard it, is waited for so long."""
VERDICT_S = 5 * 1.25
"""A silence is judged between four and five beats of 250 ms after the last one."""
STRAYS_S = 5 * 1.0
STOP_S = 5 * 2.0
"""What does not end at a stop is killed within 2 s, each level of the tree in its turn."""
REPLACED_S = 5 * 2.0
IMPORT_S = 60.0
STAND_S = 1.5
"""Longer than it takes to be thought of as silent."""
INTO_S = 0.1
"""How long a stop has been under way when its event comes."""

Seen = dict[str, Any]


def test_each_combination_is_a_cell_or_means_nothing_for_a_reason() -> None:
    assert len(ALL) == len(set(ALL)) == len(CELLS) + len(MEANINGLESS)
    assert (len(CELLS), len(MEANINGLESS)) == (215, 25)
    assert all(MEANINGLESS.values())
    hit = {cell[:2] for cell in CELLS}
    assert {cell[:2] for cell in CELLS if core(cell)} == hit - {("zygote", "hog")}


@pytest.mark.real
@pytest.mark.matrix
@pytest.mark.parametrize(
    "cell",
    [pytest.param(c, id=str(c), marks=[pytest.mark.core] if core(c) else []) for c in CELLS],
)
async def test_nobody_waits_for_ever_and_nothing_is_left(
    cell: Cell, matrix_result: Callable[[Seen], None]
) -> None:
    if cell.event == "oom-cgroup" and (why := why_not()):
        pytest.skip(why)
    async with one_load_at_a_time(cell), open_scene(cell) as scene:
        seen: Seen = {"victim": cell.victim, "event": cell.event, "moment": cell.moment}
        assert scene.open_ports() == []
        play = {"zygote": hit_zygote, "controller": hit_controller}.get(cell.victim, hit_nodes)
        await play(scene, seen)
        await end(scene, seen)
    matrix_result(seen)


@asynccontextmanager
async def one_load_at_a_time(cell: Cell) -> AsyncIterator[None]:
    lock = os.open(__file__, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while cell.moment == "load":
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await trio.sleep(0.05)
        yield
    finally:
        os.close(lock)


# Nodes.


async def hit_nodes(scene: Scene, seen: Seen) -> None:
    cell = scene.cell
    began = await begin(scene)
    if cell.verdict:
        await judged(scene, began, seen)
    elif cell.event.startswith("closed") and not cell.stops:
        await found_out(scene, seen)
    died = await scene.deaths(cell.doomed, 2 * STOP_S if cell.stops else VERDICT_S)
    ends = expected(cell)
    await scene.hear_until(lambda: ends.keys() <= scene.ended.keys(), VERDICT_S)
    assert mismatches(ends, scene.ended) == []
    seen["told"] = {
        what: (line["how"], line["why"], max(0.0, line["at"] - died[what.rpartition(" ")[2]]))
        for what, line in scene.ended.items()
        if what in ends and line["how"] != "UnreachableError" and prompt(what)
    }
    bound_s = LAST_WORD_S if cell.stops and cell.event.startswith("closed") else TOLD_S
    waited_s = {what: scene.queued_s(scene.ended[what]) for what in seen["told"]}
    late = {what: told for what, told in seen["told"].items() if told[2] - waited_s[what] > bound_s}
    assert late == {}, waited_s
    strays = [pid for name in cell.doomed for pid in scene.strays[name]]
    await scene.all_gone(strays, STRAYS_S)
    ends_at = await scene.deaths([f"stray {pid}" for pid in strays], STRAYS_S)
    seen["strays_s"] = max(0.0, max(ends_at.values()) - max(died.values()))
    await others_go_on(scene)


def prompt(what: str) -> bool:
    """Whether it is told at the death itself, rather than after a start or a stop."""
    return not what.startswith(("spawn under", "stop", "kill"))


async def begin(scene: Scene) -> float:
    """Let the event happen to the victims, and say when."""
    scene.limit()
    if scene.cell.stops and scene.cell.by_signal:
        await scene.order("stop")
        await trio.sleep(INTO_S)
    elif scene.cell.stops:
        await scene.order("arm")
        await scene.order("stop")
    if scene.cell.by_signal:
        return scene.strike()
    now = time.monotonic()
    if not scene.cell.stops:
        await scene.order("suffer")
    return now


async def judged(scene: Scene, began: float, seen: Seen) -> None:
    """They are found to be frozen or busy, and whom that concerns is told. Then they are killed."""
    cell = scene.cell
    at_verdict = [
        what
        for what, (errors, _) in expected(cell).items()
        if errors == {"UnreachableError"}
    ]  # fmt: skip
    assert await scene.hear_until(
        lambda: scene.suspected.keys() >= set(cell.hit) and scene.ended.keys() >= set(at_verdict),
        VERDICT_S,
    )
    suspected = [scene.suspected[name] for name in cell.hit]
    assert [line["why"] for line in suspected] == [cell.verdict] * len(cell.hit)
    assert scene.ended.keys() - {f"spawn under {name}" for name in cell.hit} == set(at_verdict)
    seen["verdict_s"] = max(line["at"] for line in suspected) - began
    assert seen["verdict_s"] <= VERDICT_S
    for what in at_verdict:
        assert scene.ended[what]["at"] - began <= VERDICT_S
    await scene.order("kill")


async def found_out(scene: Scene, seen: Seen) -> None:
    """Each has died of it, or is thought to be busy, and is killed then."""

    def all_known() -> bool:
        return set(scene.cell.hit) <= scene.suspected.keys() | scene.died.keys()

    await scene.hear_until(all_known, VERDICT_S)
    assert all_known()
    seen["found"] = {name: "died" if name in scene.died else "busy" for name in scene.cell.hit}
    await scene.order("kill")


async def others_go_on(scene: Scene) -> None:
    """Those who were not hit answer and are thought well of, and what they started runs."""
    cell = scene.cell
    others = [name for name in TREE if name not in cell.doomed]
    check = await scene.order("check")
    assert {name: check["states"][name] for name in others} == dict.fromkeys(others, "ok")
    assert {name: check["answers"][name] for name in others} == dict.fromkeys(others, "ok")
    for name in cell.doomed:
        assert check["states"].get(name, "dead") == "dead"
    assert [pid for name in others for pid in scene.strays[name] if not birth(pid)] == []
    assert scene.suspected.keys() <= set(cell.hit)
    assert scene.open_ports() == []


# The zygote.


async def hit_zygote(scene: Scene, seen: Seen) -> None:
    if scene.cell.stops:
        await scene.host.say("leave")
        await trio.sleep(INTO_S)
        scene.strike()
        return
    if scene.cell.by_signal:
        began = scene.strike()
        if scene.cell.event != "SIGTERM":  # which it ignores
            await until(lambda: scene.new_zygote() > 0, REPLACED_S)
            seen["replaced_s"] = time.monotonic() - began
    else:
        scene.limit()
        await scene.host.say("bomb")
        assert await scene.hear_until(lambda: "bomb" in scene.ended, IMPORT_S)
        seen["told"] = {"bomb": (scene.ended["bomb"]["how"], "", 0.0)}
        assert scene.ended["bomb"]["how"] == "SpawnError"
        scene.unlimit()
    await scene.order("spawn")
    starts = {"spawn", "bomb"} if "bomb" in scene.ended else {"spawn"}
    if scene.cell.moment == "spawning":
        starts |= {f"spawn {how} {name}" for how in ("by", "under") for name in scene.cell.watched}
    assert await scene.hear_until(lambda: scene.ended.keys() >= starts, ANSWER_S)
    assert {what: scene.ended[what]["how"] for what in starts - {"bomb"}} == dict.fromkeys(
        starts - {"bomb"}, "ok"
    )
    await others_go_on(scene)
    assert scene.ended.keys() == starts
    assert (scene.host.zygote == scene.zygote) == (
        scene.cell.event in ("SIGTERM", "raise", "oom-rlimit")
    )


# The controller.


async def hit_controller(scene: Scene, seen: Seen) -> None:
    cell = scene.cell
    scene.limit()
    if cell.stops and not cell.by_signal:
        await scene.order("arm")
    if cell.stops:
        await scene.host.say("leave")
        await trio.sleep(INTO_S)
    elif not cell.by_signal:
        await scene.host.say("suffer")
    if cell.event in ("SIGSTOP", "hog"):
        await stand_still(scene)
    elif cell.by_signal:
        scene.strike()
    elif cell.event in ("raise", "oom-rlimit") and not cell.stops:
        what = "monitor controller/inner"
        assert await scene.hear_until(lambda: what in scene.ended, VERDICT_S)
        assert scene.ended[what]["why"] in (f"crashed(LookupError: {WHY})", "crashed(MemoryError)")
    if not cell.stops and cell.event in ("SIGSTOP", "raise", "oom-rlimit"):
        await others_go_on(scene)
        assert scene.ended.keys() <= {"monitor controller/inner"} | starts(cell)
    elif cell.event.startswith("closed"):
        with suppress(AssertionError):
            await scene.deaths(["controller"], VERDICT_S)
        seen["found"] = {"controller": "died" if "controller" in scene.died else "goes on"}
        if "controller" not in scene.died:
            scene.host.signal(signal.SIGTERM)


def starts(cell: Cell) -> set[str]:
    return {f"spawn {how} {name}" for how in ("by", "under") for name in cell.watched}


async def stand_still(scene: Scene) -> None:
    """The controller does nothing for a while; the nodes live on. Then it goes on, or is killed."""
    if scene.cell.by_signal:
        scene.strike()
    await trio.sleep(STAND_S)
    if not scene.cell.stops:
        assert [name for name, pid in scene.pids.items() if not birth(pid)] == []
    scene.host.signal(signal.SIGCONT if scene.cell.by_signal else signal.SIGKILL)


STATUS = {
    "SIGKILL": -signal.SIGKILL,
    "SIGTERM": -signal.SIGTERM,
    "SIGSEGV": -signal.SIGSEGV,
    "oom-cgroup": -signal.SIGKILL,
    "hog": -signal.SIGKILL,
    "_exit": CODE,
}


async def end(scene: Scene, seen: Seen) -> None:
    """The system ends, in order if it can still be told to, and nothing is left of it."""
    cell = scene.cell
    began = time.monotonic()
    if cell.victim != "controller" or cell.event not in STATUS:
        with suppress(BrokenPipeError):  # it is dead
            await scene.host.say("leave")
    died = await scene.deaths(["controller"], END_S)
    seen["end_s"] = died["controller"] - began
    status = await scene.host.status()
    if cell.victim != "controller":
        assert status == 0, scene.host.errors()
    elif not cell.event.startswith("closed"):
        assert status == STATUS.get(cell.event, 0), scene.host.errors()
    seen["left_s"] = await scene.nothing_left(GONE_S) - died["controller"]
