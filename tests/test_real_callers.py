"""Who calls over MPTCP, and goes: no descriptor stays, and the other end sees the end."""

from __future__ import annotations

import os
import resource
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager

import msgspec
import pytest
import trio

from runtime.network.gate import MAX_STRANGERS
from runtime.network.keys import Keys, new_secret
from runtime.network.listening import listen_at, reserve, site_of
from runtime.network.tcp_endpoint import Site, TcpEndpoint, parse_endpoint
from runtime.wires import zmq_tcp
from runtime.wires.splitting import PIECE_BYTES
from runtime.wires.zmq_mptcp import MptcpTransport
from runtime.wires.zmq_tcp import TcpTransport, public_of
from tests.hostile import GREETING
from tests.test_transports import take

pytestmark = pytest.mark.real
BOUND_S = 60
MEMBER = bytes(range(32))
RESET = struct.pack("ii", 1, 0)


@asynccontextmanager
async def open_port(incarnation: int = 1) -> AsyncIterator[MptcpTransport]:
    with trio.fail_after(BOUND_S), ExitStack() as held:
        async with trio.open_nursery() as nursery:
            reserved = held.enter_context(reserve("127.0.0.1"))
            keys = Keys(new_secret(), MEMBER)
            own = TcpEndpoint((site_of(reserved),), public_of(keys.own), incarnation, "mptcp")
            wire = MptcpTransport(str(own), incarnation, nursery, 64, keys=keys)
            try:
                yield wire
            finally:
                wire.close()
                nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_friend(incarnation: int) -> AsyncIterator[TcpTransport]:
    """Who calls by plain TCP."""
    with reserve("127.0.0.1") as reserved:
        async with trio.open_nursery() as nursery:
            keys = Keys(new_secret(), MEMBER)
            own = TcpEndpoint((site_of(reserved),), public_of(keys.own), incarnation)
            friend = TcpTransport(str(own), incarnation, nursery, 64, keys=keys)
            try:
                yield friend
            finally:
                friend.close()
                nursery.cancel_scope.cancel()


def seen_at(wire: MptcpTransport, site: Site) -> str:
    """Its endpoint for a friend who finds it there."""
    own = parse_endpoint(wire.endpoint)
    return str(msgspec.structs.replace(own, sites=(site,), kind="tcp"))


def site_at(wire: MptcpTransport) -> Site:
    return parse_endpoint(wire.endpoint).sites[0]


async def knock(wire: MptcpTransport) -> trio.SocketStream:
    site = site_at(wire)
    return await trio.open_tcp_stream(site.host, site.port)


def streams_open() -> int:
    return len(os.listdir("/proc/self/fd"))


async def has_gone(wire: MptcpTransport, accepted: int) -> None:
    """All but no stream are gone of those that were accepted."""
    while wire.counts["accepted"] < accepted or wire.accepted._held:  # noqa: ASYNC110
        await trio.sleep(0.01)


async def ends(stream: trio.SocketStream) -> None:
    try:
        while await stream.receive_some():
            pass
    except trio.BrokenResourceError:
        pass


async def hang_up(stream: trio.SocketStream) -> None:
    await stream.aclose()


async def reset(stream: trio.SocketStream) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    await stream.aclose()


async def say_nothing(stream: trio.SocketStream) -> None:
    await ends(stream)


async def say_no_zmtp(stream: trio.SocketStream) -> None:
    await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
    await ends(stream)


async def speak_an_old_zmtp(stream: trio.SocketStream) -> None:
    await stream.send_all(b"\xff\0\0\0\0\0\0\0\1\x7f\1\0")
    await ends(stream)


async def ask_for_no_keys(stream: trio.SocketStream) -> None:
    await stream.send_all(GREETING.replace(b"CURVE", b"NULL\0"))
    await ends(stream)


async def greet_and_say_no_more(stream: trio.SocketStream) -> None:
    await stream.send_all(GREETING)
    await ends(stream)


async def greet_and_talk_nonsense(stream: trio.SocketStream) -> None:
    await stream.send_all(GREETING + b"\4\x10nonsense nonsense")
    await ends(stream)


async def send_too_much(stream: trio.SocketStream) -> None:
    await stream.send_all(GREETING + b"\2" + (4 * PIECE_BYTES).to_bytes(8, "big"))
    await ends(stream)


STRANGERS: list[Callable[[trio.SocketStream], Awaitable[None]]] = [
    hang_up,
    reset,
    say_nothing,
    say_no_zmtp,
    speak_an_old_zmtp,
    ask_for_no_keys,
    greet_and_say_no_more,
    greet_and_talk_nonsense,
    send_too_much,
]


