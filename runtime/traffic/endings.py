"""The ends of pairs and of peers, and what is thought of a peer that is silent.

Invariants
----------
* A peer that is known to be dead is never connected again: its endpoint is not reused.
* What is in flight on a pair that ends becomes undelivered, once; who waits on it is told.
* A verdict ends what waits for an answer, and no pair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runtime.traffic.item_routing import stream_ended, streams_of
from runtime.traffic.settling import Settling

if TYPE_CHECKING:
    from runtime.cells.stream import Stream
    from runtime.exits import ExitReason
    from runtime.traffic.books import Books
    from runtime.traffic.pair import Outbound, Peer
    from runtime.traffic.slot import Slot


class Endings(Settling):
    """Settling that also knows who is no more."""

    books: Books
    pending: dict[int, Slot]
    streams: dict[int, Stream[Any]]
    outbounds: dict[int, Outbound]
    _callers: dict[int, Peer]

    def down(self, endpoint: str, reason: ExitReason) -> None:
        """The process at ``endpoint`` is no more. Idempotent."""
        peer = self.peer(endpoint)
        if peer.dead is not None or peer is self.here:
            return
        peer.dead = reason
        peer.verdict = ""
        self.transport.disconnect(endpoint)
        peer.connected = False
        if peer.address is not None:
            self._callers.pop(peer.address.incarnation, None)
        for outbound in list(peer.outbounds.values()):
            self.close(outbound, reason)
        for inbound in peer.inbounds.values():
            if inbound.cell is not None:
                inbound.cell.orphan(inbound)
        peer.inbounds.clear()

    def close(self, outbound: Outbound, reason: ExitReason) -> None:
        """What is in flight on the pair is undelivered; who waits on it is told. Idempotent.

        ``reason``: the end of its target, or of its source.
        """
        if outbound.closed is not None:
            return
        outbound.closed = reason
        lost = outbound.window.close()
        self.books.close(outbound)
        if lost and outbound.source.ending is None:  # else it may well be handled, unheard of
            self.letters.undelivered(outbound, lost, str(reason))
        self._give_up(outbound)
        outbound.wake_all()
        del self.outbounds[outbound.number]
        outbound.peer.outbounds.pop(outbound.number, None)
        outbound.source.outbounds.pop(outbound.target.incarnation, None)

    def verdict(self, endpoint: str, kind: str) -> None:
        """What is thought of a silent peer: ``""`` when it is heard again.

        Asks that wait for a frozen or cut off peer end; it is told not to begin them.
        """
        peer = self.peer(endpoint)
        if peer.dead is not None or kind == peer.verdict:
            return
        peer.verdict = kind
        if kind:
            for outbound in list(peer.outbounds.values()):
                outbound.goes_on = False
                self._give_up(outbound)
                outbound.wake_all()

    def _give_up(self, outbound: Outbound) -> None:
        for id, slot in reversed(self.pending.copy().items()):  # those that wait are told first
            if slot.outbound is outbound:
                del self.pending[id]
                outbound.peer.pending -= 1
                outbound.cancel(id)
                self.reading.wake(slot)
        for stream in streams_of(self, outbound):
            outbound.cancel(stream.id)
            stream_ended(self, stream.id, None)
