"""Where runs of tells and asks go; see `runtime.messages.run`.

Invariants
----------
* Routing is total, as all of the exchange's.
* A run of asks is taken apart as soon as anything befalls one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from runtime.messages import envelope as wire

if TYPE_CHECKING:
    from runtime.messages.codec import Part, Payload
    from runtime.traffic.exchange import Exchange
    from runtime.traffic.pair import Peer


def tells_came(exchange: Exchange, peer: Peer, run: wire.Tells, payload: memoryview) -> None:
    """Let their cell have a run of tells."""
    inbound = peer.inbounds.get(run.pair)
    if inbound is None:
        exchange.strays["unknown pair"] += 1
        return
    inbound.received += run.count
    part = run, payload, ()
    if inbound.cell is None:
        exchange.refuse(inbound, part)
    else:
        inbound.cell.deliver_run(inbound, part)


def asks_came(exchange: Exchange, peer: Peer, run: wire.Asks, payload: memoryview) -> None:
    """Let their cell have a run of asks."""
    inbound = peer.inbounds.get(run.pair)
    if inbound is None:
        exchange.strays["unknown pair"] += len(run.ids)
        return
    inbound.received += len(run.ids)
    if inbound.cell is None:
        exchange.refuse(inbound, (run, payload, ()))
    else:
        inbound.cell.deliver_asks(inbound, run, payload)


def asks_of(run: wire.Asks, payload: Payload) -> Iterator[Part]:
    """The asks of a run, each for itself."""
    pair, handler, chain = run.pair, run.handler, run.chain
    at = 0
    for id, size in zip(run.ids, run.sizes, strict=True):
        until = at + size
        yield wire.Ask(pair, handler, size, id, 0.0, chain), payload[at:until], ()
        at = until
