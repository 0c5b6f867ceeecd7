"""Whole systems over tcp, on loopback. ``pytest --over tcp`` runs all other real tests so."""

from __future__ import annotations

import base64
import logging
import os
import random
import signal
import socket
import stat
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.actor import Actor
from actors.system import System, open_system
from runtime.errors import ActorDeadError
from runtime.network.key_file import read_keys
from runtime.network.keys import Keys, new_keys
from runtime.network.listening import reserve, site_of
from runtime.network.tcp_endpoint import TcpEndpoint, parse_endpoint, to_text
from runtime.processes import procfs
from runtime.wires.reliable import Reliable
from runtime.wires.zmq_tcp import TcpTransport, public_of
from tests.real import (
    ANSWER_S,
    END_S,
    GONE_S,
    REGROW,
    ROOT,
    alive,
    begun,
    environment,
    family,
    home_folder,
    open_console,
    until,
)

pytestmark = [pytest.mark.real, pytest.mark.regrow(on="real")]

WIRES: dict[str, dict[str, Any]] = {
    "keys": {},
    "no keys": {"insecure": True},
    "six": {"listen": ("[::1]",)},
    "two": {"listen": ("127.0.0.1", "[::1]")},
    "mptcp": {"transport": "mptcp"},
    "mptcp two": {"transport": "mptcp", "listen": ("127.0.0.1", "[::1]")},
}
every_wire = pytest.mark.parametrize(
    "wire", [pytest.param(name, marks=pytest.mark.regrow(**WIRES[name])) for name in WIRES]
)
over_tcp = pytest.mark.regrow(transport="tcp")


class Worker(Actor):
    """A bit of everything."""

    def __init__(self, value: int = 0) -> None:
        self.value = value

    async def add(self, amount: int) -> int:
        self.value += amount
        return self.value

    async def echo(self, data: memoryview) -> memoryview:
        return data

    async def count(self, limit: int) -> AsyncIterator[int]:
        for number in range(limit):
            yield number

    async def grow(self, name: str) -> int:
        child = await self.spawn(Worker, 5, name=name)
        return await child.ask(Worker.add, 1)

    async def wait(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def pid(self) -> int:
        return os.getpid()

    async def shares_clock(self) -> list[bool]:
        return [peer.shares_clock for peer in self._cell.exchange.peers.values()]

    async def sleeper(self) -> int:
        """A process of its own, that has been through an exec."""
        return subprocess.Popen(["sleep", "600"]).pid  # noqa: ASYNC220


@every_wire
@over_tcp
async def test_a_system_works_as_over_ipc(wire: str, system: System) -> None:
    first = await system.spawn(Worker, 3, name="first", restart="permanent")
    second = await system.spawn(Worker)
    assert await first.ask(Worker.add, 4) == 7
    for _ in range(2000):
        await second.tell(Worker.add, 1)
    assert await second.ask(Worker.add, 0) == 2000
    async with first.stream(Worker.count, 3000) as numbers:
        assert [number async for number in numbers] == list(range(3000))
    data = random.Random(1).randbytes(8 * 1024 * 1024)
    assert await first.ask(Worker.echo, memoryview(data)) == data
    assert await first.ask(Worker.grow, "third") == 6
    third = await system.lookup("third", Worker)
    with pytest.raises(trio.TooSlowError), trio.fail_after(0.2):
        await third.ask(Worker.wait, 60)
    reason = await first.kill()
    assert reason.kind == "killed"
    with pytest.raises(ActorDeadError):
        await first.ask(Worker.add, 1)
    again = first.following()
    while True:
        with suppress(ActorDeadError):
            assert await again.ask(Worker.add, 1) == 4
            break
    assert await third.ask(Worker.add, 1) == 7
    endpoints = [row.endpoint for row in await system.tree()]
    kind = WIRES[wire].get("transport", "tcp")
    assert all(endpoint.startswith(f"{kind}://") for endpoint in endpoints)
    assert len(set(endpoints)) == len(endpoints)
    assert all(await third.ask(Worker.shares_clock))


@over_tcp
async def test_what_travels_is_encrypted_and_no_two_nodes_have_a_key_in_common(
    system: System,
) -> None:
    refs = [await system.spawn(Worker) for _ in range(3)]
    keys = {parse_endpoint(ref.endpoint).key for ref in refs}
    keys.add(parse_endpoint(system.exchange.address.endpoint).key)
    assert len(keys) == 4
    assert all(len(key) == 32 for key in keys)


def held() -> set[tuple[str, int]]:
    """Where sockets of this process are bound. The kernel may keep the connections of the dead."""
    found = set()
    for fd in map(int, os.listdir("/proc/self/fd")):
        with suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(fd).st_mode):
                continue
            with socket.socket(fileno=os.dup(fd)) as one:
                if one.family == socket.AF_INET:
                    found.add(one.getsockname())
    return found


