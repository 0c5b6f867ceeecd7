"""Archiving: the controller sees to it that the state file holds the tree.

Once a beat it sends the archive what the file lacks. It is the archive's supervisor as well:
nobody's budget is spent on that one, and nobody's strategy takes it along.

Invariants
----------
* One batch at a time is under way, and one transaction a beat; meanwhile changes fall together.
* What is wrong with the file, the disk or the archive is logged once, and tried again; the tree
  goes on. That it is right again is logged, too.
* At an orderly end the file holds the tree as it was when the end began, with the last
  snapshots of all who ended politely.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import trio

from actors import requests
from actors.archive.archive import Archive
from actors.archive.inventory import Inventory
from actors.archive.resuming import Resuming, seat
from actors.archive.state_file import Claim
from actors.archive.stored import Changes
from actors.child_spec import spec_of
from actors.control.controller import Controller
from runtime.address import ARCHIVE, CONTROLLER
from runtime.cells import asks
from runtime.cells.cell import Cell
from runtime.errors import ActorError, SpawnError, StateError
from runtime.messages.signature import signature_of

log = logging.getLogger("regrow")

BEAT_S: Final = 0.25
REST_S: Final = 10.0
"""How long the archive rests at most, before it is started once more."""
PATIENCE_S: Final = 30.0
END_S: Final = 1.0
PART_BYTES: Final = 8 * 1024 * 1024


class Archiving:
    """Of one system. ``cell``: on whose behalf it asks."""

    def __init__(self, claim: Claim, controller: Controller, cell: Cell) -> None:
        self._claim = claim
        self._controller = controller
        self._nodes = controller.nodes
        self._cell = cell
        self._beating = trio.CancelScope()
        self._trouble = ""
        self._rest_until = -math.inf
        self._failures = 0
        self._inventory = Inventory(self._nodes.places, self._nodes.records, claim.mark)

    async def begin(self, tasks: trio.Nursery, resuming: Resuming) -> None:
        """What the file holds lives again, and from now on the file follows the tree.

        Raises:
            StateError: the archive cannot write.
        """
        claim = self._claim
        self._nodes.roll.go_on_from(claim.last)
        seat(self._nodes.roll, claim.held)
        self._inventory.found(claim.held)
        why = await self._start_archive()
        if why:
            raise StateError(why)
        tasks.start_soon(self._run)
        await resuming.run()

    async def end(self, stop: Callable[[], Awaitable[None]]) -> None:
        """The file holds the tree as it is now; then ``stop`` was called, for all but the archive.

        Bounded by the caller, and by 1 s for each of two batches.
        """
        self._beating.cancel()
        records = list(self._nodes.records.values())
        with trio.move_on_after(END_S):
            await self._catch_up()
        await stop()
        late = self._inventory.late(records)
        if late is not None:
            with trio.move_on_after(END_S):
                self._note(await self._send(late))

    async def _run(self) -> None:
        with self._beating:
            while True:
                await trio.sleep(BEAT_S)
                await self._catch_up()

    async def _catch_up(self) -> None:
        """The file has what it lacked, or it is noted why not."""
        if not self._archive_lives():
            if trio.current_time() < self._rest_until:
                return
            why = await self._start_archive()
            if why:
                self._rest()
                self._note(why)
                return
        changes = self._inventory.missing(self._nodes.roll.last)
        if changes is None:
            return
        why = await self._send(changes)
        if not why:
            self._inventory.confirmed()
            self._failures = 0
        self._note(why)

    async def _send(self, changes: Changes) -> str:
        """It is in the file: an empty text; or why that is not known."""
        batch = msgspec.msgpack.encode(changes)
        starts = range(0, len(batch), PART_BYTES)
        write = signature_of(Archive.write)
        why = ""
        try:
            to = self._nodes.records[ARCHIVE].address
            with trio.move_on_after(PATIENCE_S) as patience:
                for start in starts:
                    part = batch[start : start + PART_BYTES]
                    first, last = start == 0, start == starts[-1]
                    why = await asks.ask(self._cell, to, write, (part, first, last))
        except (ActorError, LookupError) as error:
            return f"{ARCHIVE}: {error}"
        if patience.cancelled_caught:
            return f"{ARCHIVE} did not answer within {PATIENCE_S:g} s"
        return why

    def _note(self, why: str) -> None:
        """Say it once, whatever comes of the next attempts."""
        if why and not self._trouble:
            log.warning("the state is not kept for now: %s", why)
        elif self._trouble and not why:
            log.warning("the state is kept again")
        self._trouble = why

    # -- the archive

    def _archive_lives(self) -> bool:
        record = self._nodes.records.get(ARCHIVE)
        return record is not None and record.started and not record.gone.is_set()

    async def _start_archive(self) -> str:
        """It is up: an empty text; or why not."""
        args = (self._claim.path, self._claim.opening)
        behaviour, encoded = requests.prepare(Archive, args)
        try:
            spec = spec_of(
                behaviour,
                {"name": ARCHIVE},
                entry=requests.entry_of(behaviour, by_reference=self._cell.exchange.by_reference),
                parent=CONTROLLER,
                token="",
                virtual=self._cell.exchange.by_reference is not None,
            )
        except SpawnError as error:
            return str(error)
        answer = await self._controller.spawn_child(spec, encoded)
        return answer.refusal.message if answer.refusal is not None else ""

    def _rest(self) -> None:
        self._failures += 1
        pause_s = min(REST_S, BEAT_S * 2**self._failures)
        self._rest_until = trio.current_time() + pause_s
