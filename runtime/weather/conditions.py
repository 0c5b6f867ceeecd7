"""What holds on a network for a while: its weather, partitions, throttles.

Invariants
----------
* What a block has begun ends with it, however it is left, and nothing else does.
* By names, so that the next life of a process finds the same; `part` alone is by lives.
* Who trusts the network is not deceived: what breaks its promise is refused.
* Nobody can look into a process that it cannot reach, or that cannot reach it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Final

from runtime.block import block
from runtime.weather.partitions import Partition, partition_of
from runtime.weather.weather import Rule, Weather, Whom

_TRUSTED: Final = (
    "nothing makes up for that in this system: open_virtual_system(reliable=True), or "
    "@pytest.mark.regrow(reliable=True), does"
)


class Conditions(ABC):
    """Of one network."""

    def __init__(self, weather: Weather | None) -> None:
        self._trusted = False
        self.counting = weather is not None
        self._weather = weather
        self._names: dict[int, str] = {}
        self._far: frozenset[int] = frozenset()
        self._partitions: list[Partition] = []
        self._throttles: list[Weather] = []

    def name(self, incarnation: int) -> str:
        """Whose life that is; its number for one that has not joined yet."""
        return self._names.get(incarnation) or str(incarnation)

    @property
    def weather(self) -> Weather | None:
        """What befalls messages; None for nothing. Assign to change it in the middle of a test.

        Raises:
            RuntimeError: it drops, doubles or reorders, and nothing makes up for that.
        """
        return self._weather

    @weather.setter
    def weather(self, weather: Weather | None) -> None:
        if self._trusted:
            _refuse(weather)
        self._weather = weather
        self.counting = self.counting or weather is not None

    def trust(self) -> None:
        """Somebody relies on the network: from now on what would break its promise is refused.

        Raises:
            RuntimeError: its weather breaks it.
        """
        _refuse(self._weather)
        self._trusted = True

    @block
    def weather_of(self, weather: Weather | None) -> Iterator[None]:
        """There is this weather for the length of the block."""
        before, self.weather = self.weather, weather
        try:
            yield
        finally:
            self.weather = before

    @block
    def partition(self, *groups: Whom, one_way: bool = False, lost: bool = False) -> Iterator[None]:
        """Between groups of processes nothing passes for the length of the block.

        What is sent meanwhile comes when it is over, as TCP has it, or never if ``lost``. Whoever
        is in no group reaches everybody; one group alone is cut off from all others.

        Args:
            groups: names, refs and addresses, one or many each.
            one_way: earlier groups do not reach later ones, but hear them.

        Raises:
            ValueError: no group, an empty one, or somebody in two.
            RuntimeError: nothing may be lost, for nothing would be sent again.
        """
        partition = partition_of(groups, one_way, lost)
        if lost and self._trusted:
            raise RuntimeError(f"a partition cannot lose what is sent: {_TRUSTED}")
        self._partitions.append(partition)
        try:
            yield
        finally:
            self._partitions.remove(partition)
            self._let_pass()

    @block
    def cut(self, source: Whom, *, to: Whom, lost: bool = False) -> Iterator[None]:
        """What ``source`` says does not reach ``to`` for the length of the block."""
        with self.partition(source, to, one_way=True, lost=lost):
            yield

    @block
    def throttle(
        self,
        source: Whom,
        *,
        to: Whom,
        bytes_per_s: float = math.inf,
        messages_per_s: float = math.inf,
    ) -> Iterator[None]:
        """No more than so much passes between each two of them; the rest queues."""
        rule = Rule(
            source=source, target=to, bytes_per_s=bytes_per_s, messages_per_s=messages_per_s
        )
        throttle = Weather(rule)
        self._throttles.append(throttle)
        try:
            yield
        finally:
            self._throttles.remove(throttle)

    def part(self, far: Iterable[int]) -> None:
        """Nothing passes between these lives and all others until `heal`. Nothing is lost."""
        self._far = frozenset(far)

    def heal(self) -> None:
        """What waited because of `part` passes, in order."""
        self._far = frozenset()
        self._let_pass()

    def apart(self, one: int, other: int) -> bool:
        """Whether the two cannot reach each other, or only in one direction."""
        return bool(self._across(one, other) or self._across(other, one))

    def _across(self, source: int, target: int) -> str:
        """``held`` or ``lost``, if something is in the way of what the one says to the other."""
        if not self._far and not self._partitions:
            return ""
        fate = "held" if (source in self._far) != (target in self._far) else ""
        for each in self._partitions:
            if each.blocks(self.name(source), self.name(target)):
                if each.lost:
                    return "lost"
                fate = "held"
        return fate

    @abstractmethod
    def _let_pass(self) -> None:
        """Carry what was held and is held no more."""


def _refuse(weather: Weather | None) -> None:
    if weather is not None and weather.breaks_order:
        raise RuntimeError(f"{weather!r} drops, doubles or reorders: {_TRUSTED}")
