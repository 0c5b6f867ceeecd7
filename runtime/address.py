"""Who an actor is, and where its process listens.

A name is unique in a system. An incarnation is one life of a name, numbered from
one counter of the controller: it only grows, whoever restarts whom, so two lives
never compare equal.

Invariants
----------
* Equality and hash look at (system, name, incarnation); the endpoint may change
  its spelling without making another actor of it.
* Incarnation 0 means "whoever holds the name now".
* The controller's process is incarnation 1 of the name ``controller``.
"""

import re
from typing import Final

import msgspec

CONTROLLER: Final = "controller"
ARCHIVE: Final = "_archive"
"""Who keeps the state of a system, where one does."""
CONTROLLER_INCARNATION: Final = 1
FOLLOW: Final = 0

_PART: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"
_NAME: Final = re.compile(rf"{_PART}(/{_PART})?", re.ASCII)


class Address(msgspec.Struct, frozen=True, array_like=True, eq=False):
    """One incarnation of a name, and the endpoint of its process.

    ``endpoint`` is opaque text such as ``ipc:///run/.../7.sock``.
    """

    system: str
    name: str
    incarnation: int
    endpoint: str

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Address):
            return NotImplemented
        return (self.system, self.name, self.incarnation) == (
            other.system,
            other.name,
            other.incarnation,
        )

    def __ne__(self, other: object) -> bool:  # the Struct's own would compare the endpoint too
        return not self == other

    def __hash__(self) -> int:
        return hash((self.system, self.name, self.incarnation))

    def __str__(self) -> str:
        return f"{self.name}.{self.incarnation}"


def check_name(name: str) -> str:
    """Return ``name`` if it can name an actor.

    Raises:
        ValueError: it does not match ``[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}``, alone
            or twice with a slash between (a local cell of a node).
    """
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        given = repr(name[:100] if isinstance(name, str) else name)
        raise ValueError(
            f"not a name for an actor: {given} "
            "(64 ASCII letters, digits, _ - . at most; first no - or .)"
        )
    return name
