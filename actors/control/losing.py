"""Who is given up as lost: nodes that are cut off for their child spec's ``lost_after_s``.

Of a node that is cut off nothing is known but its silence. After a minute of it its place is worth
more than the hope: it ends as ``lost``, what it was sent is undelivered, and it lives again as its
child spec says. But it may live on, out of reach. When it comes back it is told to end, again and
again while it speaks, and nothing else that it says is heard.

Invariants
----------
* Only a node that is cut off all the while is lost. One whose body is held here (its pidfd) never
  is: its death would be known.
* Nobody hears of two lives of a name at once: its Down comes before the next life, and what a lost
  one says is dropped.
* The instant is exact: ``lost_after_s`` after its last beat.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import trio

from actors.supervision.record import Record
from runtime.exits import ExitReason
from runtime.messages import envelope as wire
from runtime.messages.codec import encode
from runtime.traffic.exchange import Exchange

AGAIN_S: Final = 1.0
"""How often one that is lost, and speaks, is told to end."""

log = logging.getLogger("regrow")


class Losing:
    """Of one system. ``end``: told of each that is lost. ``tasks``: in which it waits."""

    def __init__(
        self,
        exchange: Exchange,
        end: Callable[[Record, ExitReason], None],
        tasks: trio.Nursery,
    ) -> None:
        self._exchange = exchange
        self._end = end
        self._tasks = tasks
        self._silences: dict[int, trio.CancelScope] = {}
        self._lost: dict[int, tuple[str, float]] = {}  # where, and when it was last told to end
        exchange.unheard = self._spoke

    def judged(self, record: Record, silent_s: float) -> None:
        """The verdict on it is a new one; it was last heard ``silent_s`` seconds ago."""
        before = self._silences.pop(record.incarnation, None)
        if before is not None:
            before.cancel()
        if record.verdict == "cut off" and record.body is not None:
            silence = self._silences[record.incarnation] = trio.CancelScope()
            self._tasks.start_soon(self._wait, record, silence, silent_s)

    async def _wait(self, record: Record, silence: trio.CancelScope, silent_s: float) -> None:
        patience_s = record.spec.lost_after_s
        with silence:
            gone = await record.goes_within(max(patience_s - silent_s, 0.0))
            if not gone and record.body is not None and not record.body.held:
                log.warning("%s is lost: it is cut off for %g s", record.name, patience_s)
                self.give_up(record, f"it was cut off for {patience_s:g} s (lost_after_s)")
        if self._silences.get(record.incarnation) is silence:
            del self._silences[record.incarnation]

    def give_up(self, record: Record, why: str) -> None:
        """It is lost, here and now. Only for one whose body is not held."""
        self._lost[record.incarnation] = record.address.endpoint, -AGAIN_S
        self._end(record, ExitReason(kind="lost", message=why))

    def gone(self, incarnation: int) -> None:
        """It is certainly dead now."""
        self._lost.pop(incarnation, None)

    def _spoke(self, incarnation: int) -> None:
        """Somebody speaks whom nobody hears."""
        known = self._lost.get(incarnation)
        if known is None:
            return
        endpoint, told_at = known
        now = trio.current_time()
        if now - told_at < AGAIN_S:
            return
        self._lost[incarnation] = endpoint, now
        self._tasks.start_soon(self._tell_to_end, endpoint)

    async def _tell_to_end(self, endpoint: str) -> None:
        stop = wire.Stop(reason=ExitReason(kind="lost", message="it was given up"))
        self._exchange.tell_stale(endpoint, encode(stop))
        try:
            await trio.sleep(AGAIN_S / 2)
        finally:
            self._exchange.transport.disconnect(endpoint)
