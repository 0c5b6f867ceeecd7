"""What a user may rely on by name: exports, errors, names, exit reasons, addresses."""

import inspect
import operator
import os
import signal
import subprocess
import sys

import msgspec
import pytest

import actors
from actors.ref import ActorRef
from runtime.address import Address, check_name
from runtime.errors import (
    ActorDeadError,
    ActorError,
    DeliveryError,
    MailboxFullError,
    RemoteError,
    SpawnError,
    StateError,
    UnreachableError,
    WireError,
)
from runtime.exits import ExitReason, from_wait_status


def test_these_are_the_exports() -> None:
    assert actors.__all__ == [
        "Actor",
        "ActorDeadError",
        "ActorError",
        "ActorRef",
        "Audit",
        "ChildOptions",
        "ChildSpec",
        "DeadLetter",
        "DeliveryError",
        "Down",
        "ExitReason",
        "MailboxFullError",
        "Monitor",
        "Recovered",
        "RemoteError",
        "SpawnError",
        "StateError",
        "Supervisor",
        "Suspected",
        "System",
        "Trace",
        "UnreachableError",
        "WireError",
        "child",
        "open_system",
        "reentrant",
    ]
    for name in actors.__all__:
        assert inspect.getdoc(getattr(actors, name))


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    program = "import sys, actors; print(*sys.modules); from actors import *; ActorRef, child"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert not {"trio", "zmq", "msgspec", "asyncio"} & set(ran.stdout.split())
    assert "actors" in ran.stdout.split()


def test_a_name_that_is_no_export_is_an_error() -> None:
    with pytest.raises(AttributeError, match="module 'actors' has no attribute 'Aktor'"):
        actors.Aktor  # type: ignore[attr-defined]  # noqa: B018
    assert set(actors.__all__) <= set(dir(actors))


ERRORS = {
    ActorError: Exception,
    DeliveryError: ActorError,
    ActorDeadError: DeliveryError,
    UnreachableError: DeliveryError,
    MailboxFullError: DeliveryError,
    RemoteError: ActorError,
    SpawnError: ActorError,
    StateError: ActorError,
    WireError: ActorError,
}


def below(error: type[Exception]) -> set[type[Exception]]:
    return {error}.union(*map(below, error.__subclasses__()))


def test_this_is_the_whole_tree_of_errors() -> None:
    assert {error: error.__base__ for error in ERRORS} == ERRORS
    runtimes = {e for e in below(ActorError) if e.__module__.startswith(("runtime", "actors"))}
    assert runtimes == set(ERRORS)


def test_errors_carry_what_a_caller_can_use() -> None:
    reason = ExitReason(kind="killed", signal=9)
    assert ActorDeadError("x is dead", reason).reason is reason
    assert ActorDeadError("x is dead").reason is None
    assert UnreachableError("x is silent", "frozen").verdict == "frozen"
    remote = RemoteError("ValueError", "no", "Traceback")
    assert (remote.type_name, remote.message, remote.traceback_text) == (
        "ValueError",
        "no",
        "Traceback",
    )
    assert str(remote) == "ValueError: no"
    assert str(RemoteError("KeyboardInterrupt", "")) == "KeyboardInterrupt"


@pytest.mark.parametrize(
    "name",
    ["a", "7", "_", "0", "counter-1", "a.b", "A_b-c.9", "x" * 64, "node/cell", "7/timer",
     "x" * 64 + "/" + "y" * 64, "a..", "_-"],
)  # fmt: skip
def test_this_is_a_name(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "-1", ".", ".a", "-", "a b", "a\n", "\n", " a", "a ", "\u00e9", "\u0663", "a\0", "x" * 65,
     "/", "a/", "/a", "a//b", "a/b/c", "a/-b", "x" * 65 + "/a", "a/" + "x" * 65, "a\\b", "a:b"],
)  # fmt: skip
def test_this_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="not a name for an actor"):
        check_name(name)


def test_a_refused_name_is_told_what_a_name_is() -> None:
    with pytest.raises(ValueError, match=r"actor: 'a b' \(64 ASCII letters, digits, _ - \. "):
        check_name("a b")
    with pytest.raises(ValueError, match="actor: 5 "):
        check_name(5)  # type: ignore[arg-type]


def test_a_refused_name_is_quoted_in_part() -> None:
    with pytest.raises(ValueError, match="not a name") as caught:
        check_name("-" * 1_000_000)
    assert len(str(caught.value)) < 200


