"""Whether an actor can be reached, whatever it is and whatever it is doing.

It is pinged, also while one of its handlers is suspended. That is nothing that it was asked for:
it needs no credit, and is in nobody's account.
"""

import trio

from runtime.address import Address
from runtime.cells import sending
from runtime.cells.context import speaker
from runtime.errors import ActorDeadError
from runtime.messages import envelope as wire
from runtime.traffic.pings import is_there
from runtime.traffic.slot import Slot


async def reach(address: Address) -> None:
    """The actor has answered.

    Raises:
        DeliveryError: it cannot have been reached.
    """
    outbound = sending.open_pair(speaker(), address)
    outbound.check()
    exchange, peer = outbound.source.exchange, outbound.peer
    if outbound.local is not None:
        await trio.lowlevel.checkpoint()
        if not is_there(outbound.local):
            raise ActorDeadError(f"{address} has ended")
        return
    id = exchange.next_id()
    slot = exchange.pending[id] = Slot(outbound, "")
    exchange.post(peer, wire.Ping(outbound.number, id), now=not peer.pending)
    peer.pending += 1
    try:
        await exchange.reading.until(slot)
    finally:
        if exchange.pending.pop(id, None) is not None:
            peer.pending -= 1
    if type(slot.answer) is not wire.Pong:
        raise sending.error_of(outbound, None)
    if not slot.answer.alive:
        raise ActorDeadError(f"{address} has ended")
