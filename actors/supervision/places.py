"""The controller's table of places and guardians.

A node's place is its parent in the topology: given once, kept through deaths and
restarts, ended by removal alone. Its guardian is the actor that supervises it now:
its place's parent while that lives, else the nearest living ancestor. The controller
hears every death first, so it alone keeps this table, and tells the child, the new
guardian and the one before of each change.

Invariants
----------
* Every place but the controller's has a parent in the table; there are no cycles.
* The guardian of a node is its nearest living ancestor by place, and nothing else. So
  when a parent regrows, exactly those come back to it who had lost it.
* Only death moves guardianship: a frozen, busy or cut-off node lives and remains a
  guardian. A removal moves none, for every ward of a node is in its subtree.
* A change is issued for each *living* node whose guardian is another than before, once;
  to a new incarnation its guardian is always told. A dead node has a guardian (who may
  restart it), but no change is issued for it until it lives again.
* The numbers of changes grow by one, over all nodes. A receiver that ignores a lower number
  for the same child than it has seen (`Newest`) ends with the truth, whatever the
  order in which the changes arrive.
* Late news is no news: a death or a mark of an incarnation that is not the current one,
  or of a name without a place, changes nothing.
* Names, wards and changes come in order of creation; a revived node keeps its turn.
* What befalls a node costs as much as it has wards, however many nodes there are.
"""

import enum
from collections.abc import Hashable, Iterator
from typing import Final

import msgspec

from runtime.address import CONTROLLER, CONTROLLER_INCARNATION


class State(enum.Enum):
    """What is known of a node's present incarnation; the values are the shell's words."""

    OK = "ok"
    FROZEN = "frozen"
    BUSY = "busy"
    CUT_OFF = "cut off"
    DEAD = "dead"
    RESTARTING = "restarting"
    GIVEN_UP = "given up"

    @property
    def lives(self) -> bool:
        return self not in _NOT_LIVING


_NOT_LIVING: Final = (State.DEAD, State.RESTARTING, State.GIVEN_UP)


class Place(msgspec.Struct, frozen=True):
    """Where a node hangs, and how it is. The controller's ``parent`` is empty."""

    name: str
    parent: str
    incarnation: int
    state: State


class Change(msgspec.Struct, frozen=True):
    """From now on ``guardian`` supervises this incarnation of ``child``.

    ``previous`` is who did before; empty for an incarnation that had nobody.
    """

    number: int
    child: str
    incarnation: int
    guardian: str
    previous: str