@over_tcp
async def test_the_ports_of_the_dead_are_free_again(system: System) -> None:
    ref = await system.spawn(Worker)
    (site,) = parse_endpoint(ref.endpoint).sites
    assert (site.host, site.port) in held()
    await ref.kill()
    await ref.wait()
    assert (site.host, site.port) not in held()


@pytest.mark.parametrize("wire", [["--listen", "[::1]"], ["--insecure"]], ids=" ".join)
async def test_nothing_is_left_of_a_killed_controller(wire: list[str]) -> None:
    async with open_console("--transport", "tcp", *wire) as console:
        for id, parent in ((1, -1), (2, 1), (3, 2)):
            await console.create(id, parent)
        os.kill(await console.create(4), signal.SIGSTOP)
        everybody = family(console.pid)
        console.signal(signal.SIGKILL)
        await console.nothing_left(GONE_S)
        assert not any(map(alive, [*everybody["nodes"], *everybody["zygotes"]]))


async def test_a_killed_node_is_dead_at_once_and_its_children_answer() -> None:
    async with open_console("--transport", "tcp") as console:
        pids = [await console.create(id, parent) for id, parent in ((1, -1), (2, 1), (3, 2))]
        os.kill(pids[1], signal.SIGKILL)
        await console.becomes(2, "dead")
        assert await console.ask_all("ping 2", "exec 3 time", "ping 1") == [
            "Ok: 0",
            "Ok:3: 0",
            "Ok: 1",
        ]
        os.kill(pids[0], signal.SIGSTOP)
        await console.becomes(1, "frozen")
        os.kill(pids[0], signal.SIGCONT)
        await console.becomes(1, "ok")
        assert await console.ask("exit") == "Ok"
        await console.nothing_left(END_S)


# Keys.


def disguises(secret: bytes) -> list[bytes]:
    """How it might be written."""
    return [
        secret,
        secret.hex().encode(),
        to_text(secret).encode(),
        base64.b64encode(secret).rstrip(b"="),
        base64.b85encode(secret),
        repr(secret)[2:-1].encode(),
    ]


def exposed() -> dict[str, bytes]:
    """What anybody can see of our processes, or of what they leave in files."""
    seen: dict[str, bytes] = {}
    for pid in begun():
        for name in ("environ", "cmdline"):
            with suppress(OSError):
                seen[f"{pid} {name}"] = Path(f"/proc/{pid}/{name}").read_bytes()
    for folder, _, names in os.walk(os.environ["XDG_RUNTIME_DIR"]):
        for name in names:
            path = Path(folder, name)
            if path.is_file():
                seen[str(path)] = path.read_bytes()
    return seen


async def test_no_secret_shows_anywhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "keys"
    said: list[str] = []
    caplog.set_level(logging.DEBUG)
    async with open_system(
        transport="tcp", keys=str(file), output=lambda name, line: said.append(line)
    ) as system:
        refs = [await system.spawn(Worker, name=f"w{n}", restart="permanent") for n in range(2)]
        sleeper = await refs[0].ask(Worker.sleeper)
        await until(lambda: procfs.name(sleeper) == "sleep")
        kept = read_keys(str(file))
        secrets = [kept.own, kept.member]
        given: dict[int, Keys] = vars(vars(system.host)["_wiring"])["_given"]
        secrets += [keys.own for keys in given.values()]
        assert len(secrets) == 4
        with trio.move_on_after(1.0):  # a life that ends badly leaves a certificate
            await refs[1].kill()
        certificate = repr(await refs[1].wait())
        shown = [
            *said,
            caplog.text,
            certificate,
            repr(vars(system.host)),
            repr(await system.tree()),
        ]
        seen = exposed()
        assert f"{await refs[0].ask(Worker.pid)} environ" in seen
        assert f"{sleeper} environ" in seen
        assert any(name.endswith(".page") for name in seen)
        everything = {**seen, "shown": "".join(shown).encode()}
        for secret in secrets:
            for text in disguises(secret):
                assert [where for where, data in everything.items() if text in data] == []


async def test_a_system_with_a_file_has_the_same_key_each_time(tmp_path: Path) -> None:
    file = str(tmp_path / "keys")
    found = []
    for _ in range(2):
        async with open_system(transport="tcp", keys=file) as system:
            found.append(parse_endpoint(system.exchange.address.endpoint).key)
    assert found == [public_of(read_keys(file).own)] * 2


