"""Who is the parent of a new node: three pure policies.

The shell asks before it creates a node; ``--topology`` chooses whom. A policy sees
the places as (id, parent) pairs and answers with an id; whether that parent can be
used (it may be dead, or unknown where the user named it) is for the caller to say.

Invariants
----------
* Places come in order of creation, so a parent stands before its children. A dead
  node keeps its place until it is removed, and a removal takes the whole subtree.
* The answer is ``-1`` (the controller), an id of ``places``, or what the user wanted.
* ``list`` is always a chain: each node has at most one child.
* ``bst`` is always a search tree by id: smaller ids on one side of a node, larger ones
  on the other, at most one child on each, and one node under the controller. Removing
  a subtree leaves a search tree, so nothing is ever rebalanced.
* Nothing is kept between two calls. A call takes O(n).
"""

from collections.abc import Sequence
from typing import Final, Protocol

ROOT: Final = -1
Id = int | str
"""A number, or a name: all nodes of one tree have the one, or all have the other."""


class Topology(Protocol):
    def parent(self, id: Id, wanted: Id | None, places: Sequence[tuple[Id, Id]]) -> Id:
        """Return the parent for ``id``, which has no place yet.

        Args:
            id: 0 or more, or a name.
            wanted: the parent that the user named, if any.
            places: (id, parent) in order of creation, the dead included.
        """


class Tree:
    """A general tree: the parent is the wanted one."""

    def parent(self, id: Id, wanted: Id | None, places: Sequence[tuple[Id, Id]]) -> Id:
        return ROOT if wanted is None else wanted


class Chain:
    """Each node under the one created before it that is still there."""

    def parent(self, id: Id, wanted: Id | None, places: Sequence[tuple[Id, Id]]) -> Id:
        return places[-1][0] if places else ROOT


class SearchTree:
    """Sorted by id, without balance: where a textbook insertion would put it.

    Raises:
        ValueError: ``id`` has a place.
    """

    def parent(self, id: Id, wanted: Id | None, places: Sequence[tuple[Id, Id]]) -> Id:
        above: Id = ROOT
        for node, its_parent in places:
            if node == id:
                raise ValueError(f"node {id} has a place already")
            # Children stand behind their parents, so one pass walks from the root to a leaf.
            if its_parent == above and (
                above == ROOT or _before(node, above) == _before(id, above)
            ):
                above = node
        return above


def _before(one: Id, other: Id) -> bool:
    if isinstance(one, int) and isinstance(other, int):
        return one < other
    return str(one) < str(other)


_TOPOLOGIES: Final[dict[str, Topology]] = {"tree": Tree(), "list": Chain(), "bst": SearchTree()}


def topology(name: str) -> Topology:
    """Return the policy called ``tree``, ``list`` or ``bst``.

    Raises:
        ValueError: there is no such policy.
    """
    try:
        return _TOPOLOGIES[name]
    except KeyError:
        raise ValueError(
            f"unknown topology {name!r}: it is one of {', '.join(_TOPOLOGIES)}"
        ) from None
