"""Runs of asks, served as one; `runtime.cells.runs` has those of tells.

Asks of one handler that came together, and that cannot suspend, stay together in the mailbox: they
are decoded in one go, and answered under one envelope. That takes their receiver half of the time.

Invariants
----------
* Each ask is handled for itself, in order, and has its own answer and its own fate.
* Whenever anybody else may run, what has not begun is in the mailbox, and can be cancelled there.
* A run whose arguments do not all fit is taken apart, and each is judged for itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.cells.breathing import SLICE_S
from runtime.cells.call import Call, current
from runtime.cells.runs import headed, show
from runtime.messages import envelope as wire
from runtime.messages.codec import Part, Payload
from runtime.messages.signature import MISFIT
from runtime.traffic.run_routing import asks_of

if TYPE_CHECKING:
    import trio

    from runtime.cells.service import Service
    from runtime.messages.signature import Signature
    from runtime.traffic.pair import Inbound


async def serve(
    cell: Service, signature: Signature, inbound: Inbound, part: Part, task: trio.lowlevel.Task
) -> float:
    """Handle what a slice has time for; the rest is put back. Return the clock."""
    run, payload, _ = part
    exchange, ids, sizes = cell.exchange, run.ids, run.sizes
    try:
        rows = signature.decode_run(headed(payload, len(ids)))
    except MISFIT:
        rows = []
    if len(rows) != len(ids):
        cell.put_back(inbound, list(asks_of(run, payload)))
        return exchange.clock()
    clock, handle, actor, answer = exchange.clock, signature.run, cell.actor, exchange.reply
    encode = signature.encode_result
    call = Call(cell, inbound, run, task)
    current.set(call)
    now = clock()
    show(cell, signature, now)
    done, left = 0, iter(rows)
    try:
        while True:  # one at least, or a run that takes a slice to decode would never begin
            try:
                for args in left:
                    result = await handle(actor, *args)
                    answer(inbound, ids[done], sizes[done], *encode(result))
                    done += 1
                    now = clock()
                    if cell.ending is not None or now - cell.slice_began > SLICE_S:
                        break
            except BaseException as raised:
                one = wire.Ask(run.pair, run.handler, sizes[done], ids[done], 0.0, run.chain)
                done += 1
                cell.raised(call, (one, memoryview(b""), ()), raised)
                now = clock()
            if done == len(ids) or cell.ending is not None or now - cell.slice_began > SLICE_S:
                return now
    finally:
        call.done = True
        cell.handler = ""
        if done < len(ids):
            cell.put_back(inbound, [_rest(run, payload, done)])


def _rest(run: wire.Asks, payload: Payload, done: int) -> Part:
    begun = sum(run.sizes[:done])
    rest = wire.Asks(
        run.pair, run.handler, run.size - begun, run.ids[done:], run.sizes[done:], run.chain
    )
    return rest, payload[begun:], ()
