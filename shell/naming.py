"""Between the names of actors and the ids of the shell.

Invariants
----------
* The controller is `CONTROLLER`, and nothing else is.
* A tree of numbers shows the nodes whose names are numbers, spelt as the shell would; a tree
  of names shows them all, but for the archive and
  the path manager. What is not shown has no id.
* Whoever joins a tree of numbers has an id: the one that it asked for, or the lowest that is free.
"""

from collections.abc import Callable
from typing import Final, Protocol

from actors.path_manager import NAME as PATH_MANAGER
from actors.topology import Id
from runtime.address import ARCHIVE
from runtime.address import CONTROLLER as ROOT
from shell.commands import CONTROLLER
from shell.grammar import MAX_ID

PATHS: Final = f"{ROOT}/{PATH_MANAGER}"


class Naming(Protocol):
    def __call__(self, name: str, /) -> Id | None:
        """The id of an actor, None if it has none."""


def by_number(name: str) -> Id | None:
    """In a tree of numbers."""
    if not (name.isascii() and name.isdigit() and len(name) <= 10):
        return CONTROLLER if name == ROOT else None
    number = int(name)
    return number if number <= MAX_ID and str(number) == name else None


def by_name(name: str) -> Id | None:
    """In a tree of names."""
    if name in (ARCHIVE, PATHS):
        return None
    return CONTROLLER if name == ROOT else name


def number_joiner(wanted: str, taken: Callable[[str], bool]) -> str:
    """What one who joins a tree of numbers is called. ``wanted``: "" for any number.

    Raises:
        ValueError: it asks for a name that is no number.
    """
    if not wanted:
        return next(name for number in range(1, MAX_ID) if not taken(name := str(number)))
    if by_number(wanted) in (None, CONTROLLER):
        raise ValueError(
            f"the nodes of this tree have numbers, 0 to {MAX_ID}: not {wanted!r};"
            " without a name it gets one that is free"
        )
    return wanted


def name_of(id: Id) -> str:
    """The actor's name."""
    return ROOT if id == CONTROLLER else str(id)
