"""The wire inside one trio run: the reference transport, with faults on request.

For tests of whole trees under virtual time. What would not survive a socket does not
survive here: frames are copied into bytes.

Invariants
----------
* Without faults, frames between one pair of processes arrive once and in order, at the
  instant at which they were sent.
* A fault decides from (source, target, frames) alone, so a seed replays a run.
* Between two parts of a parted network frames wait, as TCP has it, and come when it heals.
* A closed transport receives nothing more; what is sent to it vanishes, as on a wire.
* While a transport is held, nothing is read from it and nothing leaves; after that both go on,
  in order. From one that was cut nothing leaves any more, nor reaches it; nothing raises.

Source: the idea of a routable fake network is from ``trio.testing``'s FakeNet.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import trio

from runtime.codec import Buffer
from runtime.transport import Message

Fault = Callable[[int, int, Sequence[Buffer]], Sequence[float]]
"""Delays in seconds, one per copy to deliver: () drops, (0, 0) duplicates."""


def faithful(source: int, target: int, frames: Sequence[Buffer]) -> Sequence[float]:
    """Deliver everything once, now."""
    return (0.0,)


class MemoryNetwork:
    """Carries frames between the processes that joined it."""

    def __init__(self, nursery: trio.Nursery, fault: Fault = faithful) -> None:
        self.fault = fault  # assign to change the weather mid-test
        self._nursery = nursery
        self._members: dict[str, MemoryTransport] = {}
        self._early: dict[str, list[Message]] = {}  # for those who have yet to join
        self._left: set[str] = set()
        self._far: frozenset[int] = frozenset()
        self._between: list[tuple[int, str, list[bytes]]] = []

    def join(self, incarnation: int) -> "MemoryTransport":
        """Open the inbox of a process."""
        transport = MemoryTransport(self, incarnation)
        self._members[transport.endpoint] = transport
        for message in self._early.pop(transport.endpoint, ()):
            transport.arrived(message)
        return transport

    def leave(self, transport: "MemoryTransport") -> None:
        """Close an inbox."""
        self._members.pop(transport.endpoint, None)
        self._left.add(transport.endpoint)

    def forget(self, source: int, endpoint: str) -> None:
        """Drop what a process that has yet to join was sent."""
        early = self._early.get(endpoint)
        if early is not None:
            early[:] = [message for message in early if message[0] != source]

    def carry(self, source: int, endpoint: str, frames: Sequence[Buffer]) -> None:
        """Deliver as the fault says."""
        solid = [bytes(frame) for frame in frames]
        target = int(endpoint.removeprefix("memory:"))
        if self.apart(source, target):
            self._between.append((source, endpoint, solid))
            return
        for delay_s in self.fault(source, target, solid):
            if delay_s == 0:
                self._deliver(endpoint, (source, solid))
            else:
                self._nursery.start_soon(self._deliver_later, delay_s, endpoint, (source, solid))

    def part(self, far: Iterable[int]) -> None:
        """Nothing passes between these processes and the others until `heal`. Nothing is lost."""
        self._far = frozenset(far)

    def heal(self) -> None:
        """All that waited passes, in order."""
        self._far = frozenset()
        between, self._between = self._between, []
        for source, endpoint, frames in between:
            self.carry(source, endpoint, frames)

    def apart(self, one: int, other: int) -> bool:
        """Whether the two cannot reach each other."""
        return (one in self._far) != (other in self._far)

    async def _deliver_later(self, delay_s: float, endpoint: str, message: Message) -> None:
        await trio.sleep(delay_s)
        self._deliver(endpoint, message)

    def _deliver(self, endpoint: str, message: Message) -> None:
        member = self._members.get(endpoint)
        if member is not None:
            member.arrived(message)
        elif endpoint not in self._left:
            self._early.setdefault(endpoint, []).append(message)


class MemoryTransport:
    """One process's access to a `MemoryNetwork`."""

    same_host = True

    def __init__(self, network: MemoryNetwork, incarnation: int) -> None:
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

    def close(self) -> None:
        self._network.leave(self)
        self._peers.clear()
        self._inbox.clear()
        self._closed = True
        self._bell.set()
