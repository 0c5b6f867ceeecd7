"""A line of text to a command.

Invariants
----------
* `parse` never raises: what is wrong comes back as a `Mistake`.
* A blank line or a comment is None: it has no answer.
* ``ID`` and ``MS`` are ``[0-9]{1,10}``; leading zeros mean nothing; an id is at most
  2147483647; or it is the name of an actor. ``-1`` is an id for a parent only.
* The plain path for ``exec`` gives what the long one would (1 us instead of 5).
"""

import re
from collections.abc import Callable
from typing import Final, Protocol

from actors.topology import Id
from runtime.address import CONTROLLER as ROOT
from runtime.address import check_name
from shell.commands import (
    CONTROLLER,
    Audit,
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
    Paths,
    Ping,
    Remove,
    Restart,
    ShowLink,
    ShowLinks,
    ShowTree,
    Sleep,
    Trace,
    Why,
)
from shell.paths import read_paths
from shell.words import split_words

MAX_ID: Final = 2147483647
MIN_MS: Final = 10
MAX_MS: Final = 86400000

_PLAIN_EXEC: Final = re.compile(r"[ \t]*exec[ \t]+([0-9]{1,10})[ \t]+([A-Za-z0-9_.-]+)[ \t]*")
_NUMBER: Final = re.compile("[0-9]{1,10}")


class _Reader(Protocol):
    def __call__(self, text: str, what: str = "ID", /) -> Id: ...


def parse(line: str, *, named: bool = False) -> Command | None:
    """Read one line, without its end. ``named``: ids are names of actors."""
    plain = None if named else _PLAIN_EXEC.fullmatch(line)
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
        return read(arguments, _name if named else _number)
    except ValueError as error:
        return Mistake(str(error), word=word)


def _number(text: str, what: str = "ID") -> Id:
    if _NUMBER.fullmatch(text) and int(text) <= MAX_ID:
        return int(text)
    raise ValueError(f"{what} must be 0 to {MAX_ID}, not {text!r}")


def _name(text: str, what: str = "ID") -> Id:
    try:
        check_name(text)
    except ValueError:
        raise ValueError(f"{what} must be the name of an actor, not {text!r}") from None
    if text == ROOT:
        raise ValueError(f"{what} must be the name of a node, not {text!r}")
    return text


def _create(arguments: list[str], id_of: _Reader) -> Command:
    places = arguments
    if "--actor" in arguments:
        at = arguments.index("--actor")
        places, given = arguments[:at], arguments[at + 1 :]
        if not places or not given:
            needs = "module:Class behind --actor" if places else "an ID"
            return Mistake(f"create needs {needs}", Flaw.NO_ARGUMENT, "create")
    for text in places[1:]:
        if text.startswith("--"):
            raise ValueError(f"create has no option {text!r}")
    id = id_of(places[0])
    if "/" in str(id):
        raise ValueError(f"ID must be a name without a slash, not {id!r}")
    if len(places) > 2:
        raise ValueError(f"too many arguments for create: {places[2]!r}")
    parent = None
    if len(places) == 2:
        text = places[1]
        root = text == "-1" or (text == ROOT and id_of is _name)
        parent = CONTROLLER if root else id_of(text, "PARENT")
    if places is arguments:
        return Create(id, parent)
    actor, *texts = given
    return Create(id, parent, check_entry(actor), tuple(texts))


def check_entry(text: str) -> str:
    """Return ``text`` if it can name a class.

    Raises:
        ValueError: it is not like package.module:Class.
    """
    module, _, name = text.partition(":")
    if all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        return text
    raise ValueError(f"a class is given as package.module:Class, not {text!r}")


def _exec(arguments: list[str], id_of: _Reader) -> Command:
    id = id_of(arguments[0])
    if len(arguments) == 1:
        return Mistake(f"exec {id} needs a command for the node", Flaw.NO_VERB, "exec")
    return Execute(id, arguments[1], tuple(arguments[2:]))


def _trace(arguments: list[str], id_of: _Reader) -> Command:
    return Trace(id_of(arguments[0]), arguments[1], tuple(arguments[2:]))


def _heartbeat(arguments: list[str], id_of: _Reader) -> Command:
    text = "0" if arguments[0] == "stop" else arguments[0]
    if _NUMBER.fullmatch(text) and (int(text) == 0 or MIN_MS <= int(text) <= MAX_MS):
        return Heartbeat(int(text))
    raise ValueError(f"MS must be {MIN_MS} to {MAX_MS}")


def _links(arguments: list[str], id_of: _Reader) -> Command:
    if not arguments:
        return ShowLinks()
    root = arguments[0] == "-1" or (arguments[0] == ROOT and id_of is _name)
    return ShowLinks(root_only=True) if root else ShowLink(id_of(arguments[0]))


def _paths(arguments: list[str], id_of: _Reader) -> Command:
    return Paths(read_paths(arguments))


def _sleep(arguments: list[str], id_of: _Reader) -> Command:
    if _NUMBER.fullmatch(arguments[0]):
        return Sleep(int(arguments[0]))
    raise ValueError(f"MS must be 0 to 9999999999, not {arguments[0]!r}")


def _help(arguments: list[str], id_of: _Reader) -> Command:
    if not arguments or arguments[0] in _READERS:
        return Help(*arguments)
    try:
        return Help(id=id_of(arguments[0]))
    except ValueError:
        return Help(*arguments)


_READERS: Final[dict[str, tuple[int, int | None, str, Callable[[list[str], _Reader], Command]]]] = {
    "create": (1, None, "an ID", _create),
    "exec": (1, None, "an ID and a command", _exec),
    "ping": (1, 1, "an ID", lambda arguments, id_of: Ping(id_of(arguments[0]))),
    "heartbeat": (1, 1, "MS", _heartbeat),
    "remove": (1, 1, "an ID", lambda arguments, id_of: Remove(id_of(arguments[0]))),
    "kill": (1, 1, "an ID", lambda arguments, id_of: Kill(id_of(arguments[0]))),
    "restart": (1, 1, "an ID", lambda arguments, id_of: Restart(id_of(arguments[0]))),
    "why": (1, 1, "an ID", lambda arguments, id_of: Why(id_of(arguments[0]))),
    "all": (0, 0, "", lambda arguments, id_of: ListAll()),
    "tree": (0, 0, "", lambda arguments, id_of: ShowTree()),
    "audit": (0, 0, "", lambda arguments, id_of: Audit()),
    "trace": (2, None, "an ID and a command", _trace),
    "links": (0, 1, "", _links),
    "paths": (0, None, "", _paths),
    "sleep": (1, 1, "MS", _sleep),
    "help": (0, 1, "", _help),
    "exit": (0, 0, "", lambda arguments, id_of: Exit()),
}
