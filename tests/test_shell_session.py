"""Conversations with a tree without processes, in virtual time."""

import logging

import pytest
import trio
from trio.testing import MockClock

from actors.topology import topology
from runtime.errors import MailboxFullError, SpawnError, UnreachableError
from shell.dialects import DIALECTS
from shell.paper import Paper
from shell.session import WINDOW, Ended, Session
from tests.conversation import Portions, converse
from tests.fake_tree import FakeTree


async def test_a_script(autojump_clock: MockClock) -> None:
    lines = {
        "create 1": "Ok: 101",
        "create 2 1": "Ok: 102",
        "exec 2 time": "Ok:2: 0",
        "exec 2 start": "Ok:2",
        "sleep 1500": "Ok",
        "exec 2 stop": "Ok:2",
        "exec  2  time # again": "Ok:2: 1500",
        "exec 1 time": "Ok:1: 0",
        "exec 1 jump": "Error:1: Unknown command",
        "exec 1 time now": "Error:1: time takes no arguments, not ['now']",
        "exec 1 fail 'a b'": "Error:1: ValueError: a b",
        "exec 9 jump": "Error:9: Not found",
        "create 2": "Error: Already exists",
        "create 3 9": "Error: Parent not found",
        "create 3 3": "Error: Parent not found",
        "ping 1": "Ok: 1",
        "ping 9": "Error: Not found",
        "all": "1 2",
        "tree": "-1 pid 100 ok\n  1 pid 101 ok\n    2 pid 102 ok\n",
        "kill 1": "Ok",
        "ping 1 ": "Ok: 0",
        "ping 2": "Ok: 1",
        "exec 1 jump ": "Error:1: Node is unavailable",
        "create 3 1": "Error: Parent is unavailable",
        "create 1 ": "Error: Already exists",
        " all": "2",
        "remove 1": "Ok",
        "remove 1 ": "Error: Not found",
        "kill 2": "Error: Not found",
        "all ": "",
        "help sleep": "sleep MS  wait for MS milliseconds\n",
        "help jump": "Error: Unknown command",
        "jump": "Error: Unknown command",
        "heartbeat 9": "Error: MS must be 10 to 86400000",
        "heartbeat 10": "Ok",
        "heartbeat stop": "Ok",
        "exit": "Ok",
    }
    assert await converse(FakeTree(), [*lines, "all"]) == "".join(
        f"{answer}\n" for answer in lines.values()
    )
    assert trio.current_time() == 1.5


@pytest.mark.parametrize(
    ("places", "lines", "answers"),
    [
        ("list", ["create 5", "create 3 9", "create 4 -1"], "  5\n    3\n      4\n"),
        ("list", ["create 5", "create 3", "remove 3", "create 4"], "  5\n    4\n"),
        ("bst", ["create 5", "create 3", "create 8", "create 4 5"], "  5\n    3\n      4\n    8\n"),
        ("bst", ["create 5", "create 3", "create 4", "remove 3", "create 4"], "  5\n    4\n"),
    ],
)
async def test_topologies(
    places: str, lines: list[str], answers: str, autojump_clock: MockClock
) -> None:
    tree = FakeTree()
    tree.delays = {"create": 1, "remove": 1}
    drawn = (await converse(tree, [*lines, "tree"], places=places)).partition("ok\n")[2]
    stripped = "".join(line.partition(" pid")[0] + "\n" for line in drawn.splitlines()[:-2])
    assert stripped == answers


@pytest.mark.parametrize("places", ["list", "bst"])
async def test_a_computed_parent_that_is_dead_is_unavailable(places: str) -> None:
    lines = ["create 1", "kill 1", "create 2", "create 1"]
    assert await converse(FakeTree(), lines, places=places) == (
        "Ok: 101\nOk\nError: Parent is unavailable\nError: Already exists\nOk\n"
    )


async def test_starts_overlap_and_answers_keep_their_order(autojump_clock: MockClock) -> None:
    tree = FakeTree()
    tree.delays = {"create 1": 4, "create 2": 1, "create 3": 2}
    lines = ["create 1", "create 2", "create 3 2", "exec 2 time", "all"]
    assert await converse(tree, lines) == "Ok: 103\nOk: 101\nOk: 102\nOk:2: 0\n1 2 3\nOk\n"
    assert tree.log == [(0, "create 1"), (0, "create 2"), (1, "create 3"), (1, "exec 2")]
    assert trio.current_time() == 4


