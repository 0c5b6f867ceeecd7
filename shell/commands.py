"""What a line can ask for, as values.

Invariants
----------
* A command is syntactically right: ids and milliseconds are in range, arguments are
  complete. Whether its node exists is for the session to find out.
* A line that cannot be a command is a `Mistake`: a value like the others, because it
  takes its place in the order of answers.
"""

import enum
from typing import Final

import msgspec

from actors.topology import Id
from shell.paths import PathCommand

CONTROLLER: Final = -1
"""The id that names the controller, as a parent only."""


class Create(msgspec.Struct, frozen=True):
    """Start node ``id``; ``parent`` is None where the line names none.

    ``actor`` ("module:Class") is empty for a compute node; ``arguments`` are its constructor's.
    """

    id: Id
    parent: Id | None = None
    actor: str = ""
    arguments: tuple[str, ...] = ()


class Execute(msgspec.Struct, frozen=True):
    """Ask node ``id`` for ``verb``."""

    id: Id
    verb: str
    arguments: tuple[str, ...] = ()


class Ping(msgspec.Struct, frozen=True, gc=False):
    """Ask whether node ``id`` can be reached."""

    id: Id


class Heartbeat(msgspec.Struct, frozen=True, gc=False):
    """Report silences of 4 x ``ms``; 0 ends the reports."""

    ms: int


class Remove(msgspec.Struct, frozen=True, gc=False):
    """Stop and forget node ``id`` and all nodes placed under it."""

    id: Id


class Kill(msgspec.Struct, frozen=True, gc=False):
    """End node ``id`` by SIGKILL; it keeps its place."""

    id: Id


class Restart(msgspec.Struct, frozen=True, gc=False):
    """End node ``id`` if it lives, and let its next incarnation live."""

    id: Id


class Why(msgspec.Struct, frozen=True, gc=False):
    """How node ``id`` ended last."""

    id: Id


class ListAll(msgspec.Struct, frozen=True, gc=False):
    """The ids that are not dead."""


class ShowTree(msgspec.Struct, frozen=True, gc=False):
    """The places, indented."""


class Audit(msgspec.Struct, frozen=True, gc=False):
    """The accounts of all senders, added up."""


class Trace(msgspec.Struct, frozen=True):
    """Ask node ``id`` for ``verb``, and tell the stations of that ask."""

    id: Id
    verb: str
    arguments: tuple[str, ...] = ()


class ShowLinks(msgspec.Struct, frozen=True, gc=False):
    """The network links of all nodes; or, with their paths, the controller's alone."""

    root_only: bool = False


class ShowLink(msgspec.Struct, frozen=True, gc=False):
    """The network links of node ``id``, with their paths."""

    id: Id


class Paths(msgspec.Struct, frozen=True):
    """Show or change what the kernel's path manager may use."""

    asked: PathCommand


class Sleep(msgspec.Struct, frozen=True, gc=False):
    """Nothing, for ``ms`` milliseconds."""

    ms: int


class Help(msgspec.Struct, frozen=True, gc=False):
    """Usage of all commands, or of the command ``topic``, or the handlers of node ``id``."""

    topic: str | None = None
    id: Id | None = None


class Exit(msgspec.Struct, frozen=True, gc=False):
    """Stop the whole tree."""


class Flaw(enum.Enum):
    """What is wrong with a line, as far as a dialect tells it apart."""

    UNKNOWN = "unknown"
    NO_ARGUMENT = "no argument"
    NO_VERB = "no verb"
    OTHER = "other"


class Mistake(msgspec.Struct, frozen=True, gc=False):
    """A line that is no command: ``why`` names the thing and the value."""

    why: str
    flaw: Flaw = Flaw.OTHER
    word: str | None = None


Command = (
    Create
    | Execute
    | Ping
    | Heartbeat
    | Remove
    | Kill
    | Restart
    | Why
    | ListAll
    | ShowTree
    | Audit
    | Trace
    | ShowLinks
    | ShowLink
    | Paths
    | Sleep
    | Help
    | Exit
    | Mistake
)

WORDS: Final[dict[type, str]] = {
    Create: "create",
    Execute: "exec",
    Ping: "ping",
    Heartbeat: "heartbeat",
    Remove: "remove",
    Kill: "kill",
    Restart: "restart",
    Why: "why",
    ListAll: "all",
    ShowTree: "tree",
    Audit: "audit",
    Trace: "trace",
    ShowLinks: "links",
    ShowLink: "links",
    Paths: "paths",
    Sleep: "sleep",
    Help: "help",
    Exit: "exit",
}
