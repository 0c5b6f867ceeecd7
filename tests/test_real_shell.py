"""The console script over a pipe and over a terminal, with real nodes."""

import contextlib
import json
import os
import random
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from runtime.address import Address
from runtime.messages import envelope
from runtime.messages.codec import Buffer, encode
from runtime.processes import procfs
from runtime.processes.run_folder import page_path
from runtime.wires.zmq_transport import ZmqTransport
from tests.real import END_S, GONE_S, Console, open_console, until

pytestmark = pytest.mark.real

on_both = pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
MEMORY_BYTES = 24 << 20
"""What bad input may cost at most, in any amount: two windows of text, and what they take."""


@on_both
async def test_a_talk(terminal: bool) -> None:
    async with open_console(terminal=terminal) as console:
        first = await console.create(10)
        second = await console.create(2, 10)
        third = await console.create(33, 2)
        assert await console.ask("create 2") == "Error: Already exists"
        assert await console.ask("create 4 5") == "Error: Parent not found"
        assert await console.ask("all") == "10 2 33"
        assert await console.tree() == [
            f"  10 pid {first} ok",
            f"    2 pid {second} ok",
            f"      33 pid {third} ok",
        ]
        assert console.node_pids() == {first, second, third}

        assert await console.ask("exec 33 time") == "Ok:33: 0"
        assert await console.ask("exec 33 start") == "Ok:33"
        assert await console.ask("sleep 120") == "Ok"
        assert await console.ask("exec 33 stop") == "Ok:33"
        stopped = await console.ask("exec 33 time")
        assert 120 <= int(stopped.removeprefix("Ok:33: ")) < 5_000
        assert await console.ask("sleep 50") == "Ok"
        assert await console.ask("exec 33 time") == stopped

        assert await console.ask("exec 33 jump") == "Error:33: Unknown command"
        assert await console.ask("ping 2") == "Ok: 1"
        assert await console.ask("ping 3") == "Error: Not found"
        assert await console.ask("remove 2") == "Ok"
        assert console.node_pids() == {first}
        assert await console.ask("exec 33 time") == "Error:33: Not found"
        await console.create(33)
        assert await console.ask("all") == "10 33"
        await console.say("exit", "all")
        assert await console.output() == "Ok\n"
        assert await console.status() == 0
        await console.nothing_left(END_S)
        assert console.errors() == ""


async def test_the_answers_of_many_lines_at_once_come_in_their_order() -> None:
    async with open_console() as console:
        ids = range(1, 41)
        lines = [f"create {id} {id // 2 or -1}" for id in ids]
        lines += [f"ping {id}" for id in ids]
        lines += ["all", "remove 2", "all", *(f"ping {id}" for id in ids)]
        await console.feed("\n".join(lines).encode())  # the last line has no end
        console.close_input()
        answers = (await console.output()).splitlines()
        pids = [int(answer.removeprefix("Ok: ")) for answer in answers[:40]]
        assert len(set(pids)) == 40
        assert answers[40:80] == ["Ok: 1"] * 40
        left = [id for id in ids if bin(id)[2:4] != "10"]
        expected = ["Ok: 1" if id in left else "Error: Not found" for id in ids]
        everybody, survivors = (" ".join(map(str, some)) for some in (ids, left))
        assert answers[80:] == [everybody, "Ok", survivors, *expected, "Ok"]
        assert await console.status() == 0


async def test_a_script_is_read_to_its_end_and_gives_the_status(tmp_path: Path) -> None:
    script = tmp_path / "script"
    for last, status in (("all", 0), ("exec 7 time", 1)):
        script.write_text(f"create 1\nexec 1 start\nsleep 20\nexec 1 stop\n{last}\n")
        async with open_console("--script", str(script)) as console:
            assert (await console.output()).endswith("\nOk\n")
            assert await console.status() == status


@pytest.mark.parametrize(
    ("topology", "parents"),
    [
        ("tree", {50: -1, 25: 50, 75: 50, 60: 75}),
        ("list", {50: -1, 25: 50, 75: 25, 60: 75}),
        ("bst", {50: -1, 25: 50, 75: 50, 60: 75}),
    ],
)
async def test_places_are_the_topologys_affair(topology: str, parents: dict[int, int]) -> None:
    async with open_console("--topology", topology) as console:
        pids = {}
        for id, parent in parents.items():
            pids[id] = await console.create(id, parent if topology == "tree" else -1)
        rows = dict.fromkeys(parents, 1)
        for id, parent in parents.items():
            rows[id] = rows.get(parent, 0) + 1
        assert sorted(await console.tree()) == sorted(
            f"{'  ' * depth}{id} pid {pids[id]} ok" for id, depth in rows.items()
        )
        os.kill(pids[60], signal.SIGKILL)
        await console.becomes(60, "dead")
        assert await console.ask("create 61 60") == "Error: Parent is unavailable"
        assert await console.ask("remove 50") == "Ok"
        assert console.node_pids() == set()


