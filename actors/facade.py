"""What a system looks like from anywhere in it: to its program, and to its actors.

`Actor.system` is one on behalf of the actor; the program's own, `actors.System`, can do more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    ParamSpec,
    TypeVar,
    TypeVarTuple,
    Unpack,
    cast,
    overload,
)

from actors import requests
from actors.child_spec import ChildOptions
from actors.ref import ActorRef, ref_to
from runtime.address import CONTROLLER, Address
from runtime.cells.link_inquiry import ask_links
from runtime.cells.service import Service
from runtime.cells.tracing import Trace, trace
from runtime.exits import ExitReason
from runtime.messages.accounts import Audit, DeadLetter
from runtime.messages.signature import signature_of
from runtime.multipath.link_report import LinkReport
from runtime.traffic.registrar import Row

if TYPE_CHECKING:
    from actors.actor import Actor

Ts = TypeVarTuple("Ts")
A = TypeVar("A", bound="Actor")
P = ParamSpec("P")


class Facade:
    """A system, as ``cell`` sees it."""

    def __init__(self, cell: Service) -> None:
        self.cell = cell

    async def spawn(
        self,
        actor: Callable[[*Ts], A],
        /,
        *args: *Ts,
        parent: ActorRef[Any] | None = None,
        **options: Unpack[ChildOptions],
    ) -> ActorRef[A]:
        """The actor runs, in a process of its own, under ``parent`` or the controller.

        Keywords are those of a child spec (``actors.child_spec.ChildOptions``: name, restart,
        local, strategy, intensity, snapshot_every_s and more); ``functools.partial`` carries
        keyword arguments. A name that a child of the same parent holds: if that lives, with the
        same class and arguments, this is its ref; else it is stopped, and this one takes its
        place.

        Raises:
            SpawnError: it did not come up: its constructor or ``on_start`` raised, its module
                cannot be imported, the name is taken, ``start_s`` seconds were not enough.
            ActorDeadError: the parent is not alive.
            TypeError: a signature or an argument cannot travel; there is no such option.
            ValueError: an option makes no sense; its class cannot be imported in another
                process; or it is to be ``local`` in another process than this one.

        Cancellation: nothing of it is left.
        """
        if parent is not None and not isinstance(parent, Address):
            raise TypeError(f"parent is a ref, not {parent!r}")
        exchange = self.cell.exchange
        place = exchange.controller if parent is None else exchange.peer(parent.endpoint)
        if options.get("local") and place is not exchange.here:
            raise ValueError(
                f"local=True: a child of {CONTROLLER if parent is None else parent.name} cannot "
                f"run in the process of {self.cell.address.name}; use the actor's own spawn"
            )
        name = CONTROLLER if parent is None else parent.name
        address = await requests.spawn(self.cell, actor, args, parent=name, options=options)
        return ref_to(address)

    @overload
    async def lookup(self, name: str) -> ActorRef[Any]: ...
    @overload
    async def lookup(self, name: str, actor: type[A]) -> ActorRef[A]: ...
    async def lookup(self, name: str, actor: type[A] | None = None) -> ActorRef[Any]:
        """A ref to whoever holds the name now: to that incarnation, see `ActorRef.following`.

        ``actor`` is for the type checker alone. The name of a local actor is ``PARENT/NAME``.

        Raises:
            LookupError: nobody ever did, or it was removed.
            ActorDeadError: it is not alive now.
        """
        return ref_to(await requests.look_up(self.cell, name))

    async def tree(self) -> list[Row]:
        """Every place, parents before children, in order of creation; the dead too."""
        return await requests.rows(self.cell)

    async def why(self, name: str) -> ExitReason | None:
        """How the last life under that name ended: its certificate. None: its first goes on.

        Of one that lives again it is that of the life before. Of one that ended as it should, and
        so is known no more, it is kept until a thousand others have.

        Raises:
            LookupError: nobody ever had that name, or it was stopped or removed.
        """
        return await requests.why(self.cell, name)

    async def audit(self) -> Audit:
        """The accounts of all senders, added up, within a second; see `Audit`."""
        return await requests.audit(self.cell)

    async def link_report(self, ref: ActorRef[Any]) -> LinkReport:
        """What the process of that actor knows of its network links, as they are now.

        Raises:
            ActorDeadError, UnreachableError: it cannot be had.
        """
        return await ask_links(self.cell, ref)

    async def dead_letters(self) -> list[DeadLetter]:
        """The last 1,000 dead letters of the whole tree, oldest first; those alike share one."""
        return await requests.dead_letters(self.cell)

    @asynccontextmanager
    async def watch_dead_letters(self) -> AsyncIterator[AsyncIterator[DeadLetter]]:
        """``async with system.watch_dead_letters() as letters``: those that come meanwhile.

        Each comes within 100 ms. When more come at a time than can be told of, a letter without
        a target says how many messages that were.
        """
        async with requests.watch_dead_letters(self.cell) as letters:
            await anext(letters)
            yield cast("AsyncIterator[DeadLetter]", letters)

    async def trace(
        self,
        ref: ActorRef[A],
        handler: Callable[Concatenate[A, P], Coroutine[Any, Any, Any]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Trace:
        """Ask, and tell which stations the ask has passed, and when; see `runtime.cells.tracing`.

        What the handler raised, and the end of its actor meanwhile, stand in the trace's ``error``.

        Raises:
            ActorDeadError, UnreachableError, MailboxFullError: nothing was sent.
            TypeError, ValueError: an argument cannot travel, or the handler is a stream.
        """
        signature = signature_of(handler)
        return await trace(self.cell, ref, signature, signature.bind(args, kwargs))
