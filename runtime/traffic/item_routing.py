"""Where the items of streams go, and the grants of those who take them.

Invariants
----------
* Routing is total, as all of the exchange's: what is for nobody changes nothing. What can never
  have been for anybody is counted in ``strays``; what came too late is not, for a consumer may
  leave, and a source end, at any time.
* The items of a stream wait in their consumer's `Stream`, in order; its end comes after them.
* A stream that was asked, as if it were no stream, is cancelled, and its asker is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.messages import envelope as wire
from runtime.traffic.item_credit import WINDOW_ITEMS

if TYPE_CHECKING:
    from runtime.cells.stream import Stream
    from runtime.messages.codec import Part
    from runtime.traffic.endings import Endings
    from runtime.traffic.exchange import Exchange
    from runtime.traffic.pair import Inbound, Outbound, Peer


def item_came(exchange: Exchange, peer: Peer, part: Part) -> None:
    """Let the consumer of an item's stream have it."""
    item = part[0]
    stream = exchange.streams.get(item.id)
    if stream is None or stream.outbound is not exchange.outbounds.get(item.pair):
        _nobody(exchange, peer, item)
        return
    if stream.outbound.peer is not peer:
        exchange.strays["item to nobody"] += 1
        return
    items = stream.items
    if len(items) > WINDOW_ITEMS:
        exchange.strays["more items than granted"] += 1
        stream.outbound.cancel(item.id)
        stream_ended(exchange, item.id, _refusal(item, "it sent more items than were granted"))
        return
    items.append(part)
    if not stream.ready:
        exchange.reading.wake(stream)


def _nobody(exchange: Exchange, peer: Peer, item: wire.Item) -> None:
    outbound = exchange.outbounds.get(item.pair)
    if outbound is None or outbound.peer is not peer or not 0 < item.id <= exchange.last_id:
        exchange.strays["item to nobody"] += 1
        return
    slot = exchange.pending.get(item.id)
    if slot is None or slot.outbound is not outbound:
        return  # its consumer has left meanwhile
    del exchange.pending[item.id]
    peer.pending -= 1
    outbound.cancel(item.id)
    slot.answer = _refusal(item, f"{outbound.target.name} answers with a stream: do not ask it")
    exchange.reading.wake(slot)


def _refusal(item: wire.Item, why: str) -> wire.Fail:
    return wire.Fail(item.pair, item.id, "wire", "", why, "", 0, 0, 0, 0, 0)


def stream_ended(exchange: Endings, id: int, answer: wire.Reply | wire.Fail | None) -> None:
    """No more items come. ``answer`` None: ask the pair why."""
    stream = exchange.streams.pop(id)
    stream.answer = answer
    stream.ended = True
    exchange.reading.wake(stream)


def streams_of(exchange: Endings, outbound: Outbound) -> list[Stream[object]]:
    """The streams that come in answer to a pair's messages."""
    return [each for each in exchange.streams.values() if each.outbound is outbound]


def more_granted(exchange: Exchange, peer: Peer, more: wire.More, _: memoryview) -> None:
    """Let the source of a stream go on."""
    inbound = peer.inbounds.get(more.pair)
    if inbound is None:
        exchange.strays["more for nobody"] += 1
    else:
        go_on(exchange, inbound, more)


def go_on(exchange: Exchange, inbound: Inbound, more: wire.More) -> None:
    """The same, where it is known which pair is meant."""
    source = None if inbound.cell is None else inbound.cell.sources.get((inbound, more.id))
    if source is not None:  # else it has ended meanwhile
        source.window.grant(more.items, more.bytes)
        exchange.reading.wake(source)
