"""An exception, told as the reason for an end.

Invariants
----------
* No exception object leaves its process: type, message and traceback are text.
* Cancellation is nobody's crash.
* In a simulation the text names files as they are found on ``sys.path``, not where this machine
  keeps them: it travels, and must be the same wherever the run is played again.
"""

from __future__ import annotations

import re
import sys
import traceback
from os.path import join
from typing import Final

import trio

from runtime.exits import ExitReason, fit

simulated: Final = trio.lowlevel.RunVar("simulated", default=False)
"""Whether this trio run is to be the same on every machine."""


def crash_reason(crash: BaseException, handler: str = "", handler_age_s: float = 0.0) -> ExitReason:
    """``crashed``, for this; a group of one is what is in it."""
    while isinstance(crash, BaseExceptionGroup) and len(crash.exceptions) == 1:
        crash = crash.exceptions[0]
    return ExitReason(
        kind="crashed",
        error=type(crash).__name__,
        message=fit(str(crash)),
        traceback=fit(traceback_text(crash)),
        handler=handler,
        handler_age_s=handler_age_s,
    )


def traceback_text(raised: BaseException) -> str:
    """As Python prints it."""
    text = "".join(traceback.format_exception(raised))
    if trio.lowlevel.in_trio_run() and simulated.get():
        return re.sub(r'(?<=  File ")[^"\n]+', _as_imported, text)
    return text


def _as_imported(path: re.Match[str]) -> str:
    whole = path.group()
    folders = (join(each, "") for each in sys.path if each)
    return whole[max((len(each) for each in folders if whole.startswith(each)), default=0) :]


def sort_out(raised: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """What is cancellation in an exception, and what is not."""
    if isinstance(raised, trio.Cancelled):
        return raised, None
    if isinstance(raised, BaseExceptionGroup):
        return raised.split(trio.Cancelled)
    return None, raised
