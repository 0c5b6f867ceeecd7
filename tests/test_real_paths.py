"""The kernel's path manager, driven over generic netlink between two hosts."""

import errno
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec
import pytest
import trio

from actors.testing import lab
from actors.testing.lab import Host, Lab
from runtime.multipath import inspection
from runtime.multipath.endpoint import Endpoint, Flags, Limits
from runtime.multipath.event import (
    Announced,
    Closed,
    Created,
    Established,
    Event,
    EventsLost,
    ListenerCreated,
    Removed,
    SubflowClosed,
    SubflowEstablished,
    SubflowPriority,
)
from runtime.multipath.paths import Paths, open_events, open_paths
from runtime.multipath.statistics import SocketAddress
from tests import mptcp

WHY_NOT = mptcp.missing() or lab.missing()
pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]
EVENT_S = 10.0
E = TypeVar("E")


@pytest.fixture
def host() -> Iterator[Host]:
    with lab.open_host("host") as host:
        yield host


@pytest.fixture
def pair(regrow_lab: Lab) -> tuple[Host, Host]:
    return regrow_lab.pair(4)


class Log:
    """The events of a host so far."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._more = trio.Event()

    async def fill(self, host: Host, task_status: trio.TaskStatus[None]) -> None:
        async with open_events(host.socket) as events:
            task_status.started()
            async for event in events:
                self.events.append(event)
                self._more.set()
                self._more = trio.Event()

    async def one(self, kind: type[E]) -> E:
        """The first event of that kind."""
        with trio.fail_after(EVENT_S):
            while True:
                for event in self.events:
                    if isinstance(event, kind):
                        return event
                await self._more.wait()


class Conversation(msgspec.Struct, frozen=True):
    """A connection from one host to the other, and all one can know of it."""

    server: Host
    client: Host
    server_paths: Paths
    client_paths: Paths
    server_log: Log
    client_log: Log
    accepted: socket.socket
    connected: socket.socket

    async def token(self) -> int:
        """The client's name of the connection, once it may have further subflows."""
        return (await self.client_log.one(Established)).token

    async def talk(self) -> None:
        """A byte has gone there and back; it makes the connection fully established."""
        ends = [trio.socket.from_stdlib_socket(s.dup()) for s in (self.connected, self.accepted)]
        with trio.fail_after(EVENT_S):
            for sender, receiver in (ends, ends[::-1]):
                await sender.send(b"x")
                assert await receiver.recv(1) == b"x"
        for each in ends:
            each.close()


@asynccontextmanager
async def open_conversation(
    server: Host, client: Host, limits: Limits, *, userspace: bool = False
) -> AsyncIterator[Conversation]:
    if userspace:
        client.sysctl("net.mptcp.pm_type", 1)
    async with (
        open_paths(server.socket) as server_paths,
        open_paths(client.socket) as client_paths,
        trio.open_nursery() as nursery,
    ):
        logs = Log(), Log()
        await nursery.start(logs[0].fill, server)
        await nursery.start(logs[1].fill, client)
        await server_paths.set_limits(limits)
        await client_paths.set_limits(limits)
        listener = server.socket(socket.AF_INET, proto=mptcp.IPPROTO_MPTCP)
        connected = client.socket(socket.AF_INET, proto=mptcp.IPPROTO_MPTCP)
        with listener, connected:
            listener.bind(("0.0.0.0", 10_000))
            listener.listen()
            for each in (listener, connected):
                each.settimeout(EVENT_S)
            connected.connect(("10.0.1.1", 10_000))
            accepted, _ = listener.accept()
            with accepted:
                paths = server_paths, client_paths
                talk = Conversation(server, client, *paths, *logs, accepted, connected)
                await talk.talk()
                yield talk
        nursery.cancel_scope.cancel()


async def until_living(sock: socket.socket, count: int) -> None:
    with trio.fail_after(EVENT_S):
        while len(inspection.full_info(sock).living) != count:  # noqa: ASYNC110
            await trio.sleep(0.01)


ENDPOINTS = {
    "v4": Endpoint("10.0.1.1", Flags.SUBFLOW, id=1),
    "v6": Endpoint("dead:beef::1", Flags.SUBFLOW | Flags.BACKUP, id=200),
    "fullmesh": Endpoint("10.0.1.1", Flags.SUBFLOW | Flags.FULLMESH, id=3),
    "port": Endpoint("127.0.0.1", Flags.SIGNAL, id=4, port=10_100),
    "device": Endpoint("10.0.1.1", Flags.SUBFLOW, id=5, interface=1),
}


@pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=ENDPOINTS)
async def test_an_endpoint_is_kept_as_it_was_given(host: Host, endpoint: Endpoint) -> None:
    async with open_paths(host.socket) as paths:
        await paths.add(endpoint)
        assert await paths.get(endpoint.id) == endpoint
        assert await paths.all() == [endpoint]
        await paths.delete(endpoint.id)
        assert await paths.all() == []


async def test_an_endpoint_without_an_id_gets_one(host: Host) -> None:
    async with open_paths(host.socket) as paths:
        for last in (1, 2, 3):
            await paths.add(Endpoint(f"10.0.{last}.1", Flags.SUBFLOW))
        assert [(each.id, each.address) for each in await paths.all()] == [
            (1, "10.0.1.1"),
            (2, "10.0.2.1"),
            (3, "10.0.3.1"),
        ]
        await paths.flush()
        assert await paths.all() == []


async def test_a_host_has_endpoints_of_its_own(host: Host) -> None:
    with lab.open_host("other") as other:
        async with open_paths(host.socket) as paths, open_paths(other.socket) as others:
            await paths.add(Endpoint("10.0.1.1", Flags.SUBFLOW))
            assert await others.all() == []


async def test_flags_are_set_on_an_endpoint_that_is_there(host: Host) -> None:
    async with open_paths(host.socket) as paths:
        await paths.add(Endpoint("10.0.1.1", Flags.SUBFLOW, id=7))
        await paths.set_flags(7, Flags.BACKUP)
        assert (await paths.get(7)).flags == Flags.SUBFLOW | Flags.BACKUP
        await paths.set_flags(7, Flags(0))
        assert (await paths.get(7)).flags == Flags.SUBFLOW


async def test_limits_are_kept_and_too_high_ones_are_refused(host: Host) -> None:
    async with open_paths(host.socket) as paths:
        await paths.set_limits(Limits(3, 5))
        assert await paths.limits() == Limits(3, 5)
        with pytest.raises(OSError, match=r"set limits 3 99: limit greater than maximum"):
            await paths.set_limits(Limits(3, 99))
        assert await paths.limits() == Limits(3, 5)


async def test_a_refusal_has_the_errno_and_the_words_of_the_kernel(host: Host) -> None:
    async with open_paths(host.socket) as paths:
        endpoint = Endpoint("10.0.1.1", Flags.SUBFLOW, id=1)
        await paths.add(endpoint)
        with pytest.raises(FileExistsError, match=r"add endpoint 10\.0\.1\.1: .*duplicate"):
            await paths.add(Endpoint("10.0.1.1", Flags.SUBFLOW))
        with pytest.raises(OSError, match=r"add endpoint .* resource busy") as refused:
            await paths.add(Endpoint("10.0.2.1", Flags.SUBFLOW, id=1))
        assert refused.value.errno == errno.EBUSY
        with pytest.raises(OSError, match="delete endpoint 9: address not found") as refused:
            await paths.delete(9)
        assert refused.value.errno == errno.EINVAL
        assert await paths.all() == [endpoint]


async def test_without_the_capability_one_may_look_at_limits_and_no_more(host: Host) -> None:
    async with open_paths(host.socket) as paths:
        await paths.set_limits(Limits(1, 2))
        with lab.without_net_admin():
            assert await paths.limits() == Limits(1, 2)
            with pytest.raises(PermissionError, match=r"add endpoint 10\.0\.1\.1"):
                await paths.add(Endpoint("10.0.1.1", Flags.SUBFLOW))
        assert await paths.all() == []


async def test_events_without_the_capability_are_refused_at_once(host: Host) -> None:
    with lab.without_net_admin(), pytest.raises(PermissionError, match="Multipath TCP events"):
        async with open_events(host.socket):
            pass


