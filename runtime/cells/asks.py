"""Asks, from the caller's side.

Invariants
----------
* Arguments are encoded at the call: what cannot travel raises there, and nothing was sent.
* An ask ends in a value, an `ActorError`, the cycle's `RuntimeError`, or its caller's own
  cancellation, which cancels the handler too and waits for nobody.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio

from runtime.cells.call import current
from runtime.cells.deadlines import effective_deadline
from runtime.cells.following import NotLookedUp, follow
from runtime.cells.inplace import handle_here
from runtime.cells.sending import (
    deliver_here,
    due_at,
    error_of,
    open_pair,
    part_of,
    wait_for_credit,
)
from runtime.messages import envelope as wire
from runtime.traffic.slot import Slot

if TYPE_CHECKING:
    from runtime.address import Address
    from runtime.cells.service import Service
    from runtime.messages.signature import Signature


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
    deadline = effective_deadline(source.scope)
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
        part = part_of(message, body, start, buffers)
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
            return await handle_here(cell, own, outbound.local, part)
    slot = Slot(outbound, signature.name)
    exchange.pending[id] = slot
    if outbound.local is not None:
        deliver_here(outbound.local, part)
    elif peer.pending and not due and not buffers:
        full = peer.batch.ask(outbound.number, signature.name, size, id, chain)
        exchange.grown(peer, full)
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
    kind = type(answer)
    if kind is wire.Replies or kind is wire.Reply:
        return signature.decode_result(slot.payload, slot.buffers)
    if type(answer) is wire.Fail and answer.kind == "late" and deadline < math.inf:
        # The receiver saw our deadline pass a moment before we do: it is ours to be raised.
        await trio.sleep_until(deadline)
    raise error_of(outbound, answer)  # type: ignore[arg-type]
