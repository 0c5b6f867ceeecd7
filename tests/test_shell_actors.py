"""Any class as a node, next lives and names, in virtual time."""

import pytest
import trio
from trio.testing import MockClock

from actors.topology import Id
from runtime.errors import SpawnError, WireError
from runtime.exits import ExitReason
from shell.answers import Created
from shell.certificate import NOT_OURS
from shell.tree import NodeState, UnknownNode
from tests.conversation import converse
from tests.fake_tree import FakeTree


async def test_any_class_can_be_a_node(autojump_clock: MockClock) -> None:
    tree = FakeTree()
    tree.replies = {
        "add": 5,
        "text": "a: b",
        "table": {"é": [1, None]},
        "wrong": WireError("add: amount='x': Expected `int`, got `str`"),
    }
    tree.create_errors = {3: SpawnError("there is no module 'nowhere'")}
    lines = {
        "create 1 --actor counters:Counter 3 'a b'": "Ok: 101",
        "create 2 1 --actor counters:Deep.Counter": "Ok: 102",
        "create 1 --actor nowhere:X": "Error: Already exists",
        "create 3 9 --actor nowhere:X": "Error: Parent not found",
        "create 3 --actor nowhere:X": "Error: there is no module 'nowhere'",
        "create 3 --actor nowhere": "Error: a class is given as package.module:Class,"
        " not 'nowhere'",
        "exec 1 add 2": "Ok:1: 5",
        "exec 1 text": "Ok:1: a: b",
        "exec 1 table": 'Ok:1: {"é": [1, null]}',
        "exec 1 wrong x": "Error:1: add: amount='x': Expected `int`, got `str`",
        "exec 1 jump": "Error:1: Unknown command",
        "help 1": "start() -> None\nstop() -> None\ntime() -> int\nadd\ntable\ntext\nwrong\n",
        "help 7": "Error: Not found",
        "help jump": "Error: Unknown command",
        "help restart": "restart ID  end node ID and let its next incarnation live\n",
    }
    assert await converse(tree, list(lines)) == "".join(
        f"{answer}\n" for answer in [*lines.values(), "Ok"]
    )
    assert tree.actors == {
        1: ("counters:Counter", ("3", "a b")),
        2: ("counters:Deep.Counter", ()),
    }


async def test_a_restart_is_waited_for_by_whoever_names_its_node(
    autojump_clock: MockClock,
) -> None:
    tree = FakeTree()
    tree.delays = {"restart": 3, "exec 2": 1}
    lines = ["create 1", "create 2", "exec 1 start", "restart 1", "exec 1 time", "ping 1"]
    lines += ["help 1", "create 3 1", "exec 2 time", "all", "tree"]
    assert await converse(tree, lines) == (
        "Ok: 101\nOk: 102\nOk:1\nOk: 103\nOk:1: 0\nOk: 1\nstart() -> None\nstop() -> None\n"
        "time() -> int\n\nOk: 104\nOk:2: 0\n1 2 3\n"
        "-1 pid 100 ok\n  1 pid 103 ok\n    3 pid 104 ok\n  2 pid 102 ok\n\nOk\n"
    )
    assert tree.log[2:6] == [(0, "exec 1"), (0, "restart 1"), (0, "exec 2"), (3, "exec 1")]


async def test_a_restart_that_fails_says_why_and_leaves_a_dead_node() -> None:
    tree = FakeTree()
    tree.restart_errors = {1: SpawnError("1 ended before it was up: exited(1)")}
    lines = ["restart 1", "create 1", "restart 1", "restart", "restart x", "ping 1", "all"]
    assert await converse(tree, lines) == (
        "Error: Not found\nOk: 101\nError: 1 ended before it was up: exited(1)\n"
        "Error: restart needs an ID\nError: ID must be 0 to 2147483647, not 'x'\n"
        "Ok: 0\n\nOk\n"
    )


async def test_why_tells_how_a_node_ended_once_that_is_known(autojump_clock: MockClock) -> None:
    tree = FakeTree()
    tree.delays = {"kill": 3, "create 2": 1}
    tree.reasons = {1: ExitReason(kind="killed", signal=9), 5: ExitReason(kind="normal")}
    lines = ["create 1", "create 2", "why 2", "kill 1", "why 1", "restart 1", "why 1", "why 5"]
    because = f"because: signal 9, {NOT_OURS}"
    assert await converse(tree, [*lines, "why 9", "help why"]) == (
        "Ok: 101\nOk: 102\n2 is alive\n\nOk\n"
        f"1 is dead: killed(SIGKILL)\n  {because}\n  restarts before it: 0\n\nOk: 103\n"
        f"1 is alive, after killed(SIGKILL)\n  {because}\n  restarts before it: 0\n\n"
        "5 is gone: normal\n  restarts before it: 0\n\nError: Not found\n"
        "why ID  how node ID ended last, with all that is known of it; or: ID is alive\n\nOk\n"
    )


