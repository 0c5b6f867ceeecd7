"""What became of the messages that a process received: answers, counts and credit.

Invariants
----------
* Every message of a pair is settled once: answered with `reply` or `fail`, or counted with
  `settle`.
* What is counted but not yet reported is reported after `REPORT_S` at the latest.
* Windows follow the number of senders, so that together they fit into the mailbox.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import trio

from runtime.exits import fit
from runtime.messages import envelope as wire
from runtime.messages.codec import Buffer, Part, weigh
from runtime.traffic.credit import Fate, share
from runtime.traffic.outbox import Outbox
from runtime.traffic.pair import Inbound, Peer
from runtime.traffic.run_routing import asks_of

if TYPE_CHECKING:
    from runtime.address import Address
    from runtime.cells.mailbox import Mailbox
    from runtime.traffic.letters import Letters
    from runtime.wires.transport import Transport

REPORT_S = 0.1


class Settling(Outbox):
    """An outbox that also reports what has been handled."""

    letters: Letters

    def __init__(self, address: Address, transport: Transport, boot_id: str) -> None:
        super().__init__(address, transport, boot_id)
        self._unlisted: list[Inbound] = []
        self._unreported = trio.Event()

    def _answered(self, peer: Peer, part: tuple[Any, Buffer, Sequence[Buffer]]) -> None:
        raise NotImplementedError

    async def _keep_reporting(self) -> None:
        while True:
            await self._unreported.wait()
            await trio.sleep(REPORT_S)
            self._unreported = trio.Event()
            self.report()

    def settle(self, inbound: Inbound, fate: Fate, part: Part, why: str = "") -> None:
        """Count a message, or a run, that is not answered, and report when it is time.

        A tell that was rejected is a dead letter: nobody else hears of it, or ``why``.
        """
        message = part[0]
        count = message.count if type(message) is wire.Tells else 1
        if fate is Fate.REJECTED and type(message) is not wire.Ask:
            self.letters.refused(inbound, message.handler, count, why)
        if inbound.ledger.close(fate, weigh(part), count):
            self._report(inbound)
        elif inbound.unlisted:
            self._list(inbound)

    def handled(self, inbound: Inbound, weight: int, count: int = 1) -> None:
        """The same for tells that were handled: the hot path."""
        ledger = inbound.ledger
        ledger.handled += count
        ledger.done_bytes += weight
        ledger.unreported += count
        ledger.unreported_bytes += weight
        if ledger.unreported >= ledger.report_every or ledger.unreported_bytes * 2 >= ledger.bytes:
            self._report(inbound)
        elif inbound.unlisted:
            self._list(inbound)

    def _list(self, inbound: Inbound) -> None:
        inbound.unlisted = False
        self._unlisted.append(inbound)
        self.report_soon()

    def _report(self, inbound: Inbound) -> None:
        ledger = inbound.ledger
        counts = ledger.report()
        if inbound.outbound is not None:
            if inbound.outbound.closed is not None:
                return  # it is undelivered, and stays so
            inbound.outbound.window.acknowledge(*counts)
            inbound.outbound.window.grant(ledger.messages, ledger.bytes)
            inbound.outbound.wake()
        elif inbound.peer.dead is None:
            self.ready(inbound.peer)
            self.post(
                inbound.peer,
                (7, inbound.number, *counts, ledger.messages, ledger.bytes),
            )

    def report_soon(self) -> None:
        """Have `report` called within `REPORT_S`."""
        self._unreported.set()

    def report(self) -> None:
        """Tell every sender what has been handled since it was last told."""
        self.letters.report()
        unlisted, self._unlisted = self._unlisted, []
        for inbound in unlisted:
            inbound.unlisted = True
            if inbound.ledger.unreported:
                self._report(inbound)

    def regrant(self, cell: Mailbox) -> None:
        """Share a cell's mailbox among its senders, once its size is known."""
        if cell.expected:
            return
        messages, size = share(len(cell.inbounds), cell.mailbox_messages, cell.mailbox_bytes)
        for inbound in cell.inbounds:
            ledger = inbound.ledger
            if (ledger.messages, ledger.bytes) != (messages, size):
                ledger.grant(messages, size)
                self._report(inbound)

    def reply(
        self,
        inbound: Inbound,
        id: int,
        weight: int,
        payload: bytes,
        positions: Sequence[int],
        buffers: Sequence[Buffer],
    ) -> None:
        """Answer an ask of so many bytes that was handled."""
        ledger = inbound.ledger
        ledger.handled += 1
        ledger.done_bytes += weight
        if inbound.outbound is not None:
            counts = ledger.report()
            reply = wire.Reply(inbound.number, id, len(payload), *counts, tuple(positions))
            self._answered(inbound.peer, (reply, payload, buffers))
            return
        peer = inbound.peer
        if peer.dead is not None:
            return
        if not peer.connected:
            self.ready(peer)
        if payload:
            peer.batch.body += payload
        if buffers:
            peer.batch.add_buffers(buffers)
            counts = ledger.report()
            self.post(peer, (4, inbound.number, id, len(payload), *counts, positions))
        else:
            self.grown(peer, peer.batch.reply(inbound.number, ledger, len(payload), id))

    def fail(
        self,
        inbound: Inbound,
        part: Part,
        kind: str,
        message: str,
        fate: Fate = Fate.REJECTED,
        *,
        type_name: str = "",
        traceback: str = "",
    ) -> None:
        """Count a message that did not end well, and tell the asker, if there is one."""
        envelope = part[0]
        if type(envelope) is wire.Asks:
            for each in asks_of(envelope, part[1]):
                self.fail(inbound, each, kind, message, fate, type_name=type_name)
            return
        if type(envelope) is not wire.Ask:
            self.settle(inbound, fate, part, message)
            return
        inbound.ledger.close(fate, weigh(part))
        counts = inbound.ledger.report()
        failure = wire.Fail(
            inbound.number, envelope.id, kind, fit(type_name), fit(message), fit(traceback),
            *counts,
        )  # fmt: skip
        if inbound.outbound is not None:
            self._answered(inbound.peer, (failure, b"", ()))
        elif inbound.peer.dead is None:
            self.ready(inbound.peer)
            self.post(inbound.peer, failure)
