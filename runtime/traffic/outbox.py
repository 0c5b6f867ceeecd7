"""What leaves a process: one batch a peer, sent at the end of the tick.

Invariants
----------
* Envelopes to one peer leave in the order in which they were posted.
* The first envelope on a connection is our `Hello`.
* To a dead peer nothing is sent; one that cannot be connected at all is a dead one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from runtime.exits import ExitReason
from runtime.messages import envelope as wire
from runtime.messages.codec import Buffer, encode
from runtime.traffic.pair import Peer
from runtime.wires.transport import IDLE_S, repeating

if TYPE_CHECKING:
    from runtime.address import Address
    from runtime.wires.reading import Reading
    from runtime.wires.transport import Transport


BATCH_MESSAGES = 8
BATCH_S = 0.0005
"""A batch of so many asks or replies that has gathered for longer leaves, so that its receiver
works while we go on. Fewer are not worth a message of their own: the shell's lines took a third
more. Where a processor takes long to wake, as on a busy host, 64 asks in flight are 1.4 times as
many with 0.5 ms as with 0.2, or 1; elsewhere it makes no difference."""

FLOOD_S = 0.0005
"""A flood of tells that only pauses for others gathers its batch for so long at most: that costs
both ends a fifth less than a message for every pause."""


class Outbox:
    """The peers of one process, and what is on its way to them.

    ``clock``: by which this process measures what it does; a virtual one may be put here.
    """

    reading: Reading

    def __init__(self, address: Address, transport: Transport, boot_id: str) -> None:
        self.address = address
        self.transport = transport
        self._repeating = repeating(transport)
        self.peers: dict[str, Peer] = {}  # by endpoint
        self.here = Peer(transport.endpoint)
        self.here.shares_clock = True
        self.linked: Callable[[Peer], None] = _ignore
        self.unheard: Callable[[int], None] = _ignore  # told who speaks and is not heard
        self.joining: Callable[[wire.Join], None] | None = None  # told who would like to join
        self.strays: Counter[str] = Counter()
        self.boot_id = boot_id
        self.clock: Callable[[], float] = monotonic
        self._hello = wire.Hello(address, boot_id, wire.VERSION)
        self._posted: list[Peer] = []
        self.flooding = False
        """Whether a task that has told and told goes on with it in the next tick."""

    def peer(self, endpoint: str) -> Peer:
        """The process at ``endpoint``, known or not."""
        peer = self.peers.get(endpoint)
        if peer is None:
            if endpoint == self.transport.endpoint:
                return self.here
            peer = self.peers[endpoint] = Peer(endpoint)
            peer.shares_clock = self.transport.same_host
        return peer

    def ready(self, peer: Peer) -> bool:
        """Be connected to the peer, if it lives; False when the wire kept our hello."""
        if peer.connected or peer.dead is not None:
            return True
        try:
            self.transport.connect(peer.endpoint)
        except ValueError:
            self.strays["no way there"] += 1
            peer.dead = ExitReason(kind="lost", message=f"{peer.endpoint!r} leads nowhere")
            return True
        peer.connected = True
        peer.posted_at = self.clock()
        taken = self.transport.send(peer.endpoint, encode(self._hello))
        if not peer.met:
            peer.met = True
            self.linked(peer)
        return taken

    def post(self, peer: Peer, envelope: Any, now: bool = False) -> None:
        """Append an envelope to a peer's batch; its payload stands in the batch's body.

        ``now``: it may not wait for the end of the tick. To a dead peer nothing is sent.
        """
        if peer.dead is not None:
            peer.batch.take()
            return
        if peer.batch.add(envelope) or now:
            self.send(peer)
            peer.posted_at = self.clock()
        else:
            self.grown(peer, full=False)

    def grown(self, peer: Peer, full: bool) -> None:
        """Let the peer's batch leave when it is time, now that it has a message more."""
        if not peer.posted and not full:
            self.gather(peer)
        elif full or (
            self.clock() - peer.posted_at > BATCH_S and peer.batch.messages >= BATCH_MESSAGES
        ):
            self.send(peer)
            peer.posted_at = self.clock()

    def gather(self, peer: Peer) -> None:
        """Let the peer's batch leave at the end of the tick."""
        peer.posted = True
        peer.posted_at = self.clock()
        self._posted.append(peer)
        self.reading.posted()

    def say(self, peer: Peer, envelope: wire.Envelope, payload: bytes = b"") -> None:
        """Send a control envelope."""
        self.ready(peer)
        if payload:
            peer.batch.body += payload
        self.post(peer, envelope)

    def sign(self, peer: Peer, envelope: wire.Envelope) -> None:
        """Send a sign of life: it waits for nothing that has to go again, and never goes again."""
        if self._repeating is None or peer is self.here:
            self.say(peer, envelope)
            return
        self.ready(peer)
        if peer.dead is None:
            self._repeating.send_once(peer.endpoint, encode(envelope))
            peer.posted_at = self.clock()

    def tell_stale(self, endpoint: str, frames: list[Buffer]) -> None:
        """Say this to a process that was given up as dead, and is not. It is not heard."""
        self.transport.connect(endpoint)
        self.transport.send(endpoint, encode(self._hello))
        self.transport.send(endpoint, frames)

    def close_idle(self) -> None:
        """Close what carried nothing for `IDLE_S`; the next use opens it again."""
        now = self.clock()
        for peer in self.peers.values():
            if (
                peer.connected
                and now - peer.posted_at > IDLE_S
                and not peer.batch.count
                and not self.transport.holds(peer.endpoint)
            ):
                self.transport.disconnect(peer.endpoint)
                peer.connected = False

    def send(self, peer: Peer) -> bool:
        """Let its batch leave now; False when the wire kept some of it."""
        taken = self.ready(peer)
        if peer.dead is not None:
            peer.batch.take()
            return True
        return self.transport.send(peer.endpoint, peer.batch.take()) and taken

    def flush(self) -> bool:
        """Send all batches; False when the wire kept some of it for a task of ours."""
        if not self._posted:
            return True
        posted, self._posted = self._posted, []
        taken = True
        for peer in posted:
            if self.flooding and peer.batch.patient and self.clock() - peer.posted_at < FLOOD_S:
                self._posted.append(peer)
                continue
            peer.posted = False
            if peer.batch.count:
                taken &= self.send(peer)
        return taken


def _ignore(who: Peer | int) -> None:
    """Nobody wants to know."""
