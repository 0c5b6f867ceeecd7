"""Who is the parent of a new id: each policy against a plain model, over random histories."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.topology import ROOT, topology

exact = settings(derandomize=True, deadline=None, max_examples=200)
# A positive number creates that id; a negative one removes the n-th place and its subtree.
histories = st.lists(st.integers(-8, 40).filter(bool), max_size=60)


def grow(name: str, history: list[int]) -> list[list[tuple[int, int]]]:
    """The places after each step of a history."""
    policy = topology(name)
    places: list[tuple[int, int]] = []
    seen = []
    for step in history:
        if step > 0 and step not in dict(places):
            places = [*places, (step, int(policy.parent(step, None, places)))]
        elif step < 0 and places:
            places = without(places, places[-step % len(places)][0])
        seen.append(places)
    return seen


def without(places: list[tuple[int, int]], removed: int) -> list[tuple[int, int]]:
    gone = {removed}
    kept = []
    for node, parent in places:
        if node in gone or parent in gone:
            gone.add(node)
        else:
            kept.append((node, parent))
    return kept


def in_order(places: list[tuple[int, int]], root: int) -> list[int]:
    below = sorted(node for node, parent in places if parent == root)
    smaller = [each for node in below if node < root for each in in_order(places, node)]
    larger = [each for node in below if node > root for each in in_order(places, node)]
    return [*smaller, *([root] if root != ROOT else []), *larger]


class Leaf:
    """A textbook search tree, to compare with."""

    def __init__(self, key: int) -> None:
        self.key = key
        self.sides: dict[bool, Leaf] = {}

    def insert(self, key: int) -> int:
        """Insert, and return the key of the parent."""
        if (side := self.sides.get(key < self.key)) is not None:
            return side.insert(key)
        self.sides[key < self.key] = Leaf(key)
        return self.key


@pytest.mark.parametrize(
    ("name", "id", "wanted", "places", "parent"),
    [
        pytest.param("tree", 5, None, [(1, -1)], -1, id="tree-nobody-wanted"),
        pytest.param("tree", 5, -1, [(1, -1)], -1, id="tree-controller-wanted"),
        pytest.param("tree", 5, 0, [(0, -1)], 0, id="tree-under-zero"),
        pytest.param("tree", 5, 9, [], 9, id="tree-unknown-parent-is-for-the-caller"),
        pytest.param("list", 5, None, [], -1, id="list-first"),
        pytest.param("list", 5, -1, [(7, -1), (2, 7)], 2, id="list-ignores-the-wanted-one"),
        pytest.param("bst", 5, 9, [], -1, id="bst-first"),
        pytest.param("bst", 5, -1, [(7, -1)], 7, id="bst-ignores-the-wanted-one"),
        pytest.param("bst", 5, None, [(7, -1), (9, 7), (3, 7)], 3, id="bst-walks"),
        pytest.param("bst", 8, None, [(7, -1), (3, 7), (9, 7)], 9, id="bst-walks-to-the-right"),
        pytest.param("bst", 0, None, [(7, -1), (3, 7)], 3, id="bst-zero"),
    ],
)
def test_parent(
    name: str, id: int, wanted: int | None, places: list[tuple[int, int]], parent: int
) -> None:
    assert topology(name).parent(id, wanted, places) == parent


def test_an_unknown_topology_is_named() -> None:
    with pytest.raises(ValueError, match="unknown topology 'heap': it is one of tree, list, bst"):
        topology("heap")


def test_bst_refuses_an_id_that_has_a_place() -> None:
    with pytest.raises(ValueError, match="node 3 has a place already"):
        topology("bst").parent(3, None, [(7, -1), (3, 7)])


@exact
@given(histories)
def test_list_is_always_a_chain(history: list[int]) -> None:
    for places in grow("list", history):
        ids = [node for node, _ in places]
        assert [parent for _, parent in places] == [ROOT, *ids][: len(ids)]


@exact
@given(histories)
def test_bst_stays_a_search_tree(history: list[int]) -> None:
    for places in grow("bst", history):
        assert in_order(places, ROOT) == sorted(node for node, _ in places)
        assert sum(parent == ROOT for _, parent in places) == bool(places)
        sides = [(parent, node < parent) for node, parent in places]
        assert len(set(sides)) == len(sides)


@exact
@given(histories)
def test_bst_places_where_a_textbook_insertion_does(history: list[int]) -> None:
    for places in grow("bst", history):
        textbook = Leaf(ROOT)  # every id is larger: its one side is the tree
        for node, parent in places:
            assert textbook.insert(node) == parent
