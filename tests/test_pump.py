"""Bytes carried between sockets, tested alone: no ZMQ, echoes at the far end."""

from __future__ import annotations

import fcntl
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from runtime.multipath import pump
from runtime.multipath.dialling import dial
from runtime.multipath.inspection import mptcp_info, speaks_mptcp
from runtime.multipath.pump import CHUNK_BYTES, Pump
from runtime.multipath.streams import Streams
from runtime.network.listening import listen_at, site_of
from runtime.network.tcp_endpoint import Site
from tests import mptcp

pytestmark = pytest.mark.real

BOUND_S = 30
WIRES = ("unix", "tcp", "mptcp")
every_wire = pytest.mark.parametrize("wire", WIRES)


def unix_pair() -> tuple[socket.socket, socket.socket]:
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    return near, far


async def network_pair(wire: str) -> tuple[socket.socket, socket.socket]:
    """Connected sockets that do not block."""
    if wire == "unix":
        return unix_pair()
    streams = Streams()
    if wire == "tcp":
        streams.missing = "by choice"
    elif mptcp.missing():
        pytest.skip(mptcp.missing())
    (listening,) = listen_at([Site("127.0.0.1", 0)], make=streams.make)
    with listening:
        near = await dial([site_of(listening)], streams.dialling)
        await trio.lowlevel.wait_readable(listening)
        far, _ = listening.accept()
        far.setblocking(False)
        return near, far


@asynccontextmanager
async def pumped(wire: str) -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream, Pump]]:
    """The two ends of what a pump joins."""
    app, inner = unix_pair()
    outer, far = await network_pair(wire)
    with trio.fail_after(BOUND_S):
        async with trio.open_nursery() as nursery:
            between = Pump(inner, outer)
            nursery.start_soon(between.run)
            try:
                async with _stream(app) as near_end, _stream(far) as far_end:
                    yield near_end, far_end, between
            finally:
                between.scope.cancel()
    assert inner.fileno() == outer.fileno() == -1


def _stream(sock: socket.socket) -> trio.SocketStream:
    return trio.SocketStream(trio.socket.from_stdlib_socket(sock))


def plain(stream: trio.SocketStream) -> socket.socket:
    """What speaks at once or not at all."""
    found: socket.socket = vars(stream.socket)["_sock"]
    return found


async def echo(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)
    await stream.send_eof()


@every_wire
@pytest.mark.parametrize("size", [1, 1000, 3_000_000])
async def test_bytes_come_back_as_they_were(wire: str, size: int) -> None:
    data = random.Random(size).randbytes(size)
    async with pumped(wire) as (near, far, between), trio.open_nursery() as nursery:
        nursery.start_soon(echo, far)

        async def send() -> None:
            await near.send_all(data)
            await near.send_eof()

        nursery.start_soon(send)
        assert b"".join([bytes(part) async for part in near]) == data
        assert between.out.count == between.back.count == size
    assert between.failure is None


@every_wire
async def test_the_end_of_one_direction_leaves_the_other_open(wire: str) -> None:
    async with pumped(wire) as (near, far, between):
        await near.send_all(b"question")
        await near.send_eof()
        assert b"".join([bytes(part) async for part in far]) == b"question"
        for _ in range(3):
            await far.send_all(b"answer")
            assert await near.receive_some() == b"answer"
        assert not between.scope.cancel_called


async def test_a_direction_whose_other_has_ended_does_not_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pump, "HALF_OPEN_S", 0.05)
    async with pumped("unix") as (near, far, _):
        await near.send_eof()
        assert await far.receive_some() == b""
        with suppress(trio.BrokenResourceError):
            assert await near.receive_some() == b""


@every_wire
@pytest.mark.parametrize("side", ["near", "far"])
async def test_a_failure_of_one_side_is_told_to_the_other(wire: str, side: str) -> None:
    async with pumped(wire) as (near, far, between):
        breaks, hears = (near, far) if side == "near" else (far, near)
        await hears.send_all(b"unread")
        await wait_all_tasks_blocked(0.05)
        breaks.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pump._RESET)
        breaks.socket.close()
        with suppress(trio.BrokenResourceError):  # a local socket tells it as an end
            while await hears.receive_some():
                pass
    assert between.failure is not None or not (between.out.ended and between.back.ended)


@every_wire
async def test_a_reader_that_stands_still_holds_the_writer_up_and_loses_nothing(wire: str) -> None:
    async with pumped(wire) as (near, far, between):
        rng, sent = random.Random(3), bytearray()
        while True:
            data = rng.randbytes(CHUNK_BYTES)
            with trio.move_on_after(0.3) as patience:
                await near.wait_send_all_might_not_block()
            if patience.cancelled_caught:
                break
            with suppress(BlockingIOError):
                sent += data[: plain(near).send(data)]
        assert len(between.out._held or b"") <= CHUNK_BYTES
        taken = bytearray()
        while len(taken) < len(sent):
            taken += await far.receive_some()
        assert taken == sent