@pytest.mark.parametrize("dialect", ["v34", "v45", "json"])
async def test_the_other_dialects_speak_of_the_same_nodes(dialect: str) -> None:
    async with open_console("--dialect", dialect) as console:
        await console.say("create 1", "exec 1 start", "ping 1", "exec 2 time")
        console.close_input()
        answers = (await console.output()).splitlines()
        assert await console.status() == 0
    if dialect == "json":
        created, *others = map(json.loads, answers)
        assert created["ok"]
        assert isinstance(created["result"], int)
        assert [answer["ok"] for answer in others] == [True, True, False, True]
        return
    pids = [word for line in answers for word in line.split() if word.isdigit() and len(word) > 1]
    assert len(pids) == 1
    (pid,) = pids
    if dialect == "v45":
        assert answers == [f"OK: {pid}", "OK: start", "OK: 1", "Error: Not found", "OK"]
        return
    endpoint = answers[3].partition("listening on ")[2]
    assert endpoint.startswith("ipc:///")
    assert answers == [
        "Controller Node started. Listening for commands from console...",
        "Received command: create 1",
        f"Ok: {pid}",
        f"Compute Node 1 started, listening on {endpoint}",
        "Received command: exec 1 start",
        "Ok:1",
        "Received command: ping 1",
        "Ok: 1 // узел 1 доступен",
        "Received command: exec 2 time",
        "Error:2: Not found",
        "Exiting on EOF.",
    ]


@on_both
async def test_there_is_no_thread_of_ours(terminal: bool) -> None:
    async with open_console(terminal=terminal) as console:
        pids = [await console.create(1), await console.create(2, 1), await console.create(3, 2)]
        await console.say("heartbeat 250", "exec 3 time", "ping 2", "exec 7 time", "sleep 300")
        assert (await console.lines(5))[-1] == "Ok"
        for pid in (console.pid, *pids):
            assert foreign_threads(pid) == []
            assert procfs.thread_count(pid) == 3
        assert procfs.thread_count(console.zygote) == 1


def foreign_threads(pid: int) -> list[str]:
    """The names of its threads but the first, and but those of libzmq."""
    tasks = map(int, os.listdir(f"/proc/{pid}/task"))
    names = [procfs.name(task) for task in tasks if task != pid]
    return [name for name in names if not name.startswith("ZMQbg/")]


async def test_a_reader_that_stands_still_stops_no_beats() -> None:
    async with open_console() as console:
        assert await console.ask("heartbeat 50") == "Ok"
        await console.create(1)
        await console.create(2, 1)
        count = 40_000
        async with trio.open_nursery() as nursery:
            nursery.start_soon(console.feed, b"help\n" * count + b"exit\n")
            await trio.sleep(2.0)  # the pipe is full by then, and nobody reads
            counts = await console.count_lines()
        assert counts[""] == count
        assert not [line for line in counts if line.startswith("Heartbit")]


# Bad input.


Bad = Callable[[], tuple[bytes, dict[str, int]]]
"""Input, and how often each answer is expected."""


def long_line() -> tuple[bytes, dict[str, int]]:
    return b"x" * (10 << 20) + b"\n", {"Error: line is longer than 65536 bytes": 1}


def noise() -> tuple[bytes, dict[str, int]]:
    chance = random.Random("noise")
    lines = [b"\xff" + chance.randbytes(30).replace(b"\n", b"\0") for _ in range(100_000)]
    return b"\n".join(lines) + b"\n", {"Error: line is not UTF-8 text": 100_000}


def nonsense() -> tuple[bytes, dict[str, int]]:
    unknown = {b"kreate 3": 50_000, "крейт".encode(): 10_000, b"\x01\x02": 10_000}
    data = b"".join(line + b"\n" * count for line, count in unknown.items())  # blank lines too
    words = b"".join((line + b"\n") * count for line, count in unknown.items())
    return data + words, {"Error: Unknown command": 70_003}


@pytest.mark.parametrize("bad", [long_line, noise, nonsense])
async def test_bad_input_costs_one_error_a_line_and_nothing_else(bad: Bad) -> None:
    data, expected = bad()
    async with open_console() as console:
        await console.create(1)
        await console.create(2, 1)
        assert await console.ask("exec 2 start") == "Ok:2"
        before = (await console.tree(), console.node_pids(), console.zygote)
        memory = console.peak_bytes()
        counts: dict[str, int] = {}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(console.feed, data)
            while sum(counts.values()) < sum(expected.values()):
                answer = await console.line()
                counts[answer] = counts.get(answer, 0) + 1
        assert counts == expected
        assert console.peak_bytes() - memory < MEMORY_BYTES
        assert (await console.tree(), console.node_pids(), console.zygote) == before
        assert (await console.ask("exec 2 time")).startswith("Ok:2: ")
        assert await console.ask("heartbeat stop") == "Ok"
        assert console.errors() == ""


# Garbage on sockets.


def sockets(console: Console) -> Iterator[str]:
    """Where the controller and its nodes listen."""
    for name in os.listdir(console.folder):
        if name.endswith(".sock"):
            yield f"{console.folder}/{name}"


