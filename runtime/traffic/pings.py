"""Pings: whether the cell at the other end of a pair is there, whatever it is doing.

They are control: they need no credit, are answered where everything is routed, and are in
nobody's account.

Invariants
----------
* A ping ends like an ask: with its answer, its peer's death or verdict, or its caller's
  cancellation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runtime.messages import envelope as wire
from runtime.traffic.answer_routing import informed

if TYPE_CHECKING:
    from runtime.traffic.exchange import Exchange
    from runtime.traffic.pair import Inbound, Peer


class Pings:
    """The answers of one process, and where the answers of others go."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        exchange.control[wire.Ping] = self._ping
        exchange.control[wire.Pong] = self._pong

    def _ping(self, peer: Peer, ping: wire.Ping, _: Any) -> None:
        inbound = peer.inbounds.get(ping.pair)
        if inbound is None:
            self._exchange.strays["ping of nobody"] += 1
        else:
            self._exchange.say(peer, wire.Pong(ping.pair, ping.id, is_there(inbound)))

    def _pong(self, peer: Peer, pong: wire.Pong, _: Any) -> None:
        informed(self._exchange, peer, pong)


def is_there(inbound: Inbound) -> bool:
    """Whether the target of a pair is alive and takes messages."""
    return inbound.cell is not None and inbound.cell.ending is None
