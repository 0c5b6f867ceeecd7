"""What came of a command, before any dialect has put it into words.

Invariants
----------
* Every command ends in one `Outcome`: done, or failed for one reason.
* `one_line` is one printable line of at most 1,000 characters, whatever goes in.
"""

import enum
from typing import Final

import msgspec

MAX_WHY: Final = 1000


class Failure(enum.Enum):
    """The failures that have words of their own; `OTHER` brings its ``why``."""

    ALREADY_EXISTS = "Already exists"
    PARENT_NOT_FOUND = "Parent not found"
    PARENT_UNAVAILABLE = "Parent is unavailable"
    NOT_FOUND = "Not found"
    UNAVAILABLE = "Node is unavailable"
    UNKNOWN = "Unknown command"
    OTHER = ""


class Done(msgspec.Struct, frozen=True):
    """It took effect; ``result`` is what there is to print, None for nothing."""

    result: object = None


class Created(msgspec.Struct, frozen=True, gc=False):
    """What a create has to print."""

    pid: int
    endpoint: str


class Failed(msgspec.Struct, frozen=True, gc=False):
    """It did not take effect."""

    failure: Failure
    why: str = ""

    def __str__(self) -> str:
        return one_line(self.why) if self.failure is Failure.OTHER else self.failure.value


Outcome = Done | Failed


def one_line(text: str) -> str:
    """Return ``text`` with what is not printable escaped, and cut at 1,000 characters."""
    if len(text) > MAX_WHY:
        text = text[: MAX_WHY + 1]
    if not text.isprintable():
        text = "".join(map(_printable, text))
    return text if len(text) <= MAX_WHY else text[: MAX_WHY - 1] + "…"


def _printable(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