@pytest.mark.parametrize("behave", STRANGERS, ids=lambda each: each.__name__)
async def test_a_stranger_is_let_go_whatever_he_does(
    behave: Callable[[trio.SocketStream], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zmq_tcp, "_HANDSHAKE_MS", 300)
    async with open_port() as wire:
        before = streams_open()
        for count in range(1, 4):
            stream = await knock(wire)
            await behave(stream)
            await stream.aclose()
            await has_gone(wire, count)
        while streams_open() > before:  # noqa: ASYNC110
            await trio.sleep(0.01)


async def test_a_friend_who_sends_a_broken_byte_is_let_go_and_comes_again() -> None:
    async with open_port() as wire, open_friend(7) as friend:
        with listen_at([Site("127.0.0.1", 0)])[0] as box:
            through = seen_at(wire, site_of(box))
            friend.connect(through)
            for count in (1, 2):
                await trio.lowlevel.wait_readable(box)
                near = trio.SocketStream(trio.socket.from_stdlib_socket(box.accept()[0]))
                async with near, await knock(wire) as far, trio.open_nursery() as nursery:
                    nursery.start_soon(copy, near, far)
                    nursery.start_soon(copy, far, near)
                    friend.send(through, [b"whole"])
                    assert await take(wire, 1) == [(7, [b"whole"])]
                    assert len(wire.accepted.now()) == 1
                    await far.socket.send(b"\0\x05wrong")
                    await has_gone(wire, count)
                    nursery.cancel_scope.cancel()


async def test_a_caller_who_comes_anew_leaves_nothing_of_his_old_stream() -> None:
    """Not even when something arrives by it that libzmq will never read."""
    async with open_port() as wire, open_friend(7) as old, open_friend(7) as new:
        there = seen_at(wire, site_at(wire))
        for number, friend in enumerate((old, new), 1):
            friend.connect(there)
            friend.send(there, [b"hello"])
            assert await take(wire, 1) == [(7, [b"hello"])]
            assert len(wire.accepted.now()) == number
        old.send(there, [b"late"])
        await trio.sleep(0.2)
        old.close()
        while len(wire.accepted.now()) != 1:  # noqa: ASYNC110
            await trio.sleep(0.01)
        new.send(there, [b"on and on"])
        assert await take(wire, 1) == [(7, [b"on and on"])]


async def test_a_flood_of_strangers_takes_a_bounded_number_of_descriptors() -> None:
    async with open_port() as wire:
        before, most = streams_open(), 0
        site = site_at(wire)
        callers = []
        while not wire.counts["shut"]:
            for _ in range(10):
                caller = socket.socket(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
                callers.append(caller)
                caller.connect_ex((site.host, site.port))
            await trio.sleep(0.001)
            most = max(most, streams_open() - len(callers) - before)
        assert MAX_STRANGERS <= most <= 2 * len(callers)
        assert wire.counts["accepted"] >= MAX_STRANGERS
        for caller in callers:
            caller.close()
        await has_gone(wire, MAX_STRANGERS)
        while streams_open() > before:  # noqa: ASYNC110
            await trio.sleep(0.01)


async def test_the_end_of_the_loop_is_the_end_of_all_streams() -> None:
    async with open_port() as wire:
        before = streams_open()
        streams = [await knock(wire) for _ in range(5)]
        while wire.counts["accepted"] < 5:  # noqa: ASYNC110
            await trio.sleep(0.01)
        wire.close()
        for stream in streams:
            await ends(stream)
            await stream.aclose()
        assert streams_open() < before


LISTENER = """
import os, sys, time, trio
from tests.test_real_callers import open_port
async def main():
    async with open_port(2) as wire:
        print(wire.endpoint, flush=True)
        await trio.lowlevel.wait_readable(0)
        how = sys.stdin.readline().strip()
        if how == "exit":
            os._exit(0)
        if how == "close":
            wire.close()
            time.sleep(60)
trio.run(main)
"""


@pytest.mark.parametrize("how", ["kill", "exit", "close", "leave"])
async def test_the_end_of_a_process_is_seen_at_once(how: str) -> None:
    async with open_port() as near:
        process = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "-c", LISTENER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            await trio.lowlevel.wait_readable(process.stdout)
            endpoint = process.stdout.readline().decode().strip()
            near.connect(endpoint)
            near.send(endpoint, [b"a", b"b"])
            link = near.outgoing[endpoint]
            while link.pump is None or near.holds(endpoint):  # noqa: ASYNC110
                await trio.sleep(0.01)
            first, begin = link.pump, trio.current_time()
            if how == "kill":
                process.kill()
            else:
                process.stdin.write(f"{how}\n".encode())
                process.stdin.flush()
            while link.pump is first:  # noqa: ASYNC110
                await trio.sleep(0.01)
            assert trio.current_time() - begin < 5 * 0.5
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


async def test_without_descriptors_callers_wait_and_are_let_in_later() -> None:
    async with open_port(1) as near, open_port(2) as far:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        near.connect(far.endpoint)
        near.send(far.endpoint, [b"a", b"b"])
        await take(far, 1)
        with ExitStack() as held:
            caller = held.enter_context(socket.socket())
            caller.setblocking(False)
            lowest = os.dup(caller.fileno())
            os.close(lowest)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
            try:
                site = site_at(far)
                caller.connect_ex((site.host, site.port))
                near.send(far.endpoint, [b"c", b"d"])
                assert await take(far, 1) == [(1, [b"c", b"d"])]
                await trio.sleep(0.2)
                assert far.counts["accepted"] == 1
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
            while len(far.accepted.now()) != 2:  # noqa: ASYNC110
                await trio.sleep(0.01)


async def copy(source: trio.SocketStream, target: trio.SocketStream) -> None:
    try:
        async for part in source:
            await target.send_all(part)
    except trio.BrokenResourceError:
        pass
