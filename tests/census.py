"""What there is in a virtual system: to be counted before and after.

``census`` is what may be there, but no more than before: tasks, bodies, places, watches.
``leftovers`` is what must not be there when nobody asks anything of anybody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec
import trio

from actors.testing.virtual import VirtualSystem
from runtime.cells.mailbox import Mailbox
from runtime.traffic.exchange import Exchange
from runtime.traffic.pair import Outbound

SETTLES_S = 6.0
"""A stop takes 2 s a cell, and what it began is finished."""


class Census(msgspec.Struct, frozen=True):
    """Counts; ``places`` are (name, parent, state)."""

    tasks: dict[str, int]
    bodies: dict[str, int]
    places: list[tuple[str, str, str]]
    planned: list[str]
    restless: list[str]
    watches: int


def tasks() -> dict[str, int]:
    """All tasks of this trio run but the main one's own: how many of each name."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    return dict(sorted(Counter(task.name for task in _under(root)).items()))


def _under(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    yield task
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from _under(child)


def exchanges(system: VirtualSystem) -> list[Exchange]:
    """Of all processes, the controller's first."""
    return [system.exchange, *(body.exchange for body in system.host.bodies.values())]


def actors(system: VirtualSystem) -> list[object]:
    """All that run in it."""
    return [cell.actor for exchange in exchanges(system) for cell in exchange.cells.values()]


def census(system: VirtualSystem) -> Census:
    """What there is now."""
    roll = system.nodes.roll
    return Census(
        tasks=tasks(),
        bodies=dict(Counter(body.name for body in system.host.bodies.values())),
        places=sorted(
            (name, roll.places.parent(name), roll.places.place(name).state.value)
            for name in roll.records
        ),
        planned=[record.name for record in roll.records.values() if record.planned],
        restless=[
            str(record.address)
            for record in roll._by_incarnation.values()
            if roll.records.get(record.name) is not record and not record.ended.is_set()
        ],
        watches=sum(len(exchange.vigil) for exchange in exchanges(system)),
    )


def leftovers(system: VirtualSystem) -> list[str]:
    """What is under way, or out of balance, in words."""
    return [
        f"{exchange.address.name}: {what}"
        for exchange in exchanges(system)
        for what in _of_exchange(system, exchange)
    ]


def _of_exchange(system: VirtualSystem, exchange: Exchange) -> Iterator[str]:
    if exchange.pending:
        yield f"asks {list(exchange.pending)}"
    if exchange.streams:
        yield f"streams {list(exchange.streams)}"
    if exchange.running is not None:
        yield "a call that runs"
    for peer in exchange.peers.values():
        if peer.pending:
            yield f"{peer.pending} asks to {peer.endpoint}"
    for cell in exchange.cells.values():
        for what in _of_cell(cell):
            yield f"cell {cell.address.name}: {what}"
    for outbound in exchange.outbounds.values():
        for what in _of_pair(system, outbound):
            yield f"{outbound.source.address.name} to {outbound.target.name}: {what}"


def _of_cell(cell: Mailbox) -> Iterator[str]:
    if cell.in_flight is not None:
        yield f"{cell.in_flight.message} in flight"
    if cell.apart or cell.sources:
        yield f"apart {cell.apart}, sources {cell.sources}"
    if cell.mailbox or cell.waiting_bytes or cell.reentrants:
        waiting = f"{len(cell.mailbox)} messages, {cell.waiting_bytes} bytes"
        yield f"{waiting}, {cell.reentrants} reentrant"
    if cell.taken:
        yield "taken"
    if cell.scope is not None and cell.scope.cancel_called:
        yield "its scope is spent"


def _of_pair(system: VirtualSystem, outbound: Outbound) -> Iterator[str]:
    window = outbound.window
    if outbound.waiters:
        yield f"{len(outbound.waiters)} wait for credit"
    if window.in_flight or window.reply_bytes or window.done_bytes != window.bytes_sent:
        sizes = (window.in_flight, window.reply_bytes, window.bytes_sent - window.done_bytes)
        yield f"in flight, reply bytes, bytes: {sizes}"
    counts = (window.handled, window.failed, window.expired, window.rejected)
    if window.sent != sum(counts) + window.undelivered + window.in_flight:
        yield f"sent {window.sent}, but {counts}"
    receiver = next(
        each for each in exchanges(system) if each.address.endpoint == outbound.peer.endpoint
    )
    inbound = outbound.local or receiver.peers[outbound.source.address.endpoint].inbounds.get(
        outbound.number
    )
    if inbound is None:
        yield "nobody at the other end"
    else:
        ledger = inbound.ledger
        theirs = (ledger.handled, ledger.failed, ledger.expired, ledger.rejected)
        if theirs != counts:
            yield f"counts {counts}, there {theirs}"


async def settle(system: VirtualSystem, before: Census) -> None:
    """It is as before, and nothing is under way; soon, if not now."""
    limit = trio.current_time() + SETTLES_S
    while True:
        await trio.sleep(0.15)
        left, now = leftovers(system), census(system)
        if not left and now == before:
            return
        if trio.current_time() > limit:
            changed = [
                f"{field}: {old} became {new}"
                for field in before.__struct_fields__
                if (old := getattr(before, field)) != (new := getattr(now, field))
            ]
            raise AssertionError("\n".join(left + changed))
