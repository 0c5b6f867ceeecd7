"""A batch: the envelopes that gather for one peer, and their payloads. `codec` says how it looks.

Messages of one pair that follow each other share an envelope (`runtime.messages.run`). It is
written when something else comes, or the batch leaves; until then it is open.

Invariants
----------
* At most one run is open, and it is the last in its batch: messages leave in order.
* What a pair has counted is told as it is when its answers' envelope is written.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec

from runtime.messages.envelope_base import Envelope

Buffer = bytes | bytearray | memoryview

MAX_RUN: Final = 64
"""So many messages share an envelope at most: credits come back as often as without runs."""
FLUSH_BYTES: Final = 64 * 1024
"""A batch this large leaves at once."""

FRONT: Final = struct.Struct(">IBI")  # length of the head, msgpack's array 32, its length
LENGTH: Final = struct.Struct(">I")
_ARRAY_32: Final = 0xDD
_encoder: Final = msgspec.msgpack.Encoder()


class Ledger(Protocol):
    """What knows a pair's counts."""

    def report(self) -> tuple[int, int, int, int, int]:
        """They are told with this."""


class OpenTells:
    """Of one pair for one handler."""

    __slots__ = ("count", "handler", "pair", "size")

    def __init__(self, pair: int, handler: str, size: int) -> None:
        self.pair = pair
        self.handler = handler
        self.size = size
        self.count = 1

    def envelope(self) -> tuple[Any, ...]:
        """The array that encodes to it."""
        if self.count == 1:
            return 2, self.pair, self.handler, self.size
        return 11, self.pair, self.handler, self.size, self.count


class OpenAsks:
    """Of one pair for one handler, without deadlines."""

    __slots__ = ("chain", "handler", "ids", "pair", "sizes")

    def __init__(self, pair: int, handler: str, size: int, id: int, chain: tuple[str, ...]) -> None:
        self.pair = pair
        self.handler = handler
        self.chain = chain
        self.ids = [id]
        self.sizes = [size]

    def envelope(self) -> tuple[Any, ...]:
        """The array that encodes to it."""
        ids, sizes = self.ids, self.sizes
        if len(ids) == 1:
            return 3, self.pair, self.handler, sizes[0], ids[0], 0.0, self.chain
        return 12, self.pair, self.handler, sum(sizes), ids, sizes, self.chain


class OpenReplies:
    """To the asks of one pair."""

    __slots__ = ("ids", "ledger", "pair", "sizes")

    def __init__(self, pair: int, ledger: Ledger, size: int, id: int) -> None:
        self.pair = pair
        self.ledger = ledger
        self.ids = [id]
        self.sizes = [size]

    def envelope(self) -> tuple[Any, ...]:
        """The array that encodes to it."""
        ids, sizes = self.ids, self.sizes
        if len(ids) == 1:
            return 4, self.pair, ids[0], sizes[0], *self.ledger.report()
        return 13, self.pair, sum(sizes), ids, sizes, *self.ledger.report()


class Batch:
    """Envelopes on their way to one peer.

    ``tells``, ``calls``: the run that is open, which is the one or the other.
    """

    __slots__ = (
        "_append", "body", "buffer_bytes", "buffers", "calls", "count", "head", "more", "patient",
        "tells",
    )  # fmt: skip

    def __init__(self) -> None:
        self.head = bytearray(FRONT.size)
        self.body = bytearray()
        self.buffers: list[Buffer] = []
        self.buffer_bytes = 0
        self.count = 0
        self.more = 0
        """Calls beyond one an envelope, of those that are written."""
        self.patient = True
        """Nothing is in it but tells: nobody waits for what it brings."""
        self.tells: OpenTells | None = None
        self.calls: OpenAsks | OpenReplies | None = None
        self._append = _encoder.encode_into

    @property
    def messages(self) -> int:
        """How many are in it; of tells, how many runs."""
        open_now = 0 if self.calls is None else len(self.calls.ids) - 1
        return self.count + self.more + open_now

    @property
    def is_full(self) -> bool:
        """Whether it is time to leave."""
        return len(self.head) + len(self.body) + self.buffer_bytes >= FLUSH_BYTES

    def add(self, envelope: Envelope | tuple[Any, ...]) -> bool:
        """Append an envelope (or the array that encodes to one); True when it is time to leave.

        The payload must stand in ``body`` already.
        """
        if self.tells is not None or self.calls is not None:
            self._close_run()
        head = self.head
        start = len(head)
        try:
            self._append(envelope, head, -1)
        except Exception:
            del head[start:]
            raise
        self.count += 1
        self.patient = False
        return len(head) + len(self.body) + self.buffer_bytes >= FLUSH_BYTES

    def tell(self, pair: int, handler: str, size: int) -> bool:
        """Append a call that nobody waits for; True when it is time to leave."""
        run = self.tells
        if run is not None and run.handler is handler and run.pair == pair and run.count < MAX_RUN:
            run.count += 1
            run.size += size
            return len(self.body) >= FLUSH_BYTES
        self._close_run()
        self.tells = OpenTells(pair, handler, size)
        self.count += 1
        return self.is_full

    def ask(self, pair: int, handler: str, size: int, id: int, chain: tuple[str, ...]) -> bool:
        """As `tell`, of a call without a deadline that is answered to ``id``."""
        run = self.calls
        if (
            type(run) is OpenAsks
            and run.pair == pair
            and run.handler is handler
            and run.chain is chain
            and len(run.ids) < MAX_RUN
        ):
            run.ids.append(id)
            run.sizes.append(size)
            return len(self.body) >= FLUSH_BYTES
        self._close_run()
        self.calls = OpenAsks(pair, handler, size, id, chain)
        self.count += 1
        self.patient = False
        return self.is_full

    def reply(self, pair: int, ledger: Ledger, size: int, id: int) -> bool:
        """As `tell`, of the result of an ask of the pair with that ledger."""
        run = self.calls
        if type(run) is OpenReplies and run.ledger is ledger and len(run.ids) < MAX_RUN:
            run.ids.append(id)
            run.sizes.append(size)
            return len(self.body) >= FLUSH_BYTES
        self._close_run()
        self.calls = OpenReplies(pair, ledger, size, id)
        self.count += 1
        self.patient = False
        return self.is_full

    def _close_run(self) -> None:
        run = self.tells or self.calls
        if run is not None:
            if run is self.calls:
                self.more += len(run.ids) - 1
            self.tells = self.calls = None
            self._append(run.envelope(), self.head, -1)

    def add_buffers(self, buffers: Sequence[Buffer]) -> None:
        """Append large arguments, to be named by the next envelope."""
        self.buffers.extend(buffers)
        self.buffer_bytes += sum(map(len, buffers))

    def take(self) -> list[Buffer]:
        """Hand over the frames and begin anew."""
        self._close_run()
        batch, buffers = self.head, self.buffers
        FRONT.pack_into(batch, 0, len(batch) - LENGTH.size, _ARRAY_32, self.count)
        batch += self.body
        self.head = bytearray(FRONT.size)
        self.body.clear()
        self.count = self.more = 0
        self.patient = True
        if not buffers:
            return [batch]
        self.buffers = []
        self.buffer_bytes = 0
        return [batch, *buffers]
