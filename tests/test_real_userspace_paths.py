"""Paths that we manage ourselves, as the kernel would: net.mptcp.path_manager is userspace."""

import socket
from collections.abc import Iterator

import pytest
import trio

from actors.testing import lab
from actors.testing.lab import Host
from runtime.multipath.connection import PathLost, Trouble
from runtime.multipath.endpoint import Endpoint, Flags, Limits
from runtime.multipath.inspection import full_info
from runtime.multipath.path_owner import owned_by_us, path_owner
from runtime.multipath.statistics import Subflow
from tests import mptcp
from tests.real import until
from tests.real_link import BOUND_S, FIRST, SECOND, SILENT, Link, lose_the_first_path, open_link

WHY_NOT = mptcp.missing() or lab.missing("nft")
pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]
THIRD = ("10.0.3.2", "10.0.3.1")


@pytest.fixture
def pair() -> Iterator[tuple[Host, Host]]:
    with lab.open_pair(3) as pair:
        yield pair


def carried(link: Link, path: tuple[str, str]) -> int:
    """Bytes that the client has sent by that path."""
    return sum(
        each.tcp.bytes_sent
        for each in full_info(link.connecting).living
        if (each.addresses.local.host, each.addresses.remote.host) == path
    )


def troubles(link: Link) -> list[str]:
    return [each.text for each in link.notices if isinstance(each, Trouble)]


async def test_an_endpoint_is_used_by_a_connection_that_is_open_and_left_when_it_is_removed(
    pair: tuple[Host, Host],
) -> None:
    async with open_link(*pair, owner="userspace") as link:
        assert pair[1].counters()["MPJoinSynTx"] == 1
        pair[1].filter(*SILENT)
        await link.told(PathLost("link", *FIRST))  # else the scheduler might prefer it
        before = carried(link, SECOND)
        await link.answers(20)
        assert carried(link, SECOND) - before >= 10 * 1024
        pair[1].unfilter()
        await link.has(FIRST, SECOND)
        await link.manager.remove(2)
        await link.has(FIRST)
        await link.answers(20)
        await until(lambda: pair[0].counters()["RmAddr"] >= 1, BOUND_S)
        await link.manager.add(Endpoint("10.0.2.2", Flags.SUBFLOW, id=2))
        await link.has(FIRST, SECOND)
        await link.answers(20)
        assert not troubles(link)


async def test_an_address_is_announced_joined_and_withdrawn(pair: tuple[Host, Host]) -> None:
    async with open_link(*pair, owner="userspace") as link:
        await link.there.add(Endpoint("10.0.3.1", Flags.SIGNAL, id=9))
        await link.has(FIRST, SECOND, THIRD)
        assert pair[0].counters()["EchoAdd"] == 1
        await link.answers(20)
        await link.there.remove(9)
        await link.has(FIRST, SECOND)
        await link.answers(20)
        assert not troubles(link)


async def test_a_backup_carries_nothing_while_there_is_another_path(
    pair: tuple[Host, Host],
) -> None:
    async with open_link(*pair, owner="userspace") as link:
        await link.manager.set_backup(2, True)
        await until(lambda: pair[0].counters()["MPPrioRx"] == 1, BOUND_S)
        await link.answers(20)
        before = carried(link, SECOND)
        await link.answers(100)
        assert carried(link, SECOND) == before
        await link.manager.set_backup(2, False)
        await until(lambda: pair[0].counters()["MPPrioRx"] == 2, BOUND_S)
        await link.answers(20)
        assert not troubles(link)


async def test_no_more_is_opened_accepted_or_let_in_than_the_limits_say(
    pair: tuple[Host, Host],
) -> None:
    async with open_link(*pair, owner="userspace") as link:
        await link.manager.set_limits(Limits(0, 1))
        await link.manager.add(Endpoint("10.0.3.2", Flags.SUBFLOW, id=3))
        await link.there.add(Endpoint("10.0.3.1", Flags.SIGNAL, id=9))
        await until(lambda: pair[0].counters()["EchoAdd"] == 1, BOUND_S)
        await link.answers(50)
        assert link.paths() == {FIRST, SECOND}
        assert pair[1].counters()["MPJoinSynTx"] == 1
        await link.there.set_limits(Limits(0, 1))
        await link.manager.set_limits(Limits(0, 4))
        await until(lambda: pair[1].counters()["MPJoinSynTx"] == 2, BOUND_S)
        await link.has(FIRST, SECOND)  # the server closes what is too much
        await link.answers(50)
        assert not troubles(link)


@pytest.mark.parametrize("end", [0, 1], ids=["server", "client"])
async def test_the_guard_takes_a_dying_path_away_and_gives_it_back(
    pair: tuple[Host, Host], end: int, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_link(*pair, owner="userspace") as link:
        await lose_the_first_path(link, pair[end], SILENT, capsys)
        assert not troubles(link)


async def test_both_ends_tell_the_same_subflows(pair: tuple[Host, Host]) -> None:
    def ends(subflow: Subflow) -> set[tuple[str, int]]:
        both = subflow.addresses
        return {(each.host, each.port) for each in (both.local, both.remote)}

    async with open_link(*pair, owner="userspace") as link:
        here, there = full_info(link.connecting), full_info(link.accepted)
        assert [ends(each) for each in here.living] == [ends(each) for each in there.living]
        assert here.mptcp.subflows == there.mptcp.subflows == 1


def test_who_manages_the_paths_is_as_before_afterwards() -> None:
    with lab.open_host("alone") as host, host.inside():
        before = path_owner()
        with owned_by_us() as why_not:
            assert (why_not, path_owner()) == ("", "userspace")
            with owned_by_us() as why_not:
                assert (why_not, path_owner()) == ("", "userspace")
            assert path_owner() == "userspace"
        assert path_owner() == before == "kernel"


def test_who_could_not_hear_of_connections_does_not_manage_them() -> None:
    nobody = lab.without_net_admin()
    with lab.open_host("alone") as host, host.inside(), nobody, owned_by_us() as why_not:
        assert why_not == "net.mptcp.path_manager cannot be set here (no CAP_NET_ADMIN)"
        assert path_owner() == "kernel"


async def test_a_connection_of_many_is_managed_from_its_first_moment(
    pair: tuple[Host, Host],
) -> None:
    async with open_link(*pair, owner="userspace"):
        listening = trio.socket.from_stdlib_socket(
            pair[0].socket(socket.AF_INET, proto=mptcp.IPPROTO_MPTCP)
        )
        with listening:
            await listening.bind(("10.0.1.1", 10_001))
            listening.listen()
            for _ in range(3):
                connecting = trio.socket.from_stdlib_socket(
                    pair[1].socket(socket.AF_INET, proto=mptcp.IPPROTO_MPTCP)
                )
                with connecting:
                    await connecting.connect(("10.0.1.1", 10_001))
                    accepted, _ = await listening.accept()
                    with accepted:
                        await connecting.send(b"x")
                        await until(lambda: len(full_info(accepted).living) == 2, BOUND_S)  # noqa: B023