REASONS = {
    "normal": ExitReason(kind="normal"),
    "shutdown": ExitReason(kind="shutdown", code=1, message="ignored"),
    "lost": ExitReason(kind="lost"),
    "unknown": ExitReason(kind="unknown"),
    "exited(3)": ExitReason(kind="exited", code=3),
    "exited(0)": ExitReason(kind="exited", code=0),
    "killed(SIGKILL)": ExitReason(kind="killed", signal=9),
    "killed(SIGTERM)": ExitReason(kind="killed", signal=15),
    "killed(63)": ExitReason(kind="killed", signal=63),
    "killed(-5)": ExitReason(kind="killed", signal=-5),
    "killed": ExitReason(kind="killed"),
    "crashed(ValueError: no good)": ExitReason(
        kind="crashed", error="ValueError", message="no good", traceback="..."
    ),
    "crashed(KeyError)": ExitReason(kind="crashed", error="KeyError"),
}
every_reason = pytest.mark.parametrize(
    ("text", "reason"), REASONS.items(), ids=lambda value: str(value)
)


@every_reason
def test_an_exit_reason_reads_like_this(text: str, reason: ExitReason) -> None:
    assert str(reason) == text


@every_reason
def test_an_exit_reason_can_be_sent(text: str, reason: ExitReason) -> None:
    data = msgspec.msgpack.encode(reason)
    assert msgspec.msgpack.decode(data, type=ExitReason) == reason


@every_reason
def test_a_planned_end_is_normal_or_a_shutdown(text: str, reason: ExitReason) -> None:
    assert reason.planned is (text in ("normal", "shutdown"))


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "exited(0)"),
        (3 << 8, "exited(3)"),
        (255 << 8, "exited(255)"),
        (signal.SIGKILL, "killed(SIGKILL)"),
        (signal.SIGSEGV | 0x80, "killed(SIGSEGV)"),
    ],
    ids=lambda value: str(value),
)
def test_a_wait_status_is_an_exit_reason(status: int, text: str) -> None:
    assert str(from_wait_status(status)) == text


@pytest.mark.real
def test_the_status_of_a_real_process_is_read() -> None:
    for command, text in (("exit 7", "exited(7)"), ("kill -9 $$", "killed(SIGKILL)")):
        process = subprocess.Popen(["/bin/sh", "-c", command])
        _, status = os.waitpid(process.pid, 0)
        process.returncode = 0  # reaped here
        assert str(from_wait_status(status)) == text


BASE = Address("s", "counter", 7, "memory:7")


def test_the_endpoint_is_no_part_of_an_identity() -> None:
    other = Address("s", "counter", 7, "ipc:///elsewhere")
    assert other == BASE
    assert operator.ne(other, BASE) is False
    assert hash(BASE) == hash(other)
    assert {BASE: 1}[other] == 1


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(Address("t", "counter", 7, "memory:7"), id="system"),
        pytest.param(Address("s", "timer", 7, "memory:7"), id="name"),
        pytest.param(Address("s", "counter", 8, "memory:7"), id="incarnation"),
        pytest.param(Address("s", "counter", 0, "memory:7"), id="follow"),
        pytest.param(("s", "counter", 7, "memory:7"), id="a tuple"),
        pytest.param(None, id="nothing"),
    ],
)
def test_everything_else_is(other: object) -> None:
    assert other != BASE
    assert operator.eq(other, BASE) is False
    assert other not in {BASE}


def test_an_address_reads_like_name_and_incarnation() -> None:
    assert str(BASE) == "counter.7"


def test_a_ref_is_an_address_that_can_be_sent_stored_and_compared() -> None:
    ref: ActorRef[actors.Actor] = ActorRef("s", "counter", 7, "memory:7")
    assert ref == BASE
    assert hash(ref) == hash(BASE)
    data = msgspec.msgpack.encode({"who": ref})
    back = msgspec.msgpack.decode(data, type=dict[str, ActorRef[actors.Actor]])["who"]
    assert type(back) is ActorRef
    assert (back, back.endpoint) == (ref, "memory:7")
    with pytest.raises(AttributeError):
        ref.name = "other"  # type: ignore[misc]


async def test_a_ref_without_an_open_system_is_a_runtime_error() -> None:
    class Sample(actors.Actor):
        async def hello(self) -> None: ...

    ref: ActorRef[Sample] = ActorRef("s", "counter", 7, "memory:7")
    with pytest.raises(RuntimeError, match="no system is open here"):
        await ref.ask(Sample.hello)
    with pytest.raises(RuntimeError, match="no system is open here"):
        ref.tell_nowait(Sample.hello)


@pytest.mark.parametrize("verb", ["spawn", "finish", "ref", "parent", "system", "nursery",
                                  "monitor", "demonitor", "link"])  # fmt: skip
def test_an_actors_own_verb_cannot_be_redefined(verb: str) -> None:
    with pytest.raises(TypeError, match=f"Sample redefines {verb}, which is an actor's own verb"):
        type("Sample", (actors.Actor,), {verb: lambda self: None, "__qualname__": "Sample"})
