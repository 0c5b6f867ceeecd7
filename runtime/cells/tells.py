"""Tells, from the caller's side.

Invariants
----------
* Arguments are encoded at the call: what cannot travel raises there, and nothing was sent.
* With credit left a tell does not wait; see `runtime.cells.breathing`.
* A tell that follows its like joins their run: in the batch on its way to another process, or in
  the mailbox of a cell of this one. It is added to what was encoded before, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from runtime.cells.asks import ask
from runtime.cells.breathing import breathe_now
from runtime.cells.following import NotLookedUp, follow
from runtime.cells.sending import deliver_here, open_pair, part_of, wait_for_credit
from runtime.errors import MailboxFullError
from runtime.messages import envelope as wire
from runtime.messages.batch import FLUSH_BYTES, MAX_RUN

if TYPE_CHECKING:
    from runtime.address import Address
    from runtime.cells.service import Service
    from runtime.messages.codec import Buffer
    from runtime.messages.signature import Signature
    from runtime.traffic.pair import Inbound, Outbound

_encode_into = msgspec.msgpack.Encoder().encode_into


async def tell(
    source: Service, target: Address, signature: Signature, args: tuple[Any, ...]
) -> None:
    """Send a message; wait only for credit. See `actors.ActorRef.tell`."""
    exchange = source.exchange
    if _go_on(source, target, signature, args):
        exchange.tells += 1
        if not exchange.tells & 7:
            await breathe_now(exchange)
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
            await breathe_now(exchange)
        return
    await follow(tell, ask, source, target, signature, args)


def tell_nowait(
    source: Service, target: Address, signature: Signature, args: tuple[Any, ...]
) -> None:
    """Send a message now or raise `MailboxFullError`."""
    if _go_on(source, target, signature, args):
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
    outbound.goes_on = True
    if outbound.local is not None:
        if buffers:
            message = wire.Tell(outbound.number, signature.name, size, tuple(positions))
            deliver_here(outbound.local, part_of(message, body, start, buffers))
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
        deliver_here(outbound.local, part_of(message, body, start, buffers))
    else:
        outbound.peer.batch.add_buffers(buffers)
        outbound.source.exchange.post(outbound.peer, message)


def _go_on(source: Service, target: Address, signature: Signature, args: tuple[Any, ...]) -> bool:
    """A tell has joined the run of its like that came just before it, in a batch or a mailbox.

    False: it has to go the long way, and is told there if it cannot travel.
    """
    outbound = source.outbounds.get(target.incarnation)
    if (
        outbound is None
        or not outbound.goes_on
        or (target is not outbound.target and target.system != outbound.target.system)
        or not signature.slim
    ):
        return False
    if outbound.local is not None:
        return _go_on_here(outbound, outbound.local, signature, args)
    batch = outbound.peer.batch
    run = batch.tells
    if (
        run is None
        or run.handler is not signature.name
        or run.pair != outbound.number
        or run.count == MAX_RUN
    ):
        return False
    # From here on as `_append`, letter for letter: a tenth of a tell.
    body = batch.body
    start = len(body)
    try:
        _encode_into(args, body, -1)
    except Exception:
        del body[start:]
        return False
    end = len(body)
    size = end - start
    window = outbound.window
    sent = window.bytes_sent + size
    if (
        end > FLUSH_BYTES
        or window.sent >= window.limit
        or sent + window.reply_bytes > window.bytes_limit
    ):
        del body[start:]
        return False
    window.sent += 1
    window.bytes_sent = sent
    run.count += 1
    run.size += size
    return True


def _go_on_here(
    outbound: Outbound, inbound: Inbound, signature: Signature, args: tuple[Any, ...]
) -> bool:
    cell = inbound.cell
    if cell is None or not cell.mailbox:
        return False
    sender, (message, payload, _) = cell.mailbox[-1]
    # Only what was told in this process, and may be a run, waits as a bytearray.
    if sender is not inbound or type(payload) is not bytearray or message.handler != signature.name:
        return False
    count = 1 if type(message) is wire.Tell else message.count
    if count == MAX_RUN or len(cell.mailbox) + cell.more >= cell.mailbox_messages:
        return False
    room = cell.mailbox_bytes - cell.waiting_bytes + len(payload)
    size = _append(outbound, args, payload, room)
    if not size:
        return False
    run = wire.Tells(message.pair, message.handler, message.size + size, count + 1)
    cell.mailbox[-1] = inbound, (run, payload, ())
    cell.waiting_bytes += size
    cell.more += 1
    return True


def _append(outbound: Outbound, args: tuple[Any, ...], body: bytearray, room: int) -> int:
    """How many bytes the arguments took; 0 if they cannot travel, or have no room or no credit."""
    start = len(body)
    try:
        _encode_into(args, body, -1)
    except Exception:
        pass
    else:
        size = len(body) - start
        if start + size <= room and outbound.window.take(size):
            return size
    del body[start:]
    return 0
