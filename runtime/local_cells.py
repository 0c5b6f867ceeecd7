"""The cells of one process beside its first: actors spawned with ``local=True``.

They live as long as the process does, at most. The controller gives them names and
incarnations like any node, hears of their ends, and says when one is to live again.

Invariants
----------
* A cell that has started and ended is told to the controller once, with its reason.
* A cell lives again in the process in which it lived before, or not at all.
"""

from __future__ import annotations

import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from runtime import calls, snapshot
from runtime import envelope as wire
from runtime.behaviour import Behaviour, handlers_of
from runtime.cell import Cell
from runtime.constructor import construct
from runtime.errors import ActorDeadError
from runtime.exits import ExitReason, fit
from runtime.registrar import Registrar, registrar_of
from runtime.signature import signature_of

if TYPE_CHECKING:
    from runtime.address import Address
    from runtime.exchange import Exchange
    from runtime.pair import Peer


class Recipe(msgspec.Struct, frozen=True):
    """What it takes to run a cell once more."""

    behaviour: type[Behaviour]
    args: bytes
    parent: Any  # its Address
    snapshot_every_s: float = 1.0
    mailbox_messages: int = 8192
    mailbox_bytes: int = 32 * 1024 * 1024


class LocalCells:
    """Of one process; `run` for the first lives, `wire.Run` for the later ones."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._recipes: dict[int, Recipe] = {}  # by incarnation
        exchange.local_cells = self
        exchange.control[wire.Run] = self._run_again

    def __contains__(self, incarnation: int) -> bool:
        """Whether it lives, or has lived, in this process."""
        return incarnation in self._recipes

    async def run(self, recipe: Recipe, address: Address, kept: bytes = b"") -> None:
        """The cell is up.

        Raises:
            Exception, SystemExit: whatever its constructor or ``on_start`` raised.
        """
        exchange = self._exchange
        self._recipes[address.incarnation] = recipe
        child = Cell(
            exchange,
            address,
            handlers_of(recipe.behaviour),
            mailbox_messages=recipe.mailbox_messages,
            mailbox_bytes=recipe.mailbox_bytes,
        )
        child.parent = recipe.parent
        settled = trio.Event()
        failures: list[BaseException] = []

        async def live() -> None:
            try:
                actor = recipe.behaviour.__new__(recipe.behaviour)
                construct(actor, recipe.args)
                if kept:
                    snapshot.restore(actor, kept, exchange.monotonic, exchange.boot_id)
                reason = await child.run(actor, settled.set, recipe.snapshot_every_s)
            except (Exception, SystemExit) as failure:
                failures.append(failure)
                settled.set()
                return
            await self._tell_end(child, reason)

        assert exchange.nursery is not None
        exchange.nursery.start_soon(live)
        await settled.wait()
        if failures:
            raise failures[0]

    async def _tell_end(self, child: Cell, reason: ExitReason) -> None:
        ended = signature_of(Registrar.local_ended)
        with suppress(ActorDeadError, trio.ClosedResourceError):  # then this process ends too
            await calls.ask(child, registrar_of(self._exchange), ended, (child.address, reason))

    def _run_again(self, peer: Peer, order: wire.Run, payload: memoryview) -> None:
        recipe = self._recipes.pop(order.previous, None)
        if self._exchange.nursery is not None:
            self._exchange.nursery.start_soon(self._revive, recipe, order.address, bytes(payload))

    async def _revive(self, recipe: Recipe | None, address: Address, kept: bytes) -> None:
        exchange = self._exchange
        answer: wire.Envelope = wire.Started(address.endpoint, address.incarnation)
        try:
            if recipe is None:
                raise LookupError(f"{address} has never lived here")
            await self.run(recipe, address, kept)
        except (Exception, SystemExit) as failure:
            text = "".join(traceback.format_exception(failure))
            answer = wire.StartFailed(
                type(failure).__name__, fit(str(failure)), fit(text), address.incarnation
            )
        exchange.say(exchange.controller, answer)
