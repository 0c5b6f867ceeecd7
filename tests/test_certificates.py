"""How whoever ended did, told truthfully, in virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from signal import SIGABRT, SIGKILL, SIGSEGV, SIGSTOP, SIGTERM

import pytest
import trio

from actors import ActorRef, ExitReason, SpawnError
from actors.supervision.certificate import certify
from actors.supervision.record import Record
from actors.testing.virtual import VirtualSystem
from runtime.address import Address
from runtime.processes.evidence import Evidence
from runtime.traffic.registrar import Spec
from tests.mortals import Mortal, Mourner

Way = Callable[[VirtualSystem, ActorRef[Mortal]], Awaitable[object]]


async def by_signal(system: VirtualSystem, ref: ActorRef[Mortal], number: int) -> None:
    system.signal(ref, number)


async def frozen_in_a_handler(system: VirtualSystem, ref: ActorRef[Mortal]) -> None:
    await ref.tell(Mortal.wait, 60.0)
    await trio.sleep(2)
    system.signal(ref, SIGSTOP)
    await trio.sleep(3)
    await ref.stop()


async def killed_in_a_handler(system: VirtualSystem, ref: ActorRef[Mortal]) -> None:
    await ref.tell(Mortal.wait, 60.0)
    await trio.sleep(2)
    system.kill(ref)


async def hang(system: VirtualSystem, ref: ActorRef[Mortal]) -> None:
    system.hang(ref)


async def deaf(system: VirtualSystem, ref: ActorRef[Mortal]) -> None:
    system.hang(ref)
    await ref.stop()


async def linked(system: VirtualSystem, ref: ActorRef[Mortal]) -> None:
    other = await system.spawn(Mortal, name="other")
    await ref.ask(Mortal.tie, other)
    await trio.sleep(0.1)
    system.kill(other)


async def over_its_budget(system: VirtualSystem, ref: ActorRef[Mortal]) -> None:
    await ref.ask(Mortal.bear, "child")
    for _ in range(6):
        await trio.sleep(1.5)
        system.kill(await system.lookup("child"))


# How, what it is called in short, what else its certificate says, and how long it lived.
WAYS: dict[str, tuple[Way, str, dict[str, object]]] = {
    "finish": (lambda system, ref: ref.tell(Mortal.leave), "normal", {}),
    "stop": (lambda system, ref: ref.stop(), "shutdown", {}),
    "a told exception": (
        lambda system, ref: ref.tell(Mortal.crash),
        "crashed(LookupError: as told)",
        {"handler": "crash", "error": "LookupError", "message": "as told"},
    ),
    "a told exception of a reentrant handler": (
        lambda system, ref: ref.tell(Mortal.crash_apart),
        "crashed(LookupError: apart)",
        {"handler": "crash_apart", "handler_age_s": 0.0},
    ),
    "a task of the nursery": (
        lambda system, ref: ref.tell(Mortal.crash_in_a_task),
        "crashed(ArithmeticError: in a task)",
        {"handler": "", "error": "ArithmeticError"},
    ),
    "sys.exit(0)": (lambda system, ref: ref.tell(Mortal.leave_by, 0), "normal", {}),
    "sys.exit(3)": (
        lambda system, ref: ref.tell(Mortal.leave_by, 3),
        "crashed(SystemExit: 3)",
        {"handler": "leave_by"},
    ),
    "os._exit(4)": (
        lambda system, ref: ref.tell(Mortal.vanish, 4),
        "exited(4)",
        {"code": 4, "handler": "vanish"},
    ),
    "too deep": (
        lambda system, ref: ref.tell(Mortal.recurse, 0),
        "crashed(RecursionError: maximum recursion depth exceeded)",
        {"handler": "recurse"},
    ),
    "SIGKILL": (
        lambda system, ref: by_signal(system, ref, SIGKILL),
        "killed(SIGKILL)",
        {"signal": 9, "message": "", "handler": ""},
    ),
    "SIGKILL in a handler": (
        killed_in_a_handler,
        "killed(SIGKILL)",
        {"handler": "wait", "handler_age_s": 2.0, "message": ""},
    ),
    "SIGSEGV": (
        lambda system, ref: by_signal(system, ref, SIGSEGV),
        "killed(SIGSEGV)",
        {"signal": 11},
    ),
    "SIGABRT": (
        lambda system, ref: by_signal(system, ref, SIGABRT),
        "killed(SIGABRT)",
        {"signal": 6},
    ),
    "SIGTERM": (
        lambda system, ref: by_signal(system, ref, SIGTERM),
        "shutdown",
        {"signal": 15, "message": "SIGTERM from outside"},
    ),
    "a kill": (
        lambda system, ref: ref.kill(),
        "killed(SIGKILL)",
        {"message": "a kill, ordered in this system"},
    ),
    "frozen, then stopped": (
        frozen_in_a_handler,
        "killed(SIGKILL)",
        {"message": "a stop: it was frozen", "handler": "wait", "handler_age_s": 5.0},
    ),
    "deaf to a stop": (
        deaf,
        "killed(SIGKILL)",
        {"message": "a stop: it has not ended within 2 s"},
    ),
    "hung": (
        hang,
        "killed(SIGKILL)",
        {"message": "it has not yielded for 5 s (hang_after_s)"},
    ),
    "a link": (
        linked,
        "crashed(LinkedExit: linked to other, which ended: killed(SIGKILL))",
        {"error": "LinkedExit"},
    ),
    "restart intensity": (
        over_its_budget,
        "crashed(RestartIntensity: more than 5 restarts in 10 s; "
        "child ended last: killed(SIGKILL))",
        {"error": "RestartIntensity"},
    ),
}


@pytest.mark.parametrize("way", WAYS)
async def test_each_end_is_named_truthfully(way: str, system: VirtualSystem) -> None:
    how, short, said = WAYS[way]
    mourner = await system.spawn(Mourner)
    ref = await system.spawn(Mortal, name="x", hang_after_s=5.0)
    await mourner.ask(Mourner.watch, ref)
    with trio.fail_after(60):
        await how(system, ref)
        reason = await ref.wait()
        heard = await mourner.ask(Mourner.hears)
    assert str(reason) == short
    for field, value in said.items():
        exact = pytest.approx(value, abs=0.001) if isinstance(value, float) else value
        assert getattr(reason, field) == exact
    assert heard == reason
    raised = reason.error not in ("", "LinkedExit", "RestartIntensity")
    assert (f"{reason.error}: " in reason.traceback) == raised


async def test_a_start_that_fails_is_a_spawn_error_and_leaves_no_certificate(
    system: VirtualSystem,
) -> None:
    with pytest.raises(SpawnError, match="ValueError: no luck"):
        await system.spawn(Mortal, "no luck", name="x")
    with pytest.raises(LookupError, match="no actor is named x"):
        await system.why("x")


async def test_why_is_none_at_first_and_then_the_end_of_the_last_life(
    system: VirtualSystem,
) -> None:
    ref = await system.spawn(Mortal, name="x", restart="permanent")
    assert await system.why("x") is None
    await ref.tell(Mortal.crash)
    await ref.wait()
    await trio.sleep(1)
    first = await system.why("x")
    assert first is not None
    assert (str(first), first.restarts) == ("crashed(LookupError: as told)", 0)
    system.kill(await system.lookup("x"))
    await trio.sleep(1)
    second = await system.why("x")
    assert second is not None
    assert (str(second), second.restarts) == ("killed(SIGKILL)", 1)
    assert (await ref.wait()) == first


@pytest.mark.regrow(intensity=(1, 60.0))
async def test_a_restart_that_fails_says_where(system: VirtualSystem) -> None:
    class Moody(Mortal):
        lives = 0

        async def on_start(self) -> None:
            type(self).lives += 1
            if type(self).lives > 1:
                raise ValueError("not again")

    ref = await system.spawn(Moody, name="x", restart="permanent")
    system.kill(ref)
    await trio.sleep(30)
    reason = await system.why("x")
    assert reason is not None
    assert str(reason) == "crashed(SpawnError: ValueError: not again)"
    assert "in on_start" in reason.traceback
    assert reason.restarts == 1


@pytest.mark.parametrize("end", ["finish", "SIGTERM"])
async def test_one_that_ended_as_it_should_is_told_of_until_its_name_is_given_again(
    end: str, system: VirtualSystem
) -> None:
    how, short, _ = WAYS[end]
    ref = await system.spawn(Mortal, name="x")
    await how(system, ref)
    await trio.sleep(1)
    assert str(await system.why("x")) == short
    await system.spawn(Mortal, name="x")
    assert await system.why("x") is None


async def test_one_that_was_stopped_is_forgotten(system: VirtualSystem) -> None:
    ref = await system.spawn(Mortal, name="x")
    system.kill(ref)
    await ref.wait()
    assert str(await system.why("x")) == "killed(SIGKILL)"
    await ref.following().stop()
    with pytest.raises(LookupError, match="no actor is named x"):
        await system.why("x")


async def test_a_local_cell_ends_with_its_process_and_counts_its_own_restarts(
    system: VirtualSystem,
) -> None:
    ref = await system.spawn(Mortal, name="x", restart="permanent")
    system.kill(ref)
    await trio.sleep(1)
    ref = await system.lookup("x", Mortal)
    cell = await ref.ask(Mortal.bear_here, "cell")
    await ref.tell(Mortal.vanish, 4)
    ended, own = await cell.wait(), await ref.wait()
    assert (str(ended), ended.restarts) == ("exited(4)", 0)
    assert (str(own), own.restarts) == ("exited(4)", 1)


async def test_what_it_printed_last_is_in_its_certificate(system: VirtualSystem) -> None:
    ref = await system.spawn(Mortal, name="x")
    await ref.tell(Mortal.crash)
    reason = await ref.wait()
    assert "LookupError: as told" in reason.output


def record(*, started: bool = True, restarts: int = 0) -> Record:
    made = Record(Address("s", "x", 2, "memory:2"), Spec(entry="m:C", parent="controller"), b"")
    made.started = started
    made.restarts = restarts
    return made


KILLED = ExitReason(kind="killed", signal=9, user_s=1.5, max_rss_bytes=4096)


async def test_the_killer_for_want_of_memory_is_looked_for_where_nobody_is_known() -> None:
    asked = []

    def oom() -> str:
        asked.append(1)
        return "it rose"

    assert certify(record(), KILLED, Evidence(), oom).oom == "it rose"
    sentenced = record()
    sentenced.signal(SIGKILL, "a kill")
    assert certify(sentenced, KILLED, Evidence(), oom).message == "a kill"
    segv = ExitReason(kind="killed", signal=11)
    assert certify(record(), segv, Evidence(), oom).oom == ""
    assert certify(sentenced, segv, Evidence(), oom).message == ""  # it was quicker
    assert len(asked) == 1


async def test_who_is_killed_after_its_last_word_was_killed() -> None:
    said = record()
    said.said = ExitReason(kind="crashed", error="KeyError", handler="find")
    look = Evidence(handler="other", handler_age_s=2.0)
    assert certify(said, KILLED, look) == ExitReason(
        kind="killed", signal=9, user_s=1.5, max_rss_bytes=4096, handler="other", handler_age_s=2.0
    )
    exited = ExitReason(kind="exited", code=1, user_s=1.5)
    assert certify(said, exited, look) == ExitReason(
        kind="crashed", error="KeyError", handler="find", user_s=1.5
    )
    failed = record(started=False)
    failed.said = said.said
    assert certify(failed, KILLED, look).error == "KeyError"
