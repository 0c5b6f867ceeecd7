"""Who cannot reach whom for a while.

With several groups, nobody in one of them reaches anybody in another; who is in none reaches all.
One group alone is cut off from everybody else.

Invariants
----------
* Pure, and by names: the next life of a process is on the same side.
* Nobody is ever parted from itself.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from runtime.weather.weather import Whom, names


class Partition(msgspec.Struct, frozen=True):
    """``one_way``: earlier groups do not reach later ones, who reach them as before.

    ``lost``: what is sent across meanwhile is lost, and not kept until it is over.
    """

    groups: tuple[frozenset[str], ...]
    one_way: bool = False
    lost: bool = False

    def blocks(self, source: str, target: str) -> bool:
        """Whether what the one says does not reach the other."""
        sources, targets = self._side(source), self._side(target)
        if len(self.groups) == 1:
            return targets - sources == 1 if self.one_way else sources != targets
        inside = sources < len(self.groups) and targets < len(self.groups)
        return inside and (sources < targets if self.one_way else sources != targets)

    def _side(self, name: str) -> int:
        for number, group in enumerate(self.groups):
            if name in group:
                return number
        return len(self.groups)


def partition_of(groups: Iterable[Whom], one_way: bool = False, lost: bool = False) -> Partition:
    """A partition between these groups.

    Raises:
        ValueError: there is no group, or an empty one, or somebody is in two.
    """
    sides = tuple(names(group) for group in groups)
    if not sides or not all(sides):
        raise ValueError("a partition has groups, and each has somebody in it")
    seen: set[str] = set()
    for side in sides:
        if both := sorted(seen & side):
            raise ValueError(f"on two sides of a partition: {', '.join(both)}")
        seen |= side
    return Partition(sides, one_way, lost)
