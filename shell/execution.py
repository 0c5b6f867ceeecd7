"""What a command does to the tree, and what came of it.

`check` looks at the tree at the moment the command may start, and answers what needs
no waiting. `run` does the rest.

Invariants
----------
* A command that `check` answers has changed nothing.
* Errors are found in the order of the table: for a create Already exists, Parent not
  found, Parent is unavailable; for an exec Not found, Node is unavailable, then what
  the node says.
* `run` raises nothing but cancellation. An exception that is no `ActorError` is our
  fault: it is logged, and still one line of answer.
"""

import logging
import re
from typing import TYPE_CHECKING, Any, Final

import trio

from actors.topology import Id
from runtime.errors import (
    ActorDeadError,
    ActorError,
    DeliveryError,
    RemoteError,
    UnreachableError,
)
from shell.answers import Done, Failed, Failure, Outcome
from shell.commands import (
    CONTROLLER,
    Audit,
    Command,
    Create,
    Execute,
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
from shell.linkage import LinksView
from shell.notices import Notices
from shell.order import Order
from shell.paths import spelled
from shell.ticket import Ticket
from shell.tree import Tree, UnknownNode, UnknownVerb
from shell.usage import usage
from shell.views import TreeView

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

IMPATIENT: Final = frozenset({Execute, Ping, ShowLink, Trace})
"""The commands that have a deadline of their own."""

BEAT_S: Final = 0.25

log: Final = logging.getLogger("regrow.shell")

_ERRNO: Final = re.compile(r"^\[Errno \d+\] |: -\d+(?= \()")  # Python's, and the kernel's own

_DONE: Final = Done()
_NOT_FOUND: Final = Failed(Failure.NOT_FOUND)
_UNAVAILABLE: Final = Failed(Failure.UNAVAILABLE)


def late(command: Command) -> Outcome:
    """The outcome of a command whose deadline has passed."""
    return Done(False) if isinstance(command, Ping) else _UNAVAILABLE


class Execution:
    """Carries commands out on one tree."""

    def __init__(self, tree: Tree, order: Order, notices: Notices) -> None:
        self._tree = tree
        self._order = order
        self._notices = notices
        self._checks: dict[type, Callable[[Any], Outcome | None]] = {
            Execute: self._check_execute,
            Trace: self._check_execute,
            Ping: self._check_ping,
            Remove: self._check_known,
            Kill: self._check_known,
            ListAll: self._list,
            ShowTree: self._show,
            Help: self._check_help,
            Restart: self._check_known,
            ShowLink: self._check_execute,
            Mistake: self._mistake,
        }
        self._runs: dict[type, Callable[[Any], Awaitable[Outcome]]] = {
            Execute: self._execute,
            Trace: self._trace,
            Audit: self._audit,
            ShowLinks: self._show_links,
            ShowLink: self._show_link,
            Paths: self._paths,
            Ping: self._ping,
            Remove: self._remove,
            Kill: self._kill,
            Restart: self._restart,
            Why: self._why,
            Help: self._help,
            Heartbeat: self._beat,
            Sleep: self._sleep,
        }

    def check(self, ticket: Ticket) -> Outcome | None:
        """The outcome, if it is known now; None: `run` it."""
        command = ticket.command
        if type(command) is Create:
            return self._check_create(command, ticket.parent)
        found = self._checks.get(type(command))
        return None if found is None else found(command)

    async def run(self, command: Command, parent: Id | None) -> Outcome:
        """Do it, wait for it. ``parent``: where a create goes."""
        try:
            if type(command) is Create:
                assert parent is not None
                return await self._create(command, parent)
            return await self._runs[type(command)](command)
        except UnknownNode:
            return _NOT_FOUND
        except ActorError as error:
            return Failed(Failure.OTHER, str(error) or type(error).__name__)
        except Exception as error:
            log.exception("%r failed", command)
            return Failed(Failure.OTHER, f"{type(error).__name__}: {error}")

    def took_effect(self, command: Command, outcome: Outcome) -> bool:
        """Whether the places changed: a create's node came, a remove's nodes went."""
        if type(command) is Remove:
            return outcome is not _NOT_FOUND and self._tree.state(command.id) is None
        if type(command) is Create and self._tree.state(command.id) is None:
            return False  # it has come, and gone again
        return type(outcome) is Done

    # Checks.

    def _check_create(self, command: Create, parent: Id | None) -> Outcome | None:
        if parent is None or self._tree.state(command.id) is not None:
            return Failed(Failure.ALREADY_EXISTS)
        if parent != CONTROLLER:
            state = self._tree.state(parent)
            if state is None:
                return Failed(Failure.PARENT_NOT_FOUND)
            if not state.lives:
                return Failed(Failure.PARENT_UNAVAILABLE)
        return None

    def _check_execute(self, command: Execute | ShowLink | Trace) -> Outcome | None:
        state = self._tree.state(command.id)
        if state is None:
            return _NOT_FOUND
        return None if state.lives else _UNAVAILABLE

    def _check_ping(self, command: Ping) -> Outcome | None:
        state = self._tree.state(command.id)
        if state is None:
            return _NOT_FOUND
        return None if state.lives else Done(False)

    def _check_known(self, command: Remove | Kill | Restart) -> Outcome | None:
        return _NOT_FOUND if self._tree.state(command.id) is None else None

    def _mistake(self, command: Mistake) -> Outcome:
        return Failed(Failure.OTHER, command.why)

    def _list(self, command: ListAll) -> Outcome:
        places = sorted(self._tree.places(), key=lambda place: self._order.rank(place.id))
        return Done(tuple(place.id for place in places if place.state.lives))

    def _show(self, command: ShowTree) -> Outcome:
        places = sorted(self._tree.places(), key=lambda place: self._order.rank(place.id))
        return Done(TreeView(self._tree.controller_pid, places))

    def _check_help(self, command: Help) -> Outcome | None:
        if command.id is not None:
            return _NOT_FOUND if self._tree.state(command.id) is None else None
        try:
            return Done(usage(command.topic))
        except KeyError:
            return Failed(Failure.UNKNOWN)

    # Runs.

    async def _create(self, command: Create, parent: Id) -> Outcome:
        actor, arguments = command.actor, command.arguments
        try:
            return Done(await self._tree.create(command.id, parent, actor, arguments))
        except UnknownNode:
            return Failed(Failure.PARENT_NOT_FOUND)
        except (ActorDeadError, UnreachableError):
            return Failed(Failure.PARENT_UNAVAILABLE)

    async def _execute(self, command: Execute) -> Outcome:
        return await _said(self._tree.execute(command.id, command.verb, command.arguments))

    async def _trace(self, command: Trace) -> Outcome:
        return await _said(self._tree.trace(command.id, command.verb, command.arguments))

    async def _audit(self, command: Audit) -> Outcome:
        return Done(await self._tree.audit())

    async def _show_links(self, command: ShowLinks) -> Outcome:
        if command.root_only:
            return Done(await self._tree.link(CONTROLLER))
        view = await self._tree.links()
        ranked = sorted(view.reports[1:], key=lambda row: self._order.rank(row[0]))
        return Done(LinksView((view.reports[0], *ranked)))

    async def _show_link(self, command: ShowLink) -> Outcome:
        return await _said(self._tree.link(command.id))

    async def _paths(self, command: Paths) -> Outcome:
        try:
            return Done(await self._tree.paths(command.asked))
        except RemoteError as error:  # ours, not a user's: what it is called tells nobody anything
            why = _ERRNO.sub("", error.message) or error.type_name
            return Failed(Failure.OTHER, f"{spelled(command.asked)}: {why}")

    async def _ping(self, command: Ping) -> Outcome:
        try:
            return Done(await self._tree.ping(command.id))
        except DeliveryError:
            return Done(False)

    async def _remove(self, command: Remove) -> Outcome:
        return _DONE if await self._tree.remove(command.id) else _UNAVAILABLE

    async def _kill(self, command: Kill) -> Outcome:
        await self._tree.kill(command.id)
        return _DONE

    async def _restart(self, command: Restart) -> Outcome:
        return Done(await self._tree.restart(command.id))

    async def _why(self, command: Why) -> Outcome:
        return Done(await self._tree.why(command.id))

    async def _help(self, command: Help) -> Outcome:
        assert command.id is not None
        return Done(tuple(await self._tree.handlers(command.id)))

    async def _beat(self, command: Heartbeat) -> Outcome:
        period_s = command.ms / 1000
        await self._tree.beat(min(BEAT_S, period_s) if period_s else BEAT_S)
        self._notices.order(period_s)
        return Done(len(self._tree.places()))

    async def _sleep(self, command: Sleep) -> Outcome:
        await trio.sleep(command.ms / 1000)
        return _DONE


async def _said(asked: "Awaitable[object]") -> Outcome:
    """What a node says, if it can be had and knows what is meant."""
    try:
        return Done(await asked)
    except DeliveryError:
        return _UNAVAILABLE
    except UnknownVerb:
        return Failed(Failure.UNKNOWN)
