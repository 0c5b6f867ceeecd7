"""An exception, told as the reason for an end.

Invariants
----------
* No exception object leaves its process: type, message and traceback are text.
* Cancellation is nobody's crash.
"""

from __future__ import annotations

import traceback

import trio

from runtime.exits import ExitReason, fit


def crash_reason(crash: BaseException, handler: str = "", handler_age_s: float = 0.0) -> ExitReason:
    """``crashed``, for this; a group of one is what is in it."""
    while isinstance(crash, BaseExceptionGroup) and len(crash.exceptions) == 1:
        crash = crash.exceptions[0]
    return ExitReason(
        kind="crashed",
        error=type(crash).__name__,
        message=fit(str(crash)),
        traceback=fit("".join(traceback.format_exception(crash))),
        handler=handler,
        handler_age_s=handler_age_s,
    )


def sort_out(raised: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """What is cancellation in an exception, and what is not."""
    if isinstance(raised, trio.Cancelled):
        return raised, None
    if isinstance(raised, BaseExceptionGroup):
        return raised.split(trio.Cancelled)
    return None, raised