class Places:
    """Places by name, with the controller as the root."""

    def __init__(self) -> None:
        root = Place(CONTROLLER, "", CONTROLLER_INCARNATION, State.OK)
        self._places = {CONTROLLER: root}  # in order of creation
        self._children: dict[str, dict[str, None]] = {CONTROLLER: {}}
        self._turns = {CONTROLLER: 0}  # by which the wards of a few are put in that order
        self._turn = 0
        self._number = 0

    @property
    def number(self) -> int:
        """That of the last change."""
        return self._number

    def add(self, name: str, parent: str, incarnation: int) -> Change:
        """Give ``name`` a place, alive, and return who is its guardian.

        A dead parent is allowed: the guardian is then its nearest living ancestor.

        Raises:
            ValueError: the name has a place.
            LookupError: the parent has none.
        """
        self.place(parent)
        if name in self._places:
            raise ValueError(f"{name} has a place already")
        self._places[name] = Place(name, parent, incarnation, State.OK)
        self._children[name] = {}
        self._children[parent][name] = None
        self._turn += 1
        self._turns[name] = self._turn
        return self._change(name, previous="")

    def died(self, name: str, incarnation: int) -> list[Change]:
        """Mark it dead, and return who is guardian of its wards now.

        Raises:
            ValueError: it is the controller, whose death nobody here could note.
        """
        if name == CONTROLLER:
            raise ValueError("the controller's table ends with the controller")
        place = self._places.get(name)
        if place is None or place.incarnation != incarnation or not place.state.lives:
            return []
        wards = self.wards(name)
        self._places[name] = msgspec.structs.replace(place, state=State.DEAD)
        return [self._change(ward, previous=name) for ward in wards if self.lives(ward)]

    def revived(self, name: str, incarnation: int) -> list[Change]:
        """Let its next incarnation live, and return its guardian and who comes back to it.

        Raises:
            ValueError: it lives, or this incarnation is not newer than the one that died.
            LookupError: it has no place.
        """
        place = self.place(name)
        if place.state.lives:
            raise ValueError(f"{name}.{place.incarnation} has not died")
        if incarnation <= place.incarnation:
            raise ValueError(f"{name}.{incarnation} is not newer than {name}.{place.incarnation}")
        previous = self.guardian(name)
        self._places[name] = Place(name, place.parent, incarnation, State.OK)
        wards = [ward for ward in self.wards(name) if self.lives(ward)]
        own = self._change(name, previous="")
        return [own, *(self._change(ward, previous=previous) for ward in wards)]

    def mark(self, name: str, incarnation: int, state: State) -> bool:
        """Note a verdict on the living or the fate of the dead; say whether it is new.

        A verdict on a node that has died meanwhile is ignored. No mark moves a guardian.

        Raises:
            ValueError: the mark would end a life; `died` does that.
        """
        place = self._places.get(name)
        if place is None or place.incarnation != incarnation or place.state is state:
            return False
        if place.state.lives and not state.lives:
            raise ValueError(f"{name}.{incarnation} lives: it cannot be marked {state.value}")
        if state.lives != place.state.lives:
            return False
        self._places[name] = msgspec.structs.replace(place, state=state)
        return True

    def removed(self, name: str) -> list[Place]:
        """Forget it and its subtree, and return what was forgotten, deepest first.

        Raises:
            ValueError: it is the controller.
            LookupError: it has no place.
        """
        if name == CONTROLLER:
            raise ValueError("the controller's place cannot be removed")
        del self._children[self.place(name).parent][name]
        gone = [each for level in self.levels(name) for each in level]
        for each in gone:
            del self._children[each], self._turns[each]
        return [self._places.pop(each) for each in gone]

    def __contains__(self, name: str) -> bool:
        """Whether it has a place; the controller has."""
        return name in self._places

    def names(self) -> list[str]:
        """All but the controller, in order of creation."""
        return [name for name in self._places if name != CONTROLLER]

    def place(self, name: str) -> Place:
        """Return its place.

        Raises:
            LookupError: it has none. The other questions raise it too.
        """
        try:
            return self._places[name]
        except KeyError:
            raise LookupError(f"{name} has no place") from None

    def state(self, name: str) -> State | None:
        """How its present incarnation is; None if it has no place."""
        place = self._places.get(name)
        return None if place is None else place.state

    def parent(self, name: str) -> str:
        return self.place(name).parent

    def lives(self, name: str) -> bool:
        return self.place(name).state.lives

    def children(self, name: str) -> list[str]:
        """Those placed directly under it, dead or alive."""
        self.place(name)
        return list(self._children[name])

    def depth(self, name: str) -> int:
        """How far below the controller it is; the controller's depth is 0."""
        return sum(1 for _ in self._ancestors(name))

    def guardian(self, name: str) -> str:
        """Its nearest living ancestor; the controller's own is empty."""
        return next((each for each in self._ancestors(name) if self.lives(each)), "")

    def wards(self, name: str) -> list[str]:
        """Those it is guardian of now, the dead among them included; a dead node has none."""
        if not self.lives(name):
            return []
        found: list[str] = []
        waiting = self.children(name)
        while waiting:
            each = waiting.pop()
            found.append(each)
            if not self.lives(each):
                waiting.extend(self._children[each])
        found.sort(key=self._turns.__getitem__)
        return found

    def subtree(self, name: str) -> list[str]:
        """It and all placed under it, parents before children, as ``tree`` prints them."""
        self.place(name)
        found = []
        waiting = [name]
        while waiting:
            each = waiting.pop()
            found.append(each)
            waiting.extend(reversed(self._children[each]))
        return found

    def levels(self, name: str) -> list[list[str]]:
        """Its subtree by depth, deepest first: whoever is in one level may go together.

        A caller that would not wait for cousins walks `children` instead.
        """
        self.place(name)
        levels = [[name]]
        while below := [child for each in levels[-1] for child in self._children[each]]:
            levels.append(below)
        return levels[::-1]

    def _ancestors(self, name: str) -> Iterator[str]:
        while name := self.place(name).parent:
            yield name

    def _change(self, child: str, *, previous: str) -> Change:
        self._number += 1
        incarnation = self._places[child].incarnation
        return Change(self._number, child, incarnation, self.guardian(child), previous)


class Newest:
    """The receiver's side: accepts only news with a higher number than any before.

    Numbers are compared for each child apart, for the changes of two children may come
    by different ways. A child is known by its name or by its incarnation, as the
    receiver likes.
    """

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}

    def accepts(self, child: Hashable, number: int) -> bool:
        """Whether this number, or a higher one, was not yet accepted for this child."""
        if number <= self._numbers.get(child, 0):
            return False
        self._numbers[child] = number
        return True

    def forget(self, child: Hashable) -> None:
        """Drop the memory of a child that is gone for good (not of one that only moved on)."""
        self._numbers.pop(child, None)
