"""Nodes that join by hand: ``regrow join``."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path

import msgspec
import pytest
import trio

from actors.actor import Actor, reentrant
from actors.down import Down
from actors.ref import ActorRef
from actors.system import System, open_system
from runtime.errors import ActorDeadError, SpawnError, UnreachableError
from runtime.hosts import joined_node
from runtime.hosts.joined_node import Wish
from runtime.messages import envelope as wire
from runtime.messages.codec import Buffer, encode
from runtime.network.join_file import read_pass
from runtime.network.tcp_endpoint import Site, parse_endpoint
from tests.real import ANSWER_S, REGROW, ROOT, START_S, environment, open_console, until

pytestmark = pytest.mark.real


class Worker(Actor):
    """A bit of everything."""

    def __init__(self, value: int = 0) -> None:
        self.value = value
        self.downs: list[str] = []

    async def add(self, amount: int) -> int:
        self.value += amount
        return self.value

    async def count(self, limit: int) -> AsyncIterator[int]:
        for number in range(limit):
            yield number

    async def pid(self) -> int:
        return os.getpid()

    async def ask_other(self, other: ActorRef[Worker], amount: int) -> int:
        self.monitor(other)
        return await other.ask(Worker.add, amount)

    async def on_down(self, down: Down) -> None:
        self.downs.append(f"{down.ref.name} {down.reason.kind}")

    @reentrant
    async def until_heard(self, down: str) -> None:
        await until(lambda: down in self.downs)

    async def grow(self) -> int:
        child = await self.spawn(Worker, 5, name="child")
        return await child.ask(Worker.add, 1)


LOST_AFTER_S = 5
NODE = "actors.node:ComputeNode"


def listening_port(pid: int) -> int:
    """The one on which that process listens, 0 as long as there is none."""
    inodes = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            inodes.add(os.readlink(path).partition("[")[2][:-1])
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *rest = line.split()
        if state == "0A" and rest[5] in inodes:
            return int(local.partition(":")[2], 16)
    return 0


def port_of(system: System) -> int:
    return parse_endpoint(system.exchange.address.endpoint).sites[0].port


@contextmanager
def joining(
    home: str, address: str, *options: str, actor: str = "tests.test_real_join:Worker"
) -> Iterator[subprocess.Popen[str]]:
    """A process that joins; killed at the end of the block if it is there still."""
    argv = [REGROW, "join", address, "--actor", actor, *options]
    process = subprocess.Popen(
        argv, stderr=subprocess.PIPE, text=True, env=environment(home), cwd=ROOT
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def lookup(system: System, name: str) -> ActorRef[Worker]:
    with trio.fail_after(START_S):
        while True:
            try:
                return await system.lookup(name, Worker)
            except (LookupError, ActorDeadError):
                await trio.sleep(0.02)


async def ended(process: subprocess.Popen[str], within_s: float = ANSWER_S) -> int:
    await until(lambda: process.poll() is not None, within_s)
    return process.returncode


async def said(process: subprocess.Popen[str]) -> str:
    """The first line that it says."""
    assert process.stderr is not None
    with trio.fail_after(START_S):
        await trio.lowlevel.wait_readable(process.stderr)
    return process.stderr.readline()


def state(system: System, name: str) -> str:
    found = system.nodes.places.state(name)
    return found.value if found is not None else "none"


@pytest.mark.parametrize("transport", ["tcp", "mptcp"])
async def test_a_node_that_joins_works_as_any(transport: str, tmp_path: Path, home: str) -> None:
    file = str(tmp_path / "join")
    with trio.fail_after(START_S + 3 * ANSWER_S):
        async with open_system(transport=transport, join_file=file) as system:
            near = await system.spawn(Worker, name="near")
            address = f"127.0.0.1:{port_of(system)}"
            with joining(
                home, address, "--key", file, "--name", "far", "--transport", transport, "40"
            ) as process:
                far = await lookup(system, "far")
                assert await far.ask(Worker.pid) == process.pid
                assert await far.ask(Worker.add, 2) == 42
                for _ in range(2000):
                    await far.tell(Worker.add, 1)
                assert await far.ask(Worker.add, 0) == 2042
                assert await near.ask(Worker.ask_other, far, 0) == 2042
                assert await far.ask(Worker.ask_other, near, 7) == 7
                async with far.stream(Worker.count, 3000) as numbers:
                    assert [number async for number in numbers] == list(range(3000))
                assert await far.ask(Worker.grow) == 6  # on the controller's host
                rows = {row.name: (row.parent, row.state, row.pid) for row in await system.tree()}
                assert rows["far"] == ("controller", "ok", 0)
                assert rows["child"][0] == "far"
                with pytest.raises(SpawnError, match="far has joined by hand"):
                    await far.restart()
                await near.kill()
                await far.ask(Worker.until_heard, "near killed")
                reason = await far.stop()
                assert reason.kind == "shutdown"
                assert await ended(process) == 0
                assert [row.name for row in await system.tree()] == ["near"]
                audit = await system.audit()
                assert audit.balances


async def test_it_ends_with_its_system(tmp_path: Path, home: str) -> None:
    file = str(tmp_path / "join")
    async with AsyncExitStack() as stack:
        async with open_system(transport="tcp", join_file=file) as system:
            address = f"127.0.0.1:{port_of(system)}"
            process = stack.enter_context(joining(home, address, "--key", file))
            await lookup(system, "worker-1")
        assert await ended(process) == 0


async def test_the_file_for_joiners_ends_with_its_keys(tmp_path: Path, home: str) -> None:
    file, keys = tmp_path / "join", tmp_path / "keys"
    async with open_system(transport="tcp", join_file=str(file)):
        assert file.exists()
    assert not file.exists()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        site = f"127.0.0.1:{holder.getsockname()[1]}"
        with pytest.raises(OSError, match="Address already in use"):
            async with open_system(transport="tcp", listen=[site], join_file=str(file)):
                pass
    assert not file.exists()
    async with open_system(transport="tcp", join_file=str(file), keys=str(keys)):
        pass
    kept = read_pass(str(file))
    async with open_system(transport="tcp", join_file=str(file), keys=str(keys)):
        assert read_pass(str(file)) == kept


async def test_a_kill_reaches_it(tmp_path: Path, home: str) -> None:
    file = str(tmp_path / "join")
    async with open_system(transport="tcp", join_file=file) as system:
        address = f"127.0.0.1:{port_of(system)}"
        with joining(home, address, "--key", file) as process:
            reason = await (await lookup(system, "worker-1")).kill()
            assert (reason.kind, reason.signal) == ("killed", signal.SIGKILL)
            assert await ended(process) == -signal.SIGKILL
        with joining(home, address, "--key", file, "--name", "worker-1"):  # its place is free
            await until(lambda: state(system, "worker-1") == "ok")
            worker = await lookup(system, "worker-1")
            assert await worker.ask(Worker.add, 1) == 1


async def test_it_ends_in_order_by_a_signal(tmp_path: Path, home: str) -> None:
    file = str(tmp_path / "join")
    async with open_system(transport="tcp", join_file=file) as system:
        address = f"127.0.0.1:{port_of(system)}"
        for number in (signal.SIGTERM, signal.SIGINT):
            with joining(home, address, "--key", file, "--name", "far") as process:
                far = await lookup(system, "far")
                process.send_signal(number)
                assert (await far.wait()).kind == "shutdown"
                assert await ended(process) == 0


async def test_one_that_was_frozen_until_it_was_lost_is_told_to_end(
    tmp_path: Path, home: str
) -> None:
    file = str(tmp_path / "join")
    async with open_system(transport="tcp", join_file=file) as system:
        address = f"127.0.0.1:{port_of(system)}"
        options = ("--key", file, "--name", "far", "--lost-after", "2")
        with joining(home, address, *options) as process:
            far = await lookup(system, "far")
            process.send_signal(signal.SIGSTOP)
            with trio.fail_after(2 + ANSWER_S):
                assert (await far.wait()).kind == "lost"
            process.send_signal(signal.SIGCONT)
            assert await ended(process) == 1
            assert process.stderr is not None
            assert process.stderr.read() == (
                f"regrow: joined {address} as far\nregrow: lost: it was given up\n"
            )


async def test_a_kill_of_one_that_is_out_of_reach_gives_it_up(tmp_path: Path, home: str) -> None:
    file = str(tmp_path / "join")
    async with open_system(transport="tcp", join_file=file) as system:
        address = f"127.0.0.1:{port_of(system)}"
        with joining(home, address, "--key", file, "--name", "far") as process:
            far = await lookup(system, "far")
            process.send_signal(signal.SIGSTOP)
            with trio.fail_after(ANSWER_S):
                await far.kill()
            reason = await far.wait()
            assert reason.kind == "lost"
            assert reason.message == "it was killed, and has not been heard for 1 s since"
            process.send_signal(signal.SIGCONT)
            assert await ended(process) in (-signal.SIGKILL, 1)


async def test_its_death_shows_as_cut_off_and_then_as_lost(tmp_path: Path, home: str) -> None:
    file = str(tmp_path / "join")
    async with open_system(transport="tcp", join_file=file) as system:
        address = f"127.0.0.1:{port_of(system)}"
        options = ("--key", file, "--name", "far", "--lost-after", "4")
        with joining(home, address, *options) as process:
            far = await lookup(system, "far")
            process.kill()
            await until(lambda: state(system, "far") == "cut off")
            with pytest.raises(UnreachableError):
                await far.ask(Worker.add, 1)
            with trio.fail_after(4 + ANSWER_S):
                reason = await far.wait()
            assert reason.kind == "lost"
            assert "lost_after_s" in reason.message
            assert state(system, "far") == "dead"


async def test_it_ends_by_itself_when_the_controller_falls_silent(
    tmp_path: Path,
) -> None:
    file = str(tmp_path / "join")
    options = ("--transport", "tcp", "--listen", "127.0.0.1", "--join-file", file)
    async with open_console(*options) as console:
        await until(lambda: listening_port(console.pid) > 0, START_S)
        port = listening_port(console.pid)
        address = f"127.0.0.1:{port}"
        options = ("--key", file, "--name", "7", "--lost-after", str(LOST_AFTER_S))
        with joining(console.home, address, *options, actor=NODE) as process:
            assert await said(process) == f"regrow: joined {address} as 7\n"
            assert await console.ask_all("exec 7 time", "ping 7") == ["Ok:7: 0", "Ok: 1"]
            console.signal(signal.SIGKILL)
            assert await ended(process, 5 * LOST_AFTER_S + ANSWER_S) == 1
            assert process.stderr is not None
            assert process.stderr.read() == (
                f"regrow: lost: the controller has been silent for {LOST_AFTER_S} s\n"
            )


async def test_whoever_joins_a_tree_of_numbers_has_one(tmp_path: Path) -> None:
    file = str(tmp_path / "join")
    options = ("--transport", "tcp", "--listen", "127.0.0.1", "--join-file", file)
    async with open_console(*options) as console:
        await until(lambda: listening_port(console.pid) > 0, START_S)
        address = f"127.0.0.1:{listening_port(console.pid)}"
        key = ("--key", file)
        assert (await console.ask("create 1")).startswith("Ok: ")
        with joining(console.home, address, *key, "--name", "far", actor=NODE) as process:
            assert await ended(process, START_S) == 1
            assert process.stderr is not None
            assert process.stderr.read() == (
                "regrow: the nodes of this tree have numbers, 0 to 2147483647: not 'far';"
                " without a name it gets one that is free\n"
            )
        with joining(console.home, address, *key, actor=NODE) as process:
            assert await said(process) == f"regrow: joined {address} as 2\n"
            assert await console.ask("exec 2 time") == "Ok:2: 0"
            assert await console.ask_all("all", "create 2") == ["1 2", "Error: Already exists"]
            assert (await console.tree())[1] == "  2 pid 0 ok"
            assert await console.ask("remove 2") == "Ok"
            assert await ended(process) == 0
            assert process.stderr is not None
            assert process.stderr.read() == ""


async def test_who_cannot_join_is_told_why(tmp_path: Path, home: str) -> None:
    file = str(tmp_path / "join")
    async with open_system(transport="tcp", join_file=file) as system:
        await system.spawn(Worker, name="near")
        port = port_of(system)
        wide = str(tmp_path / "wide")
        Path(wide).write_bytes(Path(file).read_bytes())  # noqa: ASYNC240
        for key, name, where, status, why in (
            (file, "near", port, 1, "the name near is taken"),
            (file, "a b", port, 1, "not a name for an actor: 'a b'"),
            (file, "a/b", port, 1, "not a name for a node: 'a/b'"),
            (file, "far", 1, 1, "127.0.0.1:1 cannot be reached: Connection refused"),
            (wide, "far", port, 1, f"regrow: --key {wide}: the keys in {wide} are not read: its"),
        ):
            options = ("--key", key, "--name", name)
            with joining(home, f"127.0.0.1:{where}", *options) as process:
                code = await ended(process, START_S)
                assert process.stderr is not None
                text = process.stderr.read()
                assert why in text
                assert text.count("\n") == 1
                assert code == status
        assert [row.name for row in await system.tree()] == ["near"]


async def test_without_keys_a_node_joins_a_system_that_has_none(home: str) -> None:
    with trio.fail_after(START_S + 3 * ANSWER_S):
        async with open_system(transport="tcp", insecure=True) as system:
            address = f"127.0.0.1:{port_of(system)}"
            with joining(home, address, "--insecure", "--name", "far", "40") as process:
                far = await lookup(system, "far")
                assert await far.ask(Worker.add, 2) == 42
                assert (await far.stop()).planned
                assert await ended(process) == 0


async def test_another_version_is_refused(
    tmp_path: Path, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(tmp_path / "join")

    def of_the_future(join: wire.Join) -> list[Buffer]:
        return encode(msgspec.structs.replace(join, version=wire.VERSION + 1))

    async with open_system(transport="tcp", join_file=file) as system:
        site = Site("127.0.0.1", port_of(system))
        monkeypatch.setattr(joined_node, "encode", of_the_future)
        with pytest.raises(SpawnError, match="it speaks version 2, and the system 1"):
            await joined_node.join(Wish(site, read_pass(file), "a:B", b"", "far", "b"))
        assert await system.tree() == []