async def test_both_ends_hear_of_a_connection_and_its_subflows(pair: tuple[Host, Host]) -> None:
    async with open_conversation(*pair, Limits(2, 2)) as talk:
        token = await talk.token()
        assert token == inspection.mptcp_info(talk.connected).token
        created = await talk.client_log.one(Created)
        assert (created.token, created.server_side) == (token, False)
        assert (await talk.server_log.one(Created)).server_side
        assert (await talk.server_log.one(ListenerCreated)).address.port == 10_000

        await talk.server_paths.add(Endpoint("10.0.2.1", Flags.SIGNAL, id=9))
        announced = await talk.client_log.one(Announced)
        assert (announced.token, announced.remote_id) == (token, 9)
        assert announced.address.host == "10.0.2.1"
        subflow = await talk.client_log.one(SubflowEstablished)
        assert (subflow.token, subflow.remote_id, subflow.remote.host) == (token, 9, "10.0.2.1")
        await until_living(talk.connected, 2)

        await talk.server_paths.delete(9)
        assert (await talk.client_log.one(Removed)).remote_id == 9
        assert (await talk.client_log.one(SubflowClosed)).remote.host == "10.0.2.1"
        await until_living(talk.connected, 1)
        talk.connected.close()
        assert (await talk.client_log.one(Closed)).token == token


async def test_a_backup_flag_reaches_the_peer(pair: tuple[Host, Host]) -> None:
    async with open_conversation(*pair, Limits(2, 2)) as talk:
        await talk.client_paths.add(Endpoint("10.0.3.2", Flags.SUBFLOW, id=4))
        await talk.server_log.one(SubflowEstablished)
        await talk.client_paths.set_flags(4, Flags.BACKUP)
        changed = await talk.server_log.one(SubflowPriority)
        assert (changed.remote_id, changed.backup) == (4, True)
        assert talk.server.counters()["MPPrioRx"] == 1


async def test_a_subflow_of_one_connection_is_made_and_unmade(pair: tuple[Host, Host]) -> None:
    async with open_conversation(*pair, Limits(2, 2), userspace=True) as talk:
        token, paths = await talk.token(), talk.client_paths
        remote = SocketAddress("10.0.1.1", 10_000)
        await paths.create_subflow(token, Endpoint("10.0.3.2", id=20), remote)
        subflow = await talk.client_log.one(SubflowEstablished)
        assert (subflow.local_id, subflow.local.host) == (20, "10.0.3.2")
        assert [(each.id, each.address) for each in await paths.all(token)] == [(20, "10.0.3.2")]
        assert (await paths.get(20, token)).address == "10.0.3.2"

        await paths.set_subflow_flags(token, subflow.local, subflow.remote, Flags.BACKUP)
        assert (await talk.server_log.one(SubflowPriority)).backup

        await paths.destroy_subflow(token, subflow.local, subflow.remote)
        assert (await talk.client_log.one(SubflowClosed)).local == subflow.local
        await until_living(talk.connected, 1)


async def test_an_address_of_one_connection_is_announced_and_taken_back(
    pair: tuple[Host, Host],
) -> None:
    async with open_conversation(*pair, Limits(2, 2), userspace=True) as talk:
        token = await talk.token()
        await talk.client_paths.announce(token, Endpoint("10.0.2.2", id=30))
        assert (await talk.server_log.one(Announced)).remote_id == 30
        await talk.client_paths.remove(token, 30)
        assert (await talk.server_log.one(Removed)).remote_id == 30


async def test_a_token_of_no_connection_is_refused_by_name(host: Host) -> None:
    async with open_paths(host.socket) as paths:
        for verb in (
            paths.announce(1, Endpoint("10.0.2.2", id=30)),
            paths.remove(1, 30),
            paths.create_subflow(1, Endpoint("10.0.2.2", id=3), SocketAddress("10.0.1.1", 1)),
        ):
            with pytest.raises(OSError, match=r"0x1: .*token"):
                await verb


async def test_events_that_the_kernel_dropped_are_told_where_they_are_missing(host: Host) -> None:
    made: list[socket.socket] = []

    def small(family: int, type: int, proto: int) -> socket.socket:
        made.append(host.socket(family, type, proto))
        return made[-1]

    async with open_events(small) as events:
        made[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        for _ in range(50):
            with host.socket(socket.AF_INET, proto=mptcp.IPPROTO_MPTCP) as listener:
                listener.bind(("127.0.0.1", 0))
                listener.listen()
        told = []
        with trio.fail_after(EVENT_S):
            while EventsLost() not in told:
                told.append(await anext(events))
        assert len(told) < 50
