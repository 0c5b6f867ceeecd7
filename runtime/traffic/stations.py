"""Traced asks, at the receiver: each station of theirs is told to the asker.

For a traced ask the cell gets a handler of its own, that notes when it starts, suspends for the
first time, and ends. So the path of all others is as it was.

Invariants
----------
* A traced ask is answered, refused, cancelled and counted like any other.
* Its handler stays as long as it may wait in the mailbox, and is taken back with the next one.

Stations: ``received`` (read off the wire), ``queued`` (in the mailbox, or started at once if it is
reentrant), ``started``, ``suspended``, ``ended``.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

from runtime.messages import envelope as wire

if TYPE_CHECKING:
    from runtime.cells.mailbox import Mailbox
    from runtime.messages.signature import Signature
    from runtime.traffic.exchange import Exchange
    from runtime.traffic.pair import Inbound, Peer


Note = Callable[[str], None]


class Stations:
    """Of one process. ``told``: by id, (name, instant) of the stations of its own asks."""

    def __init__(self, exchange: Exchange) -> None:
        self.told: dict[int, tuple[Peer, list[tuple[str, float]]]] = {}
        self._exchange = exchange
        self._lent: list[tuple[Mailbox, str]] = []
        self._due: list[tuple[str, str, Note]] = []  # to the cell that is on order
        exchange.control[wire.Traced] = self._received
        exchange.control[wire.Station] = self._told

    def _told(self, peer: Peer, station: wire.Station, _: Any) -> None:
        asked, stations = self.told.get(station.id, (None, []))
        if asked is peer:
            stations.append((station.name, station.at))

    def _received(self, peer: Peer, traced: wire.Traced, payload: memoryview) -> None:
        inbound = peer.inbounds.get(traced.pair)
        if inbound is None:
            self._exchange.strays["unknown pair"] += 1
        else:
            inbound.received += 1
            self.take_in(inbound, traced, payload)

    def take_in(self, inbound: Inbound, traced: wire.Traced, payload: memoryview) -> None:
        """Do with it what is done with an ask, and tell how it fares."""
        self._sweep()

        def note(name: str) -> None:
            at = self._exchange.monotonic
            self._exchange.say(inbound.peer, wire.Station(traced.id, name, at))

        note("received")
        cell = inbound.cell
        signature = cell.handlers.get(traced.handler) if cell is not None else None
        name = traced.handler
        if cell is not None and (signature is not None or cell.expected):
            name = f"{traced.handler} traced {inbound.peer.endpoint} {traced.id}"
            if signature is not None:
                self._lend(cell, name, signature, note)
            else:
                self._due.append((name, traced.handler, note))
        ask = wire.Ask(traced.pair, name, traced.size, traced.id, traced.deadline, traced.chain)
        part = ask, payload, ()
        if cell is None:
            self._exchange.refuse(inbound, part)
            return
        cell.deliver(inbound, part)
        if (cell.mailbox and cell.mailbox[-1][1] is part) or (inbound, traced.id) in cell.apart:
            note("queued")

    def become(self, cell: Mailbox) -> None:
        """It is known what the cell that was on order runs: what is traced there can be."""
        due, self._due = self._due, []
        for name, handler, note in due:
            if (signature := cell.handlers.get(handler)) is not None:
                self._lend(cell, name, signature, note)

    def _lend(self, cell: Mailbox, name: str, signature: Signature, note: Note) -> None:
        cell.handlers[name] = _Traced(signature, note)  # type: ignore[assignment]
        self._lent.append((cell, name))

    def _sweep(self) -> None:
        """Take back what no message of a mailbox needs any more."""
        kept = []
        for cell, name in self._lent:
            if any(part[0].handler == name for _, part in cell.mailbox):
                kept.append((cell, name))
            else:
                cell.handlers.pop(name, None)
        self._lent = kept


class _Traced:
    """A signature whose handler tells how it fares."""

    def __init__(self, signature: Signature, note: Note) -> None:
        self._signature = signature
        self._note = note

    def __getattr__(self, name: str) -> Any:
        return getattr(self._signature, name)

    def run(self, actor: Any, *args: Any) -> Any:
        if self._signature.streams:
            return self._signature.run(actor, *args)
        return _drive(self._signature.run(actor, *args), self._note)


@types.coroutine
def _drive(handler: Coroutine[Any, Any, Any], note: Note) -> Generator[Any, Any, Any]:
    """Await a handler, and note when it starts, suspends and ends."""
    note("started")
    resume: Callable[[], Any] = functools.partial(handler.send, None)
    suspended = False
    try:
        while True:
            try:
                trap = resume()
            except StopIteration as end:
                return end.value
            if not suspended:
                suspended = True
                note("suspended")
            try:
                value = yield trap
            except BaseException as error:
                resume = functools.partial(handler.throw, error)
            else:
                resume = functools.partial(handler.send, value)
    finally:
        note("ended")