async def test_what_is_no_zmq_disturbs_nobody() -> None:
    chance = random.Random("sockets")
    async with open_console() as console:
        await console.create(1)
        await console.create(2, 1)
        assert await console.ask("heartbeat 50") == "Ok"
        before = await console.tree()
        paths = list(sockets(console))
        assert len(paths) == 3
        with contextlib.ExitStack() as stack:
            for path in paths * 20:
                client = stack.enter_context(socket.socket(socket.AF_UNIX))
                client.connect(path)
                client.setblocking(False)
                for _ in range(chance.randrange(4)):  # some say nothing at all
                    with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionError):
                        client.send(chance.randbytes(chance.choice((1, 64, 100_000))))
            for _ in range(3):
                assert await console.ask_all("ping 1", "exec 2 time") == ["Ok: 1", "Ok:2: 0"]
            await console.silence(0.5)
        assert await console.tree() == before


async def test_frames_that_are_no_envelopes_disturb_nobody() -> None:
    chance = random.Random("frames")
    async with open_console() as console, trio.open_nursery() as nursery:
        await console.create(1)
        await console.create(2, 1)
        assert await console.ask("heartbeat 250") == "Ok"
        before = await console.tree()
        endpoints = [f"ipc://{path}" for path in sockets(console)]
        stranger = ZmqTransport(f"ipc://{console.home}/stranger", 1 << 60, nursery)
        for endpoint in endpoints:
            stranger.connect(endpoint)
            for frames in garbage(chance):
                stranger.send(endpoint, frames)
        for _ in range(3):
            assert await console.ask_all("ping 1", "exec 2 time") == ["Ok: 1", "Ok:2: 0"]
        await console.silence(1.5)
        assert await console.tree() == before
        stranger.close()
        nursery.cancel_scope.cancel()


def garbage(chance: random.Random) -> Iterator[list[Buffer]]:
    """Messages of any number of frames, and envelopes from nobody that is known."""
    for count in (1, 2, 3, 1500):
        for _ in range(20):
            yield [chance.randbytes(chance.choice((0, 1, 200))) for _ in range(count)]
    yield [chance.randbytes(8 << 20), b""]
    yield [b"\x91" * 100_000, b""]
    yield [b"\xdd\xff\xff\xff\xff", b""]
    yield encode(envelope.Stop())
    yield encode(envelope.Beat(1), envelope.Stop())
    yield encode(envelope.Tell(1, "stop", 0))
    hello = envelope.Hello(Address("another", "2", 1 << 60, "ipc:///nowhere"), "", envelope.VERSION)
    yield encode(hello, envelope.Stop())


# Nodes that do not start.


def take_their_places(console: Console) -> None:
    """Something stands where the next nodes want to put their status pages."""
    for incarnation in range(10):
        with suppress(FileExistsError), open(page_path(console.folder, incarnation), "x"):
            pass


def make_room(console: Console) -> None:
    for incarnation in range(10):
        path = page_path(console.folder, incarnation)
        if os.path.exists(path) and os.path.getsize(path) == 0:
            os.unlink(path)


Change = Callable[[Console], None]


@pytest.mark.parametrize("parent", [-1, 1], ids=["under the controller", "under a node"])
@pytest.mark.parametrize(("spoil", "mend"), [(take_their_places, make_room)], ids=["no room"])
async def test_a_node_that_fails_to_start_is_an_error_at_once_and_leaves_nothing(
    parent: int, spoil: Change, mend: Change
) -> None:
    async with open_console() as console:
        first = await console.create(1)
        spoil(console)
        with trio.fail_after(5 * 1.0):
            answer = await console.ask(f"create 2 {parent}")
        assert answer.startswith("Error: it ended before it was up: "), answer
        assert "FileExistsError: [Errno 17] File exists" in answer  # the node's own last line
        assert await console.ask("ping 2") == "Error: Not found"
        assert await console.ask("all") == "1"
        assert console.node_pids() == {first}
        mend(console)
        await console.create(2, parent)
        assert await console.ask("all") == "1 2"


async def test_an_environment_that_is_too_large_is_an_error_that_says_so() -> None:
    large = {"LARGE": "x" * 70_000, "TOO": "y" * 70_000}
    async with open_console(environ=large) as console:
        answer = await console.ask("create 1")
        assert answer.startswith("Error: the order for 1 takes ")
        assert answer.endswith(" bytes, at most 131072 fit")
        assert await console.ask("create 1") == answer
        assert await console.ask("all") == ""
        assert console.node_pids() == set()


async def test_a_start_that_takes_too_long_is_ended_and_leaves_nothing() -> None:
    async with open_console("--start-deadline", "0.001") as console:
        for _ in range(2):
            assert await console.ask("create 7") == "Error: node 7 did not start within 0.001 s"
            assert await console.ask("ping 7") == "Error: Not found"
        await until(lambda: console.node_pids() == set(), GONE_S)
        assert console.errors() == ""
