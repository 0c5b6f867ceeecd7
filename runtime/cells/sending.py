"""What is sent to a cell, from the sender's side: the way there, credit, and what can go wrong.

Asks, tells and streams share it (`runtime.cells.asks`, `runtime.cells.tells`,
`runtime.cells.stream`).

Invariants
----------
* A pair is announced before anything is sent on it.
* Inside a handler nobody waits for credit longer than `CREDIT_WAIT_S`: two cells that tell each
  other with full windows would wait for ever.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import trio

from runtime.cells.call import current
from runtime.cells.following import holder
from runtime.errors import ActorDeadError, MailboxFullError, RemoteError, WireError
from runtime.exits import KINDS, ExitReason
from runtime.messages import envelope as wire
from runtime.traffic.pair import Inbound, Outbound, dead, unreachable

if TYPE_CHECKING:
    from runtime.address import Address
    from runtime.cells.service import Service
    from runtime.exits import Kind
    from runtime.messages.codec import Buffer, Part

CREDIT_WAIT_S = 30.0


def open_pair(source: Service, target: Address) -> Outbound:
    """The pair from ``source`` to ``target``, announced if it is new.

    Raises:
        ActorDeadError: the target's process is known to be dead.
        NotLookedUp: the target is whoever holds the name, and that is not known here.
        ValueError: the target's endpoint is none.
    """
    exchange = source.exchange
    if not target.incarnation:
        target = holder(exchange, target)
    if target.system != exchange.address.system:
        raise ActorDeadError(f"{target} is of another system")
    outbound = source.outbounds.get(target.incarnation)
    if outbound is not None:
        return outbound
    peer = exchange.peer(target.endpoint)
    if peer.dead is not None:
        raise dead(target, peer.dead)
    number = exchange.next_id()
    outbound = Outbound(number, source, target, peer, None)
    if peer is exchange.here:
        cell = exchange.cells.get(target.incarnation)
        if cell is None:
            raise ActorDeadError(f"{target} is not alive")
        outbound.local = Inbound(
            number,
            source.address.name,
            source.address.incarnation,
            target.name,
            cell,
            peer,
            outbound,
        )
        cell.inbounds.append(outbound.local)
        exchange.regrant(cell)
    else:
        exchange.ready(peer)
        opening = wire.Open(
            number, source.address.name, source.address.incarnation, target.name, target.incarnation
        )
        exchange.post(peer, opening)
    source.outbounds[target.incarnation] = outbound
    exchange.outbounds[number] = outbound
    peer.outbounds[number] = outbound
    return outbound


async def wait_for_credit(outbound: Outbound, weight: int) -> None:
    """Return when a message may leave; the caller spends the credit at once.

    Raises:
        MailboxFullError: inside a handler, after `CREDIT_WAIT_S`.
    """
    call = current.get()
    inside = call is not None and call.inside
    with trio.move_on_after(CREDIT_WAIT_S if inside else math.inf):
        await outbound.credit(weight)
        return
    raise MailboxFullError(
        f"no credit from {outbound.source.address.name} to {outbound.target.name} "
        f"for {CREDIT_WAIT_S:g} s"
    )


def part_of(message: Any, body: bytearray, start: int, buffers: Sequence[Buffer]) -> Part:
    """A message for a cell of this process, taken back out of the batch."""
    payload = memoryview(bytes(body[start:] if start else body))
    del body[start:]
    return message, payload, [memoryview(each) for each in buffers] if buffers else ()


def deliver_here(inbound: Inbound, part: Part) -> None:
    """Put a message into the mailbox of a cell of this process."""
    if inbound.cell is not None:  # else it has ended, and its pairs were closed with it
        inbound.cell.deliver(inbound, part)


def due_at(outbound: Outbound, deadline: float) -> float:
    """An instant on trio's clock, as it travels: seconds left, to who has another clock."""
    if deadline == math.inf:
        return 0.0
    due = deadline - outbound.source.exchange.clock_offset
    if not outbound.peer.shares_clock or due <= 0.0:
        due = min(trio.current_time() - deadline, -1e-6)
    return due


def error_of(outbound: Outbound, answer: wire.Fail | None) -> Exception:
    """What an asker is told who was answered with this, or (None) was not answered."""
    if answer is None:
        if outbound.source.exchange.closed:
            return trio.ClosedResourceError("the system has ended")
        reason = outbound.closed or outbound.peer.dead
        if reason is not None:
            return dead(outbound.target, reason)
        return unreachable(outbound.target, outbound.peer.verdict or "it was silent for a while")
    kind, message = answer.kind, answer.message
    if kind == "raised":
        return RemoteError(answer.type_name, message, answer.traceback)
    if kind == "wire":
        return WireError(message)
    if kind == "full":
        return MailboxFullError(message)
    if kind == "cycle":
        return RuntimeError(message)
    if kind == "late":
        return trio.TooSlowError(message)
    if kind == "cancelled":
        return RemoteError("Cancelled", message)
    said = answer.type_name if answer.type_name in KINDS else "unknown"
    return ActorDeadError(message, ExitReason(kind=cast("Kind", said)))
