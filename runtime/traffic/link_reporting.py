"""Reports of network links: of this process, to whoever asks. `runtime.cells.link_inquiry` asks.

Invariants
----------
* Telling never waits: it reads what the kernel and this process know at that moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from runtime.messages import envelope as wire
from runtime.multipath.link_report import TOLD, LinkReport, Reporting, StreamReport
from runtime.traffic.answer_routing import informed

if TYPE_CHECKING:
    from runtime.traffic.exchange import Exchange
    from runtime.traffic.pair import Peer


class LinkReporting:
    """Of one process."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        exchange.control[wire.LinksAsked] = self._asked
        exchange.control[wire.LinksTold] = self._told

    def own(self) -> LinkReport:
        """The links of this process, as they are now."""
        exchange = self._exchange
        transport = getattr(exchange.transport, "inner", exchange.transport)
        known = transport.reports() if isinstance(transport, Reporting) else {}
        streams: list[StreamReport] = []
        for peer in exchange.peers.values():
            if peer is not exchange.here and peer.connected:
                report = known.get(peer.endpoint, StreamReport(outgoing=True))
                name = "" if peer.address is None else peer.address.name
                streams.append(msgspec.structs.replace(report, peer=name))
        if isinstance(transport, Reporting):
            streams += transport.incoming_reports()
        endpoint = exchange.address.endpoint
        kind = endpoint.partition(":")[0]
        told = [
            each if number < TOLD or each.full is None else msgspec.structs.replace(each, full=None)
            for number, each in enumerate(streams)
        ]
        return LinkReport(exchange.address.name, kind, endpoint, tuple(told))

    def _asked(self, peer: Peer, asked: wire.LinksAsked, _: Any) -> None:
        if asked.pair in peer.inbounds:
            self._exchange.say(peer, wire.LinksTold(asked.pair, asked.id, self.own()))
        else:
            self._exchange.strays["question of nobody"] += 1

    def _told(self, peer: Peer, told: wire.LinksTold, _: Any) -> None:
        informed(self._exchange, peer, told)
