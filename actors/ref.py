"""A ref: a value that names one actor, and the three things to do with it.

It can be sent, stored and compared, and holds no socket: asks go through the exchange of the
process in which they are made, on behalf of the actor whose handler makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

from actors import requests
from runtime import calls
from runtime.address import Address
from runtime.context import speaker
from runtime.exits import ExitReason
from runtime.signature import signature_of

if TYPE_CHECKING:
    from actors.actor import Actor

A_co = TypeVar("A_co", bound="Actor", covariant=True)
P = ParamSpec("P")
R = TypeVar("R")


class ActorRef(Address, Generic[A_co], frozen=True, array_like=True, eq=False):
    """One incarnation of a name; equal to another ref of the same incarnation."""

    async def ask(
        self,
        handler: Callable[Concatenate[A_co, P], Coroutine[Any, Any, R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
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
        signature = signature_of(handler)
        result: R = await calls.ask(speaker(), self, signature, signature.bind(args, kwargs))
        return result

    async def tell(
        self,
        handler: Callable[Concatenate[A_co, P], Coroutine[Any, Any, object]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """The message is on its way; nobody waits for the handler.

        Waits while there is no credit (at most 1,024 messages and 4 MiB are in flight). With
        credit left it does not wait; every 64th tell, or one after a millisecond, is a checkpoint.

        Raises:
            ActorDeadError, UnreachableError: it was not sent.
            MailboxFullError: inside a handler, after 30 s without credit.
            TypeError, ValueError: an argument cannot travel, or is too large.
        """
        signature = signature_of(handler)
        await calls.tell(speaker(), self, signature, signature.bind(args, kwargs))

    def tell_nowait(
        self,
        handler: Callable[Concatenate[A_co, P], Coroutine[Any, Any, object]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """The message is on its way.

        Raises:
            MailboxFullError: there is no credit; nothing was sent.
            ActorDeadError, UnreachableError, TypeError, ValueError: as for `tell`.
        """
        signature = signature_of(handler)
        calls.tell_nowait(speaker(), self, signature, signature.bind(args, kwargs))

    async def stop(self) -> ExitReason:
        """It and all placed under it have ended and are forgotten; this is how it ended.

        It may finish its current handler (0.5 s) and its ``on_stop``; what does not end is
        killed within 2 s, what is frozen at once. For one that is dead already: how it died.
        """
        return await requests.stop(speaker(), self)

    async def kill(self) -> ExitReason:
        """It is certainly dead, by SIGKILL; what is placed under it lives on."""
        return await requests.kill(speaker(), self)

    async def restart(self) -> ActorRef[A_co]:
        """Its next incarnation is up, and this is its ref.

        Raises:
            SpawnError: it did not come up.
        """
        return ref_to(await requests.restart(speaker(), self))

    async def wait(self) -> ExitReason:
        """It has ended; at once if it has ended before."""
        return await requests.wait(speaker(), self)


def ref_to(address: Address) -> ActorRef[Any]:
    """The address, as a ref."""
    return ActorRef(address.system, address.name, address.incarnation, address.endpoint)
