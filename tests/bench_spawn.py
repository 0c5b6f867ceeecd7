"""Rows: what a node costs to start and to keep."""

from __future__ import annotations

import re
import statistics
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

import trio

from actors.node import ComputeNode
from actors.system import open_system
from tests.bench_calls import new_endpoint
from tests.bench_process import floor_command, open_child, shell_command
from tests.bench_row import Note, Round, Row, at_most

NODES = 16
SETTLE_S = 0.5


class Create(Row):
    """Through the real shell, over pipes: from writing ``create N`` to reading its answer.

    The first ones, which warm it up, do not count; all nodes stay, each under the controller.
    Cold interpreters are started in between.
    """

    name = "create to its answer"
    floor_name = 'python -c "import trio, zmq"'
    unit = "ms"
    must = at_most(1 / 12)
    aim = at_most(1 / 25)

    async def round(self) -> Round:
        created: list[float] = []
        cold: list[float] = []
        async with open_child(*shell_command()) as regrow:
            for number in range(1, 29):
                if number % 7 == 1:
                    cold.append(await self._cold_ms())
                began = time.perf_counter()
                await regrow.send(b"create %d\n" % number)
                answer = await regrow.line()
                created.append((time.perf_counter() - began) * 1e3)
                if not answer.startswith("Ok: "):
                    raise RuntimeError(f"create {number}: {answer}")
        return Round(
            statistics.median(created[4:]),
            statistics.median(cold),
            {"the first create, shell and zygote included": Note(created[0], "ms")},
        )

    async def _cold_ms(self) -> float:
        began = time.perf_counter()
        async with open_child(sys.executable, "-c", "import trio, zmq"):
            pass
        return (time.perf_counter() - began) * 1e3


class IdleNode(Row):
    """One of 16 that were asked once and have nothing to do but to beat.

    PSS: what is shared counts in equal parts, so the zygote's part of what the nodes share with
    it is a note.
    """

    name = "memory of an idle node, of 16 (PSS)"
    floor_name = "plain trio + ROUTER, of 16"
    unit = "MiB"
    must = at_most(1 / 4)
    aim = at_most(1 / 5)

    async def round(self) -> Round:
        bare = await self._bare_mib()
        async with open_system(signals=False) as system:
            for number in range(NODES):
                node = await system.spawn(ComputeNode, name=str(number + 1))
                await node.ask(ComputeNode.time)
            await trio.sleep(SETTLE_S)
            pids = [row.pid for row in await system.tree() if row.name.isdigit()]
            nodes = statistics.fmean(map(pss_mib, pids))
            zygote = pss_mib(parent_of(pids[0]))
        return Round(nodes, bare, {"the zygote, once a system": Note(zygote, "MiB")})

    async def _bare_mib(self) -> float:
        async with AsyncExitStack() as stack:
            pids = []
            for _ in range(NODES):
                command = floor_command("bench_floors.py", "idle", new_endpoint())
                child = await stack.enter_async_context(open_child(*command))
                await child.line()
                pids.append(child.popen.pid)
            await trio.sleep(SETTLE_S)
            return statistics.fmean(map(pss_mib, pids))


def pss_mib(pid: int) -> float:
    """The proportional set size of a process."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB$", text, re.MULTILINE)
    assert found is not None, text
    return int(found[1]) / 1024


def parent_of(pid: int) -> int:
    """The process that forked it."""
    text = Path(f"/proc/{pid}/stat").read_text()
    return int(text.rpartition(")")[2].split()[1])


ROWS: list[type[Row]] = [Create, IdleNode]
