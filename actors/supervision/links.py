"""Shared fate: which incarnations are linked, and what the end of one means to the other.

Invariants
----------
* A link is between two incarnations, mutual, and there is one of it however often it is made.
* It ends with the first of the two.
* Pure: nobody is ended from here.

Source: Erlang's links. There a planned exit is an exit signal like any other; here
``shutdown`` drags the other along as a planned end of its own.
"""

from __future__ import annotations

from runtime.exits import ExitReason, fit

LINKED_EXIT = "LinkedExit"


class Links:
    """Pairs of incarnations."""

    def __init__(self) -> None:
        self._others: dict[int, dict[int, None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._others.values())) // 2

    def tie(self, one: int, other: int) -> None:
        """The two share their fate from now on."""
        if one != other:
            self._others.setdefault(one, {})[other] = None
            self._others.setdefault(other, {})[one] = None

    def untie(self, one: int, other: int) -> None:
        """They share it no more."""
        for mine, its in ((one, other), (other, one)):
            others = self._others.get(mine, {})
            others.pop(its, None)
            if not others:
                self._others.pop(mine, None)

    def ended(self, incarnation: int) -> list[int]:
        """Those that were linked to it; they are no longer."""
        others = list(self._others.get(incarnation, ()))
        for other in others:
            self.untie(incarnation, other)
        return others


def inherited(name: str, reason: ExitReason) -> ExitReason | None:
    """How one ends that is linked to ``name``, which ended so; None: it goes on."""
    if reason.kind == "normal":
        return None
    message = fit(f"linked to {name}, which ended: {reason}")
    if reason.kind == "shutdown":
        return ExitReason(kind="shutdown", message=message)
    return ExitReason(kind="crashed", error=LINKED_EXIT, message=message)
