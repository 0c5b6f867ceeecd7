"""Nobody who knocks at a node's port keeps it from serving its friends, or makes it grow.

A few seconds for each kind; a minute with REGROW_LONG=1.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio

from actors.ref import ActorRef
from actors.system import open_system
from runtime.network.key_file import read_keys
from runtime.network.keys import Keys, new_secret
from runtime.network.listening import reserve, site_of
from runtime.network.tcp_endpoint import Site, TcpEndpoint, parse_endpoint
from runtime.wires.reliable import Reliable
from runtime.wires.zmq_tcp import TcpTransport, public_of
from tests.bench_actors import Caller, Echo
from tests.hostile import ATTACKS
from tests.real import ROOT, until

pytestmark = pytest.mark.real

SECONDS = 60.0 if os.environ.get("REGROW_LONG") else 3.0
MORE_MIB = 64
SLOWER = 10
AT_LEAST_MS = 100.0
"""On a machine with other work, a moment's wait is nobody's fault."""


class Target(Echo):
    """Is attacked, and knows what has become of those who knocked."""

    async def counts(self) -> dict[str, int]:
        transport = self._cell.exchange.transport
        assert isinstance(transport, Reliable)
        assert isinstance(transport.inner, TcpTransport)
        return dict(transport.inner.counts)

    async def pid(self) -> int:
        return os.getpid()


def peak_mib(pid: int) -> float:
    """The most that it has had since `forget_peak`."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


@asynccontextmanager
async def open_attack(kind: str, endpoint: str, file: str = "") -> AsyncIterator[None]:
    command = [sys.executable, "-m", "tests.hostile", kind, endpoint, str(SECONDS), file]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(  # noqa: ASYNC220
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors
        )
        try:
            assert process.stdout is not None
            os.set_blocking(process.stdout.fileno(), True)
            await trio.lowlevel.wait_readable(process.stdout.fileno())
            assert process.stdout.readline() == b"ready\n"
            yield
            with trio.fail_after(30):
                await until(lambda: process.poll() is not None, 30)
            errors.seek(0)
            assert errors.read() == b""
            assert process.returncode == 0
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


async def record(target: TcpEndpoint, keys: Keys) -> bytes:
    """What a friend of the target sends, from the greeting to his first message."""
    sent = bytearray()
    site = target.sites[0]

    async def relay(caller: trio.SocketStream) -> None:
        async with await trio.open_tcp_stream(site.host, site.port) as onward, caller:

            async def back() -> None:
                async for data in onward:
                    await caller.send_all(data)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(back)
                async for data in caller:
                    sent.extend(data)
                    await onward.send_all(data)
                nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, relay, [listener])
        host, port = listener.socket.getsockname()
        detour = str(TcpEndpoint((Site(host, port),), target.key, target.incarnation))
        with reserve("127.0.0.1") as reserved:
            own = str(TcpEndpoint((site_of(reserved),), public_of(keys.own), 77))
            friend = TcpTransport(own, 77, nursery, 64, keys=keys)
            friend.connect(detour)
            friend.send(detour, [b"a friend's word", b"x" * 500])
            await until(lambda: len(sent) > 1000)
            friend.close()
        nursery.cancel_scope.cancel()
    return bytes(sent)


def tcp_endpoint(target: ActorRef[Target]) -> TcpEndpoint:
    """Whoever calls may do so by plain TCP."""
    return msgspec.structs.replace(parse_endpoint(target.endpoint), kind="tcp")


EXPECTED = {
    "scan": {"left early"},
    "loris": {"left early", "shut"},
    "huge": {"no zmtp"},
    "fat": {"left early", "shut"},
    "noise": {"no zmtp"},
    "replay": {"no zmtp"},
    "no key": {"no zmtp"},
    "wrong key": {"unknown key", "refused"},
    "wrong listener": {"no zmtp"},
}


@pytest.mark.parametrize("wire", ["tcp", "mptcp"])
@pytest.mark.parametrize("kind", ATTACKS)
async def test_a_node_serves_its_friends_and_does_not_grow(
    kind: str, wire: str, tmp_path: Path, home: str
) -> None:
    said: list[tuple[str, str]] = []
    file = str(tmp_path / "keys")
    async with open_system(
        signals=False,
        transport=wire,
        keys=file,
        output=lambda name, line: said.append((name, line)),
    ) as system:
        caller: ActorRef[Caller] = await system.spawn(Caller, name="caller")
        target: ActorRef[Target] = await system.spawn(Target, name="target")
        recording = str(tmp_path / "recording")
        if kind == "replay":
            member = Keys(new_secret(), read_keys(file).member)
            heard = await record(tcp_endpoint(target), member)
            Path(recording).write_bytes(heard)  # noqa: ASYNC240
        at = tcp_endpoint(target)
        pid = await target.ask(Target.pid)
        _, quiet = await caller.ask(Caller.round_trips_us, target, 1.0)
        before = await target.ask(Target.counts)
        forget_peak(pid)
        small = peak_mib(pid)
        async with open_attack(kind, str(at), recording):
            _, busy = await caller.ask(Caller.round_trips_us, target, SECONDS)
            newcomer = await system.spawn(Caller, name="newcomer")
            assert await newcomer.ask(Caller.round_trip_us, target, 0.1) > 0
        grown = peak_mib(pid) - small
        after = await target.ask(Target.counts)
        strays = {what: after[what] - before.get(what, 0) for what in after}
        print(f"{kind}: p99 {quiet:.0f} -> {busy:.0f} us, {grown:.1f} MiB more, {strays}")
        assert grown < MORE_MIB
        assert busy < max(SLOWER * quiet, AT_LEAST_MS * 1000)
        assert all(strays.get(what, 0) > 0 for what in EXPECTED[kind])
        lines = [line for name, line in said if name == "target"]
        if kind == "wrong key":
            assert all(
                re.fullmatch(r"refused .* with an unknown key, the last from 127\.0\.0\.1", line)
                for line in lines
            )
            assert 1 <= len(lines) <= SECONDS + 30
        else:
            assert lines == []
