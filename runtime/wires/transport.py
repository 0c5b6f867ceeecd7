"""The seam between processes and the wire.

A transport carries batches of frames from one process to another and says nothing of
arrival. It has one inbox, which exactly one task at a time waits on, and one outgoing
connection a peer. A peer is named by its endpoint
when it is spoken to, and by its incarnation when it is heard.

Invariants
----------
* `Transport.send` never waits and never loses what it accepted while the peer lives
  and stays connected: what the wire does not take yet is kept, in order.
* `Transport.receive` never waits; None means that nothing more can be read now, and that
  `Transport.wait` may be awaited without missing anything.
* Frames arrive as they were given, once, and in order per pair of processes.
* Nothing in here looks into a frame.
"""

from collections.abc import Sequence
from typing import Protocol

from runtime.messages.codec import Buffer

IDLE_S = 60.0
"""A connection that has carried nothing for so long may be closed; its next use opens it again."""

Message = tuple[int, Sequence[Buffer]]
"""(incarnation of the process it claims to come from, frames); 0 for a stranger."""


class Transport(Protocol):
    """One process's access to the wire."""

    endpoint: str
    """Where others reach this process."""
    same_host: bool
    """Whether every peer shares this process's CLOCK_MONOTONIC, heard of or not."""

    def connect(self, endpoint: str) -> None:
        """Open the outgoing connection to a peer; nothing is known of its success.

        Raises:
            ValueError: no connection can ever lead there.
        """

    def disconnect(self, endpoint: str) -> None:
        """Close it and forget what it still held. Unknown peers are ignored."""

    def send(self, endpoint: str, frames: Sequence[Buffer]) -> bool:
        """Hand frames to the wire, in order.

        Returns:
            False when a task of this process has yet to run before they leave.

        Raises:
            KeyError: the peer is not connected.
        """

    def holds(self, endpoint: str) -> bool:
        """Whether it still keeps frames for this peer that the wire did not take."""

    def receive(self) -> Message | None:
        """The next message that has arrived, if there is one."""

    async def wait(self) -> None:
        """Return when `receive` may have something, or after `interrupt`."""

    def interrupt(self) -> None:
        """Make the task in `wait` return."""

    def close(self, farewell: str = "") -> None:
        """Give back everything. Idempotent.

        What the peer at ``farewell`` was last sent has a moment to leave, where it takes one.
        """


class Repeating(Transport, Protocol):
    """A transport that sends again what was lost on its way."""

    def send_once(self, endpoint: str, frames: Sequence[Buffer]) -> bool:
        """As `send`, for signs of life: at once, beside all that waits, and never again.

        They may be lost; they come neither twice nor after a later one.
        """

    async def farewell(self, endpoint: str) -> None:
        """Return once all that this peer was sent has arrived. The caller bounds it."""


def repeating(transport: Transport) -> Repeating | None:
    """The same transport, if it is a `Repeating`.

    Not by ``isinstance``: a protocol's look at it would dirty 20 pages of every node.
    """
    return transport if hasattr(transport, "send_once") else None  # type: ignore[return-value]
