"""Asking another process, and none of its actors: control, that needs no credit and is in nobody's
account.

Invariants
----------
* A question ends in its answer, its peer's death or verdict, or its caller's cancellation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from runtime.cells import sending
from runtime.messages import envelope as wire
from runtime.traffic.slot import Slot

if TYPE_CHECKING:
    from runtime.traffic.pair import Outbound

A = TypeVar("A", wire.Pong, wire.LinksTold)


async def inquire(
    outbound: Outbound, question: type[wire.Ping | wire.LinksAsked], answer: type[A]
) -> A:
    """What the process at the other end of a pair, which is not this one, answers.

    Raises:
        ActorDeadError, UnreachableError: it cannot be had.
        trio.ClosedResourceError: this process's exchange has ended.
    """
    exchange, peer = outbound.source.exchange, outbound.peer
    id = exchange.next_id()
    slot = exchange.pending[id] = Slot(outbound, "")
    exchange.post(peer, question(outbound.number, id), now=not peer.pending)
    peer.pending += 1
    try:
        await exchange.reading.until(slot)
    finally:
        if exchange.pending.pop(id, None) is not None:
            peer.pending -= 1
    if type(slot.answer) is not answer:
        raise sending.error_of(outbound, None)
    return slot.answer
