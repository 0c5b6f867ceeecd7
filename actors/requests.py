"""What an actor or a program asks of the controller, in the words of the API.

Each of these is one ask to the `Registrar`; its refusals become the errors that the API
promises.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, TypeVar

import trio

from actors.child_spec import ChildOptions, check, spec_of
from runtime.address import Address
from runtime.cells import asks, tells
from runtime.cells.local_cells import Recipe
from runtime.cells.service import Service
from runtime.cells.snapshot import keeps, state_decoder
from runtime.cells.stream import Stream
from runtime.errors import ActorError
from runtime.exits import ExitReason
from runtime.messages.accounts import Audit, DeadLetter
from runtime.messages.behaviour import Behaviour, handlers_of
from runtime.messages.constructor import constructor_of
from runtime.messages.signature import signature_of
from runtime.traffic.registrar import Answer, Registrar, Row, Spec, registrar_of

T = TypeVar("T")


async def _ask(cell: Service, handler: Callable[..., Any], *args: Any) -> Any:
    signature = signature_of(handler)
    answer = await asks.ask(cell, registrar_of(cell.exchange), signature, args)
    if not isinstance(answer, Answer):
        return answer
    if answer.refusal is not None:
        raise answer.refusal.error()
    return answer


async def spawn(
    cell: Service,
    actor: Callable[..., Behaviour],
    args: tuple[Any, ...],
    *,
    parent: str,
    options: ChildOptions,
) -> Address:
    """Start a child under ``parent``. See `actors.System.spawn`."""
    behaviour, encoded = prepare(actor, args)
    check(options)
    local = options.get("local", False)
    spec = spec_of(
        behaviour,
        options,
        entry=entry_of(behaviour, local, cell.exchange.by_reference),
        parent=parent,
        token=f"{cell.address.incarnation}-{cell.exchange.next_id()}",
        virtual=cell.exchange.by_reference is not None,
    )
    try:
        with _cell_to_be(cell, behaviour, encoded, spec):
            answer = await _ask(cell, Registrar.spawn_child, spec, encoded)
    except trio.Cancelled:
        # The answer may be on its way: then nobody would own the child.
        with suppress(ActorError, trio.ClosedResourceError):
            registrar = registrar_of(cell.exchange)
            tells.tell_nowait(cell, registrar, signature_of(Registrar.abandon), (spec.token,))
        raise
    address: Address = answer.address
    return address


def prepare(
    actor: Callable[..., Behaviour], args: tuple[Any, ...]
) -> tuple[type[Behaviour], bytes]:
    """The class, and its constructor's arguments encoded.

    Raises:
        TypeError: it is no class of actors, its signatures or an argument cannot travel, or
            the arguments do not fit the constructor.
    """
    kwargs: dict[str, Any] = {}
    while isinstance(actor, functools.partial):
        args = (*actor.args, *args)
        kwargs = {**actor.keywords, **kwargs}
        actor = actor.func
    if not (isinstance(actor, type) and issubclass(actor, Behaviour)):
        raise TypeError(f"give a class of actors to spawn, not {actor!r}")
    handlers_of(actor)
    if keeps(actor):
        state_decoder(actor)
    parameters = constructor_of(actor)
    encoded = bytearray()
    if parameters is None:
        if args or kwargs:
            raise TypeError(f"{actor.__qualname__}() takes no arguments")
    else:
        parameters.encode(parameters.bind(args, kwargs), encoded, whole=True)
    return actor, bytes(encoded)


def entry_of(
    behaviour: type[Behaviour],
    local: bool = False,
    by_reference: Callable[[type], str] | None = None,
) -> str:
    """The "module:Class" by which another process finds the class.

    ``by_reference``: who names it where all processes share it.

    Raises:
        ValueError: it finds it by nothing.
    """
    if by_reference is not None:
        return by_reference(behaviour)
    module, name = behaviour.__module__, behaviour.__qualname__
    if module == "__mp_main__":
        module = "__main__"
    if local:
        return f"{module}:{name}"
    if "<locals>" in name:
        raise ValueError(f"{name} cannot be imported in another process: it is inside a function")
    if module == "__main__" and not hasattr(sys.modules["__main__"], "__file__"):
        raise ValueError(
            f"{name} cannot be imported in another process: it comes from a REPL or from -c"
        )
    return f"{module}:{name}"


def _cell_to_be(
    cell: Service, behaviour: type[Behaviour], args: bytes, spec: Spec
) -> AbstractContextManager[None]:
    """What this process is to run when it is told to; nothing, if the child is a process."""
    if not spec.local:
        return nullcontext()
    cells = cell.exchange.local_cells
    assert cells is not None
    recipe = Recipe(
        behaviour,
        args,
        cell.address,
        spec.snapshot_every_s,
        spec.mailbox_messages,
        spec.mailbox_bytes,
    )
    return cells.wanting(spec.token, recipe)


async def look_up(cell: Service, name: str) -> Address:
    """The ref of whoever holds the name now."""
    answer = await _ask(cell, Registrar.look_up, name)
    address: Address = answer.address
    return address


async def stop(cell: Service, who: Address) -> ExitReason:
    """See `actors.ActorRef.stop`."""
    answer = await _ask(cell, Registrar.stop_tree, who)
    reason: ExitReason = answer.reason
    return reason


async def kill(cell: Service, who: Address) -> ExitReason:
    """See `actors.ActorRef.kill`."""
    answer = await _ask(cell, Registrar.kill_one, who)
    reason: ExitReason = answer.reason
    return reason


async def restart(cell: Service, who: Address) -> Address:
    """See `actors.ActorRef.restart`."""
    answer = await _ask(cell, Registrar.restart_one, who)
    address: Address = answer.address
    return address


async def wait(cell: Service, who: Address) -> ExitReason:
    """See `actors.ActorRef.wait`."""
    answer = await _ask(cell, Registrar.wait_for, who)
    reason: ExitReason = answer.reason
    return reason


async def audit(cell: Service) -> Audit:
    """See `actors.System.audit`."""
    answer: Audit = await _ask(cell, Registrar.audit)
    return answer


async def dead_letters(cell: Service) -> list[DeadLetter]:
    """See `actors.System.dead_letters`."""
    answer: list[DeadLetter] = await _ask(cell, Registrar.dead_letters)
    return answer


def watch_dead_letters(cell: Service) -> Stream[DeadLetter | None]:
    """Its first item is None: from then on it watches."""
    signature = signature_of(Registrar.watch_dead_letters)
    return Stream(cell, registrar_of(cell.exchange), signature, ())


async def rows(cell: Service) -> list[Row]:
    """See `actors.System.tree`."""
    answer: list[Row] = await _ask(cell, Registrar.rows)
    return answer


async def why(cell: Service, name: str) -> ExitReason | None:
    """See `actors.System.why`."""
    answer = await _ask(cell, Registrar.certificate, name)
    reason: ExitReason | None = answer.reason
    return reason
