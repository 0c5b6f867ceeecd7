"""Who is killed for not yielding: nodes whose child spec has ``hang_after_s``.

Busy is information, not an end, for everybody else. A node is judged busy by its guardian after
four beats; from then on it is given what is left of its ``hang_after_s`` since its last beat.

Invariants
----------
* Only a node that is judged busy all the while is killed. One that is heard again, or found to be
  frozen, is given its whole time at its next silence.
* One whose loop turns is not hanging, though its beats are lost: it is looked at once more before
  it is killed.
* It counts as killed, and lives again as its child spec says.
"""

from __future__ import annotations

import logging
import math
from signal import SIGKILL

import trio

from actors.supervision.record import Record
from runtime.processes.evidence import Look

LOOK_S = 0.25
"""How far apart two looks at a loop that turns every 0.1 s are, at least."""

log = logging.getLogger("regrow")


class Hanging:
    """Of one system. ``tasks``: in which it waits for them."""

    def __init__(self, look: Look, tasks: trio.Nursery) -> None:
        self._look = look
        self._tasks = tasks
        self._silences: dict[int, trio.CancelScope] = {}

    def judged(self, record: Record, silent_s: float) -> None:
        """The verdict on it is a new one; it was last heard ``silent_s`` seconds ago."""
        before = self._silences.pop(record.incarnation, None)
        if before is not None:
            before.cancel()
        if record.verdict == "busy" and record.spec.hang_after_s < math.inf:
            silence = self._silences[record.incarnation] = trio.CancelScope()
            self._tasks.start_soon(self._wait, record, silence, silent_s)

    async def _wait(self, record: Record, silence: trio.CancelScope, silent_s: float) -> None:
        patience_s = record.spec.hang_after_s
        with silence:
            left_s = max(patience_s - silent_s, LOOK_S)
            while await self._turns(left_s, record):
                left_s = patience_s
            if not record.gone.is_set():
                log.warning("%s is killed: it has not yielded for %g s", record.name, patience_s)
                record.signal(SIGKILL, f"it has not yielded for {patience_s:g} s (hang_after_s)")
        if self._silences.get(record.incarnation) is silence:
            del self._silences[record.incarnation]

    async def _turns(self, seconds: float, record: Record) -> bool:
        """Whether its loop turns meanwhile; returns at once when it is dead."""
        ticks = self._look(record.incarnation, record.pid).loop_ticks
        if await record.goes_within(seconds):
            return False
        return self._look(record.incarnation, record.pid).loop_ticks != ticks
