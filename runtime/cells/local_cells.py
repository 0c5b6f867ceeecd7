"""The cells of one process beside its first: actors spawned with ``local=True``.

They live as long as the process does, at most. The controller gives them names and
incarnations like any node, says when one is to live, and hears of its end.

Invariants
----------
* The controller gets one answer to each order: the cell is up, or why not; of one that is up it
  is told the end, once, with its reason.
* A start can be stopped like a life.
* A cell can be spoken to from the order on.
* A cell lives again in the process in which it lived before, or not at all; nor once
  `ENDED_KEPT` others have ended after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from runtime.cells import asks, snapshot
from runtime.cells.call import Call, current
from runtime.cells.cell import Cell
from runtime.cells.crash import traceback_text
from runtime.errors import ActorDeadError
from runtime.exits import ExitReason, fit
from runtime.messages import envelope as wire
from runtime.messages.behaviour import Behaviour, handlers_of
from runtime.messages.constructor import construct
from runtime.messages.signature import signature_of
from runtime.traffic.registrar import Registrar, registrar_of

if TYPE_CHECKING:
    from runtime.address import Address
    from runtime.traffic.exchange import Exchange
    from runtime.traffic.pair import Peer


ENDED_KEPT = 1000


class Recipe(msgspec.Struct, frozen=True):
    """What it takes to run a cell once more."""

    behaviour: type[Behaviour]
    args: bytes
    parent: Any  # its Address
    snapshot_every_s: float = 1.0
    mailbox_messages: int = 8192
    mailbox_bytes: int = 32 * 1024 * 1024


class LocalCells:
    """Of one process. They run by the controller's order (`wire.Run`)."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._wanted: dict[str, Recipe] = {}  # for the first time, by token
        self._recipes: dict[int, Recipe] = {}  # by incarnation
        self._starting: dict[int, trio.CancelScope] = {}
        self._ended: deque[int] = deque()
        exchange.local_cells = self
        exchange.control[wire.Run] = self._order

    def __contains__(self, incarnation: int) -> bool:
        """Whether it lives, or has lived, in this process."""
        return incarnation in self._recipes

    @contextmanager
    def wanting(self, token: str, recipe: Recipe) -> Iterator[None]:
        """An order with this token is for this recipe, within the block."""
        self._wanted[token] = recipe
        try:
            yield
        finally:
            self._wanted.pop(token, None)

    def stop(self, incarnation: int, force: bool, reason: ExitReason | None) -> None:
        """It ends, or does not start. One that has ended already stays as it is."""
        starting = self._starting.get(incarnation)
        cell = self._exchange.cells.get(incarnation)
        if starting is not None:
            starting.cancel()
        elif cell is not None:
            cell.stop(force, reason)

    def _order(self, peer: Peer, order: wire.Run, payload: memoryview) -> None:
        recipe = self._recipes.pop(order.previous, None) or self._wanted.pop(order.token, None)
        if self._exchange.nursery is None or peer is not self._exchange.controller:
            return
        if recipe is None:
            self._failed(order.address, LookupError(f"{order.address} has never lived here"))
            return
        incarnation = order.address.incarnation
        self._recipes[incarnation] = recipe
        self._starting[incarnation] = trio.CancelScope()
        cell = Cell(
            self._exchange,
            order.address,
            handlers_of(recipe.behaviour),
            mailbox_messages=recipe.mailbox_messages,
            mailbox_bytes=recipe.mailbox_bytes,
        )
        cell.parent = recipe.parent
        cell.enter()
        self._exchange.nursery.start_soon(self._live, recipe, cell, bytes(payload))

    async def _live(self, recipe: Recipe, cell: Cell, kept: bytes) -> None:
        exchange, address = self._exchange, cell.address
        current.set(Call(cell, None, None))
        starting = self._starting[address.incarnation]

        def up() -> None:
            del self._starting[address.incarnation]
            exchange.say(exchange.controller, wire.Started(address.endpoint, address.incarnation))

        try:
            with starting:
                actor = recipe.behaviour.__new__(recipe.behaviour)
                construct(actor, recipe.args)
                if kept:
                    snapshot.restore(actor, kept, exchange.monotonic, exchange.boot_id)
                reason = await cell.run(actor, up, recipe.snapshot_every_s)
        except (Exception, SystemExit) as failure:
            cell.never(failure)
            self._failed(address, failure)
            return
        finally:
            self._starting.pop(address.incarnation, None)
            self._ended.append(address.incarnation)
            if len(self._ended) > ENDED_KEPT:
                self._recipes.pop(self._ended.popleft(), None)
        if starting.cancelled_caught:
            self._failed(address, RuntimeError("its start was given up"))
        else:
            await self._tell_end(cell, reason)

    def _failed(self, address: Address, failure: BaseException) -> None:
        text = traceback_text(failure)
        self._exchange.say(
            self._exchange.controller,
            wire.StartFailed(
                type(failure).__name__, fit(str(failure)), fit(text), address.incarnation
            ),
        )

    async def _tell_end(self, child: Cell, reason: ExitReason) -> None:
        ended = signature_of(Registrar.local_ended)
        with suppress(ActorDeadError, trio.ClosedResourceError):  # then this process ends too
            await asks.ask(child, registrar_of(self._exchange), ended, (child.address, reason))
