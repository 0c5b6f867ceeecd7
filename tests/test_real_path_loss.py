"""Actors on two hosts with two wires between them, one of which is lost under load.

Everything is in this process, but for the network: each host is a namespace of its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import msgspec
import pytest
import trio

from actors.testing import lab
from actors.testing.lab import Host, Lab
from runtime.address import Address
from runtime.cells import asks, tells
from runtime.cells.cell import Cell
from runtime.messages.behaviour import Behaviour, handlers_of
from runtime.messages.signature import signature_of
from runtime.multipath import network_link
from runtime.multipath.endpoint import Endpoint, Flags, Limits
from runtime.multipath.path_manager import open_path_manager
from runtime.multipath.streams import Streams
from runtime.network.keys import Keys, new_secret
from runtime.network.listening import listen_at
from runtime.network.tcp_endpoint import Site, TcpEndpoint
from runtime.processes.procfs import queued_s
from runtime.traffic.exchange import Exchange
from runtime.wires.reliable import Reliable
from runtime.wires.zmq_mptcp import MptcpTransport
from runtime.wires.zmq_tcp import public_of
from tests import mptcp
from tests.real import until

WHY_NOT = mptcp.missing() or lab.missing("nft")
pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]
BOUND_S = 120.0
ROUNDS = 2000
PORT = 10_000
MEMBER = new_secret()
FOLLOW_S = 0.02


class Ledger(Behaviour):
    """Notes every number that it is told or asked, in the order in which they come."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    async def note(self, number: int) -> None:
        self.seen.append(number)

    async def ask(self, number: int) -> int:
        self.seen.append(number)
        return number


class Pair(msgspec.Struct):
    """``near`` asks and tells, ``far`` has the ledger."""

    near: Exchange
    far: Exchange
    source: Cell
    ledger: Ledger
    target: Address
    wires: list[MptcpTransport]
    worst_s: float = 0.0
    asked: int = 0

    async def talk(self, rounds: int) -> None:
        """A tell and an ask a round; note how long the slowest took, but for waits for a core."""
        tell, ask = signature_of(Ledger.note), signature_of(Ledger.ask)
        for _ in range(rounds):
            begin, queued = trio.current_time(), queued_s(os.getpid())
            number, self.asked = self.asked, self.asked + 2
            await tells.tell(self.source, self.target, tell, (number,))
            assert await asks.ask(self.source, self.target, ask, (number + 1,)) == number + 1
            took_s = trio.current_time() - begin - (queued_s(os.getpid()) - queued)
            self.worst_s = max(self.worst_s, took_s)

    def paths(self) -> set[int]:
        """How many paths each stream has, of those that were opened."""
        found = set()
        for wire in self.wires:
            for report in wire.reports().values():
                full = report.full
                states = [each.tcp.state for each in full.living] if full is not None else []
                found.add(states.count(1))
        return found

    def streams(self) -> set[str]:
        return {key for wire in self.wires for key in wire.streams_now()}


