"""What an actor or a program asks of the controller, in the words of the API.

Each of these is one ask to the `Registrar`; its refusals become the errors that the API
promises.
"""

from __future__ import annotations

import functools
import math
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import trio

from runtime import calls
from runtime.address import Address, check_name
from runtime.behaviour import Behaviour, handlers_of
from runtime.cell import Cell
from runtime.errors import ActorDeadError, ActorError, SpawnError
from runtime.exits import ExitReason
from runtime.life import construct, constructor_of
from runtime.registrar import Answer, Registrar, Restart, Row, Spec, Strategy, registrar_of
from runtime.service import Service
from runtime.signature import signature_of

T = TypeVar("T")


async def _ask(cell: Service, handler: Callable[..., Any], *args: Any) -> Any:
    signature = signature_of(handler)
    answer = await calls.ask(cell, registrar_of(cell.exchange), signature, args)
    if not isinstance(answer, Answer):
        return answer
    if answer.refusal is not None:
        raise answer.refusal.error()
    return answer.address or answer.reason


async def spawn(
    cell: Service,
    actor: Callable[..., Behaviour],
    args: tuple[Any, ...],
    *,
    parent: str,
    name: str | None,
    restart: Restart = "temporary",
    local: bool = False,
    start_s: float = 30.0,
    strategy: Strategy = "one_for_one",
    intensity: tuple[int, float] = (5, 10.0),
) -> Address:
    """Start a child under ``parent``. See `actors.System.spawn`."""
    behaviour, encoded = prepare(actor, args)
    if name is not None:
        check_name(name)
        if "/" in name:
            raise ValueError(f"the name of a child has no slash: {name!r}")
    if not 0 < start_s < math.inf:
        raise ValueError(f"start_s is a number of seconds, not {start_s!r}")
    spec = Spec(
        entry=entry_of(behaviour, local),
        parent=parent,
        name=name or "",
        stem=behaviour.__name__.lower(),
        restart=restart,
        strategy=strategy,
        max_restarts=intensity[0],
        period_s=intensity[1],
        local=local,
        start_s=start_s,
        token=f"{cell.address.incarnation}-{cell.exchange.next_id()}",
        environ=None if local else dict(os.environ),
        cwd="" if local else _working_directory(),
    )
    try:
        address: Address = await _ask(cell, Registrar.spawn_child, spec, encoded)
    except trio.Cancelled:
        # The answer may be on its way: then nobody would own the child.
        with suppress(ActorError, trio.ClosedResourceError):
            registrar = registrar_of(cell.exchange)
            calls.tell_nowait(cell, registrar, signature_of(Registrar.abandon), (spec.token,))
        raise
    if local:
        await _run_here(cell, behaviour, encoded, address)
    return address


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError as cause:
        raise SpawnError("the working directory of this process is no longer there") from cause


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
    parameters = constructor_of(actor)
    encoded = bytearray()
    if parameters is None:
        if args or kwargs:
            raise TypeError(f"{actor.__qualname__}() takes no arguments")
    else:
        parameters.encode(parameters.bind(args, kwargs), encoded, whole=True)
    return actor, bytes(encoded)


def entry_of(behaviour: type[Behaviour], local: bool = False) -> str:
    """The "module:Class" by which another process finds the class.

    Raises:
        ValueError: it finds it by nothing.
    """
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


async def _run_here(
    cell: Service, behaviour: type[Behaviour], args: bytes, address: Address
) -> None:
    """Run a local child; its end is told to the controller."""
    exchange = cell.exchange
    child = Cell(exchange, address, handlers_of(behaviour))
    settled = trio.Event()
    failures: list[BaseException] = []

    async def live() -> None:
        try:
            actor = behaviour.__new__(behaviour)
            construct(actor, args)
            reason = await child.run(actor, settled.set)
        except (Exception, SystemExit) as failure:
            failures.append(failure)
            settled.set()
            return
        with suppress(ActorDeadError, trio.ClosedResourceError):  # then this process ends too
            await _ask(cell, Registrar.local_ended, address, reason)

    assert exchange.nursery is not None
    exchange.nursery.start_soon(live)
    await settled.wait()
    if failures:
        (failure,) = failures
        error, text = type(failure).__name__, str(failure)
        await _ask(
            cell,
            Registrar.local_ended,
            address,
            ExitReason(kind="crashed", error=error, message=text),
        )
        await _ask(cell, Registrar.stop_tree, address)
        raise SpawnError(f"{error}: {text}") from failure


async def look_up(cell: Service, name: str) -> Address:
    """The ref of whoever holds the name now."""
    address: Address = await _ask(cell, Registrar.look_up, name)
    return address


async def stop(cell: Service, who: Address) -> ExitReason:
    """See `actors.ActorRef.stop`."""
    reason: ExitReason = await _ask(cell, Registrar.stop_tree, who)
    return reason


async def kill(cell: Service, who: Address) -> ExitReason:
    """See `actors.ActorRef.kill`."""
    reason: ExitReason = await _ask(cell, Registrar.kill_one, who)
    return reason


async def restart(cell: Service, who: Address) -> Address:
    """See `actors.ActorRef.restart`."""
    address: Address = await _ask(cell, Registrar.restart_one, who)
    return address


async def wait(cell: Service, who: Address) -> ExitReason:
    """See `actors.ActorRef.wait`."""
    reason: ExitReason = await _ask(cell, Registrar.wait_for, who)
    return reason


async def rows(cell: Service) -> list[Row]:
    """See `actors.System.tree`."""
    answer: list[Row] = await _ask(cell, Registrar.rows)
    return answer
