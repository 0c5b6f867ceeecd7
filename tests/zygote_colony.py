"""A run folder, a zygote, and what its nodes report: the set-up of the zygote's tests."""

import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import trio

from runtime.processes.asks import ForkedNode
from runtime.processes.keeper import Keeper, open_zygote
from runtime.processes.launcher import LocalLauncher
from runtime.processes.orders import Exited, Order
from runtime.processes.pidfd import close_pidfd, open_pidfd, wait_exited
from runtime.processes.run_folder import open_run_folder, output_path

ROOT = str(Path(__file__).parent.parent)


@contextmanager
def short_folder() -> Iterator[str]:
    """A folder whose path leaves room for a run folder's."""
    path = tempfile.mkdtemp(prefix="rg-")
    try:
        yield path
    finally:
        shutil.rmtree(path)


class Fifo:
    """Lines of JSON from nodes."""

    def __init__(self, path: str) -> None:
        os.mkfifo(path)
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._rest = b""

    async def line(self) -> dict[str, Any]:
        """The next line that some node has said."""
        while b"\n" not in self._rest:
            await trio.lowlevel.wait_readable(self._fd)
            self._rest += os.read(self._fd, 65536)
        line, _, self._rest = self._rest.partition(b"\n")
        return dict(json.loads(line))

    def close(self) -> None:
        os.close(self._fd)


class Colony:
    """Orders with numbers, and who has exited."""

    def __init__(self, folder: str, fifo: Fifo) -> None:
        self.folder = folder
        self.fifo = fifo
        self.keeper: Keeper
        self.exits: list[Exited] = []
        self.replaced: list[str] = []
        self._changed = trio.Event()
        self._incarnation = 1

    def order(self, start: str, entry: str = "", **boot: Any) -> Order:
        start = start if ":" in start else f"tests.zygote_nodes:{start}"
        self._incarnation += 1
        return Order(
            start=start,
            entry=entry or start,
            name=f"n{self._incarnation}",
            incarnation=self._incarnation,
            environ={"PATH": os.environ["PATH"], "HELLO": "world"},
            cwd=ROOT,
            boot=json.dumps({"fifo": self.fifo.path, **boot}).encode(),
        )

    async def fork(self, start: str, entry: str = "", **boot: Any) -> ForkedNode:
        """A node of which only the pid is used."""
        node = await self.keeper.fork(self.order(start, entry, **boot))
        close_pidfd(node.pidfd)
        return node

    def output(self, incarnation: int) -> str:
        """All that this node has printed."""
        return Path(output_path(self.folder, incarnation)).read_text()

    async def exited(self, incarnation: int) -> Exited:
        """Wait until that node has been told to be gone."""
        while True:
            for exited in self.exits:
                if exited.incarnation == incarnation:
                    return exited
            await self._changed.wait()

    async def replacement(self, number: int = 1) -> None:
        """Wait until that many zygotes have been given up, and the next one runs."""
        while len(self.replaced) < number:
            await self._changed.wait()
        await self.fork("rest")

    def on_exit(self, exited: Exited) -> None:
        self.exits.append(exited)
        self._wake()

    def on_replaced(self, why: str) -> None:
        self.replaced.append(why)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


@asynccontextmanager
async def open_colony(**settings: Any) -> AsyncIterator[Colony]:
    with short_folder() as short, open_run_folder(f"{short}/r") as folder:
        fifo = Fifo(f"{short}/fifo")
        try:
            colony = Colony(folder, fifo)
            async with open_zygote(
                folder,
                LocalLauncher(),
                on_exit=colony.on_exit,
                on_replaced=colony.on_replaced,
                **settings,
            ) as colony.keeper:
                yield colony
        finally:
            fifo.close()


class Watched:
    """Processes held by pidfds, so that their end can be waited for."""

    def __init__(self) -> None:
        self.pidfds: list[int] = []

    def add(self, pid: int) -> int:
        self.pidfds.append(open_pidfd(pid))
        return self.pidfds[-1]

    async def all_gone(self) -> None:
        for pidfd in self.pidfds:
            await wait_exited(pidfd)

    def close(self) -> None:
        for pidfd in self.pidfds:
            os.close(pidfd)


@contextmanager
def watched() -> Iterator[Watched]:
    found = Watched()
    try:
        yield found
    finally:
        found.close()