async def _manage(
    host: Host,
    wire: MptcpTransport,
    second: Endpoint | None,
    guarded: bool,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    """Look after the paths of one host."""
    async with (
        open_path_manager(lambda _: None, guarded=guarded, make_socket=host.socket) as manager,
        trio.open_nursery() as nursery,
    ):
        await manager.set_limits(Limits(2, 4))
        if second is not None:
            await manager.add(second)
        nursery.start_soon(manager.run)
        task_status.started()
        while True:
            manager.follow(wire.streams_now())
            await trio.sleep(FOLLOW_S)


@asynccontextmanager
async def open_pair(server: Host, client: Host, *, guarded: bool) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(trio.open_nursery())

        def exchange(name: str, incarnation: int, host: Host, last: int) -> Exchange:
            streams = Streams(host.socket)
            sites = tuple(Site(f"10.0.{wire}.{last}", PORT) for wire in (1, 2))
            keys = Keys(new_secret(), MEMBER)
            own = TcpEndpoint(sites, public_of(keys.own), incarnation, "mptcp")
            transport = MptcpTransport(
                str(own),
                incarnation,
                nursery,
                64,
                keys=keys,
                listening=listen_at(sites, make=streams.make),
                streams=streams,
            )
            wires.append(transport)
            kept = Reliable(transport, nursery)
            address = Address("s", name, incarnation, transport.endpoint)
            offset = trio.current_time() - time.monotonic()
            return Exchange(address, kept, boot_id="b", clock_offset=offset)

        wires: list[MptcpTransport] = []
        near, far = exchange("near", 1, client, 2), exchange("far", 2, server, 1)
        flags, device = Flags.SUBFLOW | Flags.SIGNAL, client.interface("eth2")
        # at the client, the only one that reaches every address over every wire
        second = Endpoint("10.0.2.2", flags, id=2, interface=device)
        for host, wire, endpoint in ((client, wires[0], second), (server, wires[1], None)):
            manage = partial(_manage, host, wire, endpoint, guarded)
            await nursery.start(manage)
        source = Cell(near, near.address, {})
        near.cells[1] = source
        cell = Cell(far, far.address, handlers_of(Ledger))
        ledger = Ledger()
        up = trio.Event()
        await nursery.start(near.run)
        await nursery.start(far.run)
        nursery.start_soon(cell.run, ledger, up.set)
        await up.wait()
        pair = Pair(near, far, source, ledger, cell.address, wires)
        await pair.talk(10)
        await until(lambda: pair.paths() == {2}, 20.0)
        pair.worst_s = 0.0
        try:
            yield pair
        finally:
            for transport in wires:
                transport.close()
            nursery.cancel_scope.cancel()


@pytest.fixture
def hosts(regrow_lab: Lab) -> tuple[Host, Host]:
    return regrow_lab.pair(2)


LOSSES = {
    "link down": (),
    "silent": ("output oifname eth{} drop", "input iifname eth{} drop"),
    "silent one way": ("output oifname eth{} drop",),
}


@pytest.mark.parametrize("guarded", [True, False], ids=["guard", "no guard"])
@pytest.mark.parametrize(("loss", "wire"), [(each, 1) for each in LOSSES] + [("silent", 2)])
async def test_a_lost_path_costs_no_message_and_no_order(
    hosts: tuple[Host, Host],
    loss: str,
    wire: int,
    guarded: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server, client = hosts
    with trio.fail_after(BOUND_S):
        async with open_pair(*hosts, guarded=guarded) as pair:
            streams = pair.streams()
            await pair.talk(ROUNDS // 4)
            quiet_s, pair.worst_s = pair.worst_s, 0.0
            if loss == "link down":
                client.ip(f"link set eth{wire} down")
            else:
                client.filter(*(rule.format(wire) for rule in LOSSES[loss]))
            await pair.talk(ROUNDS // 4)
            lost_s, pair.worst_s = pair.worst_s, 0.0
            if loss == "link down":
                client.ip(f"link set eth{wire} up")
                lab.restore_routes(server, client)
            else:
                client.unfilter()
            await pair.talk(ROUNDS // 2)
            with capsys.disabled():
                print(
                    f" worst stall {lost_s * 1000:.0f} ms (before {quiet_s * 1000:.0f},"
                    f" after {pair.worst_s * 1000:.0f}),",
                    end=" ",
                )
            assert pair.ledger.seen == list(range(pair.asked))
            assert pair.asked == 2 * ROUNDS + 20
            assert pair.streams() == streams  # no stream was opened anew
            assert all(peer.dead is None for peer in pair.near.peers.values())
            assert not guarded or lost_s < 5 * 0.5


async def test_when_all_paths_are_lost_for_a_while_the_link_goes_on_where_it_was(
    hosts: tuple[Host, Host],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(network_link, "UNANSWERED_S", 2.0)
    client = hosts[1]
    with trio.fail_after(BOUND_S):
        async with open_pair(*hosts, guarded=True) as pair, trio.open_nursery() as nursery:
            streams = pair.streams()
            nursery.start_soon(pair.talk, ROUNDS // 4)
            client.filter("output oifname { eth1, eth2 } drop", "input iifname { eth1, eth2 } drop")
            await trio.sleep(8.0)
            asked = pair.asked
            assert asked < ROUNDS // 2
            client.unfilter()
            begin = trio.current_time()
            await until(lambda: pair.asked > asked + 10, BOUND_S)
            with capsys.disabled():
                print(f" back after {trio.current_time() - begin:.1f} s", end=" ")
        assert pair.ledger.seen == list(range(pair.asked))
        assert pair.asked == ROUNDS // 2 + 20
        assert not pair.streams() & streams  # all were opened anew
