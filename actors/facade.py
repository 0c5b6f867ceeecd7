"""What a system looks like from anywhere in it: to its program, and to its actors.

`Actor.system` is one on behalf of the actor; the program's own, `actors.System`, can do more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, overload

from actors import requests
from actors.ref import ActorRef, ref_to
from actors.requests import Restart
from runtime.address import CONTROLLER
from runtime.registrar import Row
from runtime.service import Service

if TYPE_CHECKING:
    from actors.actor import Actor

Ts = TypeVarTuple("Ts")
A = TypeVar("A", bound="Actor")


class Facade:
    """A system, as ``cell`` sees it."""

    def __init__(self, cell: Service) -> None:
        self.cell = cell

    async def spawn(
        self,
        actor: Callable[[*Ts], A],
        /,
        *args: *Ts,
        name: str | None = None,
        restart: Restart = "temporary",
        local: bool = False,
        start_s: float = 30.0,
    ) -> ActorRef[A]:
        """The actor runs, in a process of its own, as a child of the controller.

        ``functools.partial`` carries keyword arguments. ``local``: a cell of this process.

        Raises:
            SpawnError: it did not come up: its constructor or ``on_start`` raised, its module
                cannot be imported, the name is taken, ``start_s`` seconds were not enough.
            TypeError: a signature or an argument cannot travel.
            ValueError: not a name; its class cannot be imported in another process; or
                ``local`` in another process than the controller's.

        Cancellation: nothing of it is left.
        """
        exchange = self.cell.exchange
        if local and exchange.controller is not exchange.here:
            raise ValueError(
                f"local=True: a child of the controller cannot run in the process of "
                f"{self.cell.address.name}; use the actor's own spawn"
            )
        address = await requests.spawn(
            self.cell,
            actor,
            args,
            parent=CONTROLLER,
            name=name,
            restart=restart,
            local=local,
            start_s=start_s,
        )
        return ref_to(address)

    @overload
    async def lookup(self, name: str) -> ActorRef[Any]: ...
    @overload
    async def lookup(self, name: str, actor: type[A]) -> ActorRef[A]: ...
    async def lookup(self, name: str, actor: type[A] | None = None) -> ActorRef[Any]:
        """A ref to whoever holds the name now.

        Raises:
            LookupError: nobody ever did, or it was removed.
            ActorDeadError: it is not alive now.
        """
        return ref_to(await requests.look_up(self.cell, name))

    async def tree(self) -> list[Row]:
        """Every place, parents before children, in order of creation; the dead too."""
        return await requests.rows(self.cell)
