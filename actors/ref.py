"""A ref: a value that names one actor, and what to do with it.

It can be sent, stored and compared, and holds no socket: asks go through the exchange of the
process in which they are made, on behalf of the actor whose handler makes them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar, cast

from actors import requests
from runtime.address import FOLLOW, Address
from runtime.cells import asks, tells
from runtime.cells.call import current
from runtime.cells.context import speaker
from runtime.cells.stream import Stream
from runtime.exits import ExitReason
from runtime.messages.signature import compiled, signature_of

if TYPE_CHECKING:
    from actors.actor import Actor

A_co = TypeVar("A_co", bound="Actor", covariant=True)
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class ActorRef(Address, Generic[A_co], frozen=True, array_like=True, eq=False):
    """One incarnation of a name; equal to another ref of the same incarnation.

    Of the incarnation 0: whoever holds the name now, see `following`. A value without a socket: it
    can be an argument, a result or a key, and works in any process of its system, while that is
    open there; else it raises RuntimeError.
    """

    def ask(
        self,
        handler: Callable[Concatenate[A_co, P], Coroutine[Any, Any, R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[Any, Any, R]:
        """The handler ran, and this is its result.

        Wait no longer than you like with ``trio.fail_after``: the deadline travels with the
        message. Cancellation cancels the handler, or unqueues the message, and waits for nobody.

        Raises:
            RemoteError: the handler raised; the actor goes on.
            ActorDeadError, UnreachableError, MailboxFullError: it was not handled, as far as
                can be known.
            WireError: an argument does not fit the handler.
            TypeError, ValueError: an argument cannot travel, or is too large; nothing was sent.
            RuntimeError: the ask would wait for itself.
        """
        try:
            signature = compiled[handler]
        except (KeyError, TypeError):
            signature = signature_of(handler)
        plain = len(args) == signature.plain and not kwargs
        given = args if plain else signature.bind(args, kwargs)
        call = current.get()
        return asks.ask(speaker() if call is None else call.cell, self, signature, given)

    def tell(
        self,
        handler: Callable[Concatenate[A_co, P], Coroutine[Any, Any, object]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[Any, Any, None]:
        """The message is on its way; nobody waits for the handler.

        What the handler raises nobody would hear: it ends the actor, as ``crashed``.
        Waits while there is no credit (at most 1,024 messages and 4 MiB are in flight). With
        credit left it does not wait; every 64th tell, or one after a millisecond, is a checkpoint.

        Raises:
            ActorDeadError, UnreachableError: it was not sent.
            MailboxFullError: inside a handler, after 30 s without credit.
            TypeError, ValueError: an argument cannot travel, or is too large.
        """
        # As in `ask`, letter for letter: three calls fewer take a tenth off a tell.
        try:
            signature = compiled[handler]
        except (KeyError, TypeError):
            signature = signature_of(handler)
        plain = len(args) == signature.plain and not kwargs
        given = args if plain else signature.bind(args, kwargs)
        call = current.get()
        return tells.tell(speaker() if call is None else call.cell, self, signature, given)

    def tell_nowait(
        self,
        handler: Callable[Concatenate[A_co, P], Coroutine[Any, Any, object]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """The message is on its way.

        Raises:
            MailboxFullError: there is no credit, or it is a following ref whose name this process
                has not yet looked up; nothing was sent.
            ActorDeadError, UnreachableError, TypeError, ValueError: as for `tell`.
        """
        signature = signature_of(handler)
        tells.tell_nowait(speaker(), self, signature, signature.bind(args, kwargs))

    def following(self) -> Self:
        """A ref to whoever holds the name at the time of each call.

        Between two lives, and for a name that nobody ever held, asks and tells raise
        `ActorDeadError`. Nothing is sent again to the next holder.
        """
        return type(self)(self.system, self.name, FOLLOW, "")

    def stream(
        self,
        handler: Callable[Concatenate[A_co, P], AsyncIterator[T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AbstractAsyncContextManager[AsyncIterator[T]]:
        """The items of an async generator, as they are yielded.

            async with ref.stream(Counter.numbers, 10) as numbers:
                async for number in numbers: ...

        At most 1,024 items and 4 MiB are on their way; then the generator waits. It occupies its
        actor until it ends, unless it is reentrant. Leaving the block cancels it, and waits for
        nobody; so does the death of whoever iterates. A deadline in force when the block is
        entered is the generator's. A wait for an item that is cancelled loses none.

        Raises:
            TypeError, ValueError: as for `ask`, here; nothing was sent.
            ActorDeadError, UnreachableError, MailboxFullError: on entering, or in the place of an
                item, after those that had come.
            RemoteError: in the place of an item: the generator raised; the actor goes on.
            WireError: an argument does not fit the handler, or an item its annotation.
        """
        signature = signature_of(handler)
        return Stream(speaker(), self, signature, signature.bind(args, kwargs))

    async def stop(self) -> ExitReason:
        """It and all placed under it have ended and are forgotten; this is how it ended.

        It may finish its current handler (0.5 s) and its ``on_stop``; what does not end is
        killed within 2 s, what is frozen at once. For one that is dead already: how it died.

        Raises:
            UnreachableError: it is a local cell that lives on, forgotten, until its frozen or
                busy process goes on or ends.
        """
        return await requests.stop(speaker(), self)

    async def kill(self) -> ExitReason:
        """It is certainly dead, by SIGKILL; what is placed under it lives on.

        Nobody ordered that end: who is permanent or transient lives again.

        Raises:
            UnreachableError: it is a local cell whose process is frozen or busy; it ends when
                that goes on.
        """
        return await requests.kill(speaker(), self)

    async def restart(self) -> Self:
        """Its next incarnation is up, at its place and with its children; this is its ref.

        It is stopped first if it lives. Nothing is restarted for a ref whose incarnation is not
        the present or the last one of its name: that is an `ActorDeadError`.

        Raises:
            SpawnError: the next incarnation did not come up.
            UnreachableError: it is a local cell whose process is frozen or busy; it ends when
                that goes on, and lives again if it is permanent.
        """
        return cast("Self", ref_to(await requests.restart(speaker(), self)))

    async def wait(self) -> ExitReason:
        """It has ended; at once if it has ended before."""
        return await requests.wait(speaker(), self)


def ref_to(address: Address) -> ActorRef[Any]:
    """The address, as a ref."""
    return ActorRef(address.system, address.name, address.incarnation, address.endpoint)
