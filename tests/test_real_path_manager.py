"""Connections that lose a path and nothing else: two hosts, two wires, and a guard at each end."""

import socket

import pytest
import trio

from actors.testing import lab
from actors.testing.lab import Host, Lab
from runtime.multipath.connection import FellBack, Notice, PathLost
from runtime.multipath.endpoint import Endpoint, Flags
from runtime.multipath.path_manager import open_path_manager
from tests import mptcp
from tests.real import until
from tests.real_link import FIRST, SECOND, SILENT, lose_the_first_path, open_link

WHY_NOT = mptcp.missing() or lab.missing("nft")
pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]


@pytest.fixture
def pair(regrow_lab: Lab) -> tuple[Host, Host]:
    return regrow_lab.pair(2)


DEAD = {
    "silent": SILENT,
    "silent one way": SILENT[:1],
    "silent the other way": SILENT[1:],
}


@pytest.mark.parametrize("rules", DEAD.values(), ids=DEAD)
@pytest.mark.parametrize("end", [0, 1], ids=["server", "client"])
async def test_the_first_path_is_lost_and_nothing_else(
    pair: tuple[Host, Host], end: int, rules: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_link(*pair) as link:
        await lose_the_first_path(link, pair[end], rules, capsys)


@pytest.mark.parametrize("end", [0, 1], ids=["server", "client"])
@pytest.mark.parametrize("wire", [1, 2], ids=["first", "second"])
async def test_a_link_that_goes_down_is_left_at_once(
    pair: tuple[Host, Host], end: int, wire: int, capsys: pytest.CaptureFixture[str]
) -> None:
    stays = SECOND if wire == 1 else FIRST
    async with open_link(*pair) as link:
        pair[end].ip(f"link set eth{wire} down")
        await link.has(stays)
        await link.goes_on(capsys)  # a carrier that is lost is told up to a second later
        pair[end].ip(f"link set eth{wire} up")
        lab.restore_routes(*pair)
        await link.has(FIRST, SECOND)
        await link.answers(100)


async def test_an_address_that_is_out_of_use_is_back_when_the_guard_has_gone(
    pair: tuple[Host, Host],
) -> None:
    show = ("ip", "mptcp", "endpoint", "show")
    async with open_link(*pair) as link:
        before = pair[1].run(*show)
        pair[1].ip("link set eth2 down")
        await link.told(PathLost("link", *SECOND))
        await until(lambda: "10.0.2.2" not in pair[1].run(*show))
    assert "10.0.2.2 id 2 subflow dev eth2" in before
    assert pair[1].run(*show) == before


async def test_without_a_guard_the_same_connection_stalls_and_goes_on(
    pair: tuple[Host, Host], capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_link(*pair, guarded=False) as link:
        pair[1].filter(*SILENT)
        await link.answers(200)
        with capsys.disabled():
            print(f" worst stall {link.worst_s * 1000:.0f} ms without a guard", end=" ")


async def test_a_connection_keeps_its_last_path_whatever_becomes_of_it(
    pair: tuple[Host, Host],
) -> None:
    async with open_link(*pair) as link:
        pair[1].filter("output oifname { eth1, eth2 } drop")
        await trio.sleep(2.0)
        before = link.answered
        assert link.paths()
        pair[1].unfilter()
        await link.answers(50)
        assert link.answered > before


async def test_without_the_capability_paths_are_only_observed(pair: tuple[Host, Host]) -> None:
    with lab.without_net_admin():
        async with open_path_manager(lambda _: None, make_socket=pair[0].socket) as manager:
            assert manager.observes_only
            with pytest.raises(PermissionError):
                await manager.add(Endpoint("10.0.2.2", Flags.SUBFLOW))


async def test_a_connection_that_is_plain_tcp_is_told_once(pair: tuple[Host, Host]) -> None:
    notices: list[Notice] = []
    server, client = pair
    server.sysctl("net.mptcp.enabled", 0)
    async with (
        open_path_manager(notices.append, make_socket=client.socket) as manager,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(manager.run)
        with (
            server.socket(socket.AF_INET) as listener,
            client.socket(socket.AF_INET, proto=mptcp.IPPROTO_MPTCP) as sock,
        ):
            listener.bind(("10.0.1.1", 10_000))
            listener.listen()
            sock.connect(("10.0.1.1", 10_000))
            manager.watch("link", sock, server_side=False)
            await until(lambda: bool(notices))
            await trio.sleep(0.1)
            assert notices == [FellBack("link")]
            with pytest.raises(ValueError, match="link is watched already"):
                manager.watch("link", sock, server_side=False)
            manager.forget("link")
        nursery.cancel_scope.cancel()
