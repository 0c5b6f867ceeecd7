"""The console script with classes of the user's own: as nodes, and as a tree that it runs."""

import json
import signal
from pathlib import Path

import pytest

from tests.real import END_S, Console, freeze, open_console, thaw, until

pytestmark = pytest.mark.real

COUNTER = "tests.shell_actors:Counter"
BOSS = "tests.shell_actors:Boss"


async def lines_of(console: Console, command: str) -> list[str]:
    """An answer of many lines, without its empty last one."""
    await console.say(command)
    lines = []
    while line := await console.line():
        lines.append(line)
    return lines


async def test_any_class_of_actors_is_a_node() -> None:
    async with open_console() as console:
        for line in (
            f"create 1 --actor {COUNTER} 5 'a b' 2.5",
            "create 2 1",
            f"create 3 2 --actor {COUNTER}",
        ):
            assert (await console.ask(line)).startswith("Ok: ")
        assert await console.ask("exec 1 made_of") == 'Ok:1: [5, "a b", 2.5]'
        assert await console.ask("exec 3 made_of") == 'Ok:3: [0, "", 1.0]'
        assert await console.ask("exec 1 add -2") == "Ok:1: 3"
        assert await console.ask("exec 2 start") == "Ok:2"
        assert await console.ask("exec 2 add 1") == "Error:2: Unknown command"
        assert [row.split()[0] for row in await console.tree()] == ["1", "2", "3"]
        assert await console.ask_all("ping 1", "kill 3", "ping 3", "remove 2", "all") == [
            "Ok: 1", "Ok", "Ok: 0", "Ok", "1",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("create 1 --actor nowhere_zz:X", "Error: Already exists"),
        ("create 2 9 --actor nowhere_zz:X", "Error: Parent not found"),
        ("create 2 --actor nowhere_zz:X", "Error: there is no module 'nowhere_zz'"),
        ("create 2 --actor json:JSONDecoder", "Error: json:JSONDecoder is no class of actors"),
        (f"create 2 --actor {COUNTER} x", "Error: Counter: start='x': Expected `int`, got `str`"),
        (
            f"create 2 --actor {COUNTER} 1 2 3 4",
            "Error: Counter takes at most 3 arguments, but was given '4' too",
        ),
        (
            f"create 2 1 --actor {COUNTER} -1",
            "Error: ValueError: start must not be negative: -1",
        ),
    ],
)
async def test_a_create_that_fails_says_why_and_leaves_nothing(line: str, answer: str) -> None:
    async with open_console() as console:
        await console.create(1)
        assert await console.ask(line) == answer
        assert await console.ask("all") == "1"
        await console.create(2)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (
            "exec 1 types 5 aGk= red 2026-01-02T03:04:05Z",
            "Ok:1: ('5', b'aGk=', 'RED', '2026-01-02T03:04:05+00:00')",
        ),
        (
            """exec 1 boxes '{"corner": {"x": 1}, "sides": {"a": 2}}' '[{"x": 3, "y": 4}]'""",
            'Ok:1: [{"x": 1, "y": 0}, {"x": 3, "y": 4}]',
        ),
        ("""exec 1 boxes '{"corner": {"x": 1}, "sides": {}}'""", 'Ok:1: [{"x": 1, "y": 0}]'),
        ("exec 1 raw", "Ok:1: café"),
        ("exec 1 ponder 0", "Ok:1"),
        ("exec 1 numbers 3", "Ok:1: [0, 1, 2]"),
        ("exec 1 numbers 0", "Ok:1: []"),
        ("exec 1 numbers 2000", "Error:1: numbers has more than 1000 items"),
        ("exec 1 numbers", "Error:1: numbers needs upto"),
        ("exec 1 jump", "Error:1: Unknown command"),
        ("exec 1 on_start", "Error:1: Unknown command"),
        ("exec 1 spawn x", "Error:1: Unknown command"),
        ("exec 1 _value", "Error:1: Unknown command"),
        ("exec 1 add", "Error:1: add needs amount"),
        ("exec 1 add one", "Error:1: add: amount='one': Expected `int`, got `str`"),
        ("exec 1 add 1 2", "Error:1: add takes at most 1 argument, but was given '2' too"),
        (
            "exec 1 boxes '{}'",
            "Error:1: boxes: box='{}': Object missing required field `corner`",
        ),
        ("exec 1 fail 'a b'", "Error:1: ValueError: a b"),
        ("exec 2 time now", "Error:2: time takes no arguments, but was given 'now'"),
        ("exec 3 add one", "Error:3: Not found"),
    ],
)  # fmt: skip
async def test_arguments_are_of_the_handlers_types(line: str, answer: str) -> None:
    async with open_console() as console:
        await console.say(f"create 1 --actor {COUNTER}", "create 2")
        await console.lines(2)
        assert await console.ask(line) == answer


