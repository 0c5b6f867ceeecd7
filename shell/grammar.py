"""A line of text to a command.

Invariants
----------
* `parse` never raises: what is wrong comes back as a `Mistake`.
* A blank line or a comment is None: it has no answer.
* ``ID`` and ``MS`` are ``[0-9]{1,10}``; leading zeros mean nothing; an id is at most
  2147483647. ``-1`` is an id for a parent only.
* The plain path for ``exec`` gives what the long one would (1 us instead of 5).
"""

import re
from collections.abc import Callable
from typing import Final

from shell.commands import (
    CONTROLLER,
    Command,
    Create,
    Execute,
    Exit,
    Flaw,
    Heartbeat,
    Help,
    Kill,
    ListAll,
    Mistake,
    Ping,
    Remove,
    ShowTree,
    Sleep,
)
from shell.words import split_words

MAX_ID: Final = 2147483647
MIN_MS: Final = 10
MAX_MS: Final = 86400000

_PLAIN_EXEC: Final = re.compile(r"[ \t]*exec[ \t]+([0-9]{1,10})[ \t]+([A-Za-z0-9_.-]+)[ \t]*")
_NUMBER: Final = re.compile("[0-9]{1,10}")


def parse(line: str) -> Command | None:
    """Read one line, without its end."""
    plain = _PLAIN_EXEC.fullmatch(line)
    if plain is not None:
        id = int(plain[1])
        if id <= MAX_ID:
            return Execute(id, plain[2])
    try:
        words = split_words(line)
    except ValueError as error:
        return Mistake(str(error))
    if not words:
        return None
    word, *arguments = words
    if (reader := _READERS.get(word)) is None:
        return Mistake(f"unknown command: {word!r}", Flaw.UNKNOWN, word)
    fewest, most, needs, read = reader
    if len(arguments) < fewest:
        return Mistake(f"{word} needs {needs}", Flaw.NO_ARGUMENT, word)
    if most is not None and len(arguments) > most:
        return Mistake(f"too many arguments for {word}: {arguments[most]!r}", word=word)
    try:
        return read(arguments)
    except ValueError as error:
        return Mistake(str(error), word=word)


def _id(text: str, name: str = "ID") -> int:
    if _NUMBER.fullmatch(text) and int(text) <= MAX_ID:
        return int(text)
    raise ValueError(f"{name} must be 0 to {MAX_ID}, not {text!r}")


def _create(arguments: list[str]) -> Command:
    id = _id(arguments[0])
    if len(arguments) == 1:
        return Create(id)
    parent = CONTROLLER if arguments[1] == "-1" else _id(arguments[1], "PARENT")
    return Create(id, parent)


def _exec(arguments: list[str]) -> Command:
    id = _id(arguments[0])
    if len(arguments) == 1:
        return Mistake(f"exec {id} needs a command for the node", Flaw.NO_VERB, "exec")
    return Execute(id, arguments[1], tuple(arguments[2:]))


def _heartbeat(arguments: list[str]) -> Command:
    text = "0" if arguments[0] == "stop" else arguments[0]
    if _NUMBER.fullmatch(text) and (int(text) == 0 or MIN_MS <= int(text) <= MAX_MS):
        return Heartbeat(int(text))
    raise ValueError(f"MS must be {MIN_MS} to {MAX_MS}")


def _sleep(arguments: list[str]) -> Command:
    if _NUMBER.fullmatch(arguments[0]):
        return Sleep(int(arguments[0]))
    raise ValueError(f"MS must be 0 to 9999999999, not {arguments[0]!r}")


_READERS: Final[dict[str, tuple[int, int | None, str, Callable[[list[str]], Command]]]] = {
    "create": (1, 2, "an ID", _create),
    "exec": (1, None, "an ID and a command", _exec),
    "ping": (1, 1, "an ID", lambda arguments: Ping(_id(arguments[0]))),
    "heartbeat": (1, 1, "MS", _heartbeat),
    "remove": (1, 1, "an ID", lambda arguments: Remove(_id(arguments[0]))),
    "kill": (1, 1, "an ID", lambda arguments: Kill(_id(arguments[0]))),
    "all": (0, 0, "", lambda arguments: ListAll()),
    "tree": (0, 0, "", lambda arguments: ShowTree()),
    "sleep": (1, 1, "MS", _sleep),
    "help": (0, 1, "", lambda arguments: Help(*arguments)),
    "exit": (0, 0, "", lambda arguments: Exit()),
}
