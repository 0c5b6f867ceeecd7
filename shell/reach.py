"""Whether an actor can be reached, whatever it is and whatever it is doing.

It is pinged, also while one of its handlers is suspended. That is nothing that it was asked for:
it needs no credit, and is in nobody's account.
"""

import trio

from runtime.address import Address
from runtime.cells import sending
from runtime.cells.context import speaker
from runtime.cells.inquiry import inquire
from runtime.errors import ActorDeadError
from runtime.messages import envelope as wire
from runtime.traffic.pings import is_there


async def reach(address: Address) -> None:
    """The actor has answered.

    Raises:
        DeliveryError: it cannot have been reached.
    """
    outbound = sending.open_pair(speaker(), address)
    outbound.check()
    if outbound.local is not None:
        await trio.lowlevel.checkpoint()
        if not is_there(outbound.local):
            raise ActorDeadError(f"{address} has ended")
        return
    if not (await inquire(outbound, wire.Ping, wire.Pong)).alive:
        raise ActorDeadError(f"{address} has ended")
