"""A gate for sockets that take no filter."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from actors.testing import lab
from actors.testing.lab import Lab
from runtime.multipath.inspection import full_info
from runtime.multipath.streams import Streams
from runtime.network.listening import listen_at, shut
from runtime.network.tcp_endpoint import Site
from runtime.network.wall import Wall
from tests import mptcp

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(bool(mptcp.missing()), reason=mptcp.missing() or "there is"),
]
AGAIN_S = 5.0
"""Who was not let in knocks again after a second."""


class Scene:
    def __init__(self, stack: ExitStack, host: str, reserved: bool) -> None:
        self._stack = stack
        self.streams = Streams()
        site = Site(host, 0)
        (self.listening,) = listen_at([site], reserved=reserved, make=self.streams.make)
        stack.enter_context(self.listening)
        self.wall = Wall(self.listening, self.streams.make_plain(self.listening.family))
        stack.callback(self.wall.close)

    def knock(self, count: int) -> None:
        for _ in range(count):
            caller = self._stack.enter_context(self.streams.make(self.listening.family))
            caller.connect_ex(self.listening.getsockname())

    def come_in(self, count: int, within_s: float) -> int:
        """How many have, of so many."""
        until, came = time.monotonic() + within_s, 0
        while came < count and (left_s := until - time.monotonic()) > 0:
            if select.select([self.listening], [], [], left_s)[0]:
                self._stack.enter_context(self.listening.accept()[0])
                came += 1
        return came


@pytest.fixture(params=["127.0.0.1", "::1"])
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[True, False], ids=["reserved", "by number"])
def scene(request: pytest.FixtureRequest, host: str) -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(stack, host, request.param)


def test_an_mptcp_socket_takes_no_filter() -> None:
    with Streams().make(socket.AF_INET) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        with pytest.raises(OSError, match="not supported"):
            shut([listening])


def test_who_knocks_at_a_gate_that_is_shut_comes_in_when_it_is_open_again(scene: Scene) -> None:
    scene.knock(20)
    assert scene.come_in(20, AGAIN_S) == 20
    for _ in range(2):
        scene.wall.shut()
        scene.wall.shut()
        scene.knock(20)
        assert scene.come_in(1, 0.2) == 0
        scene.wall.open()
        assert scene.come_in(20, AGAIN_S) == 20
    scene.knock(20)
    assert scene.come_in(20, AGAIN_S) == 20


def test_nobody_else_gets_a_port_that_was_asked_for_by_number(scene: Scene) -> None:
    name, port, *_ = scene.listening.getsockname()
    for move in (None, scene.wall.shut, scene.wall.open):
        if move is not None:
            move()
        with pytest.raises(OSError, match="in use"):
            listen_at([Site(name, port)])


def test_streams_that_are_open_do_not_notice(scene: Scene) -> None:
    with scene.streams.make(scene.listening.family) as friend:
        friend.setblocking(True)
        friend.settimeout(AGAIN_S)
        friend.connect(scene.listening.getsockname())
        stream, _ = scene.listening.accept()
        with stream:
            scene.wall.shut()
            friend.sendall(b"hello")
            stream.settimeout(AGAIN_S)
            assert stream.recv(9) == b"hello"


@pytest.mark.skipif(bool(lab.missing()), reason=lab.missing() or "there is")
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_path_joins_a_stream_that_is_open_while_newcomers_wait(
    regrow_lab: Lab, family: socket.AddressFamily
) -> None:
    server, client = regrow_lab.pair(2)
    first, second = "10.0.1.1", "10.0.2.2"
    if family == socket.AF_INET6:
        first, second = "dead:beef:1::1", "dead:beef:2::2"
    for host in (server, client):
        host.run("ip", "mptcp", "limits", "set", "subflow", "4", "add_addr_accepted", "4")
    streams, theirs = Streams(server.socket), Streams(client.socket)
    with ExitStack() as stack:
        (listening,) = map(stack.enter_context, listen_at([Site(first, 0)], make=streams.make))
        wall = Wall(listening, streams.make_plain(family))
        stack.callback(wall.close)
        friend, late = (stack.enter_context(theirs.make(family)) for _ in range(2))
        friend.connect_ex(listening.getsockname())
        select.select([listening], [], [], AGAIN_S)
        stream, _ = listening.accept()
        stack.enter_context(stream)
        friend.send(b"hello")
        select.select([stream], [], [], AGAIN_S)
        stream.send(stream.recv(9))
        select.select([friend], [], [], AGAIN_S)
        wall.shut()
        client.run("ip", "mptcp", "endpoint", "add", second, "dev", "eth2", "subflow")
        late.connect_ex(listening.getsockname())
        until = time.monotonic() + AGAIN_S
        while len(full_info(stream).living) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        assert {each.addresses.remote.host for each in full_info(stream).living} >= {second}
        assert not select.select([listening], [], [], 1.5)[0]
        wall.open()
        assert select.select([listening], [], [], AGAIN_S)[0]
