"""Programs with a system of their own: what they are promised of `actors.open_system`."""

import json
import os
import random
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from actors.ref import ActorRef
from actors.system import System, open_system
from actors.testing.chaos import Chaos
from runtime.errors import ActorDeadError, RemoteError, SpawnError
from runtime.exits import ExitReason
from runtime.hosts.process_host import ProcessHost
from runtime.processes import procfs
from runtime.wires.zmq_transport import ZmqTransport
from tests.real import (
    ANSWER_S,
    END_S,
    GONE_S,
    OVER,
    Console,
    alive,
    assert_nothing_left,
    begun,
    gone,
    is_spare,
    open_console,
    until,
)
from tests.real_actors import Counter, Farewell, Starter, Troubled

pytestmark = pytest.mark.regrow(on="real")
on_both = pytest.mark.regrow(on=["virtual", "real"])


README = """
    import trio
    from actors.actor import Actor
    from actors.system import open_system

    class Counter(Actor):
        def __init__(self, start: int = 0) -> None:
            self.value = start

        async def add(self, amount: int) -> int:
            self.value += amount
            return self.value

    async def main() -> None:
        async with open_system() as system:
            counter = await system.spawn(Counter, 3, name="counter")
            with trio.fail_after(20):
                print(await counter.ask(Counter.add, 4))
            await counter.tell(Counter.add, 5)

    if __name__ == "__main__":
        trio.run(main)
"""


async def test_the_example_of_the_readme_runs_as_a_script(tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(textwrap.dedent(README))
    async with open_console(argv=(sys.executable, str(script))) as program:
        assert await program.output() == "7\n"
        assert await program.status() == 0
        await program.nothing_left(END_S)
        assert program.errors() == ""


# The block.


class Whim(BaseException):
    """Nobody knows this one."""


@pytest.mark.parametrize(
    "error",
    [
        ValueError("mine"),
        KeyboardInterrupt("mine"),
        SystemExit(3),
        Whim("mine"),
        ExceptionGroup("mine", [ValueError("mine")]),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_exception_leaves_the_block_as_itself(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:  # noqa: PT012
        async with open_system() as system:
            await (await system.spawn(Counter)).ask(Counter.add, 1)
            raise error
    assert caught.value is error
    assert not hasattr(error, "__notes__")
    assert error.__context__ is None
    assert_nothing_left()


async def test_a_block_that_is_cancelled_from_outside_ends_in_order(tmp_path: Path) -> None:
    last_word = tmp_path / "last word"
    with trio.CancelScope() as scope:
        async with open_system() as system:
            await system.spawn(Farewell, str(last_word))
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert last_word.read_text() == "shutdown"
    assert_nothing_left()


@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.25])
async def test_a_block_may_be_cancelled_while_it_opens(after_s: float) -> None:
    with trio.move_on_after(after_s) as scope:
        async with open_system():
            await trio.sleep_forever()
    assert scope.cancelled_caught
    with trio.fail_after(GONE_S):
        await gone(begun())


def zygote_of(system: System) -> int:
    assert isinstance(system.host, ProcessHost)
    return system.host.keeper.pid


def complain(name: str, line: str) -> None:
    raise LookupError(f"{name} said {line}")


async def test_a_failure_of_the_runtime_ends_the_body_and_leaves_in_its_place() -> None:
    ended = False
    with pytest.raises(LookupError, match=r"^counter-1 said hello$"):  # noqa: PT012
        async with open_system(output=complain) as system:
            ref = await system.spawn(Counter)
            await ref.ask(Counter.print, "hello")
            try:
                await trio.sleep_forever()
            finally:
                ended = True
    assert ended


async def test_a_failure_of_the_runtime_is_a_note_on_the_bodys_own_exception() -> None:
    with pytest.raises(ValueError, match=r"^mine") as caught:  # noqa: PT012
        async with open_system(output=complain) as system:
            ref = await system.spawn(Counter)
            await ref.ask(Counter.print, "hello")
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("mine")
    assert caught.value.__notes__ == [
        "meanwhile in the runtime: LookupError('counter-1 said hello')"
    ]


async def test_systems_may_follow_each_other() -> None:
    for start in (1, 2):
        async with open_system() as system:
            ref = await system.spawn(Counter, start, name="counter")
            assert await ref.ask(Counter.add, 1) == start + 1
        assert_nothing_left()
        with pytest.raises((RuntimeError, ActorDeadError)):
            await ref.ask(Counter.add, 1)


# Starts.


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("constructor", "ValueError: the constructor was asked to raise"),
        ("on_start", "ValueError: on_start was asked to raise"),
        ("death", "exited(7)"),
    ],
)
async def test_a_start_that_fails_says_why_and_leaves_nothing(
    where: str, said: str, system: System
) -> None:
    for _ in range(2):
        with trio.fail_after(ANSWER_S), pytest.raises(SpawnError) as caught:
            await system.spawn(Troubled, where, name="troubled")
        assert said in str(caught.value)
        with pytest.raises(LookupError):
            await system.lookup("troubled")
    assert await system.tree() == []
    assert await (await system.spawn(Counter, name="troubled")).ask(Counter.add, 2) == 2


