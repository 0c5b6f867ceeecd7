"""Network links over MPTCP: what ZMQ does not see."""

from __future__ import annotations

import math
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from runtime.multipath import network_link, pump
from runtime.multipath.streams import Streams
from runtime.network.keys import Keys, new_secret
from runtime.network.listening import reserve, site_of
from runtime.network.tcp_endpoint import TcpEndpoint
from runtime.wires.zmq_mptcp import MptcpTransport
from runtime.wires.zmq_tcp import public_of
from tests import mptcp
from tests.test_transports import numbered, take

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(bool(mptcp.missing()), reason=mptcp.missing() or "there is"),
]
BOUND_S = 30
MEMBER = new_secret()


class Fickle(Streams):
    """Plain TCP at first, so many times."""

    def __init__(self, plain: int) -> None:
        super().__init__()
        self.plain = plain

    def make(self, family: int, kind: int = socket.SOCK_STREAM, proto: int = 0) -> socket.socket:
        if self.plain:
            self.plain -= 1
            return socket.socket(family, kind | socket.SOCK_NONBLOCK)
        return super().make(family, kind, proto)


class Net:
    """Transports over loopback; all are closed at the end."""

    def __init__(self, nursery: trio.Nursery, held: ExitStack) -> None:
        self._nursery = nursery
        self._held = held
        self._opened: list[MptcpTransport] = []

    def open(self, incarnation: int, streams: Streams | None = None) -> MptcpTransport:
        reserved = self._held.enter_context(reserve("127.0.0.1"))
        keys = Keys(new_secret(), MEMBER)
        own = TcpEndpoint((site_of(reserved),), public_of(keys.own), incarnation, "mptcp")
        transport = MptcpTransport(
            str(own), incarnation, self._nursery, 64, keys=keys, streams=streams
        )
        self._held.callback(transport.close)
        return transport


@asynccontextmanager
async def open_net() -> AsyncIterator[Net]:
    with trio.fail_after(BOUND_S), ExitStack() as held:
        async with trio.open_nursery() as nursery:
            try:
                yield Net(nursery, held)
            finally:
                held.close()
                nursery.cancel_scope.cancel()


async def test_both_ends_count_the_same_bytes_and_the_kernel_agrees() -> None:
    async with open_net() as net:
        near, far = net.open(1), net.open(2)
        near.connect(far.endpoint)
        for frames in numbered(0, 500):
            near.send(far.endpoint, frames)
        await take(far, 500)
        await trio.sleep(0.1)
        sent, (received,) = near.reports()[far.endpoint], far.incoming_reports()
        assert sent.is_multipath
        assert received.is_multipath
        assert (sent.local, sent.remote) == (received.remote, received.local)
        assert sent.sent_bytes == received.received_bytes
        assert received.sent_bytes == sent.received_bytes
        assert sent.sent_bytes is not None
        assert sent.sent_bytes > 500
        assert sent.full is not None
        assert received.full is not None
        assert sent.full.mptcp.bytes_sent == sent.sent_bytes
        assert sent.full.mptcp.bytes_acked == sent.sent_bytes
        assert received.full.mptcp.bytes_received == sent.sent_bytes
        assert len(sent.full.living) == 1


async def test_where_there_is_no_mptcp_both_ends_count_the_same_bytes_and_the_gate_holds() -> None:
    streams = Streams(), Streams(), Streams()
    for each in streams:
        each.missing = "by choice"
    async with open_net() as net:
        near, far, third = (net.open(number, each) for number, each in enumerate(streams, 1))
        near.connect(far.endpoint)
        for frames in numbered(0, 500):
            near.send(far.endpoint, frames)
        await take(far, 500)
        await trio.sleep(0.1)
        sent, (received,) = near.reports()[far.endpoint], far.incoming_reports()
        assert sent.note == received.note == "plain TCP: by choice"
        assert (sent.local, sent.remote) == (received.remote, received.local)
        assert sent.sent_bytes == received.received_bytes
        assert received.sent_bytes == sent.received_bytes
        assert sent.sent_bytes is not None
        assert sent.sent_bytes > 500
        far._gate_moved(True)
        third.connect(far.endpoint)
        third.send(far.endpoint, [b"from", b"outside"])
        near.send(far.endpoint, [b"c", b"d"])
        assert await take(far, 1) == [(1, [b"c", b"d"])]
        await trio.sleep(0.3)
        assert far.counts["accepted"] == 1
        far._gate_moved(False)
        assert await take(far, 1) == [(3, [b"from", b"outside"])]


async def test_a_link_that_is_plain_tcp_is_dialled_again_when_it_is_quiet_and_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(network_link, "MEND_S", 0.2)
    async with open_net() as net:
        near, far = net.open(1, Fickle(2)), net.open(2)  # its listening socket is the first
        near.connect(far.endpoint)
        sent, arrived = 0, 0
        while not (report := near.reports()[far.endpoint]).is_multipath:
            assert report.note in ("plain TCP: it fell back", "not connected: not connected yet")
            for frames in numbered(sent, sent + 7):
                near.send(far.endpoint, frames)
            assert await take(far, 7) == [(1, frames) for frames in numbered(sent, sent + 7)]
            sent, arrived = sent + 7, arrived + 7
            await trio.sleep(0.01 if sent % 2 else 0.3)
        for frames in numbered(sent, sent + 100):
            near.send(far.endpoint, frames)
        assert await take(far, 100) == [(1, frames) for frames in numbered(sent, sent + 100)]
        await wait_all_tasks_blocked(0.1)
        assert far.receive() is None
        assert len(far.accepted.now()) == 1
        assert far.counts["left early"] >= 0