@over_tcp
async def test_who_has_no_key_of_the_system_is_refused_counted_and_told_of_once_a_second(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    keys = new_keys()
    async with trio.open_nursery() as nursery:
        with reserve("127.0.0.1") as reserved:
            own = str(TcpEndpoint((site_of(reserved),), public_of(keys.own), 99))
            stranger = TcpTransport(own, 99, nursery, 64, keys=keys)
        endpoint = system.exchange.address.endpoint
        wire = system.exchange.transport
        assert isinstance(wire, Reliable)
        inbox = wire.inner
        assert isinstance(inbox, TcpTransport)
        began_at = trio.current_time()
        for count in range(1, 21):
            stranger.connect(endpoint)
            stranger.send(endpoint, [b"let", b"me", b"in"])
            await until(lambda: inbox.counts["unknown key"] == count)  # noqa: B023
            stranger.disconnect(endpoint)
        lasted_s = trio.current_time() - began_at
        stranger.close()
        nursery.cancel_scope.cancel()
    assert system.exchange.strays == {}
    lines = [record.getMessage() for record in caplog.records]
    assert 1 <= len(lines) <= lasted_s + 2
    assert lines[0] == "refused a connection with an unknown key, the last from 127.0.0.1"


# Misuse.


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            {"transport": "carrier pigeon"},
            "transport must be ipc, tcp or mptcp, not 'carrier pigeon'",
        ),
        (
            {"listen": ["127.0.0.1"]},
            r"^listen=\['127.0.0.1'\] is for a network: not with transport='ipc'",
        ),
        ({"keys": "x"}, "^keys='x' is for a network: not with transport='ipc'"),
        ({"insecure": True}, "^insecure=True is for a network: not with transport='ipc'"),
        (
            {"transport": "tcp", "listen": "127.0.0.1"},
            r"^listen is a list of addresses: \['127.0.0.1'\], not '127.0.0.1'$",
        ),
        (
            {"transport": "tcp", "listen": ["0.0.0.0"]},
            "^listen='0.0.0.0': '0.0.0.0' is no address of one host",
        ),
        (
            {"transport": "tcp", "listen": ["localhost"]},
            "^listen='localhost': not a numeric address.*'localhost'",
        ),
        (
            {"transport": "tcp", "listen": ["192.0.2.7:5"], "insecure": True},
            "192.0.2.7:5 is no loopback address: without keys nothing listens there",
        ),
        (
            {"transport": "tcp", "keys": "x", "insecure": True},
            "^insecure=True means that there are no keys: not with keys='x'$",
        ),
        (
            {"transport": "tcp", "join_file": "x", "insecure": True},
            "^insecure=True means that there are no keys: not with join_file='x'$",
        ),
        ({"tos": 4}, "^tos=4 is for a network: not with transport='ipc'"),
        ({"transport": "tcp", "tos": 3}, "low two bits clear, not 3"),
        ({"transport": "mptcp", "tos": 256}, "one byte .*, not 256"),
        ({"transport": "mptcp", "tos": -4}, "one byte .*, not -4"),
        (
            {"path_manager": "userspace"},
            "^path_manager='userspace' is for a network: not with transport='ipc'",
        ),
        (
            {"transport": "tcp", "path_manager": "userspace"},
            "^path_manager='userspace' is for mptcp: not with transport='tcp'$",
        ),
        (
            {"transport": "mptcp", "path_manager": "me"},
            "path_manager must be kernel or userspace, not 'me'",
        ),
    ],
    ids=str,
)
def test_misuse_is_an_error_before_anything_starts(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        open_system(**options)


async def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        site = f"127.0.0.1:{holder.getsockname()[1]}"
        with pytest.raises(OSError, match=f"^cannot listen on {site}: Address already in use$"):
            async with open_system(transport="tcp", listen=[site]):
                pass


@pytest.mark.parametrize(
    ("options", "status", "why"),
    [
        (["--transport", "pigeon"], 2, "invalid choice: 'pigeon'"),
        (["--transport", "tcp", "--listen", "x"], 2, "not a numeric address"),
        (["--transport", "tcp", "--tos", "7"], 2, "its low two bits clear, not 7"),
        (["--transport", "tcp", "--tos", "x"], 2, "regrow: --tos: must be a number, not 'x'"),
        (["--tos", "8"], 2, "regrow: --tos 8 is for a network: not with --transport ipc"),
        (["--path-manager", "me"], 2, "regrow: --path-manager: invalid choice: 'me'"),
        (
            ["--transport", "tcp", "--listen", "192.0.2.1"],
            1,
            "regrow: --listen 192.0.2.1: cannot listen on 192.0.2.1:0: ",
        ),
        (
            ["--transport", "tcp", "--keys", "/etc/passwd"],
            1,
            "regrow: --keys /etc/passwd: the keys in /etc/passwd are not read: its mode is 0644,",
        ),
        (
            ["--transport", "tcp", "--join-file", "/no/such/file"],
            1,
            "regrow: --join-file /no/such/file: ",
        ),
        (["--transport", "tcp", "--keys", "/no/such/file"], 1, "regrow: --keys /no/such/file: "),
        (["--transport", "tcp", "--insecure", "--listen", "192.0.2.1"], 2, "no loopback address"),
    ],
    ids=str,
)
def test_the_shell_says_what_is_wrong(options: list[str], status: int, why: str) -> None:
    with home_folder() as home:
        ended = subprocess.run(
            [REGROW, *options],
            input="",
            capture_output=True,
            text=True,
            env=environment(home),
            cwd=ROOT,
            timeout=ANSWER_S,
            check=False,
        )
    assert ended.returncode == status
    assert why in ended.stderr
    assert "Errno" not in ended.stderr
    assert ended.stderr.count("\n") == 1
