"""The seat of an ask, or of a question to a process, that waits for its answer.

Invariants
----------
* It is in `Exchange.pending` until its answer came, its pair gave up, or its asker was cancelled.
* ``answer`` is None where no answer came: then the pair knows what happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runtime.messages import envelope as wire
from runtime.messages.codec import Buffer
from runtime.wires.reading import Seat

if TYPE_CHECKING:
    from runtime.traffic.pair import Outbound


class Slot(Seat):
    """An ask that waits for its answer."""

    __slots__ = ("answer", "buffers", "handler", "outbound", "payload", "weight")
    asks = True

    def __init__(self, outbound: Outbound, handler: str) -> None:
        self.ready = False
        self.task = None
        self.outbound = outbound
        self.handler = handler
        self.answer: wire.Reply | wire.Replies | wire.Fail | wire.Pong | wire.LinksTold | None = (
            None
        )
        self.payload: Buffer = b""
        self.weight = 0
        self.buffers: Sequence[Buffer] = ()
