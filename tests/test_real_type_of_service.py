"""The type of service of what is sent, as the kernels of both ends have it."""

import os
import socket

import pytest
import trio

from actors.actor import Actor
from actors.system import open_system
from tests import mptcp
from tests.real import ANSWER_S

pytestmark = pytest.mark.real
TOS = 0x48


def marks(kind: str) -> dict[int, set[int]]:
    """By family, of this process's connected sockets of that transport."""
    found: dict[int, set[int]] = {}
    protocol = mptcp.IPPROTO_MPTCP if kind == "mptcp" else socket.IPPROTO_TCP
    for fd in os.listdir("/proc/self/fd"):
        try:
            sock = socket.socket(fileno=os.dup(int(fd)))
        except OSError:
            continue
        with sock:
            inet = sock.family in (socket.AF_INET, socket.AF_INET6)
            if not inet or sock.proto != protocol:
                continue
            try:
                sock.getpeername()
            except OSError:
                continue  # it listens
            v6 = sock.family == socket.AF_INET6 and kind == "tcp"
            level = socket.IPPROTO_IPV6 if v6 else socket.IPPROTO_IP
            option = socket.IPV6_TCLASS if v6 else socket.IP_TOS
            found.setdefault(sock.family, set()).add(sock.getsockopt(level, option))
    return found


class Marked(Actor):
    async def marks(self, kind: str) -> dict[int, set[int]]:
        return marks(kind)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"], ids=["v4", "v6"])
@pytest.mark.parametrize("kind", ["tcp", "mptcp"])
async def test_it_is_set_and_read_back_at_both_ends(kind: str, host: str) -> None:
    if kind == "mptcp" and mptcp.missing():
        pytest.skip(mptcp.missing())
    family = int(socket.AF_INET6 if host == "[::1]" else socket.AF_INET)
    with trio.fail_after(2 * ANSWER_S):
        async with open_system(transport=kind, listen=[host], tos=TOS) as system:
            node = await system.spawn(Marked, name="node")
            assert await node.ask(Marked.marks, kind) == {family: {TOS}}
            assert marks(kind) == {family: {TOS}}
            for ref in (node, await system.lookup("controller")):
                report = await system.link_report(ref)
                assert {each.tos for each in report.streams if each.peer} == {TOS}
                assert {each.tos for each in report.streams} == {TOS}


@pytest.mark.parametrize("kind", ["tcp", "mptcp"])
async def test_without_one_nothing_is_marked(kind: str) -> None:
    if kind == "mptcp" and mptcp.missing():
        pytest.skip(mptcp.missing())
    with trio.fail_after(2 * ANSWER_S):
        async with open_system(transport=kind) as system:
            node = await system.spawn(Marked, name="node")
            assert await node.ask(Marked.marks, kind) == {int(socket.AF_INET): {0}}
            report = await system.link_report(node)
            assert {each.tos for each in report.streams} == {0}
