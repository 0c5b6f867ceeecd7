"""How real processes ended, told truthfully."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest
import trio

from actors import ActorRef, SpawnError, System, open_system
from actors.testing.chronicle import chronicle
from tests.cgroups import enter, memory_cgroup, why_not
from tests.mortals import Mortal, Mourner
from tests.real import ANSWER_S, ROOT, freeze, frozen

pytestmark = [pytest.mark.real, pytest.mark.regrow(on="real")]

MIB = 1024 * 1024
Way = Callable[[System, ActorRef[Mortal]], Awaitable[object]]


def kills(number: int) -> Way:
    async def kill(system: System, ref: ActorRef[Mortal]) -> None:
        os.kill(await ref.ask(Mortal.ping), number)

    return kill


def tells(handler: Callable[..., Awaitable[object]], *args: object) -> Way:
    async def tell(system: System, ref: ActorRef[Mortal]) -> None:
        await ref.tell(handler, *args)  # type: ignore[arg-type]

    return tell


async def stop(system: System, ref: ActorRef[Mortal]) -> None:
    await ref.stop()


async def kill_in_a_handler(system: System, ref: ActorRef[Mortal]) -> None:
    pid = await ref.ask(Mortal.ping)
    await ref.tell(Mortal.spin, 60.0)
    await trio.sleep(0.3)
    os.kill(pid, signal.SIGKILL)


async def freeze_and_stop(system: System, ref: ActorRef[Mortal]) -> None:
    pid = await ref.ask(Mortal.ping)
    await ref.tell(Mortal.spin, 60.0)
    await trio.sleep(0.3)
    await freeze(pid)
    assert frozen(pid)
    await ref.stop()


async def spin_and_stop(system: System, ref: ActorRef[Mortal]) -> None:
    await ref.ask(Mortal.ignore_sigterm)
    await ref.tell(Mortal.spin, 60.0)
    await trio.sleep(0.1)
    await ref.stop()


async def run_out_of_addresses(system: System, ref: ActorRef[Mortal]) -> None:
    await ref.ask(Mortal.limit, 256)  # libc wants to reserve 128 for a thread
    await ref.tell(Mortal.grow, 1024)


async def link(system: System, ref: ActorRef[Mortal]) -> None:
    other = await system.spawn(Mortal, name="other")
    await ref.ask(Mortal.tie, other)
    os.kill(await other.ask(Mortal.ping), signal.SIGKILL)


async def exhaust(system: System, ref: ActorRef[Mortal]) -> None:
    with chronicle(system) as written:
        child = await ref.ask(Mortal.bear, "child")
        for lives in (1, 2):
            await written.until("started", "child", lives)
            os.kill(await child.following().ask(Mortal.ping), signal.SIGKILL)
            await written.until("died", "child", lives)


WAYS: dict[str, tuple[Way, str, dict[str, object]]] = {
    "finish": (tells(Mortal.leave), "normal", {}),
    "stop": (stop, "shutdown", {}),
    "a told exception": (
        tells(Mortal.crash),
        "crashed(LookupError: as told)",
        {"handler": "crash", "error": "LookupError", "message": "as told"},
    ),
    "a task of the nursery": (
        tells(Mortal.crash_in_a_task),
        "crashed(ArithmeticError: in a task)",
        {},
    ),
    "sys.exit(3)": (tells(Mortal.leave_by, 3), "crashed(SystemExit: 3)", {"handler": "leave_by"}),
    "os._exit(4)": (tells(Mortal.vanish, 4), "exited(4)", {"code": 4, "handler": "vanish"}),
    "too deep": (
        tells(Mortal.recurse, 0),
        "crashed(RecursionError: maximum recursion depth exceeded)",
        {"handler": "recurse"},
    ),
    "SIGKILL": (kills(signal.SIGKILL), "killed(SIGKILL)", {"signal": 9, "message": "", "oom": ""}),
    "SIGKILL in a handler": (
        kill_in_a_handler,
        "killed(SIGKILL)",
        {"handler": "spin", "message": "", "oom": ""},
    ),
    "SIGSEGV": (tells(Mortal.read_nothing), "killed(SIGSEGV)", {"handler": "read_nothing"}),
    "SIGTERM": (
        kills(signal.SIGTERM),
        "shutdown",
        {"signal": 15, "message": "SIGTERM from outside"},
    ),
    "SIGABRT": (
        tells(Mortal.kill_itself, signal.SIGABRT),
        "killed(SIGABRT)",
        {"handler": "kill_itself"},
    ),
    "no more addresses": (
        run_out_of_addresses,
        "crashed(MemoryError)",
        {"handler": "grow", "error": "MemoryError"},
    ),
    "a kill": (
        lambda system, ref: ref.kill(),
        "killed(SIGKILL)",
        {"message": "a kill, ordered in this system"},
    ),
    "frozen, then stopped": (
        freeze_and_stop,
        "killed(SIGKILL)",
        {"message": "a stop: it was frozen", "handler": "spin"},
    ),
    "deaf to a stop": (
        spin_and_stop,
        "killed(SIGKILL)",
        {"message": "a stop: it has not ended within 2 s", "handler": "spin"},
    ),
    "hung": (
        tells(Mortal.spin, 60.0),
        "killed(SIGKILL)",
        {"message": "it has not yielded for 2 s (hang_after_s)", "handler": "spin"},
    ),
    "a link": (
        link,
        "crashed(LinkedExit: linked to other, which ended: killed(SIGKILL))",
        {"error": "LinkedExit"},
    ),
    "restart intensity": (
        exhaust,
        "crashed(RestartIntensity: more than 1 restarts in 60 s; "
        "child ended last: killed(SIGKILL))",
        {"error": "RestartIntensity"},
    ),
}


@pytest.mark.parametrize("way", WAYS)
async def test_each_end_is_named_truthfully(way: str, system: System) -> None:
    how, short, said = WAYS[way]
    patient = way not in ("deaf to a stop", "SIGKILL in a handler", "frozen, then stopped")
    mourner = await system.spawn(Mourner)
    ref = await system.spawn(
        Mortal,
        name="x",
        hang_after_s=2.0 if patient else 60.0,
        intensity=(1, 60.0),
    )
    await mourner.ask(Mourner.watch, ref)
    await ref.ask(Mortal.print, "before the end")
    with trio.fail_after(ANSWER_S):
        await how(system, ref)
        reason = await ref.wait()
        heard = await mourner.ask(Mourner.hears)
    assert str(reason) == short
    assert {field: getattr(reason, field) for field in said} == said
    assert heard == reason
    assert reason.output[0] == "before the end"
    assert reason.user_s + reason.system_s > 0
    assert 8 * MIB < reason.max_rss_bytes < 512 * MIB
    raised = reason.error not in ("", "LinkedExit", "RestartIntensity")
    assert bool(reason.traceback) == raised
    assert reason.error in reason.traceback or not raised
    if said.get("handler") == "spin":
        assert 0.2 < reason.handler_age_s < 10.0


async def test_a_start_that_fails_is_a_spawn_error(system: System) -> None:
    with pytest.raises(SpawnError, match="ValueError: no luck"):
        await system.spawn(Mortal, "no luck")


async def grow_in(group: str, mib: int) -> None:
    """A system whose every process is in that cgroup, with a node that needs too much.

    Prints the certificate of the node that was killed for it.
    """
    enter(group)
    async with open_system() as system:
        ref = await system.spawn(Mortal, name="greedy", restart="permanent")
        await ref.ask(Mortal.print, "before the end")
        await ref.tell(Mortal.grow, mib)
        await ref.wait()
        reason = await system.why("greedy")
        bystander = await system.spawn(Mortal, name="bystander")
        os.kill(await bystander.ask(Mortal.ping), signal.SIGKILL)
        other = await bystander.wait()
    assert reason is not None
    print(json.dumps([str(reason), reason.oom, reason.handler, other.oom]))


def test_one_that_is_killed_for_want_of_memory_says_so() -> None:
    if why := why_not():
        pytest.skip(why)
    with memory_cgroup(200 * MIB) as group:
        ran = subprocess.run(
            [sys.executable, "-m", "tests.test_real_certificates", group, "400"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            timeout=ANSWER_S,
        )
        assert ran.returncode == 0
        short, oom, handler, other = json.loads(ran.stdout)
    assert (short, handler) == ("killed(SIGKILL)", "grow")
    assert "oom_kill rose from 0 to 1 while it lived" in oom
    assert other == ""  # a plain kill -9 in the same cgroup


if __name__ == "__main__":
    trio.run(grow_in, sys.argv[1], int(sys.argv[2]))
