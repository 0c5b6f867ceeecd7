"""Rows: the console script on pipes."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import trio

from tests.bench_actors import Caller
from tests.bench_calls import IN_FLIGHT, open_pair
from tests.bench_process import Child, open_child, shell_command
from tests.bench_row import Note, Round, Row, at_least, figure_at_most

NODES = 4
FAN_OUT = 8
SOFT_LIMIT = 1024


class ExecLines(Row):
    """``exec N time`` over 4 nodes in the dialect ``spec``, from the first answer to the last.

    Our own asks, which are the floor, are measured before and after.
    """

    name = "exec lines through the shell"
    floor_name = "our own 64 asks in flight"
    unit = "/s"
    must = at_least(0.3)
    aim = at_least(0.5)

    async def round(self) -> Round:
        async with open_child(*shell_command()) as regrow, open_pair() as (caller, echo):

            async def asks() -> float:
                return await caller.ask(Caller.asks_per_s, echo, IN_FLIGHT, self.turn_s)

            before = await asks()
            for number in range(1, NODES + 1):
                await talk(regrow, [f"create {number}"])
            count = 4_000 if self.quick else 20_000
            lines = [f"exec {1 + number % NODES} time" for number in range(count)]
            executed = await talk(regrow, lines)
            return Round(executed, statistics.fmean([before, await asks()]))


class Tree(Row):
    """200 nodes, each with at most 8 under it, under a soft limit of 1,024 open files."""

    name = "tree of 200, controller while beating"
    floor_name = "-"
    unit = "%"
    must = None
    aim = figure_at_most(5)
    max_rounds = 2

    async def round(self) -> Round:
        nodes = 40 if self.quick else 200
        beating_s = 2.0 if self.quick else 5.0
        limited = f'ulimit -Sn {SOFT_LIMIT} && exec "$0" "$@"'
        async with open_child("/bin/sh", "-c", limited, *shell_command()) as regrow:
            began = time.perf_counter()
            await talk(
                regrow, [f"create {n} {(n - 1) // FAN_OUT or -1}" for n in range(1, nodes + 1)]
            )
            created_s = time.perf_counter() - began
            await talk(regrow, ["heartbeat 1000"])
            before, began = cpu_s(regrow.popen.pid), time.perf_counter()
            await trio.sleep(beating_s)
            spent = cpu_s(regrow.popen.pid) - before
            percent = 100 * spent / (time.perf_counter() - began)
            await talk(regrow, [f"exec {n} time" for n in range(1, nodes + 1)])
            began = time.perf_counter()
            await talk(regrow, ["exit"])
            exited_s = time.perf_counter() - began
        notes = {"create all": Note(created_s, "s"), "exit": Note(exited_s, "s")}
        return Round(percent, None, notes)


async def talk(regrow: Child, lines: list[str]) -> float:
    """Send lines that have one line of answer each; answers per second after the first ones.

    Raises:
        RuntimeError: one of them is not ``Ok``.
    """
    answers = b""
    told = first = 0
    first_at = 0.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(regrow.send, "".join(f"{line}\n" for line in lines).encode())
        while told < len(lines):
            some = await regrow.some()
            answers += some
            told += some.count(b"\n")
            if not first:
                first, first_at = told, time.perf_counter()
    elapsed_s = time.perf_counter() - first_at
    wrong = [answer for answer in answers.splitlines() if not answer.startswith(b"Ok")]
    if wrong:
        raise RuntimeError(f"{len(wrong)} of {len(lines)} answers: {wrong[0].decode()}")
    return (len(lines) - first) / elapsed_s


def cpu_s(pid: int) -> float:
    """What a process has used up so far, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


ROWS: list[type[Row]] = [ExecLines, Tree]
