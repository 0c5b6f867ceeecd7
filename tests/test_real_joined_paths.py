"""A controller on one host, a node that joined on another, two wires: one is lost under load.

A few of the cases that `tests.bench_paths` plays with 100,000 messages (``make paths``).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from actors.actor import Actor
from actors.testing import lab
from actors.testing.lab import Host, Lab
from tests import mptcp
from tests.path_cells import ENDS, LOSSES, PATHS, Cell, offer, play
from tests.real import ROOT, environment

WHY_NOT = mptcp.missing() or lab.missing("nft", "tc")
pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]
ASKS = 3_000
MESSAGES = 1_000
STALL_S = 0.5
BOUND_S = 120.0
LOOKS = 6


class Counter(Actor):
    def __init__(self) -> None:
        self.value = 0

    async def add(self, amount: int) -> int:
        self.value += amount
        return self.value


# Each kind of loss and each path once, each end twice.
CELLS = [
    Cell(loss, end, path) for loss, end, path in zip(LOSSES, (*ENDS, *ENDS), PATHS, strict=True)
]


@pytest.mark.parametrize("cell", CELLS, ids=str)
async def test_a_path_is_lost_and_nothing_else(
    cell: Cell, home: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with trio.fail_after(BOUND_S):
        seen = await play(cell, MESSAGES, away_s=1.0)
    with capsys.disabled():
        print(f" {cell}: worst stall {seen.stalls.net_s * 1000:.0f} ms", end=" ")
    assert seen.complaint == ""
    assert seen.account.noted >= MESSAGES
    assert seen.stalls.net_s < 5 * STALL_S


@pytest.fixture
def hosts(regrow_lab: Lab) -> tuple[Host, Host]:
    server, client = regrow_lab.pair(2)
    for host in (server, client):
        host.run("ip", "mptcp", "limits", "set", "subflow", "4", "add_addr_accepted", "2")
    offer(server, client)
    return server, client


def start(host: Host, home: str, *arguments: str) -> subprocess.Popen[bytes]:
    argv = (sys.executable, "-m", "shell", *arguments)
    return host.popen(*argv, environ=environment(home), stdout=subprocess.PIPE, cwd=ROOT)


def options(last: int, port: str) -> tuple[str, ...]:
    """Where the processes of a host listen."""
    listen = [("--listen", f"10.0.{wire}.{last}{port}") for wire in (1, 2)]
    return ("--transport", "mptcp", *listen[0], *listen[1])


class Answers:
    """The lines of a process as they come."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._fd = process.stdout.fileno()
        self._rest = b""
        self.lines: list[str] = []

    async def until(self, count: int, beginning: str) -> None:
        """So many lines that begin so have come, or the last of all."""
        while sum(line.startswith(beginning) for line in self.lines) < count:
            await trio.lowlevel.wait_readable(self._fd)
            data = os.read(self._fd, 65536)
            if not data:
                return
            *whole, self._rest = (self._rest + data).split(b"\n")
            self.lines += (line.decode() for line in whole)


async def test_the_shell_does_not_notice(
    hosts: tuple[Host, Host], home: str, tmp_path: Path
) -> None:
    server, client = hosts
    ticket, script = tmp_path / "join", tmp_path / "script"
    script.write_text(
        "heartbeat 1000\nsleep 4000\n"
        + "sleep 1000\ntree\nlinks 7\n" * LOOKS
        + "exec 7 add 1\n" * ASKS
        + "sleep 1000\ntree\n"
    )
    with trio.fail_after(BOUND_S):
        join = ("--join-file", str(ticket), "--script", str(script), "--deadline", "30")
        controller = start(server, home, *options(1, ":10000"), *join)
        node: subprocess.Popen[bytes] | None = None
        try:
            while not ticket.exists():  # noqa: ASYNC110
                await trio.sleep(0.05)
            node = start(
                client,
                home,
                *("join", "10.0.1.1:10000", "--key", str(ticket), "--name", "7"),
                *("--actor", "tests.test_real_joined_paths:Counter", *options(2, "")),
            )
            answers = Answers(controller)
            await answers.until(ASKS // 4, "Ok:7: ")
            client.filter("output oifname eth1 drop", "input iifname eth1 drop")
            await answers.until(ASKS + 1, "Ok:7: ")
        finally:
            for process in (controller, node):
                if process is not None:
                    process.kill()
                    process.wait()
                    assert process.stdout is not None
                    process.stdout.close()
    lines = answers.lines
    assert [line for line in lines if line.startswith("Ok:7: ")] == [
        f"Ok:7: {number}" for number in range(1, ASKS + 1)
    ]
    paths: list[int] = []  # by look
    for line in lines:
        if line.strip().startswith("7 pid"):
            paths.append(0)
        elif line.startswith("  path 10.0."):
            paths[-1] += 1
    assert max(paths) == 4  # two a stream, once both are known at both ends
    assert not [line for line in lines if line.startswith(("Error", "Heartbit"))]
    assert [line for line in lines if line.strip().startswith("7 pid")] == ["  7 pid 0 ok"] * (
        LOOKS + 1
    )
