"""Places and guardians, against a model that knows only the definition."""

import random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.supervision.places import Change, Newest, Place, Places, State

exact = settings(derandomize=True, deadline=None, max_examples=300)


def family(*pairs: str) -> Places:
    """``family("a", "b a")``: a under the controller, b under a, numbered from 2."""
    places = Places()
    for incarnation, pair in enumerate(pairs, start=2):
        name, _, parent = pair.partition(" ")
        places.add(name, parent or "controller", incarnation)
    return places


def told(changes: list[Change]) -> list[str]:
    return [f"{c.child}.{c.incarnation} {c.previous}->{c.guardian}" for c in changes]


def test_the_nearest_living_ancestor_takes_over_and_the_parent_gets_them_back() -> None:
    places = family("a", "b a", "c b", "d c", "e b")
    assert told(places.died("c", 4)) == ["d.5 c->b"]
    assert told(places.died("b", 3)) == ["d.5 b->a", "e.6 b->a"]
    assert places.wards("a") == ["b", "c", "d", "e"]
    assert places.wards("b") == []
    assert told(places.revived("c", 7)) == ["c.7 ->a", "d.5 a->c"]
    assert told(places.revived("b", 8)) == ["b.8 ->a", "c.7 a->b", "e.6 a->b"]
    assert [places.guardian(name) for name in "abcde"] == ["controller", "a", "b", "c", "b"]


def test_numbers_grow_over_all_nodes() -> None:
    places = Places()
    changes = [places.add("a", "controller", 2), places.add("b", "a", 3)]
    changes += places.died("a", 2) + places.revived("a", 4)
    assert [change.number for change in changes] == [1, 2, 3, 4, 5]


def test_a_dead_node_hears_nothing_until_it_lives_again() -> None:
    places = family("a", "b a", "c b")
    assert told(places.died("c", 4)) == []
    assert told(places.died("b", 3)) == []
    assert places.guardian("c") == "a"
    assert told(places.revived("c", 5)) == ["c.5 ->a"]


@pytest.mark.parametrize("state", [State.FROZEN, State.BUSY, State.CUT_OFF])
def test_who_lives_remains_a_guardian(state: State) -> None:
    places = family("a", "b a")
    assert places.mark("a", 2, state)
    assert not places.mark("a", 2, state)
    assert places.guardian("b") == "a"
    assert places.add("c", "a", 9).guardian == "a"


def test_news_of_another_incarnation_or_of_a_stranger_changes_nothing() -> None:
    places = family("a", "b a")
    assert places.died("b", 2) == places.died("b", 4) == places.died("x", 4) == []
    assert not places.mark("b", 2, State.FROZEN)
    assert not places.mark("x", 2, State.FROZEN)
    assert places.place("b") == Place("b", "a", 3, State.OK)
    places.died("b", 3)
    assert places.died("b", 3) == []
    assert not places.mark("b", 3, State.OK)  # it recovered, and then died
    assert places.place("b").state is State.DEAD


def test_the_dead_may_be_restarting_or_given_up() -> None:
    places = family("a", "b a")
    places.died("a", 2)
    assert places.mark("a", 2, State.RESTARTING)
    assert places.guardian("b") == "controller"
    assert places.mark("a", 2, State.GIVEN_UP)
    assert told(places.revived("a", 4)) == ["a.4 ->controller", "b.3 controller->a"]


def test_removal_takes_the_subtree_deepest_first_and_moves_no_guardian() -> None:
    places = family("a", "b a", "c b", "d a", "e d", "f")
    places.died("b", 3)
    assert places.levels("a") == [["c", "e"], ["b", "d"], ["a"]]
    assert places.subtree("a") == ["a", "b", "c", "d", "e"]
    gone = places.removed("a")
    assert [place.name for place in gone] == ["c", "e", "b", "d", "a"]
    assert [place.state.lives for place in gone] == [True, True, False, True, True]
    assert places.names() == ["f"]
    assert places.children("controller") == ["f"]
    assert "a" not in places
    assert places.add("a", "f", 20).guardian == "f"


def test_a_place_under_a_dead_parent_gets_a_living_guardian() -> None:
    places = family("a", "b a")
    places.died("b", 3)
    change = places.add("c", "b", 4)
    assert (change.guardian, change.previous, places.parent("c")) == ("a", "", "b")
    assert places.depth("c") == 3


def test_a_chain_of_thousands_is_walked_without_recursion() -> None:
    places = family("0", *(f"{n} {n - 1}" for n in range(1, 3000)))
    assert places.depth("2999") == 3000
    assert len(places.removed("0")) == 3000


