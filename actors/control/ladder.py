"""The stop ladder: ask, SIGTERM, SIGKILL, a second apart.

Invariants
----------
* When `end` returns the node has ended, whatever it did about it. A local cell has not, if its
  process stands still: it ends when that goes on.
* Who could not hear is not asked: one that is frozen, or never came up, gets SIGKILL at once.
"""

import signal

from actors.supervision.record import Record
from runtime.exits import ExitReason
from runtime.messages import envelope as wire
from runtime.traffic.exchange import Exchange

POLITE_S = 1.0


async def end(record: Record, exchange: Exchange, reason: ExitReason | None = None) -> None:
    """Bring one node, or one local cell, to its end: for ``reason``, if it goes politely."""
    if record.spec.local:
        await _end_local(record, exchange, reason)
        return
    if record.body is None:
        # A start that is under way is bounded, and gives up on a planned end.
        await record.settled.wait()
    if record.body is None or record.gone.is_set():
        return
    what = "a stop" if reason is None else f"a stop ({reason})"
    why = f"{what}: it has not ended within 2 s"
    for rung in (wire.Stop(reason=reason), signal.SIGTERM):
        if not record.started or record.peer is None or record.body.frozen:
            why = f"{what}: it {'was frozen' if record.body.frozen else 'was not up yet'}"
            break
        if isinstance(rung, wire.Stop):
            exchange.say(record.peer, rung)
        else:
            record.signal(rung, f"{what}: it has not ended within 1 s")
        if await record.goes_within(POLITE_S):
            return
    record.signal(signal.SIGKILL, why)
    await record.gone.wait()


async def _end_local(record: Record, exchange: Exchange, reason: ExitReason | None) -> None:
    for force in (False, True):
        if force:
            record.signal(signal.SIGKILL, "a stop: it has not ended within 1 s")
        tell_local(record, exchange, force, reason)
        if await record.goes_within(POLITE_S):
            return


def tell_local(
    record: Record, exchange: Exchange, force: bool, reason: ExitReason | None = None
) -> None:
    """Tell a local cell to end, or, with ``force``, to give its handler up as well."""
    peer = exchange.peers.get(record.address.endpoint)
    if record.address.endpoint == exchange.address.endpoint:
        if exchange.local_cells is not None:
            exchange.local_cells.stop(record.incarnation, force, reason)
        elif record.incarnation in exchange.cells:
            exchange.cells[record.incarnation].stop(force, reason)
    elif peer is not None:
        exchange.say(peer, wire.Stop(record.incarnation, force, reason))
