"""Reentrant handlers: each in a task and a scope of its own, while others are suspended.

Invariants
----------
* A reentrant message starts when its turn comes, or while an ordinary handler is suspended; it
  never overtakes an earlier message of its own pair.
* It can be cancelled from the moment at which it was taken.
* What does not fit its handler is refused before a task is started for it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import trio

from runtime.cells.call import Call, current
from runtime.cells.source import produce
from runtime.errors import WireError
from runtime.messages import envelope as wire
from runtime.messages.codec import weigh
from runtime.traffic.credit import Fate

if TYPE_CHECKING:
    from runtime.cells.service import Service
    from runtime.messages.codec import Part
    from runtime.messages.signature import Signature
    from runtime.traffic.pair import Inbound


def let_reentrant_in(cell: Service) -> None:
    """Start the reentrant messages of the mailbox that need not wait for an ordinary one."""
    held: set[Inbound] = set()
    kept: deque[tuple[Inbound, Part]] = deque()
    while cell.mailbox:
        inbound, part = cell.mailbox.popleft()
        signature = cell.handlers.get(part[0].handler)
        if signature is not None and signature.reentrant and inbound not in held:
            cell.unqueued(part)
            cell.reentrants -= 1
            take_apart(cell, signature, inbound, part)
        else:
            held.add(inbound)
            kept.append((inbound, part))
    cell.mailbox.extend(kept)


def let_in_at_once(cell: Service, inbound: Inbound, part: Part) -> bool:
    """Start a message that has just come, if it is reentrant, may start, and overtakes nobody.

    Those that wait are not looked at: a flood to a suspended handler would cost the square of its
    length.
    """
    signature = cell.handlers.get(part[0].handler)
    if signature is None or not signature.reentrant:
        return False
    if cell.in_flight is None or any(waiting is inbound for waiting, _ in cell.mailbox):
        cell.reentrants += 1
        return False
    take_apart(cell, signature, inbound, part)
    return True


def take_apart(cell: Service, signature: Signature, inbound: Inbound, part: Part) -> None:
    """Start a reentrant handler, or refuse its message."""
    message, payload, buffers = part
    if signature.streams and type(message) is not wire.Ask:
        cell.exchange.settle(inbound, Fate.REJECTED, part)
        return
    try:
        args = signature.decode(payload, message.buffers, buffers)
    except WireError as misfit:
        cell.exchange.fail(inbound, part, "wire", str(misfit))
        return
    call = Call(cell, inbound, message)
    call.scope = trio.CancelScope()
    if type(message) is wire.Ask:
        if message.deadline:
            if cell.too_late(signature, inbound, part):
                return
            call.scope.deadline = cell.trio_deadline(message.deadline)
        cell.apart[inbound, message.id] = call.scope
    assert cell.nursery is not None
    cell.nursery.start_soon(_handle, call, signature, part, args)


async def _handle(call: Call, signature: Signature, part: Part, args: tuple[Any, ...]) -> None:
    cell: Service = call.cell
    message = part[0]
    asked = type(message) is wire.Ask
    call.task = trio.lowlevel.current_task()
    current.set(call)
    assert call.scope is not None
    with call.scope:
        try:
            if signature.streams:
                await produce(call, signature, args)
                result = None
            else:
                result = await signature.run(cell.actor, *args)
            if cell.keeping is not None and cell.confirms:
                await cell.keeping.confirm()
            if asked:
                answer = signature.encode_result(result)
                cell.exchange.reply(call.inbound, message.id, weigh(part), *answer)
            else:
                cell.exchange.settle(call.inbound, Fate.HANDLED, part)
        except BaseException as raised:
            cell.raised(call, part, raised)
        finally:
            call.done = True
            if asked:
                cell.apart.pop((call.inbound, message.id), None)