async def test_unordered_answers_come_as_they_are_known(autojump_clock: MockClock) -> None:
    tree = FakeTree()
    tree.delays = {"create 1": 2, "create 2": 1}
    lines = ["create 1", "create 2", "exec 2 time", "jump"]
    assert await converse(tree, lines, ordered=False) == (
        "Error: Unknown command\nOk: 101\nOk:2: 0\nOk: 102\nOk\n"
    )


async def test_execs_of_one_node_are_sent_in_order_without_waiting(
    autojump_clock: MockClock,
) -> None:
    tree = FakeTree()
    tree.delays = {"exec": 1}
    lines = ["create 1", "create 2", *["exec 1 time", "exec 2 time"] * 50]
    await converse(tree, lines)
    assert tree.log[2:] == [(0, "exec 1"), (0, "exec 2")] * 50
    assert trio.current_time() == 1


async def test_a_failed_create_leaves_its_id_free(autojump_clock: MockClock) -> None:
    tree = FakeTree()
    tree.delays = {"create": 1}
    tree.create_errors = {1: SpawnError("node 1 did not start\nwithin 30 s")}
    lines = ["create 1", "create 2 1", "exec 1 time", "create 1", "ping 1"]
    assert await converse(tree, lines) == (
        "Error: node 1 did not start\\nwithin 30 s\nError: Parent not found\n"
        "Error:1: Not found\nError: node 1 did not start\\nwithin 30 s\nError: Not found\nOk\n"
    )


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (UnreachableError("0 is cut off", "cut off"), "Error: Parent is unavailable\n"),
        (MailboxFullError("full"), "Error: full\n"),
        (ZeroDivisionError("oops"), "Error: ZeroDivisionError: oops\n"),
    ],
    ids=["parent", "another", "ours"],
)
async def test_whatever_a_create_raises_is_one_line(
    error: Exception, answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    tree = FakeTree()
    tree.create_errors = {1: error}
    with caplog.at_level(logging.ERROR):
        assert await converse(tree, ["create 1"]) == answer + "Ok\n"
    assert bool(caplog.records) == isinstance(error, ZeroDivisionError)


async def test_a_frozen_node_answers_at_the_deadline_and_not_afterwards(
    autojump_clock: MockClock,
) -> None:
    tree = FakeTree()
    await tree.create(1, -1)
    await tree.create(2, -1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tree.freeze, 1)
        lines = ["exec 1 start", "exec 2 start", "ping 1", "sleep 0", "exec 2 time"]
        assert await converse(tree, lines) == (
            "Error:1: Node is unavailable\nOk:2\nOk: 0\nOk\nOk:2: 2000\nOk\n"
        )
    assert trio.current_time() == 2
    tree.thaw(1)
    assert await converse(tree, ["exec 1 time"]) == "Ok:1: 0\nOk\n"


async def test_each_command_has_a_deadline_of_its_own(autojump_clock: MockClock) -> None:
    tree = FakeTree()
    await tree.create(1, -1)
    await tree.create(2, -1)
    tree.delays = {"exec 1": 0.5, "exec 2": 9}
    lines = ["exec 2 time", "sleep 100", *["exec 1 time"] * 3, "exec 2 time", "sleep 1"] * 2
    answers = await converse(tree, lines, deadline_s=0.7)
    assert answers.count("Error:2: Node is unavailable\n") == 4
    assert answers.count("Ok:1: 0\n") == 6
    assert trio.current_time() == pytest.approx(2 * (0.7 + 0.1 + 0.7 + 0.001))


async def test_a_remove_that_is_not_confirmed_says_so_and_forgets() -> None:
    tree = FakeTree()
    tree.unconfirmed = {2}
    lines = ["create 1", "create 2 1", "remove 1", "all", "create 2"]
    assert await converse(tree, lines) == (
        "Ok: 101\nOk: 102\nError: Node is unavailable\n\nOk: 103\nOk\n"
    )


async def test_bad_lines_have_answers_and_blank_ones_have_none() -> None:
    lines = b"\n# x\n  \n\xff\n" + b"x" * 70000 + b"\nall\r\nping 'x"
    paper = Paper()
    session = Session(FakeTree(), topology("tree"), paper)
    assert await session.run(Portions(lines)) is Ended.END_OF_INPUT
    assert paper.take() == (
        "Error: line is not UTF-8 text\nError: line is longer than 65536 bytes\n\n"
        "Error: no closing quote: '\n"
    )
    assert session.errors == 3


async def test_lines_after_exit_are_not_read() -> None:
    source = Portions(b"all\nexit\njump\n", b"jump\n")
    paper = Paper()
    session = Session(FakeTree(), topology("tree"), paper)
    assert await session.run(source) is Ended.EXIT
    assert paper.take() == "\n"
    assert session.farewell(Ended.EXIT) == "Ok\n"
    assert await source.receive_some() == b"jump\n"


async def test_notices_come_between_answers(autojump_clock: MockClock) -> None:
    tree = FakeTree()
    lines = ["create 1", "create 2", "heartbeat 100", "kill 1", "sleep 450", "ping 2"]
    assert await converse(tree, lines) == (
        "Ok: 101\nOk: 102\nOk\nOk\nHeartbit: node 1 is unavailable now\nOk\nOk: 1\nOk\n"
    )
    assert tree.beat_s == 0.1


async def test_v34_calls_the_roll(autojump_clock: MockClock) -> None:
    lines = ["create 2", "create 1", "heartbeat 100", "kill 2", "sleep 450", "stop", "sleep 999"]
    assert await converse(FakeTree(), lines, dialect="v34") == (
        "Controller Node started. Listening for commands from console...\n"
        "Received command: create 2\nOk: 101\n"
        "Compute Node 2 started, listening on memory://2\n"
        "Received command: create 1\nOk: 102\n"
        "Compute Node 1 started, listening on memory://1\n"
        "Received command: heartbeat 100\n"
        "Received command: kill 2\nOk\n"
        "Ok: 1 // got beat\nOk: 1 // got beat\nOk: 1 // got beat\n"
        "НОДА: 2 // СДОХЛА\nOk: 1 // got beat\n"
        "Received command: sleep 450\nOk\n"
        "Received command: sleep 999\nOk\n"
        "Exiting on EOF.\n"
    )


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_hundred_thousand_lines_keep_memory_bounded(ordered: bool) -> None:
    tree = FakeTree()
    await tree.create(1, -1)
    paper = Paper()
    session = Session(tree, topology("tree"), paper, ordered=ordered)
    text = b"exec 1 time\njump\n" * 50_000
    taken = 0
    most = 0

    async def read_slowly() -> None:
        nonlocal taken, most
        while True:
            await paper.written()
            part = paper.take()
            taken += part.count("\n")
            most = max(most, len(part))
            for _ in range(20):
                await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_slowly)
        blocks = [text[at : at + 65536] for at in range(0, len(text), 65536)]
        await session.run(Portions(*blocks))
        nursery.cancel_scope.cancel()
    assert taken + paper.take().count("\n") == 100_000
    assert most < (1 << 20) + 200_000


