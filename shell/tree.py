"""What the shell needs to know of a tree of nodes, and nothing more.

The session speaks to a `Tree`; the real one stands on the actor system, a fake one
under virtual time in the tests. Ids are the shell's numbers, or all of them names;
`CONTROLLER` (-1) is the root and always ok. The session calls in the order of the lines and
sees to it that no two calls that could disturb each other overlap (see ``shell.order``); an
implementation needs no locks of its own.

Invariants
----------
* Whatever an ``async`` method does at once it does before its first suspension: the
  session relies on that for "sent in the order of the lines".
* A create that raises leaves nothing: `state` of its id is None.
* A dead node stays known, at its place, until `remove`.
* Cancelling a call gives it up for good: what was not executed will not be.
* `Change` events come synchronously, oldest first; the session never calls back into
  the tree from them.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from actors.control.heartbeat import Change
from actors.path_manager import PathNotice
from actors.supervision.places import State
from actors.topology import Id
from runtime.messages.accounts import Audit
from shell.answers import Created
from shell.certificate import CertificateView
from shell.journey import TraceView
from shell.linkage import LinksView, LinkView
from shell.paths import PathCommand, PathsView

NodeState = State


class Place(msgspec.Struct, frozen=True):
    """One node as ``tree`` shows it: ids of its parent and of its guardian."""

    id: Id
    parent: Id
    pid: int
    state: NodeState
    guardian: Id


class UnknownVerb(Exception):
    """The node has no handler of that name."""


class UnknownNode(Exception):
    """The node was there when the command started, and is no more."""


class Tree(Protocol):
    """A tree of nodes, by shell id.

    Whatever takes an id may raise `UnknownNode`: nodes come and go without our commands, too.
    """

    @property
    def controller_pid(self) -> int:
        """The pid of the process that is the root."""

    def state(self, id: Id) -> NodeState | None:
        """How the node is now; None when it is not known."""

    def places(self) -> Sequence[Place]:
        """Every known node, dead ones too, in order of creation; not the controller."""

    def place(self, id: Id) -> Place:
        """One known node.

        Raises:
            KeyError: it is not known.
        """

    async def create(
        self, id: Id, parent: Id, actor: str = "", arguments: Sequence[str] = ()
    ) -> Created:
        """The node is up under ``parent``, after its handshake.

        ``actor`` ("module:Class") is empty for a compute node; ``arguments`` are the text of its
        constructor's.

        Raises:
            SpawnError: it did not come up; the text is the answer's ``<why>``. So for an
                ``actor`` that is none and ``arguments`` that do not fit it.
            ActorDeadError, UnreachableError: the parent is not available.
        """

    async def execute(self, id: Id, verb: str, arguments: Sequence[str]) -> object:
        """The node's answer; None where it has none, else what JSON can carry.

        The deadline is the caller's cancel scope.

        Raises:
            DeliveryError: the node cannot be had.
            UnknownVerb: it has no such handler.
            WireError: ``arguments`` do not fit.
            RemoteError: the handler raised.
        """

    async def trace(self, id: Id, verb: str, arguments: Sequence[str]) -> TraceView:
        """As `execute`; what was raised once the message was sent is in the view."""

    async def audit(self) -> Audit:
        """The accounts of all senders, added up, within a second."""

    async def links(self) -> LinksView:
        """The network links of the controller, and then of all nodes that are not dead."""

    async def link(self, id: Id) -> LinkView:
        """The network links of one, `CONTROLLER` or a node. The deadline is the caller's.

        Raises:
            DeliveryError: the node cannot be had.
        """

    async def paths(self, asked: PathCommand) -> PathsView | None:
        """What was asked for; None if it was a change, and is done.

        Raises:
            RemoteError: the kernel refuses, or there is nothing to manage.
        """

    async def watch_paths(self, heard: Callable[[PathNotice], None]) -> None:
        """Call ``heard`` with what becomes of the paths of the controller's links, for ever."""

    async def handlers(self, id: Id) -> Sequence[str]:
        """A line for each handler of the node, with its signature, sorted.

        Raises:
            SpawnError: its class cannot be had in this process.
        """

    async def ping(self, id: Id) -> bool:
        """Whether the node can be reached. The deadline is the caller's."""

    async def remove(self, id: Id) -> bool:
        """The node and all under it are forgotten; False: their end is not confirmed."""

    async def kill(self, id: Id) -> None:
        """The node is certainly dead; it keeps its place."""

    async def restart(self, id: Id) -> Created:
        """The node's next incarnation is up; a living one was ended for it.

        Raises:
            SpawnError: it did not come up; the text is the answer's ``<why>``.
        """

    async def why(self, id: Id) -> CertificateView:
        """How it ended last, and whether it lives: also of one that has ended as it should."""

    async def beat(self, period_s: float) -> None:
        """From now on nodes beat every ``period_s`` seconds."""

    def listen(self, heard: Callable[[Change], None]) -> AbstractContextManager[object]:
        """Call ``heard`` with every change while the context is open."""