async def test_an_integer_that_cannot_travel_is_an_error_of_the_line() -> None:
    async with open_console() as console:
        await console.say(f"create 1 --actor {COUNTER}")
        await console.line()
        answer = await console.ask(f"exec 1 add {10**30}")
        assert answer.startswith(f"Error:1: Counter.add: amount={10**30} cannot travel: ")
        assert console.errors() == ""


async def test_help_lists_the_handlers_of_a_node() -> None:
    async with open_console() as console:
        await console.say(f"create 1 --actor {COUNTER}", "create 2", "kill 2")
        await console.lines(3)
        mine = "tests.shell_actors"
        assert await lines_of(console, "help 1") == [
            "add(amount: int) -> int  Add to the counter, and return it.",
            f"boxes(box: {mine}.Box, others: list[{mine}.Point] | None = None)"
            f" -> list[{mine}.Point]",
            "end() -> None  Finish, as it should.",
            "fail(message: str) -> None",
            "leave(code: int) -> None",
            "made_of() -> list[int | str | float]",
            "numbers(upto: int) -> stream of int  Count.",
            "ponder(seconds: float) -> None",
            "raw() -> bytes",
            f"types(text: str, data: bytes, colour: {mine}.Colour, at: datetime.datetime) -> str",
        ]
        assert [line.partition("  ")[0] for line in await lines_of(console, "help 2")] == [
            "start() -> None",
            "stop() -> None",
            "time() -> int",
        ]
        assert await console.ask("help 3") == "Error: Not found"


async def test_a_node_whose_handler_waits_can_be_reached() -> None:
    async with open_console("--deadline", "0.6") as console:
        await console.say(
            f"create 1 --actor {COUNTER}", "exec 1 ponder 30", "ping 1", "exec 1 jump"
        )
        created, *answers = await console.lines(4)
        assert created.startswith("Ok: ")
        assert answers == [
            "Error:1: Node is unavailable", "Ok: 1", "Error:1: Unknown command",
        ]  # fmt: skip


async def test_a_frozen_node_is_unavailable_whatever_it_is_asked_for() -> None:
    async with open_console() as console:
        await console.say(f"create 1 --actor {COUNTER}", "all")
        pid = int((await console.lines(2))[0].removeprefix("Ok: "))
        await freeze(pid)
        assert await console.ask_all("exec 1 add 1", "exec 1 jump", "exec 1 add x", "ping 1") == [
            *["Error:1: Node is unavailable"] * 3, "Ok: 0",
        ]  # fmt: skip
        assert await console.ask(f"create 2 1 --actor {COUNTER}") == "Error: Parent is unavailable"
        thaw(pid)
        await console.becomes(1, "ok")
        assert await console.ask("exec 1 add 0") == "Ok:1: 0"


async def test_a_node_that_finishes_leaves_its_id_free() -> None:
    async with open_console() as console:
        await console.say(f"create 1 --actor {COUNTER}", "create 2 1", "exec 1 end")
        assert (await console.lines(3))[2] == "Ok:1"
        while await console.ask("all"):
            pass
        assert await console.ask("exec 1 add 1") == "Error:1: Not found"
        await console.create(1)


async def test_names_that_are_no_numbers_are_not_shown() -> None:
    async with open_console() as console:
        assert (await console.ask(f"create 1 --actor {BOSS} hi")).startswith("Ok: ")
        assert await console.ask("exec 1 hire 42") == "Ok:1"
        assert [row.split()[0] for row in await console.tree()] == ["1", "42"]
        assert await console.ask_all("all", "exec 42 add 2", "create 42") == [
            "1 42", "Ok:42: 2", "Error: Already exists",
        ]  # fmt: skip
        await until(lambda: "1| hi\n" in console.errors())
        assert await console.ask_all("remove 1", "all") == ["Ok", ""]
        assert console.node_pids() == set()


async def test_modules_of_the_working_directory_are_found(tmp_path: Path) -> None:
    (tmp_path / "mine_zz.py").write_text(
        "import actors\nprint('imported')\n"
        "class Mine(actors.Actor):\n    async def where(self) -> str:\n        return __file__\n"
    )
    (tmp_path / "actors.py").write_text("raise SystemExit('not me')\n")
    async with open_console(cwd=str(tmp_path)) as console:
        assert (await console.ask("create 1 --actor mine_zz:Mine")).startswith("Ok: ")
        assert await console.ask("exec 1 where") == f"Ok:1: {tmp_path}/mine_zz.py"


