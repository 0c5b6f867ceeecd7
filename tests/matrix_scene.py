"""One cell of the kill matrix, from outside: what its host says, and what ``/proc`` shows.

All instants are CLOCK_MONOTONIC, which the processes of one machine share.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import trio

from runtime.processes import procfs
from runtime.processes.pidfd import wait_exited
from tests.cgroups import memory_cgroup
from tests.matrix_cells import Cell
from tests.real import Console, family, marked, open_console, run_folders

HEAR_S = 60.0
LIMIT_BYTES = 48 * 1024 * 1024
HEADROOM_BYTES = 256 * 1024 * 1024
Line = dict[str, Any]


class Scene:
    """A running host, and what has been learned of it."""

    def __init__(self, host: Console, cell: Cell, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.host = host
        self.cell = cell
        self.lines: list[Line] = []
        self.pids: dict[str, int] = {}
        self.strays: dict[str, list[int]] = {}
        self.died: dict[str, float] = {}  # when, as their pidfds have it
        self._queued: dict[str, dict[str, float]] = {}  # who had waited how long for a processor
        self.limits = ExitStack()
        self.begun: dict[int, int] = {}  # all processes that were ever seen, with their births
        self.zygote = 0

    async def hear(self) -> Line:
        with trio.fail_after(HEAR_S):
            while b"\n" not in self.host._rest:
                assert await self.host._read(), self.host.errors()
        line: Line = json.loads(await self.host.line())
        self.lines.append(line)
        return line

    async def hear_until(self, holds: Callable[[], bool], within_s: float) -> bool:
        """Listen until it holds, no longer than this; whether it does."""
        with trio.move_on_after(within_s):
            while not holds():
                await self.hear()
        return holds()

    async def order(self, order: str) -> Line:
        """Give it, and hear its answer."""
        await self.host.say(order)
        with trio.fail_after(30.0):
            while (line := await self.hear())["said"] != order:
                pass
        return line

    @property
    def ended(self) -> dict[str, Line]:
        return {line["what"]: line for line in self.lines if line["said"] == "ended"}

    @property
    def suspected(self) -> dict[str, Line]:
        return {line["what"]: line for line in self.lines if line["said"] == "suspected"}

    async def set_up(self) -> None:
        line = await self.hear()
        assert line["said"] == "ready", line
        self.pids, self.strays = line["pids"], line["strays"]
        self.zygote = self.host.zygote
        self.look_around()
        strays = {f"stray {pid}": pid for pids in self.strays.values() for pid in pids}
        for name, pid in {**self.pids, "controller": self.host.pid, **strays}.items():
            self._nursery.start_soon(self._watch, name, os.pidfd_open(pid))

    async def _watch(self, name: str, pidfd: int) -> None:
        try:
            await wait_exited(pidfd)
            self.died[name] = time.monotonic()
            if name in self.pids:
                tellers = {"controller": self.host.pid, "witness": self.pids["witness"]}
                self._queued[name] = {who: procfs.queued_s(pid) for who, pid in tellers.items()}
        finally:
            os.close(pidfd)

    async def deaths(self, names: Iterable[str], within_s: float) -> dict[str, float]:
        """Wait until all of them have died, and say when they did.

        Raises:
            AssertionError: one lives.
        """
        deadline = time.monotonic() + within_s
        while living := set(names) - self.died.keys():
            assert time.monotonic() < deadline, f"they live: {living}"
            await trio.sleep(0.002)
        return {name: self.died[name] for name in names}

    def queued_s(self, line: Line) -> float:
        """How long those who tell of this end waited for a processor after the death.

        The word comes by the controller; how soon the two that are slowest get their turn on a
        machine that has more to do than it can is the machine's affair.
        """
        how, _, name = line["what"].rpartition(" ")
        then = self._queued.get(name, {})
        if not how.startswith("monitor") and not how.endswith("by witness"):
            return max(0.0, float(line["queued"]) - then.get("controller", 0.0))
        first = self.ended.get(f"wait {name}", {"queued": 0.0})
        own = float(line["queued"]) - then.get("witness", 0.0)
        return max(0.0, own) + max(0.0, float(first["queued"]) - then.get("controller", 0.0))

    def look_around(self) -> None:
        """Take note of every process of this run."""
        for pid in {self.host.pid, *marked(self.host.home)}:
            began = birth(pid)
            if began:
                self.begun.setdefault(pid, began)

    @property
    def victims(self) -> list[int]:
        """The processes that are hit."""
        if self.cell.victim == "zygote":
            return [self.zygote]
        if self.cell.victim == "controller":
            return [self.host.pid]
        return [self.pids[name] for name in self.cell.hit]

    def limit(self) -> None:
        """Whoever is to run out of memory has little of it left."""
        if self.cell.event == "oom-cgroup":
            for pid in self.victims:
                self.limits.enter_context(memory_cgroup(LIMIT_BYTES, pid))
        elif self.cell.event == "oom-rlimit":
            for pid in self.victims:
                room = virtual_bytes(pid) + HEADROOM_BYTES
                resource.prlimit(pid, resource.RLIMIT_AS, (room, resource.RLIM_INFINITY))

    def unlimit(self) -> None:
        for pid in self.victims:
            if birth(pid):
                no_limit = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
                resource.prlimit(pid, resource.RLIMIT_AS, no_limit)

    def strike(self) -> float:
        """Send the signal to all victims, and say when."""
        now = time.monotonic()
        for pid in self.victims:
            os.kill(pid, getattr(signal, self.cell.event))
        return now

    # -- what is left

    def left(self, zombies: bool = True) -> list[str]:
        """The processes, the folders and the sockets of this run that are there.

        ``zombies``: those as well that wait for nobody but the machine's init to reap them.
        """
        home = self.host.home
        self.look_around()
        there = [pid for pid, began in self.begun.items() if birth(pid) == began]
        found = [describe(pid) for pid in there if zombies or not inits_zombie(pid)]
        with open("/proc/net/unix") as sockets:
            found += [line.strip() for line in sockets if home in line]
        return found + run_folders(home)

    def open_ports(self) -> list[str]:
        """Where processes of this run listen to the network. They never should."""
        inodes = set()
        for pid in marked(self.host.home):
            try:
                names = os.listdir(f"/proc/{pid}/fd")
            except OSError:
                continue
            inodes |= {procfs.open_file(pid, int(name)) for name in names}
        found = []
        for table in ("tcp", "tcp6"):
            with open(f"/proc/net/{table}") as rows:
                for row in list(rows)[1:]:
                    fields = row.split()
                    if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                        found.append(fields[1])
        return found

    async def nothing_left(self, within_s: float) -> float:
        """Wait until nothing of it is left, and say since when init at most has still to do.

        Raises:
            AssertionError: something is still there.
        """
        return await self._until_empty(self.left, within_s)

    async def all_gone(self, pids: Iterable[int], within_s: float) -> float:
        """The same for these processes."""
        watched = list(pids)

        def there(zombies: bool = True) -> list[str]:
            living = [pid for pid in watched if birth(pid)]
            return [describe(pid) for pid in living if zombies or not inits_zombie(pid)]

        return await self._until_empty(there, within_s)

    async def _until_empty(self, left: Callable[..., list[str]], within_s: float) -> float:
        deadline = time.monotonic() + within_s
        done_at = 0.0
        while there := left():
            assert time.monotonic() < deadline, there
            if not done_at and not left(zombies=False):
                done_at = time.monotonic()
            await trio.sleep(0.01)
        return done_at or time.monotonic()

    def new_zygote(self) -> int:
        """The pid of one that has replaced the first, 0 if there is none yet."""
        others = [pid for pid in family(self.host.pid)["zygotes"] if pid != self.zygote]
        return others[0] if others else 0


@asynccontextmanager
async def open_scene(cell: Cell) -> AsyncIterator[Scene]:
    """The cell's host is ready, and all that wait do."""
    argv = (sys.executable, "-m", "tests.matrix_host", *cell)
    environ = {"MATRIX_IMPORT": cell.event} if cell.victim == "zygote" else {}
    async with open_console(argv=argv, environ=environ) as host, trio.open_nursery() as nursery:
        scene = Scene(host, cell, nursery)
        with scene.limits:
            try:
                await scene.set_up()
                yield scene
            except BaseException as error:
                heard = "\n".join(map(json.dumps, scene.lines))
                error.add_note(f"{cell} heard:\n{heard}")
                raise
        nursery.cancel_scope.cancel()


def birth(pid: int) -> int:
    """When it began, in the kernel's ticks; 0 if it is not there. A zombie is."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return int(stat.read().rpartition(b")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def inits_zombie(pid: int) -> bool:
    """Whether it has ended, and init is its parent."""
    stat = procfs.stat(pid)
    return stat is None or (stat.state == "Z" and stat.ppid == 1)


def describe(pid: int) -> str:
    return f"{procfs.name(pid) or '?'} {pid} {procfs.stat(pid)}"


def virtual_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()
