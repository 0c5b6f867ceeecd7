"""How an incarnation ended.

Every exit leaves one `ExitReason`, a plain value that can be sent and printed.
A crash is told as text; an exception object never leaves its process.

Source: Erlang/OTP's exit reasons (normal, shutdown, everything else); the kernel's
wait status for the rest.
"""

import os
import signal
from typing import Literal, get_args

import msgspec

Kind = Literal["normal", "shutdown", "crashed", "exited", "killed", "lost", "unknown"]
KINDS: frozenset[str] = frozenset(get_args(Kind))


class ExitReason(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why an incarnation is no more.

    ``kind``: ``normal`` (it finished), ``shutdown`` (it was asked to stop), ``crashed``
    (an exception), ``exited`` (a status of its own, in ``code``), ``killed`` (by the
    signal in ``signal``), ``lost`` (cut off for too long), ``unknown`` (it is gone, and
    nobody was left who could have seen how).

    ``message`` and ``traceback``: of a crash its text; else who ended it, where that was the
    runtime, or that a ``shutdown`` came by SIGTERM. ``handler``: which one was running, for
    ``handler_age_s``; a cell's own, of a process's other cells nothing is known. ``output``: the
    last lines that it printed, at most 20. ``oom``: what speaks for the kernel's killer for want
    of memory. ``restarts``: how many there were before it.
    """

    kind: Kind
    code: int | None = None
    signal: int | None = None
    error: str = ""
    message: str = ""
    traceback: str = ""
    handler: str = ""
    handler_age_s: float = 0.0
    output: tuple[str, ...] = ()
    user_s: float = 0.0
    system_s: float = 0.0
    max_rss_bytes: int = 0
    oom: str = ""
    restarts: int = 0

    @property
    def planned(self) -> bool:
        """Whether somebody meant it: then the subtree ends with it."""
        return self.kind in ("normal", "shutdown")

    def __str__(self) -> str:
        if self.kind == "exited":
            return f"exited({self.code})"
        if self.kind == "killed" and self.signal is not None:
            try:
                return f"killed({signal.Signals(self.signal).name})"
            except ValueError:
                return f"killed({self.signal})"
        if self.kind == "crashed":
            return (
                f"crashed({self.error}: {self.message})"
                if self.message
                else f"crashed({self.error})"
            )
        return self.kind


TEXT_CHARS = 16 * 1024


def fit(text: str) -> str:
    """As much of a message or traceback as may travel, without what UTF-8 cannot say."""
    if len(text) > TEXT_CHARS:
        half = TEXT_CHARS // 2
        text = f"{text[:half]} ... {text[-half:]}"
    return text.encode(errors="backslashreplace").decode()


def from_wait_status(status: int) -> ExitReason:
    """Read a kernel wait status, as ``os.wait4`` returns it."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return ExitReason(kind="killed", signal=-code)
    return ExitReason(kind="exited", code=code)
