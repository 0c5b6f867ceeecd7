"""Following refs: incarnation 0 of a name means whoever holds it now.

A process asks the controller once for the holder of a name that it follows, and keeps the
answer until the controller tells it of that holder's end. Between two lives nobody holds the
name, and whatever was sent to the last holder stays with it: nothing is sent twice.

Invariants
----------
* The arguments are encoded at the call, before the controller is asked: what cannot travel
  raises there, and what changes meanwhile changes nothing.
* `Exchange.holders` names no incarnation whose end has been told here.
* Cancelled while the controller is asked: nothing was sent to the actor.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from runtime.errors import ActorDeadError, MailboxFullError
from runtime.messages.signature import signature_of
from runtime.traffic.registrar import Answer, Registrar, registrar_of

if TYPE_CHECKING:
    from runtime.address import Address
    from runtime.cells.service import Service
    from runtime.messages.codec import Buffer
    from runtime.messages.signature import Signature
    from runtime.traffic.exchange import Exchange
    from runtime.traffic.vigil import News

Ask = Callable[["Service", "Address", Any, tuple[Any, ...]], Awaitable[Any]]
Verb = Callable[["Service", "Address", Any, tuple[Any, ...]], Awaitable[Any]]


class NotLookedUp(Exception):
    """The controller is to be asked first who holds the name."""

    def __init__(self, target: Address) -> None:
        super().__init__(f"the name {target.name} is not yet looked up: ask or await a tell first")

    def full(self) -> MailboxFullError:
        """What is raised by whoever cannot wait for that."""
        return MailboxFullError(str(self))


def holder(exchange: Exchange, target: Address) -> Address:
    """Who holds the name now, as far as this process knows.

    Raises:
        ActorDeadError: it is a name of another system.
        NotLookedUp: nothing is known.
    """
    if target.system != exchange.address.system:
        raise ActorDeadError(f"{target} is of another system")
    exact = exchange.holders.get(target.name)
    if exact is None or exchange.peer(exact.endpoint).dead is not None:
        raise NotLookedUp(target)
    return exact


async def follow(
    verb: Verb,
    ask: Ask,
    source: Service,
    target: Address,
    signature: Signature,
    args: tuple[Any, ...],
) -> Any:
    """Do ``verb`` with whoever holds the name now, by the controller's word.

    Raises:
        ActorDeadError: nobody does, or ever did.
        TypeError, ValueError: an argument cannot travel, or is too large.
    """
    encoded = _Encoded(signature, args)
    return await verb(source, await look_up(ask, source, target), encoded, ())


async def look_up(ask: Ask, source: Service, target: Address) -> Address:
    """Who holds the name now; remembered until its end.

    Raises:
        ActorDeadError: nobody does, or ever did.
    """
    exchange = source.exchange
    answer: Answer = await ask(
        source, registrar_of(exchange), signature_of(Registrar.look_up), (target.name,)
    )
    if answer.refusal is not None:
        raise ActorDeadError(answer.refusal.message, answer.refusal.reason)
    exact = answer.address
    assert exact is not None
    if exchange.holders.get(target.name) != exact:
        exchange.holders[target.name] = exact
        exchange.vigil.watch(exact, _Forgetting(exchange, exact))
    return exact


class _Forgetting:
    """Drops what is known of a holder once it has ended."""

    def __init__(self, exchange: Exchange, exact: Address) -> None:
        self._exchange = exchange
        self._exact = exact

    def __call__(self, news: News) -> None:
        if self._exchange.holders.get(self._exact.name) == self._exact:
            del self._exchange.holders[self._exact.name]


class _Encoded:
    """A signature whose arguments are encoded already."""

    def __init__(self, signature: Signature, args: tuple[Any, ...]) -> None:
        self._signature = signature
        self._payload = bytearray()
        self._beside = signature.encode(args, self._payload)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._signature, name)

    def encode(
        self, args: tuple[Any, ...], into: bytearray
    ) -> tuple[Sequence[int], Sequence[Buffer]]:
        into += self._payload
        return self._beside
