"""The console script with a state file: killed controllers, and trees that come back."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
import trio

from actors.archive.state_file import read_state
from runtime.cells.snapshot import Kept
from runtime.processes import procfs
from tests.real import END_S, Console, family, open_console, until

pytestmark = pytest.mark.real

TALLY = "tests.kept_actors:Tally"
FAMILY = "tests.kept_actors:Family"


def names(path: Path) -> list[str]:
    return [each.place.name for each in read_state(path).held]


async def shape(console: Console) -> list[tuple[str, str]]:
    """Each line of ``tree``, without the pid."""
    rows = [
        (line.partition(" pid ")[0], line.split(maxsplit=3)[3]) for line in await console.tree()
    ]
    return rows


def archive(console: Console) -> list[int]:
    """The pid of the archive, if it lives."""
    return [pid for pid in family(console.pid)["nodes"] if procfs.name(pid) == "_archive"]


async def milliseconds(console: Console, id: int) -> int:
    answer = await console.ask(f"exec {id} time")
    assert answer.startswith(f"Ok:{id}: "), answer
    return int(answer.rpartition(" ")[2])


async def kill(console: Console) -> None:
    """The controller is killed, and all that was its."""
    console.signal(signal.SIGKILL)
    assert await console.status() == -signal.SIGKILL


def state_of(path: Path, name: str) -> Any:
    """What the file has of an actor; None if nothing."""
    found = [each.kept for each in read_state(path).held if each.place.name == name]
    if not any(found):
        return None
    return msgspec.msgpack.decode(msgspec.msgpack.decode(found[0], type=Kept).state)


async def kept(path: Path, count: int, **states: Any) -> None:
    """The file holds so many places, and these states; ``_2`` is that of 2."""

    def holds() -> bool:
        return len(names(path)) == count and all(
            state_of(path, name.removeprefix("_")) == state for name, state in states.items()
        )

    await until(holds)


def stopwatches(path: Path) -> dict[int, tuple[bool, int]]:
    """Whether they run, and the milliseconds of one that does not, as the file has them."""
    found = {}
    for id in (2, 5, 7):
        total_s, runs = state_of(path, str(id)) or (0.0, False)
        found[id] = runs, 0 if runs else int(total_s * 1000)
    return found


async def test_a_tree_of_seven_comes_back_with_running_stopwatches(tmp_path: Path) -> None:
    path = tmp_path / "tree"
    options = ("--state", str(path))
    async with open_console(*options) as console:
        for id, parent in ((1, -1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3), (7, 3)):
            await console.create(id, parent)
        for id in (2, 5, 7):
            assert await console.ask(f"exec {id} start") == f"Ok:{id}"
        await trio.sleep(0.3)
        assert await console.ask("exec 5 stop") == "Ok:5"
        stopped = await milliseconds(console, 5)
        running = {id: await milliseconds(console, id) for id in (2, 7)}
        before = await shape(console)
        await until(lambda: stopwatches(path) == {2: (True, 0), 5: (False, stopped), 7: (True, 0)})
        assert len(names(path)) == 7
        began_at = trio.current_time()
        await kill(console)
    async with open_console(*options, "--resume") as console:
        assert await shape(console) == before
        assert await console.ask("all") == "1 2 3 4 5 6 7"
        assert await milliseconds(console, 5) == stopped >= 300
        assert await milliseconds(console, 1) == 0
        gone_ms = int((trio.current_time() - began_at) * 1000)
        for id, before_ms in running.items():
            assert await milliseconds(console, id) >= before_ms + gone_ms
        await console.create(8, 7)
        assert await console.ask_all("remove 2", "all") == ["Ok", "1 3 6 7 8"]
        await console.say("exit")
        assert await console.line() == "Ok"
        assert await console.status() == 0
        await console.nothing_left(END_S)
    async with open_console(*options, "--resume") as console:
        assert await console.ask("all") == "1 3 6 7 8"


Tree = tuple[tuple[str, str, int], ...]
"""(name, parent, count) in order of creation."""


def changes(chance: Random, count: int) -> tuple[list[str], list[Tree]]:
    """Random commands, and the tree before the first and after each of them."""
    tree: dict[str, tuple[str, int]] = {}
    lines, states = [], [Tree()]
    for number in range(count):
        name = chance.choice(list(tree)) if tree else "-1"
        kind = chance.random()
        if not tree or kind < 0.4:
            lines.append(f"create {number} {name} --actor {TALLY}")
            tree[str(number)] = ("controller" if name == "-1" else name, 0)
        elif kind < 0.85:
            lines.append(f"exec {name} add {number}")
            tree[name] = (tree[name][0], tree[name][1] + number)
        else:
            lines.append(f"remove {name}")
            gone = {name}
            for each, (parent, _) in list(tree.items()):
                if each in gone or parent in gone:
                    gone.add(each)
                    del tree[each]
        states.append(tuple((each, *tree[each]) for each in tree))
    return lines, states


@pytest.mark.parametrize("seed", range(5))
async def test_what_a_kill_leaves_is_the_tree_as_it_was_at_some_instant(
    tmp_path: Path, seed: int
) -> None:
    path = tmp_path / "tree"
    chance = Random(seed)
    lines, states = changes(chance, 1000)
    answered = 0

    async def change(console: Console) -> None:
        nonlocal answered
        for line in lines:
            assert (await console.ask(line)).startswith("Ok")
            answered += 1

    async with open_console("--state", str(path)) as console:
        assert (await console.ask("ping 0")) == "Error: Not found"
        with trio.move_on_after(chance.uniform(0.5, 3)):
            await change(console)
        await kill(console)
    async with open_console("--state", str(path), "--resume") as console:
        found = []
        for each in read_state(path).held:
            count = await console.ask(f"exec {each.place.name} add 0")
            assert count.startswith(f"Ok:{each.place.name}: "), count
            found.append((each.place.name, each.place.parent, int(count.rpartition(" ")[2])))
        assert tuple(found) in states[: answered + 2]
        assert await console.ask("all") == " ".join(name for name, _, _ in found)


async def test_a_killed_archive_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tree"
    options = ("--state", str(path))
    async with open_console(*options) as console:
        assert (await console.ask(f"create 1 --actor {TALLY}")).startswith("Ok: ")
        await kept(path, 1)
        for count in range(1, 6):
            os.kill(archive(console)[0], signal.SIGKILL)
            assert await console.ask("exec 1 add 1") == f"Ok:1: {count}"
            await kept(path, 1, _1=count)
        assert console.errors().count("not kept") <= 5
        await kill(console)
    async with open_console(*options, "--resume") as console:
        assert await console.ask("exec 1 add 0") == "Ok:1: 5"


async def test_a_second_controller_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "tree"
    options = ("--state", str(path))
    async with open_console(*options) as console:
        await console.create(1)
        await kept(path, 1)
        for more in ((), ("--resume",)):
            async with open_console(*options, *more) as second:
                assert await second.output() == ""
                assert await second.status() == 1
                assert second.errors() == f"regrow: state file {path}: another system uses it\n"
        assert await console.ask("ping 1") == "Ok: 1"
        await kill(console)
    async with open_console(*options, "--resume") as console:
        assert await console.ask("ping 1") == "Ok: 1"


@pytest.mark.parametrize(
    ("options", "status", "why"),
    [
        (("--state", "tree", "--resume"), 1, "tree: there is no such file"),
        (("--state", "letters"), 1, "letters: it is no SQLite database"),
        (("--state", "none/tree"), 1, "none/tree: it cannot be made: No such file or directory"),
        (("--resume",), 2, "--resume takes a state to resume from: --state PATH"),
        (("run", TALLY, "--resume"), 2, "--resume takes a state to resume from: --state PATH"),
    ],
)
async def test_what_cannot_be_resumed_is_said_on_stderr(
    tmp_path: Path, options: tuple[str, ...], status: int, why: str
) -> None:
    (tmp_path / "letters").write_text("dear\n")
    async with open_console(*options, cwd=str(tmp_path)) as console:
        assert await console.output() == ""
        assert await console.status() == status
        assert why in console.errors()
        await console.nothing_left(END_S)
    assert os.listdir(tmp_path) == ["letters"]


async def test_a_users_tree_comes_back_with_its_root(tmp_path: Path) -> None:
    path = tmp_path / "tree"
    options = ("run", FAMILY, "--state", str(path))
    async with open_console(*options) as console:
        assert await console.ask("exec two add 5") == "Ok:two: 7"
        before = await shape(console)
        await kept(path, 3, two=7)  # a snapshot a second
        await kill(console)
    async with open_console(*options, "--resume") as console:
        assert await shape(console) == before
        assert await console.ask("exec two add 0") == "Ok:two: 7"
        assert "_archive" not in await console.ask("all")


async def test_while_the_disk_refuses_the_tree_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "tree"
    async with open_console("--state", str(path)) as console:
        assert (await console.ask(f"create 1 --actor {TALLY}")).startswith("Ok: ")
        await kept(path, 1)
        base = sqlite3.connect(path, isolation_level=None)
        base.execute("BEGIN IMMEDIATE")
        assert await console.ask("exec 1 add 1") == "Ok:1: 1"
        await until(lambda: "the state is not kept for now" in console.errors())
        assert await console.ask("exec 1 add 1") == "Ok:1: 2"
        base.execute("ROLLBACK")
        base.close()
        await until(lambda: "the state is kept again" in console.errors())
        await kill(console)
    async with open_console("--state", str(path), "--resume") as console:
        assert await console.ask("exec 1 add 0") == "Ok:1: 2"
