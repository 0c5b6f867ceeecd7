"""The memory wire, made good: what is under weather keeps its promises all the same.

See `runtime.wires.reliable`; this one can be held and cut as the transport below it.
"""

from __future__ import annotations

import trio

from runtime.wires.memory_transport import MemoryTransport
from runtime.wires.reliable import Reliable


class Mended(Reliable):
    """One process's access to a memory network that loses, doubles and reorders."""

    def __init__(self, inner: MemoryTransport, nursery: trio.Nursery) -> None:
        super().__init__(inner, nursery)
        self._memory = inner

    def hold(self) -> None:
        """Let nothing in or out, nor any timer strike, until `release`. Idempotent."""
        self._memory.hold()
        self.pause()

    def release(self) -> None:
        """Let everything go on that was held."""
        self._memory.release()
        self.resume()

    def cut(self) -> None:
        """Let nothing in or out any more. The owner need not know."""
        self._memory.cut()
        self.stop()


Wire = MemoryTransport | Mended
