"""What a system tells of its network links."""

from __future__ import annotations

import pytest
import trio

from actors.actor import Actor
from actors.system import open_system
from actors.testing.virtual import VirtualSystem
from runtime.errors import ActorDeadError
from runtime.multipath.link_report import LinkReport, StreamReport
from tests import mptcp
from tests.real import ANSWER_S


class Worker(Actor):
    async def add(self, amount: int) -> int:
        return amount + 1

    async def links(self, name: str) -> LinkReport:
        return await self.system.link_report(await self.system.lookup(name))


async def test_a_node_tells_of_its_links_wherever_it_is_asked_from(system: VirtualSystem) -> None:
    first = await system.spawn(Worker, name="first")
    second = await system.spawn(Worker, name="second")
    here = await system.link_report(first)
    assert here == LinkReport(
        "first", "memory", first.endpoint, (StreamReport(outgoing=True, peer="controller"),)
    )
    assert await second.ask(Worker.links, "first") == LinkReport(
        "first",
        "memory",
        first.endpoint,
        (*here.streams, StreamReport(outgoing=True, peer="second")),
    )
    assert await system.link_report(first.following()) == await system.link_report(first)
    own = await system.link_report(await system.lookup("controller"))
    assert [stream.peer for stream in own.streams] == ["first", "second"]


async def test_of_the_dead_there_is_no_report(system: VirtualSystem) -> None:
    ref = await system.spawn(Worker)
    await ref.kill()
    with pytest.raises(ActorDeadError):
        await system.link_report(ref)
    sleeper = await system.spawn(Worker, name="sleeper")
    with trio.move_on_after(0):
        await system.link_report(sleeper)
    assert (await system.link_report(sleeper)).name == "sleeper"


@pytest.mark.real
async def test_over_mptcp_the_two_ends_of_a_link_agree(home: str) -> None:
    if mptcp.missing():
        pytest.skip(mptcp.missing())
    with trio.fail_after(2 * ANSWER_S):
        async with open_system(transport="mptcp") as system:
            worker = await system.spawn(Worker, name="worker")
            for number in range(100):
                assert await worker.ask(Worker.add, number) == number + 1
            report = await system.link_report(worker)
            assert (report.name, report.transport) == ("worker", "mptcp")
            assert report.endpoint == worker.endpoint
            own = await system.link_report(await system.lookup("controller"))
            (up,) = [each for each in report.streams if each.outgoing]
            assert up.peer == "controller"
            (same,) = [each for each in own.streams if each.remote == up.local]
            assert same.local == up.remote
            assert not same.outgoing
            assert report.paths == 2  # there, and back
            assert report.plain == 0
            assert up.full is not None
            assert same.full is not None
            assert up.full.mptcp.bytes_sent == up.sent_bytes
            assert same.received_bytes is not None
            assert up.sent_bytes is not None
            assert same.received_bytes >= up.sent_bytes > 0  # it was looked at later
            (path,) = up.full.living
            assert f"{path.addresses.local}" == up.local
            assert path.tcp.rtt > 0


@pytest.mark.real
async def test_over_ipc_it_is_known_who_is_connected(home: str) -> None:
    with trio.fail_after(2 * ANSWER_S):
        async with open_system() as system:
            worker = await system.spawn(Worker, name="worker")
            report = await system.link_report(worker)
            assert report == LinkReport(
                "worker", "ipc", worker.endpoint, (StreamReport(True, "controller"),)
            )
            assert (report.paths, report.plain) == (0, 0)
