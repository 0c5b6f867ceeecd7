"""What a supervisor does about an end: who is stopped, and who lives again.

Pure: the children as they stand, and the end of one of them, give a `Plan`. What
carries it out is `actors.control.regrowth`; how often it may is `actors.supervision.intensity`.

Invariants
----------
* A permanent child is restarted after every end; a transient one unless it ended as it
  should (normal, shutdown, a status of 0); a temporary one never.
* one_for_one touches the one that ended; rest_for_one it and all started after it;
  one_for_all every child.
* Who is stopped for another's sake is stopped last come, first, and lives again in the
  order of the first start, unless it is temporary.

Source: Erlang/OTP ``supervisor``: restart types and strategies.
"""

from collections.abc import Sequence

import msgspec

from runtime.exits import ExitReason
from runtime.messages.behaviour import Restart, Strategy


class Child(msgspec.Struct, frozen=True):
    """A child, as far as its siblings' ends concern it."""

    name: str
    restart: Restart


class Plan(msgspec.Struct, frozen=True):
    """Names: first all of ``stop``, in this order, then all of ``start``."""

    stop: tuple[str, ...]
    start: tuple[str, ...]


def lives_again(restart: Restart, reason: ExitReason) -> bool:
    """Whether an end that nobody ordered is followed by another life."""
    if restart == "transient":
        return not (reason.planned or (reason.kind == "exited" and not reason.code))
    return restart == "permanent"


def plan(strategy: Strategy, children: Sequence[Child], ended: str) -> Plan:
    """What is to be done about the end of the child named ``ended``, which is to live again.

    Args:
        children: all of them, ``ended`` too, in the order of their first start.
    """
    names = [each.name for each in children]
    at = names.index(ended)
    if strategy == "one_for_one":
        first, last = at, at + 1
    elif strategy == "rest_for_one":
        first, last = at, len(names)
    else:
        first, last = 0, len(names)
    concerned = children[first:last]
    return Plan(
        stop=tuple(each.name for each in reversed(concerned) if each.name != ended),
        start=tuple(
            each.name for each in concerned if each.name == ended or each.restart != "temporary"
        ),
    )
