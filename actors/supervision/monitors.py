"""Who asked to hear of whose end: the controller's table of monitors.

Invariants
----------
* Every entry leaves the table once: answered, given up, or forgotten with the process of
  whoever asked.
* Pure: nothing is sent from here.
"""

from __future__ import annotations

from typing import NamedTuple

from runtime.address import Address


class Asker(NamedTuple):
    """The process at ``endpoint``, and the number under which it wants to hear."""

    endpoint: str
    number: int


class Monitors:
    """What is asked of whom, in the order of asking."""

    def __init__(self) -> None:
        self._targets: dict[Asker, tuple[Address, bool]] = {}
        self._askers: dict[int, dict[Asker, None]] = {}  # by the target's incarnation
        self._numbers: dict[str, set[int]] = {}  # by the asker's endpoint

    def __len__(self) -> int:
        return len(self._targets)

    def add(self, asker: Asker, target: Address, suspicions: bool) -> None:
        """Note it. A number that was in use already means this target from now on."""
        self.remove(asker)
        self._targets[asker] = target, suspicions
        self._askers.setdefault(target.incarnation, {})[asker] = None
        self._numbers.setdefault(asker.endpoint, set()).add(asker.number)

    def remove(self, asker: Asker) -> None:
        """It is no longer asked, if it was."""
        entry = self._targets.pop(asker, None)
        if entry is None:
            return
        incarnation = entry[0].incarnation
        askers = self._askers[incarnation]
        del askers[asker]
        if not askers:
            del self._askers[incarnation]
        numbers = self._numbers[asker.endpoint]
        numbers.remove(asker.number)
        if not numbers:
            del self._numbers[asker.endpoint]

    def fallen(self, incarnation: int) -> list[Asker]:
        """Those to be told of this end; they are asked no more."""
        askers = list(self._askers.get(incarnation, ()))
        for asker in askers:
            self.remove(asker)
        return askers

    def suspicious(self, endpoint: str) -> list[tuple[Asker, Address]]:
        """Those to be told what is thought of the process at ``endpoint``, and of whom there."""
        return [
            (asker, target)
            for asker, (target, suspicions) in self._targets.items()
            if suspicions and target.endpoint == endpoint
        ]

    def forget(self, endpoint: str) -> None:
        """The process at ``endpoint`` asks nothing any more."""
        for number in list(self._numbers.get(endpoint, ())):
            self.remove(Asker(endpoint, number))
