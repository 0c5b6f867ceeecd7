"""Two hosts of the laboratory, and every path between them lost for a while."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from actors.testing.lab import Host, missing, open_pair
from tests.real import REGROW, environment, home_folder, marked, until

WHY = missing("nft")
pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(WHY), reason=WHY)]

BOUND_S = 60.0
AWAY_S = 8.0


def start(host: Host, home: str, *argv: str) -> subprocess.Popen[bytes]:
    """A process of that host, with pipes."""
    with host.inside():
        return subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(home),
            cwd=Path(__file__).parent.parent,
        )


class Lines:
    """What a process prints."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._fd = process.stdout.fileno()
        self._rest = b""

    async def next(self) -> str:
        while b"\n" not in self._rest:
            await trio.lowlevel.wait_readable(self._fd)
            data = os.read(self._fd, 65536)
            assert data, "it has ended"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()


async def test_a_link_whose_paths_were_away_resumes_and_has_lost_nothing(
    tmp_path: Path,
) -> None:
    file = str(tmp_path / "join")
    with home_folder() as home, open_pair(1) as (server, client), trio.fail_after(3 * BOUND_S):
        controller = start(server, home, sys.executable, "-m", "tests.across", "10.0.1.1", file)
        lines = Lines(controller)
        _, port = (await lines.next()).split()
        address = f"10.0.1.1:{port}"
        node = start(
            client, home, REGROW, "join", address, "--key", file, "--name", "far",
            "--actor", "tests.cut_actors:Sink",
        )  # fmt: skip
        try:
            assert await lines.next() == "up"
            await trio.sleep(1.0)
            client.filter("input drop", "output drop")
            what, seconds = (await lines.next()).split()
            assert what == "silent"
            assert 1.0 <= float(seconds) <= 2.5  # 4 to 5 beats, on an idle machine
            await trio.sleep(AWAY_S)
            client.unfilter()
            assert await lines.next() == "heard"
            await trio.sleep(1.0)
            assert controller.stdin is not None
            controller.stdin.write(b"\n")
            controller.stdin.flush()
            found = json.loads(await lines.next())
            assert found["told"] == found["accepted"]
            assert len(found["told"]) > 100
            assert found["asked"] == sorted(set(found["asked"]))
            assert set(found["answered"]) <= set(found["asked"])
            assert found["unreachable"] > 0
            assert found["balances"]
            assert found["undelivered"] == 0
            assert found["states"] == ["ok"]
            await until(lambda: None not in (controller.poll(), node.poll()))
            assert (controller.returncode, node.returncode) == (0, 0)
        finally:
            for process in (node, controller):
                process.kill()
                process.communicate()
        assert marked(home) == []