@pytest.mark.parametrize("fate", [NodeState.RESTARTING, NodeState.GIVEN_UP])
async def test_between_two_lives_a_node_answers_as_a_dead_one(fate: NodeState) -> None:
    tree = FakeTree()
    await tree.create(1, -1)
    await tree.create(2, 1)
    tree.die(1)
    tree.mark(1, fate)
    lines = ["exec 1 time", "ping 1", "create 3 1", "create 1", "all", "tree", "help 1"]
    assert await converse(tree, lines) == (
        "Error:1: Node is unavailable\nOk: 0\nError: Parent is unavailable\n"
        f"Error: Already exists\n2\n-1 pid 100 ok\n  1 pid 101 {fate.value}\n    2 pid 102 ok\n\n"
        "start() -> None\nstop() -> None\ntime() -> int\n\nOk\n"
    )


async def test_the_next_life_ends_an_outage(autojump_clock: MockClock) -> None:
    tree = FakeTree()

    async def live_again() -> None:
        await trio.sleep(0.6)
        tree.revive(1)

    lines = ["create 1", "heartbeat 100", "kill 1", "sleep 1000", "exec 1 time"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(live_again)
        assert await converse(tree, lines) == (
            "Ok: 101\nOk\nOk\nHeartbit: node 1 is unavailable now\n"
            "Heartbit: node 1 is available again\nOk\nOk:1: 0\nOk\n"
        )


async def test_what_ends_of_itself_leaves_its_id_free(autojump_clock: MockClock) -> None:
    tree = FakeTree()

    async def vanish() -> None:
        await trio.sleep(0.5)
        tree.vanish(1)

    lines = ["create 1", "sleep 1000", "exec 1 time", "create 1", "all", "remove 1", "all"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(vanish)
        assert await converse(tree, lines) == (
            "Ok: 101\nOk\nError:1: Not found\nOk: 102\n1\nOk\n\nOk\n"
        )


async def test_what_is_gone_when_its_turn_comes_is_not_found() -> None:
    class Fleeting(FakeTree):
        async def remove(self, id: Id) -> bool:
            raise UnknownNode(id)

        async def kill(self, id: Id) -> None:
            raise UnknownNode(id)

        async def restart(self, id: Id) -> Created:
            raise UnknownNode(id)

    lines = ["create 1", "kill 1", "restart 1", "remove 1"]
    assert await converse(Fleeting(), lines) == "Ok: 101\n" + "Error: Not found\n" * 3 + "Ok\n"


async def test_a_tree_of_names(autojump_clock: MockClock) -> None:
    tree = FakeTree()
    await tree.create("boss", -1)
    await tree.create("boss/cell", "boss")

    async def spawn() -> None:
        await trio.sleep(0.5)
        await tree.create("kid-1", "boss")

    lines = {
        "all": "boss boss/cell",
        "create mine boss/cell": "Ok: 103",
        "sleep 1000": "Ok",
        "exec kid-1 time": "Ok:kid-1: 0",
        "create last": "Ok: 105",
        " all": "boss boss/cell mine kid-1 last",
        "exec controller time": "Error: ID must be the name of a node, not 'controller'",
        "exec nobody time": "Error:nobody: Not found",
        "create kid-1": "Error: Already exists",
        "kill mine": "Ok",
        "ping mine": "Ok: 0",
        "heartbeat 20": "Ok",
        "tree": "-1 pid 100 ok\n  boss pid 101 ok\n    boss/cell pid 102 ok\n"
        "      mine pid 103 dead\n    kid-1 pid 104 ok\n  last pid 105 ok\n",
        "sleep 100": "Heartbit: node mine is unavailable now\nOk",
        "remove boss": "Ok",
        "ping kid-1": "Error: Not found",
        "create kid-1 ": "Ok: 106",
        "all ": "last kid-1",
    }
    async with trio.open_nursery() as nursery:
        nursery.start_soon(spawn)
        assert await converse(tree, list(lines), named=True) == "".join(
            f"{answer}\n" for answer in [*lines.values(), "Ok"]
        )
