"""The certificate of an end: what the node said of it, what the kernel saw, what was left behind.

Invariants
----------
* A node that was killed after its last word was killed: the kernel knows better. What is left of a
  start that failed is killed too, but ended for its failure.
* Who killed it is said where it was the runtime; only for other kills is the killer for want of
  memory looked for.
* The handler is the one that its own last word names, else that of its status page.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from msgspec.structs import replace

from actors.supervision.record import Record
from runtime.exits import ExitReason
from runtime.processes.evidence import Evidence

OUTSIDE = "SIGTERM from outside"


def certify(
    record: Record,
    seen: ExitReason,
    left: Evidence,
    oom: Callable[[], str] = str,
) -> ExitReason:
    """All that is known of its end, but for its output.

    Args:
        seen: what its host saw of the end.
        left: the last look at it.
        oom: what speaks for the killer for want of memory; asked only where it matters.
    """
    reason = _whole(record, seen)
    if reason.kind in ("killed", "exited", "unknown") and not reason.handler:
        reason = replace(reason, handler=left.handler, handler_age_s=left.handler_age_s)
    if reason.kind == "killed" and not reason.message:
        number, why = record.sentence or (0, "")
        if number == (reason.signal or signal.SIGKILL):
            reason = replace(reason, message=why)
        elif reason.signal == signal.SIGKILL:
            reason = replace(reason, oom=oom())
    elif reason.kind == "shutdown" and reason.signal == signal.SIGTERM:
        why = OUTSIDE if record.sentence is None else record.sentence[1]
        reason = replace(reason, message=why)
    return replace(reason, restarts=record.restarts)


def _whole(record: Record, seen: ExitReason) -> ExitReason:
    """What the node said of its end, with what the kernel says it used."""
    said = record.said
    if said is None or (record.started and seen.kind in ("killed", "lost")):
        return seen
    return replace(
        said, user_s=seen.user_s, system_s=seen.system_s, max_rss_bytes=seen.max_rss_bytes
    )
