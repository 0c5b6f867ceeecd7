"""What has become of a peer that has fallen silent.

A guardian asks when its detector suspects a node, and a node when it suspects its
controller; each gathers what it can and judges here.

Invariants
----------
* Only proof is a death: the pidfd that fired, or a process that waits to be reaped. A
  peer in state T is frozen, be it a node or the controller.
* Frozen is what the kernel calls stopped, by a signal (T) or by a tracer (t).
* Busy is whoever lives and is not stopped. It is information, not an end: the status page
  says what keeps the loop, CPU ticks tell computing from waiting.
* Cut off is left when nothing at all can be learned. Whoever holds a pidfd that has not
  fired has learned that the process lives.
* The first of dead, frozen, busy, cut off that the evidence allows is the verdict.

Source: proc_pid_stat(5), ``state``; pidfd_open(2).
"""

from typing import Final, Literal

import msgspec

Kind = Literal["dead", "frozen", "busy", "cut off"]

_ENDED: Final = {"Z": "has ended and is not reaped", "X": "has ended", "x": "has ended"}
_STOPPED: Final = {"T": "is stopped by a signal", "t": "is stopped by a tracer"}


class Verdict(msgspec.Struct, frozen=True):
    """One of four, and in ``evidence`` why, for people to read."""

    kind: Kind
    evidence: str


def judge(
    *,
    pidfd_fired: bool | None,
    state: str | None,
    handler: str = "",
    handler_age_s: float = 0.0,
    loop_moved: bool | None = None,
    cpu_moved: bool | None = None,
) -> Verdict:
    """Say what the silence of a peer means.

    Args:
        pidfd_fired: None when nobody here holds its pidfd.
        state: the state letter of ``/proc/PID/stat``; None when it cannot be read.
        handler: which one its status page says is running, if any.
        handler_age_s: for how long.
        loop_moved: whether its loop has ticked since the silence began; None: not known.
        cpu_moved: whether it has used CPU time since then; None: not known.
    """
    if pidfd_fired:
        return Verdict("dead", "its pidfd fired")
    if state in _ENDED:
        return Verdict("dead", f"its process {_ENDED[state]} (state {state})")
    if state in _STOPPED:
        return Verdict("frozen", f"its process {_STOPPED[state]} (state {state})")
    if state is None and pidfd_fired is None and not loop_moved:
        return Verdict("cut off", "nothing can be learned from its host")
    if loop_moved:
        return Verdict("busy", "its loop turns, but no beats arrive")
    holder = f"handler {handler} has run for {handler_age_s:.1f} s" if handler else "it lives"
    return Verdict("busy", f"{holder}, {_activity(state, cpu_moved)}")


def _activity(state: str | None, cpu_moved: bool | None) -> str:
    if cpu_moved:
        return "computing"
    if state == "D":
        return "waiting in the kernel (state D)"
    if cpu_moved is None:
        return f"in state {state}" if state else "its state cannot be read"
    return "blocked: it uses no CPU time"
