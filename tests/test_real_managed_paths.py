"""A controller that manages the paths of its links itself, and a node on another host."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from actors.testing import lab
from actors.testing.lab import Host
from tests import mptcp
from tests.real import ROOT, environment
from tests.test_real_joined_paths import Answers, options, start

WHY_NOT = mptcp.missing() or lab.missing()
pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]
BOUND_S = 120.0
WIRES = ("10.0.1.2 -> 10.0.1.1", "10.0.2.2 -> 10.0.1.1")


class Shell:
    """A controller's shell, on its host."""

    def __init__(self, host: Host, home: str, ticket: Path) -> None:
        argv = [sys.executable, "-m", "shell", "--path-manager", "userspace"]
        argv += ["--join-file", str(ticket), "--deadline", "30", *options(2, ":10000")]
        with host.inside():
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment(home),
                cwd=ROOT,
            )
        self.answers = Answers(self.process)

    def say(self, *lines: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("".join(f"{line}\n" for line in lines).encode())
        self.process.stdin.flush()

    async def hear(self, line: str) -> None:
        """That has been said, at some time."""
        await self.answers.until(1, line)
        assert any(each.startswith(line) for each in self.answers.lines), self.answers.lines

    async def ask(self, times: int) -> None:
        """So many questions were answered by the node, in order."""
        before = sum(line.startswith("Ok:7: ") for line in self.answers.lines)
        self.say(*["exec 7 add 1"] * times)
        await self.answers.until(before + times, "Ok:7: ")
        heard = [line for line in self.answers.lines if line.startswith("Ok:7: ")]
        assert heard[before:] == [f"Ok:7: {before + each}" for each in range(1, times + 1)]

    async def lines(self, command: str) -> list[str]:
        """What the shell answers, up to an empty line."""
        begin = len(self.answers.lines)
        self.say(command)
        while "" not in self.answers.lines[begin:]:
            await self.answers.until(len(self.answers.lines) + 1, "")
        return self.answers.lines[begin:]

    async def sent(self) -> dict[str, int]:
        """Bytes by path of the link to the node, without ports; those that are established."""
        found: dict[str, int] = {}
        ours = False
        for line in await self.lines("links -1"):
            if line.startswith(("->", "<-")):
                ours = line.startswith("-> 7 ")
            path = re.match(r"  path (\S+):\d+ -> (\S+):\d+ established .* sent (\d+)", line)
            if ours and path:
                found[f"{path[1]} -> {path[2]}"] = int(path[3])
        return found

    async def has(self, *paths: str) -> dict[str, int]:
        """The link has these paths; what each of them has carried."""
        while set(found := await self.sent()) != set(paths):  # noqa: ASYNC110
            await trio.sleep(0.1)
        return found

    async def joined(self) -> None:
        while not re.search("7 pid 0 ok", str(await self.lines("tree"))):  # noqa: ASYNC110
            await trio.sleep(0.1)


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    with lab.open_pair(2) as pair:
        pair[0].run("ip", "mptcp", "limits", "set", "subflow", "4", "add_addr_accepted", "2")
        yield pair


async def test_a_path_is_added_carries_is_a_backup_is_lost_comes_back_and_is_removed(
    hosts: tuple[Host, Host], home: str, tmp_path: Path
) -> None:
    there, here = hosts
    ticket = tmp_path / "join"
    node: subprocess.Popen[bytes] | None = None
    with trio.fail_after(BOUND_S):
        shell = Shell(here, home, ticket)
        try:
            while not ticket.exists():  # noqa: ASYNC110
                await trio.sleep(0.05)
            node = start(
                there,
                home,
                *("join", "10.0.1.2:10000", "--key", str(ticket), "--name", "7"),
                *("--actor", "tests.test_real_joined_paths:Counter"),
                *("--transport", "mptcp", "--listen", "10.0.1.1"),
            )
            await shell.joined()
            await shell.ask(10)
            await shell.has(WIRES[0])
            shell.say("paths limits 2 4", "paths add 10.0.2.2 dev eth2 subflow signal id 9")
            before = await shell.has(*WIRES)
            here.ip("link set eth1 down")
            await shell.hear(f"Link: node 7 lost path {WIRES[0]}")
            await shell.ask(200)
            after = await shell.has(WIRES[1])
            assert after[WIRES[1]] > before[WIRES[1]]
            here.ip("link set eth1 up")
            lab.restore_routes(there, here)
            await shell.hear(f"Link: node 7 regained path {WIRES[0]}")
            await shell.has(*WIRES)
            shell.say("paths backup 9 on")
            await shell.ask(50)
            before = await shell.has(*WIRES)
            await shell.ask(100)
            after = await shell.has(*WIRES)
            assert after[WIRES[0]] > before[WIRES[0]]
            assert after[WIRES[1]] == before[WIRES[1]]
            shell.say("paths remove 9")
            await shell.hear(f"Link: node 7 lost path {WIRES[1]}")
            await shell.has(WIRES[0])
            await shell.ask(100)
            assert not [line for line in shell.answers.lines if line.startswith("Error")]
        finally:
            for process in (shell.process, node):
                if process is not None:
                    process.kill()
                    process.wait()
                    for pipe in (process.stdin, process.stdout):
                        if pipe is not None:
                            pipe.close()