async def test_last_words_are_carried_without_the_loop() -> None:
    app, inner = unix_pair()
    outer, far = unix_pair()
    between = Pump(inner, outer)
    app.sendall(b"farewell")
    app.close()
    between.drain_now(1.0)
    assert far.recv(100) == b"farewell"
    assert far.recv(100) == b""
    between.close()
    far.close()
    between.drain_now(1.0)  # nothing is left to do


async def test_last_words_that_nobody_takes_block_no_longer_than_said() -> None:
    app, inner = unix_pair()
    outer, far = unix_pair()
    between = Pump(inner, outer)
    app.sendall(b"and then?")
    between.drain_now(0.01)
    assert far.recv(100) == b"and then?"
    between.close()
    for each in (app, far):
        each.close()


# -- in a hurry


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a slow machine; who hurries returns as soon as there is something all the same."""
    monkeypatch.setattr(pump, "HURRY_S", float(BOUND_S))


@pytest.mark.usefixtures("patience")
async def test_what_is_said_in_a_hurry_is_carried_without_a_turn_of_the_loop() -> None:
    async with pumped("unix") as (near, far, between):
        await wait_all_tasks_blocked()
        for number in range(3):
            plain(near).sendall(b"question %d" % number)
            assert between.hurry()
            assert plain(far).recv(100) == b"question %d" % number
        await near.send_all(b"at leisure")
        assert await far.receive_some() == b"at leisure"
        await far.send_all(b"answer")
        assert await near.receive_some() == b"answer"


async def test_who_says_nothing_is_not_waited_for() -> None:
    async with pumped("unix") as (near, far, between):
        await wait_all_tasks_blocked()
        assert between.hurry()
        await near.send_all(b"later")
        assert await far.receive_some() == b"later"


@every_wire
@pytest.mark.parametrize("more", [b"", b"more"], ids=["and no more", "and more"])
async def test_of_more_than_the_target_takes_in_a_hurry_nothing_is_lost(
    wire: str, more: bytes
) -> None:
    async with pumped(wire) as (near, far, between):
        await wait_all_tasks_blocked()
        rng, sent = random.Random(5), bytearray()
        for _ in range(1000):
            data = rng.randbytes(CHUNK_BYTES // 2)
            sent += data[: plain(near).send(data)]
            if not between.hurry():
                break
        assert between.out.holds
        plain(near).sendall(more)
        sent += more
        assert between.hurry()  # it is the task's now
        taken = bytearray()
        while len(taken) < len(sent):
            taken += await far.receive_some()
        assert taken == sent
        await near.send_all(b"more")
        assert await far.receive_some() == b"more"


@pytest.mark.usefixtures("patience")
async def test_an_end_that_is_found_in_a_hurry_is_that_of_one_direction() -> None:
    async with pumped("unix") as (near, far, between):
        await wait_all_tasks_blocked()
        plain(near).sendall(b"question")
        plain(near).shutdown(socket.SHUT_WR)
        for _ in range(3):
            assert between.hurry()
        assert between.out.ended
        assert b"".join([bytes(part) async for part in far]) == b"question"
        await far.send_all(b"answer")
        assert await near.receive_some() == b"answer"
        assert between.scope.deadline < trio.current_time() + 2 * pump.HALF_OPEN_S


@pytest.mark.usefixtures("patience")
async def test_a_failure_that_is_found_in_a_hurry_ends_both_directions() -> None:
    async with pumped("unix") as (near, far, between):
        await wait_all_tasks_blocked()
        plain(near).sendall(b"question")
        far.socket.close()
        assert not between.hurry()
        assert between.hurry()  # there is nothing left to do
        assert between.failure is not None
        with suppress(trio.BrokenResourceError):
            assert await near.receive_some() == b""


async def test_a_hurry_does_not_prolong_a_stream_whose_other_direction_has_ended() -> None:
    async with pumped("unix") as (near, far, between):
        await far.send_eof()
        assert await near.receive_some() == b""
        plain(near).sendall(b"still here")
        assert between.hurry()
        assert between.out.count == 0
        assert await far.receive_some() == b"still here"


async def test_a_descriptor_too_high_to_select_is_carried_at_leisure() -> None:
    app, low = unix_pair()
    with app, low:
        inner = socket.socket(fileno=fcntl.fcntl(low, fcntl.F_DUPFD, 1024))
    outer, far = unix_pair()
    between = Pump(inner, outer)
    assert between.hurry()
    between.close()
    assert between.hurry()
    far.close()


# -- what the kernel has


async def test_a_stream_is_mptcp_where_the_kernel_has_it() -> None:
    near, far = await network_pair("mptcp")
    with near, far:
        assert speaks_mptcp(near)
        assert mptcp_info(near).remote_key_received


async def test_a_kernel_without_mptcp_gives_plain_tcp_and_is_asked_once() -> None:
    asked = []

    def make(family: int, kind: int, proto: int) -> socket.socket:
        asked.append(proto)
        if proto:
            raise OSError(92, "Protocol not available")
        return socket.socket(family, kind, proto)

    streams = Streams(make)
    for _ in range(3):
        with streams.dialling(socket.AF_INET) as stream:
            assert not speaks_mptcp(stream)
    assert streams.missing == "this kernel has no Multipath TCP (Protocol not available)"
    assert asked == [mptcp.IPPROTO_MPTCP, 0, 0, 0]