async def test_a_module_that_cannot_be_imported_again_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "only_once.py"
    module.write_text("from tests.real_actors import Counter\nclass Once(Counter): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_once  # type: ignore[import-not-found]

    module.write_text("raise OSError('this module is imported only once')\n")
    try:
        async with open_system() as system:
            for _ in range(2):
                with pytest.raises(SpawnError) as caught:
                    await system.spawn(only_once.Once, name="once")
                assert "OSError: this module is imported only once" in str(caught.value)
            assert await system.tree() == []
            assert await (await system.spawn(Counter, name="once")).ask(Counter.add, 1) == 1
    finally:
        del sys.modules["only_once"]


async def test_misuse_is_an_error_before_anything_starts(system: System) -> None:
    class Local(Counter):
        pass

    with pytest.raises(ValueError, match="inside a function"):
        await system.spawn(Local)
    with pytest.raises(ValueError, match="name"):
        await system.spawn(Counter, name="no name")
    with pytest.raises(TypeError):
        await system.spawn(Counter, 1, 2)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        await system.spawn(lambda: Counter())
    assert [pid for pid in begun() if not is_spare(pid)] == [zygote_of(system)]


@on_both
async def test_a_name_has_one_holder(system: System) -> None:
    first = await system.spawn(Counter, name="counter")
    assert await system.spawn(Counter, name="counter") == first
    second = await system.spawn(Counter, 5, name="counter")
    with pytest.raises(ActorDeadError):
        await first.ask(Counter.add, 1)
    assert await second.ask(Counter.add, 1) == 6
    below = await system.spawn(Counter, name="below", parent=second)
    with pytest.raises(SpawnError, match="the name below is taken"):
        await system.spawn(Counter, name="below")
    assert await below.ask(Counter.add, 1) == 1


async def test_a_cancelled_spawn_leaves_nothing(system: System) -> None:
    with trio.move_on_after(0.3) as scope:
        await system.spawn(Troubled, "nowhere", name="slow")
    assert scope.cancelled_caught
    await only_the_zygote(system)
    assert await (await system.spawn(Counter, name="slow")).ask(Counter.add, 1) == 1


async def test_a_spawn_may_be_cancelled_at_any_moment(system: System) -> None:
    chance = random.Random("cancelled spawns")
    outcomes = set()
    await (await system.spawn(Counter)).stop()  # the zygote has its modules now
    for attempt in range(40):
        longest_s = 0.02 if attempt < 30 else 2.0  # on a machine that is busy with others
        with trio.move_on_after(chance.uniform(0.0, longest_s)) as scope:
            ref = await system.spawn(Counter, name="counter")
        outcomes.add(scope.cancelled_caught)
        if not scope.cancelled_caught:
            await ref.stop()
        await only_the_zygote(system)
    assert outcomes == {True, False}


async def only_the_zygote(system: System) -> None:
    """No node is there, in the table or as a process."""
    with trio.fail_after(ANSWER_S):
        while await system.tree():  # noqa: ASYNC110
            await trio.sleep(0.002)
    await until(lambda: [p for p in begun() if not is_spare(p)] == [zygote_of(system)])


# Refs.


@on_both
async def test_lookup_tells_the_living_the_dead_and_the_unknown_apart(system: System) -> None:
    with pytest.raises(LookupError):
        await system.lookup("counter")
    ref = await system.spawn(Counter, 5, name="counter")
    found = await system.lookup("counter", Counter)
    assert found == ref
    assert await found.ask(Counter.add, 1) == 6
    await ref.kill()
    with pytest.raises(ActorDeadError) as caught:
        await system.lookup("counter")
    assert caught.value.reason is not None
    assert caught.value.reason.signal == signal.SIGKILL
    await ref.stop()
    with pytest.raises(LookupError):
        await system.lookup("counter")


async def stop(ref: ActorRef[Counter], chaos: Chaos) -> ExitReason:
    return await ref.stop()


async def terminate(ref: ActorRef[Counter], chaos: Chaos) -> None:
    await chaos.signal(ref, signal.SIGTERM)


async def leave(ref: ActorRef[Counter], chaos: Chaos) -> None:
    await ref.ask(Counter.leave)


async def quit_well(ref: ActorRef[Counter], chaos: Chaos) -> None:
    await ref.tell(Counter.quit, 0)


async def quit_badly(ref: ActorRef[Counter], chaos: Chaos) -> None:
    await ref.tell(Counter.quit, 3)


async def fail(ref: ActorRef[Counter], chaos: Chaos) -> None:
    await ref.tell(Counter.fail, "no such thing")


async def kill(ref: ActorRef[Counter], chaos: Chaos) -> ExitReason:
    return await ref.kill()


async def kill_it(ref: ActorRef[Counter], chaos: Chaos) -> None:
    await chaos.kill(ref)


async def vanish(ref: ActorRef[Counter], chaos: Chaos) -> None:
    await ref.tell(Counter.vanish, 5)


@on_both
@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (stop, ExitReason(kind="shutdown")),
        (terminate, ExitReason(kind="shutdown", signal=15, message="SIGTERM from outside")),
        (leave, ExitReason(kind="normal")),
        (quit_well, ExitReason(kind="normal")),
        (quit_badly, ExitReason(kind="crashed", error="SystemExit", message="3")),
        (fail, ExitReason(kind="crashed", error="LookupError", message="no such thing")),
        (vanish, ExitReason(kind="exited", code=5)),
        (kill, ExitReason(kind="killed", signal=9, message="a kill, ordered in this system")),
        (kill_it, ExitReason(kind="killed", signal=9)),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
async def test_every_end_has_its_reason_and_a_planned_one_takes_the_subtree_along(
    end: Callable[[ActorRef[Counter], Chaos], Awaitable[ExitReason | None]],
    expected: ExitReason,
    system: System,
    chaos: Chaos,
) -> None:
    ref = await system.spawn(Counter, name="counter")
    child = await ref.ask(Counter.grow, "child")
    reasons: list[ExitReason] = []
    async with trio.open_nursery() as nursery:

        async def wait(ref: ActorRef[Counter]) -> None:
            with trio.fail_after(ANSWER_S):
                reasons.append(await ref.wait())

        nursery.start_soon(wait, ref)
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(ANSWER_S):
            said = await end(ref, chaos)
    (reason,) = reasons
    assert essence(reason) == essence(expected)
    assert said in (None, reason)
    with pytest.raises(ActorDeadError):
        await ref.ask(Counter.add, 1)
    with trio.fail_after(ANSWER_S):
        assert await ref.wait() == reason
        if reason.planned:
            assert essence(await child.wait()) == essence(ExitReason(kind="shutdown"))
        else:
            assert await child.ask(Counter.add, 1) == 1


def essence(reason: ExitReason) -> tuple[object, ...]:
    """A reason without what differs from run to run."""
    return (reason.kind, reason.code, reason.signal, reason.error, reason.message)


@on_both
async def test_an_error_of_a_handler_that_was_asked_ends_nothing(system: System) -> None:
    ref = await system.spawn(Counter, 3)
    with pytest.raises(RemoteError, match=r"^LookupError: no such thing$"):
        await ref.ask(Counter.fail, "no such thing")
    assert await ref.ask(Counter.add, 1) == 4


async def test_an_adopted_child_answers_on(system: System) -> None:
    top = await system.spawn(Counter, name="top")
    middle = await top.ask(Counter.grow, "middle")
    leaf = await middle.ask(Counter.grow, "leaf")
    assert await leaf.ask(Counter.add, 7) == 7
    await middle.kill()
    with trio.fail_after(ANSWER_S):
        assert await leaf.ask(Counter.add, 1) == 8
    rows = {row.name: (row.parent, row.guardian, row.state) for row in await system.tree()}
    assert rows == {
        "top": ("controller", "controller", "ok"),
        "middle": ("top", "top", "dead"),
        "leaf": ("middle", "top", "ok"),
    }
    await top.kill()
    assert await leaf.ask(Counter.add, 1) == 9
    grown = await leaf.ask(Counter.grow, "grown")
    assert await grown.ask(Counter.add, 1) == 1
    # What is stopped takes along all that is placed under it.
    await top.stop()
    assert await system.tree() == []
    await only_the_zygote(system)


async def test_what_is_asked_of_a_dying_node_ends_in_an_error(system: System) -> None:
    for _ in range(5):
        ref = await system.spawn(Counter)
        pid = await ref.ask(Counter.pid)
        errors: list[Exception] = []

        async def ask_on(ref: ActorRef[Counter] = ref, errors: list[Any] = errors) -> None:
            try:
                while True:
                    await ref.ask(Counter.add, 1)
            except ActorDeadError as error:
                errors.append(error)

        with trio.fail_after(ANSWER_S):
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(ask_on)
                await trio.sleep(0.01)
                os.kill(pid, signal.SIGKILL)
        assert len(errors) == 10


# Strays.


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_what_a_handler_has_started_dies_with_its_node(end: str) -> None:
    async with open_system() as system:
        ref, other = await system.spawn(Starter), await system.spawn(Starter)
        strays, others = await ref.ask(Starter.start), await other.ask(Starter.start)
        assert all(map(alive, strays + others))
        with trio.fail_after(END_S):
            await (ref.kill() if end == "kill" else ref.stop())
        with trio.fail_after(GONE_S):
            await gone(strays)
        assert all(map(alive, others))
    assert not any(map(alive, others))


async def test_garbage_is_counted_and_dropped(system: System) -> None:
    if OVER:
        pytest.skip("the stranger speaks ipc; for tcp see tests/test_hostile_peers.py")
    chance = random.Random("garbage")
    async with trio.open_nursery() as nursery:
        ref = await system.spawn(Counter, 3)
        home = os.environ["XDG_RUNTIME_DIR"]
        stranger = ZmqTransport(f"ipc://{home}/stranger", 1 << 60, nursery)
        messages = [[chance.randbytes(50) for _ in range(count % 4 + 1)] for count in range(200)]
        for endpoint in (ref.endpoint, system.exchange.address.endpoint):
            stranger.connect(endpoint)
            for frames in messages:
                stranger.send(endpoint, frames)
        with trio.fail_after(ANSWER_S):
            while sum((await ref.ask(Counter.strays)).values()) < len(messages):
                pass
            while sum(system.exchange.strays.values()) < len(messages):
                await trio.lowlevel.checkpoint()
        assert await ref.ask(Counter.add, 1) == 4
        stranger.close()
        nursery.cancel_scope.cancel()


# Programs and signals.


@asynccontextmanager
async def program(name: str) -> AsyncIterator[tuple[Console, list[int]]]:
    """One of `tests.real_actors`, ready, and the strays that its nodes have started."""
    async with open_console(argv=(sys.executable, "-m", "tests.real_actors", name)) as console:
        strays: list[int] = []
        while not (said := json.loads(await console.line())).get("ready"):
            strays += said["strays"]
        # Until its exec a stray has no environment to be known by.
        await until(lambda: all(procfs.name(stray) == "sleep" for stray in strays))
        yield console, strays


@pytest.mark.parametrize("name", ["wait", "wait_deaf"])
async def test_nothing_is_left_of_a_killed_program(name: str) -> None:
    async with program(name) as (console, strays):
        assert len(console.node_pids()) == 3 + len(strays)
        console.signal(signal.SIGKILL)
        await console.nothing_left(GONE_S)
        assert not any(map(alive, strays))


@pytest.mark.parametrize(
    ("number", "left_by"),
    [
        (signal.SIGTERM, "Cancelled"),
        (signal.SIGHUP, "Cancelled"),
        (signal.SIGINT, "KeyboardInterrupt"),
    ],
)
async def test_a_signal_leaves_the_body_and_then_ends_the_program(
    number: signal.Signals, left_by: str
) -> None:
    async with program("wait") as (console, strays):
        console.signal(number)
        assert json.loads(await console.output()) == {"left_by": left_by}
        await console.nothing_left(END_S)
        assert await console.status() == -number
        assert not any(map(alive, strays))
        assert "Group" not in console.errors()


async def test_signals_that_were_left_alone_kill_and_leave_nothing() -> None:
    async with program("wait_deaf") as (console, strays):
        console.signal(signal.SIGTERM)
        assert await console.output() == ""
        await console.nothing_left(GONE_S)
        assert await console.status() == -signal.SIGTERM
        assert not any(map(alive, strays))


async def test_an_exception_ends_the_program_in_order() -> None:
    async with program("fail") as (console, _):
        assert await console.status() == 1
        await console.nothing_left(END_S)
        assert console.errors().endswith("\nLookupError: the program is at fault\n")
        assert console.errors().count("Traceback") == 1
        assert "Group" not in console.errors()


async def test_a_second_interrupt_cuts_the_end_short() -> None:
    async with program("wait_stubbornly") as (console, _):
        console.signal(signal.SIGINT)
        assert json.loads(await console.line()) == {"left_by": "KeyboardInterrupt"}
        await trio.sleep(0.2)
        assert len(console.node_pids()) == 3  # so the end has begun, and takes its time
        again_at = trio.current_time()
        console.signal(signal.SIGINT)
        await console.nothing_left(END_S)
        assert trio.current_time() - again_at < 2.0  # else it would take 4 s
        assert await console.status() == -signal.SIGINT
