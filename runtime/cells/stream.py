"""A stream, from its consumer's side: an ask that is answered with one item after the other.

Invariants
----------
* The arguments are encoded at the call: what cannot travel raises there, and nothing was sent.
* Entering waits for credit as an ask does, never for the source.
* Items come in order, then the end or the error. A cancelled wait for an item loses none.
* Leaving waits for nobody: the source is told, and what still comes is dropped.
* No more arrives than was granted, and granted is what was taken, see
  `runtime.traffic.item_credit`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import trio

from runtime.cells import asks, breathing, sending
from runtime.cells.call import current
from runtime.cells.following import NotLookedUp, look_up
from runtime.errors import WireError
from runtime.messages import envelope as wire
from runtime.messages.codec import weigh
from runtime.traffic.item_credit import ItemLedger
from runtime.traffic.item_routing import go_on
from runtime.wires.reading import Seat

if TYPE_CHECKING:
    from runtime.address import Address
    from runtime.cells.service import Service
    from runtime.messages.codec import Buffer, Part
    from runtime.messages.signature import Signature
    from runtime.traffic.pair import Outbound

T = TypeVar("T")


class Stream(Seat, Generic[T]):
    """An async context manager around the items; see `actors.ActorRef.stream`."""

    __slots__ = (
        "_deadline",
        "_encoded",
        "_ledger",
        "_signature",
        "_source",
        "_target",
        "_waiting",
        "answer",
        "ended",
        "id",
        "items",
        "left",
        "outbound",
    )
    asks = True

    def __init__(
        self, source: Service, target: Address, signature: Signature, args: tuple[Any, ...]
    ) -> None:
        super().__init__()
        if not signature.streams:
            raise TypeError(f"{signature.qualified} is no stream: use ask() or tell()")
        body = bytearray()
        positions, buffers = signature.encode(args, body)
        self._encoded: tuple[Buffer, Sequence[int], Sequence[Buffer]] = body, positions, buffers
        self._source = source
        self._target = target
        self._signature = signature
        self._deadline = math.inf
        self.id = 0
        self._ledger = ItemLedger()
        self._waiting = False
        self.items: deque[Part] = deque()
        self.answer: wire.Reply | wire.Fail | None = None
        self.ended = self.left = False
        self.outbound: Outbound = None  # type: ignore[assignment]  # until it is entered

    @property
    def handler(self) -> str:
        """The name of the generator."""
        name: str = self._signature.name
        return name

    async def __aenter__(self) -> Self:
        if self.id:
            raise RuntimeError(f"the stream of {self._signature.qualified} was entered before")
        exchange = self._source.exchange
        id = self.id = exchange.next_id()
        await trio.lowlevel.checkpoint()
        outbound = self.outbound = await self._open_pair()
        outbound.check()
        self._deadline = trio.current_effective_deadline()
        body, positions, buffers = self._encoded
        self._encoded = b"", (), ()
        weight = len(body) + sum(map(len, buffers))
        if outbound.waiters or not outbound.window.has_room(weight):
            await sending.wait_for_credit(outbound, weight)
        outbound.window.spend(weight)
        call = current.get()
        ask = wire.Ask(
            outbound.number,
            self._signature.name,
            len(body),
            id,
            sending.due_at(outbound, self._deadline),
            () if call is None else call.chain,
            tuple(positions),
        )
        exchange.streams[id] = self
        if outbound.local is not None:
            views = [memoryview(buffer) for buffer in buffers]
            sending.deliver_here(outbound.local, (ask, memoryview(body), views))
        else:
            peer = outbound.peer
            peer.batch.body += body
            peer.batch.add_buffers(buffers)
            exchange.post(peer, ask, now=not peer.pending)
        return self

    async def _open_pair(self) -> Outbound:
        try:
            return sending.open_pair(self._source, self._target)
        except NotLookedUp:
            pass
        exact = await look_up(asks.ask, self._source, self._target)
        return sending.open_pair(self._source, exact)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.left = True
        self.items.clear()
        if self._source.exchange.streams.pop(self.id, None) is not None:
            self.outbound.cancel(self.id)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        exchange = self._source.exchange
        now = exchange.clock()
        if now - exchange.breathed_at > breathing.TELLING_S:
            exchange.breathed_at = now
            await trio.lowlevel.checkpoint()
        items = self.items
        while not items:
            await self._arrival()
        part = items.popleft()
        if self._ledger.take(weigh(part)) and not self.ended:
            self._grant()
        item: T = self._signature.decode_result(part[1], part[2])
        return item

    async def _arrival(self) -> None:
        """Return when something has come, or raise what there is to raise in its place."""
        if self.left or self.outbound is None:
            state = "left" if self.left else "not entered"
            raise trio.ClosedResourceError(f"the stream of {self._signature.qualified} was {state}")
        if self.ended:
            await self._end()
        if self._waiting:
            raise trio.BusyResourceError(
                f"another task waits for the stream of {self._signature.qualified}"
            )
        if self._ledger.behind:
            self._grant()
        self.ready = False
        self._waiting = True
        try:
            await self._source.exchange.reading.until(self)
        finally:
            self._waiting = False

    async def _end(self) -> None:
        """Raise why no more items come."""
        answer = self.answer
        if type(answer) is wire.Reply:
            if answer.size:
                raise WireError(f"{self._signature.qualified} is no stream there")
            raise StopAsyncIteration
        if type(answer) is wire.Fail and answer.kind == "late" and self._deadline < math.inf:
            await trio.sleep_until(self._deadline)  # it is ours to be raised, see `asks.ask`
        raise sending.error_of(self.outbound, answer)  # type: ignore[arg-type]

    def _grant(self) -> None:
        outbound, exchange = self.outbound, self._source.exchange
        more = wire.More(outbound.number, self.id, *self._ledger.grant())
        if outbound.local is None:
            exchange.post(outbound.peer, more, now=True)
        else:
            go_on(exchange, outbound.local, more)
