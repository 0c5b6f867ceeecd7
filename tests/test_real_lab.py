"""The laboratory itself: hosts, wires, filters, shapes, and that nothing is left of it."""

import os
import signal
import socket
import subprocess
import sys

import pytest
import trio

from actors.testing.lab import Host, Lab, missing, open_lab
from tests.real import ROOT, until

WHY_NOT = missing("nft", "tc")
pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]
WAIT_S = 10.0


@pytest.fixture
def pair(lab: Lab) -> tuple[Host, Host]:
    return lab.pair(2)


async def round_trip_s(server: Host, client: Host, host: str) -> float:
    """How long a datagram took there and back. `trio.TooSlowError` if it was lost."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    ends = [each.socket(family, socket.SOCK_DGRAM) for each in (server, client)]
    ends[0].bind((host, 7))
    listener, sender = map(trio.socket.from_stdlib_socket, ends)
    with listener, sender:
        begin = trio.current_time()
        with trio.fail_after(1.0):
            await sender.sendto(b"ping", (host, 7))
            data, back = await listener.recvfrom(10)
            await listener.sendto(data, back)
            assert await sender.recv(10) == b"ping"
        return trio.current_time() - begin


@pytest.mark.parametrize("address", ["10.0.1.1", "10.0.2.1", "dead:beef:1::1", "dead:beef:2::1"])
async def test_every_wire_carries_both_families(pair: tuple[Host, Host], address: str) -> None:
    assert await round_trip_s(*pair, address) < WAIT_S


def test_a_verb_returns_to_the_namespace_it_came_from(pair: tuple[Host, Host]) -> None:
    own = os.readlink("/proc/thread-self/ns/net")
    server, client = pair
    with server.inside():
        first = os.readlink("/proc/thread-self/ns/net")
        with client.inside():
            second = os.readlink("/proc/thread-self/ns/net")
        assert os.readlink("/proc/thread-self/ns/net") == first
    assert len({own, first, second}) == 3
    with pytest.raises(RuntimeError, match="server: ip -batch -: "):
        server.ip("link set nothing up")
    assert os.readlink("/proc/thread-self/ns/net") == own


def test_a_process_of_a_host_sees_its_devices(pair: tuple[Host, Host]) -> None:
    names = pair[0].run(sys.executable, "-c", "import socket; print(socket.if_nameindex())")
    assert "eth1" in names
    assert pair[0].interface("eth2") > pair[0].interface("eth1")


async def test_a_filter_drops_and_is_taken_away(pair: tuple[Host, Host]) -> None:
    server, client = pair
    server.filter("input ip saddr 10.0.1.2 drop")
    with pytest.raises(trio.TooSlowError):
        await round_trip_s(server, client, "10.0.1.1")
    assert await round_trip_s(server, client, "10.0.2.1") < WAIT_S
    server.unfilter()
    assert await round_trip_s(server, client, "10.0.1.1") < WAIT_S


async def test_a_shape_holds_what_leaves_to_its_rate(pair: tuple[Host, Host]) -> None:
    server, client = pair
    client.shape("eth1", "8mbit")
    listener = server.socket(socket.AF_INET)
    listener.bind(("10.0.1.1", 7))
    listener.listen()
    sender = trio.socket.from_stdlib_socket(client.socket(socket.AF_INET))
    with trio.socket.from_stdlib_socket(listener) as accepting, sender:
        await sender.connect(("10.0.1.1", 7))
        receiver, _ = await accepting.accept()
        with receiver, trio.fail_after(WAIT_S):
            async with trio.open_nursery() as nursery:
                begin = trio.current_time()
                stream = trio.SocketStream(sender)
                nursery.start_soon(stream.send_all, bytes(1_000_000))
                left = 1_000_000
                while left:
                    left -= len(await receiver.recv(65_536))
                took_s = trio.current_time() - begin
    assert took_s > 0.7  # a megabyte at 8 Mbit/s
    assert client.sent_bytes("eth1") > 1_000_000


def test_a_sysctl_is_of_its_host_alone(pair: tuple[Host, Host]) -> None:
    pair[0].sysctl("net.ipv4.ip_default_ttl", 17)
    read = "print(open('/proc/sys/net/ipv4/ip_default_ttl').read())"
    assert pair[0].run(sys.executable, "-c", read).strip() == "17"
    assert pair[1].run(sys.executable, "-c", read).strip() != "17"


@pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="no /dev/net/tun: CONFIG_TUN")
async def test_a_wire_carried_by_hand_delays_loses_and_can_be_cut(lab: Lab) -> None:
    pair = server, client = lab.host("server"), lab.host("client")
    async with lab.open_wire(server, client, 1) as wire:
        assert await round_trip_s(*pair, "10.0.1.1") < 0.2
        wire.out.delay_s = wire.back.delay_s = 0.15
        assert await round_trip_s(*pair, "10.0.1.1") >= 0.3
        wire.out.delay_s = wire.back.delay_s = 0.0
        wire.out.cut = True
        with pytest.raises(trio.TooSlowError):
            await round_trip_s(*pair, "10.0.1.1")
        wire.cut(False)
        wire.back.loss = 1.0
        with pytest.raises(trio.TooSlowError):
            await round_trip_s(*pair, "10.0.1.1")
        wire.back.loss = 0.0
        wire.out.noise = 1.0
        with pytest.raises(trio.TooSlowError):  # its checksum is wrong
            await round_trip_s(*pair, "10.0.1.1")
        assert wire.out.corrupted > 0
        wire.out.noise = 0.0
        assert await round_trip_s(*pair, "dead:beef:1::1") < WAIT_S


async def test_more_hosts_than_two_have_wires_between_them(lab: Lab) -> None:
    left, middle, right = map(lab.host, ("left", "middle", "right"))
    lab.connect(left, middle, wires=2)
    lab.connect(middle, right, first=3)
    assert await round_trip_s(left, middle, "10.0.2.1") < WAIT_S
    assert await round_trip_s(middle, right, "10.0.3.1") < WAIT_S
    assert not right.has_device("eth1")


def test_who_enters_a_host_is_there_until_the_end() -> None:
    own = os.readlink("/proc/thread-self/ns/net")
    with open_lab() as lab:
        server, client = lab.pair()
        lab.enter(server)
        there = os.readlink("/proc/thread-self/ns/net")
        assert there == os.readlink(server.path)
        client.ip("link show")
        assert os.readlink("/proc/thread-self/ns/net") == there
        with socket.create_server(("10.0.1.1", 0)):
            pass
    assert os.readlink("/proc/thread-self/ns/net") == own


def test_a_process_of_a_host_ends_with_it() -> None:
    with open_lab() as lab:
        process = lab.host("host").popen("sleep", "1000")
        assert process.poll() is None
    assert process.returncode == -signal.SIGKILL


HOLDER = """
import os, signal
from actors.testing import lab
with lab.open_pair(2) as pair:
    print(*(os.readlink(host.path) for host in pair), flush=True)
    signal.pause()
"""


async def test_nothing_is_left_of_a_laboratory_whose_process_was_killed() -> None:
    holder = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", HOLDER], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        names = holder.stdout.readline().split()
        assert len(names) == 2
        assert held_by(*names) == {holder.pid}
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    await until(lambda: not held_by(*names))


def held_by(*names: str) -> set[int]:
    """Who is in one of those namespaces or has it open."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for folder in (f"/proc/{pid}/fd", f"/proc/{pid}/ns"):
            try:
                links = [os.readlink(f"{folder}/{name}") for name in os.listdir(folder)]
            except OSError:
                continue
            if set(links) & set(names):
                found.add(int(pid))
    return found
