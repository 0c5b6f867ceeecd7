"""The source of a stream: an async generator whose items go to the consumer who asked for them.

The generator is driven by the task that would run an ordinary handler, so a stream occupies its
actor until it ends, unless it is reentrant. Between two items that task may have to wait, for the
consumer to take more or to let others in. Such a wait belongs to the ``yield``: it is cancelled
by the consumer's leaving, by the deadline, and by any scope around the ``yield``, and then the
generator has the `trio.Cancelled` there.

Invariants
----------
* Items leave in order, as many as the consumer granted; only their own generator waits.
* An item whose ``yield`` was cancelled was not sent.
* A generator that never suspends lets all that arrived be routed every 200 us, and others run
  every fourth time.
* Whatever ends it, the generator is closed: its ``finally`` blocks have run when `produce` is
  left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import trio

from runtime.cells.breathing import SLICE_S, SLICES_BETWEEN_CHECKPOINTS
from runtime.messages import envelope as wire
from runtime.traffic.item_credit import ItemWindow
from runtime.traffic.item_routing import item_came
from runtime.wires.reading import Seat

if TYPE_CHECKING:
    from runtime.cells.call import Call
    from runtime.messages.codec import Buffer
    from runtime.messages.signature import Signature
    from runtime.traffic.exchange import Exchange
    from runtime.traffic.pair import Inbound


class Source(Seat):
    """The window of one stream, and the seat of its generator while that waits for room."""

    __slots__ = ("_exchange", "_slice_began", "_slices", "call", "window")
    asks = True

    def __init__(self, exchange: Exchange, call: Call) -> None:
        super().__init__()
        self._exchange = exchange
        self.call = call
        self.window = ItemWindow()
        self._slice_began = exchange.clock()
        self._slices = 0

    async def room(self, size: int) -> None:
        """Return when an item of ``size`` bytes may leave."""
        self._exchange.flush()
        while not self.window.has_room(size):
            self.ready = False
            await self._exchange.reading.until(self)
        self._slice_began = self._exchange.clock()

    @property
    def slice_is_over(self) -> bool:
        """Whether it is time to `breathe`."""
        return self._exchange.clock() - self._slice_began > SLICE_S

    async def breathe(self) -> None:
        """Let leave and arrive what waits, and now and then others run."""
        self._exchange.flush()
        self._exchange.drain()
        self._slices += 1
        scope = self.call.scope
        if self._slices >= SLICES_BETWEEN_CHECKPOINTS or (scope and scope.cancel_called):
            self._slices = 0
            await trio.lowlevel.checkpoint()
        self._slice_began = self._exchange.clock()


async def produce(call: Call, signature: Signature, args: tuple[Any, ...]) -> None:
    """Run a generator until it ends; its items have been sent.

    Raises:
        TypeError, ValueError: an item cannot travel.
        Exception: whatever the generator raised.
    """
    cell, inbound, id = call.cell, call.inbound, call.id
    exchange: Exchange = cell.exchange
    if call.scope is None:  # an ordinary one: it is as good as suspended
        exchange.running = None
        call.suspended()
    source = cell.sources[inbound, id] = Source(exchange, call)
    window = source.window
    generator = signature.run(cell.actor, *args)
    step = generator.__anext__()
    try:
        while True:
            try:
                item = await step
            except StopAsyncIteration:
                return
            payload, positions, buffers = signature.encode_result(item)
            size = len(payload)
            if buffers:
                size += sum(map(len, buffers))
            try:
                if not window.has_room(size):
                    await source.room(size)
                window.spend(size)
                _send(exchange, inbound, id, payload, positions, buffers)
                if source.slice_is_over:
                    await source.breathe()
            except trio.Cancelled as cancelled:
                step = generator.athrow(cancelled)
            else:
                step = generator.__anext__()
    finally:
        cell.sources.pop((inbound, id), None)
        await generator.aclose()


def _send(
    exchange: Exchange,
    inbound: Inbound,
    id: int,
    payload: bytes,
    positions: Sequence[int],
    buffers: Sequence[Buffer],
) -> None:
    peer = inbound.peer
    if inbound.outbound is not None:
        item = wire.Item(inbound.number, id, len(payload), tuple(positions))
        views = [memoryview(buffer) for buffer in buffers]
        item_came(exchange, peer, (item, memoryview(payload), views))
    elif peer.dead is None:
        batch = peer.batch
        batch.body += payload
        if buffers:
            batch.add_buffers(buffers)
            full = batch.add((8, inbound.number, id, len(payload), positions))
        else:
            full = batch.add((8, inbound.number, id, len(payload)))
        if full:
            exchange.send(peer)
        elif not peer.posted:
            exchange.gather(peer)