async def test_at_most_1024_commands_wait(autojump_clock: MockClock) -> None:
    tree = FakeTree()
    tree.delays = {"create": 1}
    lines = [f"create {id}" for id in range(WINDOW + 10)]
    await converse(tree, lines)
    assert [at for at, _ in tree.log] == [0] * WINDOW + [1] * 10


async def test_cancelled_commands_have_no_answer(autojump_clock: MockClock) -> None:
    tree = FakeTree()
    tree.delays = {"create": 9}
    paper = Paper()
    session = Session(tree, topology("tree"), paper)
    with trio.move_on_after(1) as scope:
        await session.run(Portions(b"jump\ncreate 1\njump\n"))
    assert scope.cancelled_caught
    assert paper.take() == "Error: Unknown command\n"
    assert tree.places() == []


async def test_hanging_up_is_the_end_of_input(autojump_clock: MockClock) -> None:
    class Never:
        async def receive_some(self) -> bytes:
            await trio.sleep_forever()
            raise AssertionError

    session = Session(FakeTree(), topology("tree"), Paper())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run, Never())
        await trio.sleep(1)
        session.hang_up()


@pytest.mark.parametrize("dialect", list(DIALECTS))
async def test_every_dialect_survives_every_command(dialect: str) -> None:
    lines = ["create 1", "exec 1 time", "exec 1 start", "ping 1", "heartbeat 50", "all", "tree"]
    lines += ["create 2 --actor a:B x", "restart 1", "restart 9", "help 1", "help 9"]
    lines += ["kill 1", "remove 1", "help", "heartbeat 0", "jump", "exit"]
    answers = await converse(FakeTree(), lines, dialect=dialect)
    assert answers.endswith("\n")
