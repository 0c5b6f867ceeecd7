"""Tracing one ask: the stations that it passes, at both ends, with their times.

Stations: ``encoded``, ``credit`` (it may leave), ``sent`` (handed to the wire), then those of
`runtime.traffic.stations`, then ``answered``, or ``failed`` in its place. All are in the order in
which they were noted; one that was not reached is missing.

Invariants
----------
* Instants of both ends are those of one CLOCK_MONOTONIC where they share a host; else the
  receiver's are moved so that it received the ask when it was sent.
* A traced ask means what an ask means: its deadline travels, it is counted, and cancelling it
  cancels the handler.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from runtime.cells import asks, sending
from runtime.cells.call import current
from runtime.cells.following import NotLookedUp, look_up
from runtime.messages import envelope as wire
from runtime.traffic.slot import Slot

if TYPE_CHECKING:
    from runtime.address import Address
    from runtime.cells.service import Service
    from runtime.messages.signature import Signature
    from runtime.traffic.pair import Outbound


class Passed(msgspec.Struct, frozen=True):
    """A station, and when it was passed: seconds since the call."""

    station: str
    at_s: float


class Trace(msgspec.Struct, frozen=True):
    """What became of a traced ask. It cannot travel.

    ``error``: what an ask would have raised.
    """

    stations: tuple[Passed, ...]
    result: Any = None
    error: Exception | None = None


async def trace(
    source: Service, target: Address, signature: Signature, args: tuple[Any, ...]
) -> Trace:
    """Ask, and tell how the ask fared. See `actors.Facade.trace`."""
    if signature.streams:
        raise TypeError(f"{signature.qualified} is a stream: it cannot be traced")
    exchange = source.exchange
    began = exchange.monotonic
    passed: list[tuple[str, float]] = []
    body = bytearray()
    signature.encode(args, body, whole=True)
    passed.append(("encoded", exchange.monotonic))
    await trio.lowlevel.checkpoint_if_cancelled()
    outbound = await open_followed(source, target)
    outbound.check()
    if outbound.waiters or not outbound.window.has_room(len(body)):
        await sending.wait_for_credit(outbound, len(body))
    passed.append(("credit", exchange.monotonic))
    outbound.window.spend(len(body))
    deadline = trio.current_effective_deadline()
    call = current.get()
    id = exchange.next_id()
    traced = wire.Traced(
        outbound.number,
        signature.name,
        len(body),
        id,
        0.0 if deadline == math.inf else sending.due_at(outbound, deadline),
        () if call is None else call.chain,
    )
    slot = Slot(outbound, signature.name)
    exchange.pending[id] = slot
    peer = outbound.peer
    peer.pending += 1
    told: list[tuple[str, float]] = []
    exchange.stations.told[id] = peer, told
    try:
        if outbound.local is not None:
            passed.append(("sent", exchange.monotonic))
            exchange.stations.take_in(outbound.local, traced, memoryview(bytes(body)))
        else:
            peer.batch.body += body
            exchange.post(peer, traced, now=True)
            passed.append(("sent", exchange.monotonic))
        await exchange.reading.until(slot)
    finally:
        del exchange.stations.told[id]
        if exchange.pending.pop(id, None) is not None:
            peer.pending -= 1
            outbound.cancel(id)
        if slot.weight:
            outbound.window.reply_bytes -= slot.weight
            outbound.wake()
    ended = exchange.monotonic
    told = fitted(passed, told, peer.shares_clock)
    result, error = None, None
    if isinstance(slot.answer, wire.Reply | wire.Replies):
        result = signature.decode_result(slot.payload, slot.buffers)
    else:
        error = sending.error_of(outbound, slot.answer)  # type: ignore[arg-type]
    passed += *told, ("answered" if error is None else "failed", ended)
    stations = tuple(Passed(name, at - began) for name, at in passed)
    return Trace(stations, result, error)


def fitted(
    passed: list[tuple[str, float]], told: list[tuple[str, float]], shares_clock: bool
) -> list[tuple[str, float]]:
    """The receiver's instants on our clock; ``passed`` ends with ``sent``, which is put right.

    The receiver may have read the ask before the call that sent it returned to us.
    """
    if not told:
        return told
    name, sent_at = passed[-1]
    received_at = told[0][1]
    if shares_clock:
        passed[-1] = name, max(min(sent_at, received_at), passed[-2][1])
        return told
    return [(each, at + sent_at - received_at) for each, at in told]


async def open_followed(source: Service, target: Address) -> Outbound:
    """As `sending.open_pair`; of a name that is followed, whoever holds it is asked for."""
    try:
        return sending.open_pair(source, target)
    except NotLookedUp:
        pass
    return sending.open_pair(source, await look_up(asks.ask, source, target))
