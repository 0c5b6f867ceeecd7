"""How a node ended, as text and as JSON.

Invariants
----------
* The first line says all: whether it lives, and how it ended last. No line is empty, and none
  has control characters: the empty line after them is the end.
* One that was killed says by whom, as far as that is known.
* What its traceback says is not said twice, though the node has printed it as well.
"""

from typing import Any

import msgspec

from actors.supervision.places import State
from actors.topology import Id
from runtime.exits import ExitReason
from shell.answers import one_line
from shell.results import as_json

_MIB = 1024 * 1024
NOT_OURS = "by no order of this system: from outside, or its own doing"
"""All that is known of a signal that neither the runtime has sent nor the kernel, for memory."""


class CertificateView(msgspec.Struct, frozen=True):
    """``state``: of its place, None if it has none; ``reason``: None if its first life goes on."""

    id: Id
    state: State | None
    reason: ExitReason | None

    @property
    def alive(self) -> bool:
        return self.state is not None and self.state.lives

    def text(self) -> str:
        """Lines, each with its end."""
        return "".join(f"{one_line(line)}\n" for line in self._lines())

    def json(self) -> str:
        """One object: alive, reason (its short form, or null), certificate (an object, or null)."""
        told: dict[str, Any] = {"alive": self.alive, "reason": None, "certificate": None}
        if self.reason is not None:
            told["reason"] = str(self.reason)
            told["certificate"] = msgspec.to_builtins(self.reason)
            if because := _because(self.reason):
                told["certificate"]["message"] = because
        return as_json(told)

    def _lines(self) -> list[str]:
        if self.reason is None:
            return [f"{self.id} is alive" if self.alive else f"{self.id} is coming up"]
        if self.alive:
            first = f"{self.id} is alive, after {self.reason}"
        else:
            state = "gone" if self.state is None else self.state.value
            first = f"{self.id} is {state}: {self.reason}"
        return [first, *(f"  {line}" for line in told(self.reason))]


def _because(reason: ExitReason) -> str:
    """Who ended it, as far as that is known: of a crash the traceback says it."""
    if reason.kind == "crashed":
        return ""
    if not reason.message and reason.kind == "killed" and reason.signal and not reason.oom:
        return f"signal {reason.signal}, {NOT_OURS}"
    return reason.message


def told(reason: ExitReason) -> list[str]:
    """What a certificate holds beyond its short form, a line for each thing that is known."""
    lines = []
    if because := _because(reason):
        lines.append(f"because: {because}")
    if reason.oom:
        lines.append(f"out of memory: {reason.oom}")
    if reason.handler:
        lines.append(f"handler: {reason.handler}, for {reason.handler_age_s:.3f} s")
    if reason.max_rss_bytes:
        lines.append(
            f"used: {reason.user_s:.3f} s user, {reason.system_s:.3f} s system, "
            f"{reason.max_rss_bytes / _MIB:.1f} MiB"
        )
    lines.append(f"restarts before it: {reason.restarts}")
    trace = reason.traceback.splitlines()
    output = list(reason.output)
    for said in reversed(trace):
        if not output or output[-1] != said:
            break
        output.pop()
    for title, block in (("output", output), ("traceback", trace)):
        if block:
            lines.append(f"{title}:")
            lines += (f"  {line}" for line in block)
    return lines
