"""Where answers go: results, failures and what a process tells of itself, each to who asked for it.

Invariants
----------
* Routing is total, as all of the exchange's; who has given up meanwhile is passed over.
* An answer counts against its pair's credit until its asker has taken it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from runtime.messages import envelope as wire
from runtime.traffic.item_routing import stream_ended

if TYPE_CHECKING:
    from runtime.messages.codec import Buffer
    from runtime.traffic.exchange import Exchange
    from runtime.traffic.pair import Peer


def answered(exchange: Exchange, peer: Peer, part: tuple[Any, Buffer, Sequence[Buffer]]) -> None:
    """Let who asked have an answer."""
    answer, payload, buffers = part
    outbound = exchange.outbounds.get(answer.pair)
    if outbound is None or outbound.peer is not peer:
        exchange.strays["answer to nobody"] += 1
        return
    window = outbound.window
    window.acknowledge(
        answer.handled, answer.failed, answer.expired, answer.rejected, answer.done_bytes
    )
    if outbound.waiters:
        outbound.wake()
    id = answer.id
    slot = exchange.pending.get(id)
    if slot is None or slot.outbound is not outbound:
        stream = exchange.streams.get(id)
        if stream is not None and stream.outbound is outbound:
            stream_ended(exchange, id, answer)
        return  # or its caller was cancelled meanwhile
    del exchange.pending[id]
    peer.pending -= 1
    slot.answer, slot.payload, slot.buffers = answer, payload, buffers
    weight = len(payload)
    if buffers:
        weight += sum(map(len, buffers))
    slot.weight = weight
    window.reply_bytes += weight  # until its asker has taken it
    exchange.reading.wake(slot)


def replies_came(exchange: Exchange, peer: Peer, run: wire.Replies, payload: memoryview) -> None:
    """Let those who asked have a run of results."""
    outbound = exchange.outbounds.get(run.pair)
    if outbound is None or outbound.peer is not peer:
        exchange.strays["answer to nobody"] += len(run.ids)
        return
    window = outbound.window
    counts = run.handled, run.failed, run.expired, run.rejected, run.done_bytes
    window.acknowledge(*counts)
    if outbound.waiters:
        outbound.wake()
    pending, wake = exchange.pending, exchange.reading.wake
    at = 0
    for id, size in zip(run.ids, run.sizes, strict=True):
        until = at + size
        slot = pending.get(id)
        if slot is not None and slot.outbound is outbound:
            del pending[id]
            peer.pending -= 1
            slot.answer, slot.payload, slot.weight = run, payload[at:until], size
            window.reply_bytes += size  # until its asker has taken it
            wake(slot)
        else:
            stream = exchange.streams.get(id)
            if stream is not None and stream.outbound is outbound:
                stream_ended(exchange, id, wire.Reply(run.pair, id, size, *counts))
        at = until


def informed(exchange: Exchange, peer: Peer, answer: wire.Pong | wire.LinksTold) -> None:
    """A question that was asked of a process (`runtime.cells.inquiry`) has its answer."""
    slot = exchange.pending.get(answer.id)
    if slot is None or slot.outbound.peer is not peer or slot.handler:
        return  # its asker has gone meanwhile
    del exchange.pending[answer.id]
    peer.pending -= 1
    slot.answer = answer
    exchange.reading.wake(slot)
