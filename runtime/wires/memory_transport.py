"""One process's access to a memory network: the reference transport.

Invariants
----------
* A closed transport receives nothing more; what is sent to it vanishes, as on a wire.
* While a transport is held, nothing is read from it and nothing leaves; after that both go on,
  in order. From one that was cut nothing leaves any more, nor reaches it; nothing raises.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import trio

from runtime.messages.codec import Buffer
from runtime.wires.transport import Message


class Network(Protocol):
    """What carries the messages."""

    def leave(self, transport: MemoryTransport) -> None: ...
    def forget(self, source: int, endpoint: str) -> None: ...
    def carry(self, source: int, endpoint: str, frames: Sequence[Buffer]) -> None: ...


class MemoryTransport:
    """One process's access to a `MemoryNetwork`."""

    same_host = True

    def __init__(self, network: Network, incarnation: int) -> None:
        self.endpoint = f"memory:{incarnation}"
        self._network = network
        self._incarnation = incarnation
        self._peers: set[str] = set()
        self._inbox: deque[Message] = deque()
        self._bell = trio.Event()
        self._held: list[tuple[str, list[bytes]]] | None = None
        self._cut = False
        self._closed = False

    def connect(self, endpoint: str) -> None:
        if not re.fullmatch(r"memory:\d+", endpoint, re.ASCII):
            raise ValueError(f"{endpoint!r} is not in memory")
        self._peers.add(endpoint)

    def disconnect(self, endpoint: str) -> None:
        self._peers.discard(endpoint)
        self._network.forget(self._incarnation, endpoint)

    def send(self, endpoint: str, frames: Sequence[Buffer]) -> bool:
        if endpoint not in self._peers:
            raise KeyError(endpoint)
        if self._held is not None:
            self._held.append((endpoint, [bytes(frame) for frame in frames]))
        elif not self._cut:
            self._network.carry(self._incarnation, endpoint, frames)
        return False

    def holds(self, endpoint: str) -> bool:
        return False

    def arrived(self, message: Message) -> None:
        """Take a message in."""
        self._inbox.append(message)
        if self._held is None:
            self._bell.set()

    def hold(self) -> None:
        """Let nothing in or out, until `release`. Idempotent."""
        self._held = self._held or []

    def release(self) -> None:
        """Let everything go on that was held."""
        held, self._held = self._held or (), None
        for endpoint, frames in held:
            self._network.carry(self._incarnation, endpoint, frames)
        if self._inbox:
            self._bell.set()

    def cut(self) -> None:
        """Let nothing in or out any more, what was held included. The owner need not know."""
        self._cut, self._held = True, None
        self._inbox.clear()
        self._network.leave(self)

    def receive(self) -> Message | None:
        return self._inbox.popleft() if self._inbox and self._held is None else None

    async def wait(self) -> None:
        if not self._inbox or self._held is not None:
            self._bell = trio.Event()
        await self._bell.wait()
        if self._closed:
            raise trio.ClosedResourceError("the transport is closed")

    def interrupt(self) -> None:
        self._bell.set()

    def close(self, farewell: str = "") -> None:
        self._network.leave(self)
        self._peers.clear()
        self._inbox.clear()
        self._closed = True
        self._bell.set()