async def test_what_keeps_talking_keeps_the_stream_that_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(network_link, "MEND_S", 0.2)
    with trio.fail_after(BOUND_S):
        while not await _kept_talking():
            pass  # this process stood still: that was a pause, and the link may have used it


async def _kept_talking() -> bool:
    """Whether it was talked without a pause, while the link had another stream at hand twice."""
    async with open_net() as net:
        near, far = net.open(1, Fickle(2)), net.open(2)
        near.connect(far.endpoint)
        said_at, paused_s, count = math.inf, 0.0, 0
        while count < 150 or (link := near.outgoing[far.endpoint])._mend_s < 0.8:
            frames = [b"%d" % count, b"frame"]
            now = trio.current_time()
            paused_s, said_at = max(paused_s, now - said_at), now
            near.send(far.endpoint, frames)
            assert await take(far, 1) == [(1, frames)]
            if paused_s >= network_link.QUIET_S:
                return False
            await trio.sleep(0.005)
            count += 1
        assert link.report().note == "plain TCP: it fell back"
        return True


async def test_a_peer_that_cannot_do_better_is_not_dialled_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(network_link, "MEND_S", 0.05)
    monkeypatch.setattr(network_link, "HOPELESS_S", 60.0)
    async with open_net() as net:
        far = net.open(2, Fickle(100))
        near = net.open(1)
        near.connect(far.endpoint)
        near.send(far.endpoint, [b"a", b"b"])
        await take(far, 1)
        await trio.sleep(1.0)
        link = near.outgoing[far.endpoint]
        assert link._mend_s >= 0.4
        assert near.reports()[far.endpoint].note == "plain TCP: it fell back"
        assert far.counts["welcomed"] == 1
        near.send(far.endpoint, [b"c", b"d"])
        assert await take(far, 1) == [(1, [b"c", b"d"])]


async def test_last_words_are_heard_though_the_loop_stands_still() -> None:
    async with open_net() as net:
        near, far = net.open(1), net.open(2)
        near.connect(far.endpoint)
        near.send(far.endpoint, [b"a", b"b"])
        await take(far, 1)
        near.send(far.endpoint, [b"fare", b"well"])
        near.close(farewell=far.endpoint)
        assert await take(far, 1) == [(1, [b"fare", b"well"])]


async def test_what_zmq_takes_at_once_is_on_its_way_before_the_loop_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_net() as net:
        near, far = net.open(1), net.open(2)
        near.connect(far.endpoint)
        near.send(far.endpoint, [b"a", b"b"])
        await take(far, 1)
        await wait_all_tasks_blocked(0.1)
        between = near.outgoing[far.endpoint].pump
        assert between is not None
        monkeypatch.setattr(pump, "HURRY_S", float(BOUND_S))
        for frames in numbered(0, 10):
            before = between.out.count
            assert near.send(far.endpoint, frames)
            assert between.out.count > before
        assert await take(far, 10) == [(1, frames) for frames in numbered(0, 10)]


async def test_another_process_of_this_host_cannot_use_the_local_socket() -> None:
    async with open_net() as net:
        near, far = net.open(1), net.open(2)
        near.connect(far.endpoint)
        near.send(far.endpoint, [b"a", b"b"])
        await take(far, 1)
        name = near.outgoing[far.endpoint]._name
        code = (
            "import socket; s = socket.socket(socket.AF_UNIX); s.settimeout(10);"
            f"s.connect(chr(0) + '{name.removeprefix('ipc://@')}'); print(s.recv(9))"
        )
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", code], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        said = b"".join([bytes(part) async for part in process.stdout])
        assert said == b"b''\n"
        await process.wait()
        near.send(far.endpoint, [b"c", b"d"])
        assert await take(far, 1) == [(1, [b"c", b"d"])]


async def test_a_peer_that_is_left_is_hung_up_on() -> None:
    async with open_net() as net:
        near, far = net.open(1), net.open(2)
        near.connect(far.endpoint)
        near.send(far.endpoint, [b"a", b"b"])
        await take(far, 1)
        assert len(far.accepted.now()) == 1
        near.disconnect(far.endpoint)
        while far.accepted.now():  # noqa: ASYNC110
            await trio.sleep(0.01)
        near.connect(far.endpoint)
        near.send(far.endpoint, [b"c", b"d"])
        assert await take(far, 1) == [(1, [b"c", b"d"])]


async def test_a_gate_that_is_shut_lets_callers_wait_and_friends_go_on() -> None:
    async with open_net() as net:
        near, far, third = net.open(1), net.open(2), net.open(3)
        near.connect(far.endpoint)
        near.send(far.endpoint, [b"a", b"b"])
        await take(far, 1)
        far._gate_moved(True)
        third.connect(far.endpoint)
        third.send(far.endpoint, [b"from", b"outside"])
        near.send(far.endpoint, [b"c", b"d"])
        assert await take(far, 1) == [(1, [b"c", b"d"])]
        await trio.sleep(0.3)
        assert far.receive() is None
        assert far.counts["accepted"] == 1
        far._gate_moved(False)
        assert await take(far, 1) == [(3, [b"from", b"outside"])]
        far._gate_moved(True)
        near.send(far.endpoint, [b"e", b"f"])
        assert await take(far, 1) == [(1, [b"e", b"f"])]
