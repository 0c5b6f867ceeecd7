"""Deadlines between processes that may have different clocks."""

from __future__ import annotations

import math

import pytest
import trio
from trio.testing import MockClock

from runtime.address import Address
from runtime.cells import sending
from runtime.cells.service import Service
from runtime.traffic.exchange import Exchange
from runtime.traffic.pair import Outbound, Peer
from runtime.wires.memory import MemoryNetwork


class Source:
    """Enough of a cell for its deadlines."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange


def exchange_of(network: MemoryNetwork, incarnation: int, boot_id: str, offset: float) -> Exchange:
    transport = network.join(incarnation)
    transport.same_host = False
    address = Address("s", f"n{incarnation}", incarnation, transport.endpoint)
    return Exchange(address, transport, boot_id=boot_id, clock_offset=offset, simple=True)


def outbound(exchange: Exchange, peer: Peer) -> Outbound:
    source: Service = Source(exchange)  # type: ignore[assignment]
    return Outbound(1, source, exchange.address, peer, None)


@pytest.mark.parametrize("boot_id", ["same", "other"])
async def test_a_deadline_is_an_instant_only_for_who_is_known_to_be_on_this_host(
    boot_id: str, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        network = MemoryNetwork(nursery)
        near = exchange_of(network, 1, "same", offset=100.0)
        far = exchange_of(network, 2, boot_id, offset=0.0)
        for each in (near, far):
            await nursery.start(each.run)
        peer = near.peer(far.address.endpoint)
        way = outbound(near, peer)
        deadline = trio.current_time() + 500.0
        assert sending.due_at(way, deadline) == -500.0
        assert sending.due_at(way, math.inf) == 0.0
        far.ready(far.peer(near.address.endpoint))  # it says hello
        await trio.sleep(1)
        assert sending.due_at(way, deadline) == (deadline - 100.0 if boot_id == "same" else -499.0)
        here = outbound(near, near.here)
        assert sending.due_at(here, deadline) == deadline - 100.0
        nursery.cancel_scope.cancel()