# A tree of the user's own.


async def test_a_tree_of_names() -> None:
    async with open_console("run", BOSS, "good day") as console:
        rows = {line.split()[0]: line for line in await console.tree()}
        assert list(rows) == ["boss", "kid", "boss/cell"]
        pids = {name: int(line.split()[2]) for name, line in rows.items()}
        assert pids["boss"] == pids["boss/cell"]
        assert console.node_pids() == set(pids.values())
        assert await console.ask("exec kid add 1") == "Ok:kid: 2"
        assert await console.ask("exec boss/cell add 1") == "Ok:boss/cell: 3"
        assert await console.ask("ping boss/cell") == "Ok: 1"
        assert (await lines_of(console, "help boss"))[0] == "end() -> None"
        assert (await console.ask(f"create mine kid --actor {COUNTER} 7")).startswith("Ok: ")
        assert await console.ask("exec mine made_of") == 'Ok:mine: [7, "", 1.0]'
        assert await console.ask("create kid") == "Error: Already exists"
        assert await console.ask("exec boss hire late-1") == "Ok:boss"
        assert await console.ask("all") == "boss kid boss/cell mine late-1"
        assert await console.ask_all("kill mine", "ping mine", "remove kid", "ping mine") == [
            "Ok", "Ok: 0", "Ok", "Error: Not found",
        ]  # fmt: skip
        await until(lambda: "boss| good day\n" in console.errors())
        assert await console.ask("exit") == "Ok"
        assert await console.status() == 0
        await console.nothing_left(END_S)


async def test_a_tree_of_names_in_json() -> None:
    async with open_console("run", BOSS, "--dialect", "json") as console:
        tree = json.loads(await console.ask("tree"))["result"]
        (boss,) = tree["children"]
        assert (boss["id"], boss["guardian"]) == ("boss", -1)
        assert [child["id"] for child in boss["children"]] == ["kid", "boss/cell"]
        answer = json.loads(await console.ask("exec kid add 1"))
        assert (answer["id"], answer["result"]) == ("kid", 2)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([COUNTER, "-1"], "ValueError: start must not be negative: -1"),
        ([COUNTER, "x"], "Counter: start='x': Expected `int`, got `str`"),
        (["nowhere_zz:X"], "there is no module 'nowhere_zz'"),
        (["tests.shell_actors:Point"], "tests.shell_actors:Point is no class of actors"),
    ],
)
@pytest.mark.parametrize("shell", [[], ["--no-shell"]], ids=["shell", "no shell"])
async def test_a_root_that_does_not_come_up(
    arguments: list[str], why: str, shell: list[str]
) -> None:
    async with open_console("run", *arguments, *shell) as console:
        assert await console.output() == ""
        assert await console.status() == 1
        assert f"regrow: {why}\n" in console.errors()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_without_a_shell_it_runs_until_a_signal(number: int) -> None:
    async with open_console("run", "--no-shell", BOSS) as console:
        await children_of(console, 2)
        console.signal(number)
        assert await console.output() == ""
        assert await console.status() == 128 + number
        await console.nothing_left(END_S)


async def children_of(console: Console, count: int) -> set[int]:
    """The pids of its nodes, once there are so many."""
    await until(lambda: len(console.node_pids()) == count)
    return console.node_pids()


ENDS = """
import os, trio
from actors import Actor

class Ends(Actor):
    def __init__(self, how: str) -> None:
        self.how = how

    async def on_start(self) -> None:
        self.nursery.start_soon(self.go)

    async def go(self) -> None:
        await trio.sleep(0.5)  # it is up by then
        if self.how == "finish":
            self.finish()
        elif self.how == "crash":
            raise ValueError("that was it")
        else:
            os._exit(int(self.how))
"""


@pytest.mark.parametrize(
    ("how", "status", "why"),
    [
        ("finish", 0, ""),
        ("0", 0, ""),
        ("7", 1, "regrow: ends ended: exited(7)\n"),
        ("crash", 1, "regrow: ends ended: crashed(ValueError: that was it)\n"),
    ],
)
async def test_without_a_shell_it_ends_with_its_root(
    how: str, status: int, why: str, tmp_path: Path
) -> None:
    (tmp_path / "ends_zz.py").write_text(ENDS)
    options = ("run", "ends_zz:Ends", how, "--no-shell", "--restart", "temporary")
    async with open_console(*options, cwd=str(tmp_path)) as console:
        assert await console.output() == ""
        assert await console.status() == status
        assert console.errors().endswith(why)
        await console.nothing_left(END_S)
