"""Hooks that wait in the mailbox: what the runtime itself has to say to an actor.

A `Hook` stands where a message stands and where its handler's signature does, so that the
service task runs it as it runs a told message: one at a time, in the order of arrival, with
the cell as the speaker, named by the status page; an exception ends the cell.

Invariants
----------
* No message from outside reaches a hook: a hook comes by the cell's own `Inbound`, which no
  envelope can name.
* A hook is neither charged nor counted, and the bounds of the mailbox do not hold it up.
* What a cell did not come to before it ended is dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runtime.exits import ExitReason
from runtime.traffic.pair import Inbound, Peer

if TYPE_CHECKING:
    from runtime.cells.service import Service
    from runtime.messages.codec import Buffer

_NO_PAYLOAD = memoryview(b"")
_NOBODY = Peer("")
_NOBODY.dead = ExitReason(kind="unknown")  # so that nothing is ever reported to it


class Hook:
    """One call of the hook ``handler``. ``key``: by which it can be taken back."""

    __slots__ = ("args", "handler", "key", "label")
    size = 0
    buffers = ()
    reentrant = False
    streams = False

    def __init__(self, handler: str, args: tuple[Any, ...], key: int = 0) -> None:
        self.handler = handler
        self.args = args
        self.key = key
        self.label = handler.encode()

    @property
    def name(self) -> str:
        return self.handler

    def decode_plain(self, payload: Buffer) -> tuple[Any, ...]:
        return self.args

    def run(self, actor: Any, *args: Any) -> Any:
        return getattr(actor, self.handler)(*args)


def push(cell: Service, hook: Hook) -> None:
    """The cell will run the hook after all that waits in its mailbox, unless it ends before."""
    if cell.ending is not None:
        return
    own = cell.own
    if own is None:
        name, incarnation = cell.address.name, cell.address.incarnation
        own = cell.own = Inbound(0, name, incarnation, name, cell, _NOBODY)
        own.unlisted = False  # it never is: there is nobody to report to
    cell.mailbox.append((own, (hook, _NO_PAYLOAD, ())))
    if not cell.ready and not cell.taken:
        cell.exchange.reading.wake(cell)


def take_back(cell: Service, handler: str, key: int) -> None:
    """What waits of this hook under this key will not run."""
    own = cell.own
    if own is None:
        return
    for entry in [entry for entry in cell.mailbox if entry[0] is own]:
        hook = entry[1][0]
        if (hook.handler, hook.key) == (handler, key):
            cell.mailbox.remove(entry)
