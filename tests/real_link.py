"""A conversation over one connection of two hosts on two wires, and a path manager at each end."""

import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio

from actors.testing.lab import Host
from runtime.multipath.connection import Notice, PathLost, PathRegained
from runtime.multipath.endpoint import Endpoint, Flags, Limits
from runtime.multipath.path_guard import Settings
from runtime.multipath.path_manager import PathManager, open_path_manager
from runtime.multipath.path_owner import Owner
from runtime.processes.procfs import queued_s
from tests import mptcp
from tests.real import until

SETTINGS = Settings(hold_s=0.5, connect_s=1.0)
FIRST, SECOND = ("10.0.1.2", "10.0.1.1"), ("10.0.2.2", "10.0.1.1")
SILENT = "output oifname eth1 drop", "input iifname eth1 drop"
"""The first path, whichever end has these rules."""
STALL_S = 0.5
BOUND_S = 20.0


class Link(msgspec.Struct):
    """A conversation of numbered questions and answers over one connection."""

    there: PathManager
    manager: PathManager
    notices: list[Notice]
    accepted: trio.socket.SocketType
    connecting: trio.socket.SocketType
    asked: int = 0
    answered: int = 0
    worst_s: float = 0.0
    """Without what this process waited for a core."""

    def paths(self) -> set[tuple[str, str]]:
        """Those the client has now."""
        info = self.manager.connection("link").info
        if info is None:
            return set()
        return {
            (each.addresses.local.host, each.addresses.remote.host)
            for each in info.living
            if each.tcp.state == 1
        }

    async def answers(self, count: int) -> None:
        """So many more questions have been answered."""
        goal = self.answered + count
        await until(lambda: self.answered >= goal, BOUND_S)

    async def has(self, *paths: tuple[str, str]) -> None:
        await until(lambda: self.paths() == set(paths), BOUND_S)

    async def told(self, notice: Notice) -> None:
        await until(lambda: notice in self.notices, BOUND_S)

    async def goes_on(self, capsys: pytest.CaptureFixture[str]) -> None:
        """For many answers, of which none was long in coming."""
        await self.answers(200)
        with capsys.disabled():
            print(f" worst stall {self.worst_s * 1000:.0f} ms", end=" ")
        assert self.worst_s < 5 * STALL_S


async def lose_the_first_path(
    link: Link, end: Host, rules: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """By these rules at that end; it is left, nothing else is lost, and it is used again."""
    end.filter(*rules)
    await link.told(PathLost("link", *FIRST))
    await link.has(SECOND)
    await link.goes_on(capsys)
    end.unfilter()
    await link.told(PathRegained("link", *FIRST))
    await link.has(FIRST, SECOND)
    await link.answers(100)


async def _answer(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def _ask(link: Link, stream: trio.SocketStream) -> None:
    """One question at a time, each of its own number, for ever."""
    while True:
        link.asked += 1
        begin, queued = trio.current_time(), queued_s(os.getpid())
        question = link.asked.to_bytes(8, "big") * 128
        await stream.send_all(question)
        answer = b""
        while len(answer) < len(question):
            answer += await stream.receive_some(len(question) - len(answer))
        assert answer == question
        link.answered += 1
        took_s = trio.current_time() - begin - (queued_s(os.getpid()) - queued)
        link.worst_s = max(link.worst_s, took_s)
        await trio.sleep(0.001)


@asynccontextmanager
async def _closing(sock: trio.socket.SocketType) -> AsyncIterator[None]:
    with sock:
        yield


@asynccontextmanager
async def open_link(
    server: Host, client: Host, *, guarded: bool = True, owner: Owner = "kernel"
) -> AsyncIterator[Link]:
    """With a second path from the client. ``owner``: of the paths, at both ends."""
    notices: list[Notice] = []
    both: Any = {"settings": SETTINGS, "guarded": guarded, "owner": owner}
    for host in (server, client):
        host.sysctl("net.mptcp.path_manager", owner)
    async with (
        open_path_manager(lambda _: None, make_socket=server.socket, **both) as there,
        open_path_manager(notices.append, make_socket=client.socket, **both) as here,
        trio.open_nursery() as nursery,
    ):
        await there.set_limits(Limits(2, 4))
        await here.set_limits(Limits(2, 4))
        device = client.interface("eth2")
        await here.add(Endpoint("10.0.2.2", Flags.SUBFLOW, id=2, interface=device))
        nursery.start_soon(there.run)
        nursery.start_soon(here.run)
        listening = trio.socket.from_stdlib_socket(
            server.socket(socket.AF_INET, proto=mptcp.IPPROTO_MPTCP)
        )
        connecting = trio.socket.from_stdlib_socket(
            client.socket(socket.AF_INET, proto=mptcp.IPPROTO_MPTCP)
        )
        with listening, connecting:
            await listening.bind(("0.0.0.0", 10_000))
            listening.listen()
            await connecting.connect(("10.0.1.1", 10_000))
            accepted, _ = await listening.accept()
            link = Link(there, here, notices, accepted, connecting)
            async with _closing(accepted), trio.open_nursery() as talking:
                talking.start_soon(_answer, trio.SocketStream(accepted))
                talking.start_soon(_ask, link, trio.SocketStream(connecting))
                there.watch("link", accepted, server_side=True)
                here.watch("link", connecting, server_side=False)
                await link.has(FIRST, SECOND)
                await link.answers(20)
                link.worst_s = 0.0
                yield link
                assert link.asked - link.answered <= 1
                talking.cancel_scope.cancel()  # before the sockets are closed beneath its tasks
            nursery.cancel_scope.cancel()
