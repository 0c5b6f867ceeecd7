"""What an incarnation hands to the next one: its state, and when it was so.

Invariants
----------
* The age is told by CLOCK_MONOTONIC where both ends share a boot id, and by the wall
  clock after a restart of the machine. It is never negative.
* The state is what `Behaviour.snapshot` returned, as msgspec carries it; it is decoded against
  the annotation of ``restore``.
"""

from __future__ import annotations

import msgspec


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """One snapshot. ``monotonic_at`` and ``wall_at`` in seconds, of the node that took it."""

    state: bytes
    monotonic_at: float
    wall_at: float
    boot_id: str

    def age_s(self, monotonic: float, wall: float, boot_id: str) -> float:
        """How old the state is, on a machine whose clocks and boot id are these."""
        if boot_id == self.boot_id:
            return max(0.0, monotonic - self.monotonic_at)
        return max(0.0, wall - self.wall_at)


def encode(kept: Kept) -> bytes:
    """As it travels, and as it is stored."""
    return msgspec.msgpack.encode(kept)


def decode(raw: bytes | memoryview) -> Kept:
    """Read it again.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return msgspec.msgpack.decode(raw, type=Kept)
