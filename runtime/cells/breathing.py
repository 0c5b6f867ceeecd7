"""Breathing: a loop that only tells, or asks within its process, lets others have their turn.

Invariants
----------
* Every 64th message is a checkpoint, and one of the next 8 once a millisecond has passed since the
  last: such a loop stays fair and cancellable.
* What a flood has told stays together over its checkpoints, see `runtime.traffic.outbox.FLOOD_S`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from runtime.traffic.exchange import Exchange

TELLS_BETWEEN_CHECKPOINTS = 64
TELLING_S = 0.001
SLICE_S = 0.0002
"""Handlers that follow each other, or items, last so long; then what has arrived is routed."""
SLICES_BETWEEN_CHECKPOINTS = 4


async def breathe_now(exchange: Exchange) -> None:
    """Be a checkpoint if it is time for one; asked at every 8th message."""
    if (
        exchange.tells >= TELLS_BETWEEN_CHECKPOINTS
        or exchange.clock() - exchange.breathed_at > TELLING_S
    ):
        exchange.flooding = exchange.tells >= TELLS_BETWEEN_CHECKPOINTS
        exchange.tells = 0
        try:
            await trio.lowlevel.checkpoint()
        finally:
            exchange.flooding = False
        exchange.breathed_at = exchange.clock()


async def breathe(exchange: Exchange) -> None:
    """Be a checkpoint now and then."""
    exchange.tells += 1
    if not exchange.tells & 7:
        await breathe_now(exchange)
