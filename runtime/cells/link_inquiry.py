"""Asking a process what it knows of its network links.

Invariants
----------
* A question ends like a ping: with its answer, its peer's death or verdict, or its caller's
  cancellation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from runtime.cells import sending
from runtime.cells.tracing import open_followed
from runtime.messages import envelope as wire
from runtime.multipath.link_report import LinkReport
from runtime.traffic.slot import Slot

if TYPE_CHECKING:
    from runtime.address import Address
    from runtime.cells.service import Service


async def ask_links(source: Service, target: Address) -> LinkReport:
    """What the process of ``target`` knows of its links.

    Raises:
        ActorDeadError, UnreachableError: it cannot be had.
    """
    outbound = await open_followed(source, target)
    outbound.check()
    exchange, peer = source.exchange, outbound.peer
    if outbound.local is not None:
        await trio.lowlevel.checkpoint()
        return exchange.links.own()
    id = exchange.next_id()
    slot = exchange.pending[id] = Slot(outbound, "")
    exchange.post(peer, wire.LinksAsked(outbound.number, id), now=not peer.pending)
    peer.pending += 1
    try:
        await exchange.reading.until(slot)
    finally:
        if exchange.pending.pop(id, None) is not None:
            peer.pending -= 1
    if type(slot.answer) is not wire.LinksTold:
        raise sending.error_of(outbound, None)
    return slot.answer.report
