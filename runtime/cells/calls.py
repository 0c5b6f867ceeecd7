"""Asks and tells, from the caller's side.

Invariants
----------
* Arguments are encoded at the call: what cannot travel raises there, and nothing was sent.
* An ask ends in a value, an `ActorError`, the cycle's `RuntimeError`, or its caller's own
  cancellation, which cancels the handler too and waits for nobody.
* With credit left a tell does not wait; every 64th one, or the first after a
  millisecond, is a checkpoint, so that a telling loop stays fair and cancellable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import trio

from runtime.cells.call import current
from runtime.cells.deadlines import effective_deadline
from runtime.cells.following import NotLookedUp, follow, holder
from runtime.cells.inplace import handle_here
from runtime.cells.runs import go_on
from runtime.errors import (
    ActorDeadError,
    MailboxFullError,
    RemoteError,
    WireError,
)
from runtime.exits import KINDS, ExitReason
from runtime.messages import envelope as wire
from runtime.traffic.pair import Inbound, Outbound, dead, unreachable
from runtime.traffic.slot import Slot

if TYPE_CHECKING:
    from runtime.address import Address
    from runtime.cells.service import Service
    from runtime.exits import Kind
    from runtime.messages.codec import Buffer, Part
    from runtime.messages.signature import Signature
    from runtime.traffic.exchange import Exchange

CREDIT_WAIT_S = 30.0
TELLS_BETWEEN_CHECKPOINTS = 64
TELLING_S = 0.001


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


async def ask(source: Service, target: Address, signature: Signature, args: tuple[Any, ...]) -> Any:
    """Call a handler and return its result. See `actors.ActorRef.ask`."""
    if signature.streams:
        raise TypeError(f"{signature.qualified} is a stream: use stream()")
    outbound = source.outbounds.get(target.incarnation)
    if outbound is None or target.system != outbound.target.system:
        try:
            outbound = open_pair(source, target)
        except NotLookedUp:
            outbound = None
        if outbound is None:
            return await follow(ask, ask, source, target, signature, args)
    peer = outbound.peer
    exchange = source.exchange
    if peer.verdict or peer.dead is not None or outbound.closed is not None or exchange.closed:
        outbound.check()
    deadline = effective_deadline()
    if deadline == -math.inf:
        await trio.lowlevel.checkpoint()  # cancelled already: nothing is sent
    body = peer.batch.body
    start = len(body)
    positions, buffers = signature.encode(args, body)
    size = len(body) - start
    weight = size + sum(map(len, buffers)) if buffers else size
    if outbound.waiters or not outbound.window.take(weight):
        payload = bytes(body[start:])
        del body[start:]
        await wait_for_credit(outbound, weight)
        peer.batch.body += payload
        outbound.window.spend(weight)
    due = 0.0 if deadline == math.inf else due_at(outbound, deadline)
    call = current.get()
    chain = () if call is None else call.chain
    id = exchange.last_id = exchange.last_id + 1
    if outbound.local is not None:
        message = wire.Ask(outbound.number, signature.name, size, id, due, chain, tuple(positions))
        part = _part(message, body, start, buffers)
        cell = outbound.local.cell
        own = cell.handlers.get(signature.name) if cell is not None and cell.idle else None
        if (
            cell is not None
            and own is not None
            and not own.reentrant
            and not own.streams
            and not (chain and cell.key in chain)
            and (due == 0.0 or deadline > trio.current_time())
        ):
            return await handle_here(cell, own, outbound.local, part, _breathe)
    slot = Slot(outbound, signature.name)
    exchange.pending[id] = slot
    if outbound.local is not None:
        deliver_here(outbound.local, part)
    else:
        envelope: tuple[Any, ...]
        if buffers:
            peer.batch.add_buffers(buffers)
            envelope = (3, outbound.number, signature.name, size, id, due, chain, positions)
        elif chain:
            envelope = (3, outbound.number, signature.name, size, id, due, chain)
        else:
            envelope = (3, outbound.number, signature.name, size, id, due)
        exchange.post(peer, envelope, now=not peer.pending)
    peer.pending += 1
    try:
        await exchange.reading.until(slot)
    except trio.Cancelled:
        if not slot.ready:
            raise
        # Answered between its cancellation and this task's turn: what the answer brings is the
        # caller's to keep or to undo, who is cancelled at the next checkpoint.
    finally:
        if exchange.pending.pop(id, None) is not None:
            peer.pending -= 1
            outbound.cancel(id)
        if slot.weight:
            outbound.window.reply_bytes -= slot.weight
            if outbound.waiters:
                outbound.wake()
    answer = slot.answer
    if type(answer) is wire.Reply:
        return signature.decode_result(slot.payload, slot.buffers)
    if type(answer) is wire.Fail and answer.kind == "late" and deadline < math.inf:
        # The receiver saw our deadline pass a moment before we do: it is ours to be raised.
        await trio.sleep_until(deadline)
    raise error_of(outbound, answer)  # type: ignore[arg-type]


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


async def tell(
    source: Service, target: Address, signature: Signature, args: tuple[Any, ...]
) -> None:
    """Send a message; wait only for credit. See `actors.ActorRef.tell`."""
    exchange = source.exchange
    if go_on(source, target, signature, args):
        exchange.tells += 1
        if not exchange.tells & 7:
            await _breathe_now(exchange)
        return
    try:
        waiting = _send(source, target, signature, args)
    except NotLookedUp:
        pass
    else:
        if waiting is not None:
            outbound, payload, positions, buffers, weight = waiting
            await wait_for_credit(outbound, weight)
            _post(outbound, signature, payload, positions, buffers)
            return
        exchange.tells += 1
        if not exchange.tells & 7:
            await _breathe_now(exchange)
        return
    await follow(tell, ask, source, target, signature, args)


async def _breathe_now(exchange: Exchange) -> None:
    if (
        exchange.tells >= TELLS_BETWEEN_CHECKPOINTS
        or exchange.clock() - exchange.breathed_at > TELLING_S
    ):
        exchange.flooding = exchange.tells >= TELLS_BETWEEN_CHECKPOINTS
        exchange.tells = 0
        try:
            await trio.lowlevel.checkpoint()
        finally:
            exchange.flooding = False
        exchange.breathed_at = exchange.clock()


async def _breathe(exchange: Exchange) -> None:
    """Be a checkpoint now and then."""
    exchange.tells += 1
    if not exchange.tells & 7:
        await _breathe_now(exchange)


def tell_nowait(
    source: Service, target: Address, signature: Signature, args: tuple[Any, ...]
) -> None:
    """Send a message now or raise `MailboxFullError`."""
    if go_on(source, target, signature, args):
        return
    try:
        waiting = _send(source, target, signature, args)
    except NotLookedUp as unknown:
        raise unknown.full() from None
    if waiting is not None:
        raise MailboxFullError(
            f"no credit from {source.address.name} to {target.name} for {signature.name}"
        )


_Waiting = tuple["Outbound", bytes, Sequence[int], Sequence["Buffer"], int]


def _send(
    source: Service, target: Address, signature: Signature, args: tuple[Any, ...]
) -> _Waiting | None:
    """Send a tell, or return it encoded when there is no credit."""
    if signature.streams:
        raise TypeError(f"{signature.qualified} is a stream: use stream()")
    outbound = source.outbounds.get(target.incarnation)
    if outbound is None or target.system != outbound.target.system:
        outbound = open_pair(source, target)
    peer = outbound.peer
    if peer.verdict or peer.dead is not None or source.exchange.closed:
        outbound.check()
    batch = peer.batch
    body = batch.body
    start = len(body)
    positions, buffers = signature.encode(args, body)
    size = weight = len(body) - start
    if buffers:
        weight += sum(map(len, buffers))
    if outbound.waiters or not outbound.window.take(weight):
        payload = bytes(body[start:])
        del body[start:]
        if outbound.local is not None and outbound.target.incarnation == source.address.incarnation:
            raise MailboxFullError(f"mailbox of {source.address.name} is full")
        return outbound, payload, positions, buffers, weight
    if outbound.local is not None:
        if buffers:
            message = wire.Tell(outbound.number, signature.name, size, tuple(positions))
            deliver_here(outbound.local, _part(message, body, start, buffers))
        else:
            arguments = body[start:]
            del body[start:]
            if outbound.local.cell is not None:
                outbound.local.cell.deliver_here(outbound.local, signature.name, arguments)
    else:
        # What Outbox.post does, but for the age of the batch: a flood of tells fills it fast.
        if buffers:
            batch.add_buffers(buffers)
            full = batch.add((2, outbound.number, signature.name, size, positions))
        else:
            full = batch.tell(outbound.number, signature.name, size)
        if full:
            source.exchange.send(peer)
        elif not peer.posted:
            source.exchange.gather(peer)
    return None


def _post(
    outbound: Outbound,
    signature: Signature,
    payload: bytes,
    positions: Sequence[int],
    buffers: Sequence[Buffer],
) -> None:
    """Send a tell that has waited for its credit."""
    outbound.window.spend(len(payload) + sum(map(len, buffers)))
    message = wire.Tell(outbound.number, signature.name, len(payload), tuple(positions))
    body = outbound.peer.batch.body
    start = len(body)
    body += payload
    if outbound.local is not None:
        deliver_here(outbound.local, _part(message, body, start, buffers))
    else:
        outbound.peer.batch.add_buffers(buffers)
        outbound.source.exchange.post(outbound.peer, message)


def _part(message: Any, body: bytearray, start: int, buffers: Sequence[Buffer]) -> Part:
    """A message for a cell of this process, taken back out of the batch."""
    payload = memoryview(bytes(body[start:] if start else body))
    del body[start:]
    return message, payload, [memoryview(each) for each in buffers] if buffers else ()


def deliver_here(inbound: Inbound, part: Part) -> None:
    """Put a message into the mailbox of a cell of this process."""
    if inbound.cell is not None:  # else it has ended, and its pairs were closed with it
        inbound.cell.deliver(inbound, part)


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
