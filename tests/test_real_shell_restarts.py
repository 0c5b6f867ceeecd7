"""The console script when nodes live again, or are given up."""

import os
import signal
from pathlib import Path

import pytest

from shell.certificate import NOT_OURS
from tests.real import END_S, Console, open_console, until

pytestmark = pytest.mark.real

COUNTER = "tests.shell_actors:Counter"
BOSS = "tests.shell_actors:Boss"


async def rows(console: Console) -> dict[str, tuple[int, str]]:
    """The pid and what follows it of each line of ``tree``, by id."""
    split = [line.split(maxsplit=3) for line in await console.tree()]
    return {id: (int(pid), state) for id, _, pid, state in split}


async def reborn(console: Console, id: str, pid: int) -> int:
    """The pid of its next incarnation, once that is up."""
    while True:
        now, state = (await rows(console))[id]
        if now != pid and state.startswith("ok"):
            return now
        await console.ask("sleep 20")


async def test_a_permanent_node_comes_back_under_its_id() -> None:
    async with open_console("--restart", "permanent") as console:
        first = await console.create(1)
        child = await console.create(2, 1)
        assert await console.ask("exec 1 time") == "Ok:1: 0"
        os.kill(first, signal.SIGKILL)
        second = await reborn(console, "1", first)
        assert second != first
        assert (await rows(console))["2"] == (child, "ok")  # it has come back to it
        assert await console.ask_all("ping 1", "create 1", "all") == [
            "Ok: 1", "Error: Already exists", "1 2",
        ]  # fmt: skip
        assert await console.ask_all("kill 1", "remove 1", "all") == ["Ok", "Ok", ""]
        assert console.node_pids() == set()
        await console.create(1)


async def test_between_two_lives_it_answers_as_a_dead_one() -> None:
    options = ("--restart", "permanent", "--intensity", "100/10")
    async with open_console(*options) as console:
        assert (await console.ask(f"create 1 --actor {COUNTER}")).startswith("Ok: ")
        waiting = {"Ok", "Error:1: Node is unavailable", "Ok:1: 0"}
        seen = set()
        for _ in range(6):  # each life is waited for longer
            answers = await console.ask_all("kill 1", "exec 1 add 0", "ping 1", "create 2 1")
            assert answers[0] == "Ok"
            assert answers[1] in waiting
            seen.add(answers[1])
            if answers[3].startswith("Ok"):
                await console.ask("remove 2")
            else:
                assert answers[3] == "Error: Parent is unavailable"
        assert "Error:1: Node is unavailable" in seen
        await console.becomes(1, "ok")
        assert await console.ask("exec 1 add 0") == "Ok:1: 0"


@pytest.mark.parametrize(
    ("restart", "line", "comes_back"),
    [
        ("temporary", "exec 1 leave 3", False),
        ("transient", "exec 1 leave 3", True),
        ("transient", "exec 1 leave 0", False),
        ("permanent", "exec 1 leave 0", True),
        ("permanent", "exec 1 end", True),
        ("permanent", "kill 1", True),
    ],
)
async def test_who_comes_back_from_what(restart: str, line: str, comes_back: bool) -> None:
    async with open_console("--restart", restart) as console:
        pid = int((await console.ask(f"create 1 --actor {COUNTER}")).removeprefix("Ok: "))
        assert await console.ask(line) in ("Ok", "Ok:1", "Error:1: Node is unavailable")
        if comes_back:
            await reborn(console, "1", pid)
            assert await console.ask("exec 1 add 2") == "Ok:1: 2"
        else:
            await console.becomes(1, "dead")
            await console.silence(0.3)
            assert (await rows(console))["1"] == (pid, "dead")


async def test_a_node_over_the_budget_is_given_up() -> None:
    async with open_console("--restart", "permanent", "--intensity", "1/60") as console:
        pid = await console.create(1)
        await console.ask("kill 1")
        await reborn(console, "1", pid)
        assert await console.ask("kill 1") == "Ok"
        await console.becomes(1, "given up")
        assert await console.ask_all("exec 1 time", "ping 1", "create 1", "all") == [
            "Error:1: Node is unavailable", "Ok: 0", "Error: Already exists", "",
        ]  # fmt: skip
        await until(lambda: "1 given up" in console.errors())
        assert (await console.ask("restart 1")).startswith("Ok: ")
        assert await console.ask_all("exec 1 time", "remove 1", "all") == ["Ok:1: 0", "Ok", ""]


