"""One command's turn in the order."""

from actors.topology import Id
from shell.commands import Command


class Ticket:
    """A command, its number, and what it claims. The order writes it, others read.

    ``parent`` is where a create goes, None while its id is taken. ``shared`` is the id it
    uses, ``owned`` the ids that it may bring or end. ``followers`` are parked on it.
    """

    __slots__ = ("command", "followers", "owned", "parent", "ready", "seq", "shared")

    def __init__(self, command: Command) -> None:
        self.command = command
        self.seq = -1
        self.parent: Id | None = None
        self.shared: Id | None = None
        self.owned: set[Id] | None = None
        self.followers: list[Ticket] | None = None
        self.ready = False

    def __lt__(self, other: "Ticket") -> bool:
        return self.seq < other.seq