def test_misuse_is_told_and_changes_nothing() -> None:
    places = family("a", "b a")
    before = [places.place(name) for name in ("controller", *places.names())]
    with pytest.raises(ValueError, match="a has a place already"):
        places.add("a", "controller", 9)
    with pytest.raises(LookupError, match="x has no place"):
        places.add("c", "x", 9)
    with pytest.raises(ValueError, match=r"a\.2 has not died"):
        places.revived("a", 9)
    with pytest.raises(ValueError, match=r"a\.2 lives: it cannot be marked dead"):
        places.mark("a", 2, State.DEAD)
    with pytest.raises(ValueError, match="the controller's place"):
        places.removed("controller")
    with pytest.raises(ValueError, match="the controller's table"):
        places.died("controller", 1)
    for question in (places.guardian, places.wards, places.levels, places.subtree, places.removed):
        with pytest.raises(LookupError, match="x has no place"):
            question("x")
    assert [places.place(name) for name in ("controller", *places.names())] == before
    places.died("a", 2)
    with pytest.raises(ValueError, match=r"a\.2 is not newer than a\.2"):
        places.revived("a", 2)
    assert not places.lives("a")


class Life(NamedTuple):
    parent: str
    incarnation: int
    lives: bool


class Model:
    """Names in order of creation, and the definition of a guardian."""

    def __init__(self) -> None:
        self.nodes: dict[str, Life] = {}

    def guardian(self, name: str) -> str:
        above = self.nodes[name].parent
        while above != "controller" and not self.nodes[above].lives:
            above = self.nodes[above].parent
        return above

    def guardians(self) -> dict[str, tuple[int, str]]:
        """What each living incarnation has to know."""
        return {
            n: (life.incarnation, self.guardian(n)) for n, life in self.nodes.items() if life.lives
        }

    def under(self, name: str) -> list[str]:
        found = [name]
        for each, life in self.nodes.items():
            if life.parent in found:
                found.append(each)
        return found


steps = st.lists(
    st.tuples(st.sampled_from(["add", "add", "died", "revived", "removed"]), st.integers(0, 99)),
    max_size=60,
)


@exact
@given(steps, st.randoms(use_true_random=False))
def test_the_table_agrees_with_the_definition(
    history: list[tuple[str, int]], chance: random.Random
) -> None:
    places, model, sent = Places(), Model(), list[Change]()
    for incarnation, (step, pick) in enumerate(history, start=2):
        names = list(model.nodes)
        before = model.guardians()
        changes: list[Change] = []
        if step == "add":
            parent = ["controller", *names][pick % (len(names) + 1)]
            model.nodes[f"n{incarnation}"] = Life(parent, incarnation, True)
            changes = [places.add(f"n{incarnation}", parent, incarnation)]
        elif names:
            name = names[pick % len(names)]
            life = model.nodes[name]
            if step == "died":
                model.nodes[name] = life._replace(lives=False)
                changes = places.died(name, life.incarnation)
            elif step == "revived" and not life.lives:
                model.nodes[name] = Life(life.parent, incarnation, True)
                changes = places.revived(name, incarnation)
            elif step == "removed":
                under = model.under(name)
                gone = [place.name for place in places.removed(name)]
                assert sorted(gone) == sorted(under)
                assert all(
                    gone.index(each) < gone.index(model.nodes[each].parent)
                    for each in gone
                    if each != name
                )
                for each in under:
                    del model.nodes[each]

        after = model.guardians()
        moved = {name: now for name, now in after.items() if before.get(name) != now}
        assert {c.child: (c.incarnation, c.guardian) for c in changes} == moved
        assert len(changes) == len(moved)
        for change in changes:
            had = before.get(change.child)
            same_life = had is not None and had[0] == change.incarnation
            assert change.previous == (had[1] if had is not None and same_life else "")
        sent += changes

        assert places.names() == list(model.nodes)
        for name in model.nodes:
            assert places.guardian(name) == model.guardian(name)
        for name in ("controller", *model.nodes):
            wards = [n for n in model.nodes if model.guardian(n) == name]
            assert places.wards(name) == wards
            assert places.children(name) == [
                n for n, life in model.nodes.items() if life.parent == name
            ]
    numbers = [change.number for change in sent]
    assert numbers == list(range(1, len(sent) + 1))

    # Whatever the order of arrival, and though some come twice, the newest is what remains.
    arrivals = sent + chance.sample(sent, len(sent) // 2)
    chance.shuffle(arrivals)
    newest, view = Newest(), dict[str, tuple[int, str]]()
    for change in arrivals:
        if newest.accepts(change.child, change.number):
            view[change.child] = (change.incarnation, change.guardian)
    assert {name: view[name] for name in model.guardians()} == model.guardians()


def test_a_lower_or_equal_number_is_ignored_for_each_child_apart() -> None:
    newest = Newest()
    numbers = [("a", 5), ("b", 3), ("a", 5), ("a", 4), ("a", 6)]
    assert [newest.accepts(*each) for each in numbers] == [True, True, False, False, True]
    newest.forget("a")
    assert newest.accepts("a", 4)
    assert not newest.accepts("b", 3)