async def test_restart_gives_the_pid_of_the_next_life() -> None:
    async with open_console() as console:
        pid = await console.create(1)
        child = await console.create(2, 1)
        answer = await console.ask("restart 1")
        assert answer == f"Ok: {(await rows(console))['1'][0]}"
        assert answer != f"Ok: {pid}"
        assert (await rows(console))["2"] == (child, "ok")
        await console.say("restart 1", "exec 1 time", "kill 1", "restart 1", "ping 1", "restart 9")
        first, time, kill, second, ping, unknown = await console.lines(6)
        assert first.startswith("Ok: ")
        assert (time, kill, ping, unknown) == ("Ok:1: 0", "Ok", "Ok: 1", "Error: Not found")
        assert second == f"Ok: {(await rows(console))['1'][0]}"


async def test_one_for_all_under_the_controller() -> None:
    options = ("--restart", "permanent", "--strategy", "one_for_all")
    async with open_console(*options) as console:
        pids = {str(id): await console.create(id) for id in (1, 2, 3)}
        os.kill(pids["2"], signal.SIGKILL)
        for id, pid in pids.items():
            await reborn(console, id, pid)
        assert await console.ask("all") == "1 2 3"


async def test_the_root_of_a_tree_comes_back_and_its_children_to_it() -> None:
    async with open_console("run", BOSS) as console:
        before = await rows(console)
        assert await console.ask("exec kid add 5") == "Ok:kid: 6"
        assert await console.ask("kill boss") == "Ok"
        pid = await reborn(console, "boss", before["boss"][0])
        after = await rows(console)
        assert after["kid"] == before["kid"]
        assert after["boss/cell"] == (pid, "ok")
        assert await console.ask("exec kid add 1") == "Ok:kid: 7"
        assert await console.ask("exec boss/cell add 0") == "Ok:boss/cell: 2"
        assert await console.ask("exec boss end") == "Ok:boss"
        while await console.ask("all"):
            await console.ask("sleep 20")
        assert console.node_pids() == set()


async def test_without_a_shell_a_root_that_is_given_up_is_the_end(tmp_path: Path) -> None:
    (tmp_path / "doomed_zz.py").write_text(
        "import os, trio\nfrom actors import Actor\n"
        "class Doomed(Actor):\n"
        "    async def on_start(self) -> None:\n        self.nursery.start_soon(self.go)\n"
        "    async def go(self) -> None:\n        await trio.sleep(0.3)\n        os._exit(7)\n"
    )
    options = ("run", "doomed_zz:Doomed", "--no-shell", "--intensity", "1/60")
    async with open_console(*options, cwd=str(tmp_path)) as console:
        assert await console.output() == ""
        assert await console.status() == 1
        assert "regrow: doomed ended: exited(7)\n" in console.errors()
        assert "doomed given up" in console.errors()
        await console.nothing_left(END_S)


async def test_why_tells_how_a_node_was_killed() -> None:
    async with open_console("--restart", "permanent") as console:
        first = await console.create(1)
        assert await console.ask_all("why 1", "# nothing") == ["1 is alive", ""]
        os.kill(first, signal.SIGKILL)
        await reborn(console, "1", first)
        lines = await certificate(console, 1)
        assert lines[0] == "1 is alive, after killed(SIGKILL)"
        assert lines[1] == f"  because: signal 9, {NOT_OURS}"
        assert lines[2].startswith("  used: ")
        assert lines[3:] == ["  restarts before it: 0"]
        assert await console.ask("why 2") == "Error: Not found"
        await console.create(3)
        assert await console.ask("kill 3") == "Ok"
        assert (await certificate(console, 3))[1] == "  because: a kill, ordered in this system"


async def certificate(console: Console, id: int) -> list[str]:
    await console.say(f"why {id}")
    lines = []
    while line := await console.line():
        lines.append(line)
    return lines
