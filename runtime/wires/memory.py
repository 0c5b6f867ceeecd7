"""The wire inside one trio run, with weather on request.

For tests of whole trees under virtual time. What would not survive a socket does not
survive here: frames are copied into bytes.

    network.weather = Weather(drop=0.01, seed=7)
    with network.partition({a, b}, {c}): ...
    with network.cut(a, to=b): ...
    with network.throttle(a, to=b, bytes_per_s=10_000): ...

Invariants
----------
* Without weather, frames between one pair of processes arrive once and in order, at the
  instant at which they were sent.
* With weather, what befalls a message follows from `runtime.weather.weather`, and when it arrives
  from `runtime.weather.arrivals`; equal instants keep the order in which messages were sent.
* Messages are counted from when there first was weather, and never from anew. The log counts
  nothing: it may be left out of a run or added to it.
* Across a partition frames wait, as TCP has it, and come in order when it is over; unless it was
  to lose them.
* A process that is restarted is the same to weather and partitions, but not to `part`.

Source: the idea of a routable fake network is from ``trio.testing``'s FakeNet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple
from zlib import crc32

import trio

from runtime.messages.codec import Buffer
from runtime.messages.kinds import kind_of
from runtime.weather.arrivals import Arrivals
from runtime.weather.conditions import Conditions
from runtime.weather.courier import Courier
from runtime.weather.event_log import EventLog
from runtime.weather.weather import Fault, Weather
from runtime.wires.memory_transport import MemoryTransport as MemoryTransport

FaultFunction = Callable[[int, int, Sequence[Buffer]], Sequence[float]]
"""Given incarnations; delays in seconds, one per copy to deliver: () drops, (0, 0) duplicates."""


def faithful(source: int, target: int, frames: Sequence[Buffer]) -> Sequence[float]:
    """Deliver everything once, now."""
    return (0.0,)


class Sent(NamedTuple):
    """One wire message. ``ordinal``: 0 where there is no weather."""

    source: int
    target: int
    endpoint: str
    frames: list[bytes]
    kind: str
    ordinal: int


class MemoryNetwork(Conditions):
    """Carries frames between the processes that joined it.

    ``faults``: those that have struck so far, in order. ``log``: None unless one was put here.
    ``fault``: a function in place of weather; assign to change it in the middle of a test.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        fault: FaultFunction = faithful,
        weather: Weather | None = None,
        log: EventLog | None = None,
    ) -> None:
        super().__init__(weather)
        self.fault = fault
        self.log = log
        self.faults: list[Fault] = []
        self._members: dict[str, MemoryTransport] = {}
        self._early: dict[str, list[Sent]] = {}  # for those who have yet to join
        self._left: set[str] = set()
        self._between: list[Sent] = []  # held by partitions
        self._ordinals: Counter[tuple[str, str, str]] = Counter()
        self._arrivals = Arrivals()
        self._courier = Courier[Sent](nursery, self._come)

    # -- who is there

    def join(self, incarnation: int, name: str = "") -> MemoryTransport:
        """Open the inbox of a process; its name is its number unless it has one."""
        transport = MemoryTransport(self, incarnation)
        self._names[incarnation] = name or str(incarnation)
        self._members[transport.endpoint] = transport
        for sent in self._early.pop(transport.endpoint, ()):
            transport.arrived((sent.source, sent.frames))
        return transport

    def used_through(self, transport: object) -> None:
        """A process talks through this. The network's own transport makes up for nothing.

        Raises:
            RuntimeError: it would have to, see `trust`.
        """
        if isinstance(transport, MemoryTransport):
            self.trust()

    def leave(self, transport: MemoryTransport) -> None:
        """Close an inbox."""
        self._members.pop(transport.endpoint, None)
        self._left.add(transport.endpoint)

    def forget(self, source: int, endpoint: str) -> None:
        """Drop what a process that has yet to join was sent."""
        early = self._early.get(endpoint)
        if early is not None:
            early[:] = [sent for sent in early if sent.source != source]

    # -- what is sent

    def carry(self, source: int, endpoint: str, frames: Sequence[Buffer]) -> None:
        """Deliver as the weather says."""
        solid = [bytes(frame) for frame in frames]
        member = self._members.get(endpoint)
        if member is not None and self._is_calm():
            member.arrived((source, solid))
            return
        target = int(endpoint.removeprefix("memory:"))
        kind, ordinal = kind_of(solid), 0
        if self.counting:
            key = self.name(source), self.name(target), kind
            ordinal = self._ordinals[key] = self._ordinals[key] + 1
        self._pass(Sent(source, target, endpoint, solid, kind, ordinal))

    def _is_calm(self) -> bool:
        """Whether nothing can befall a message, nor is it written down."""
        return not (
            self.counting
            or self._far
            or self._partitions
            or self._throttles
            or self._courier
            or self.log is not None
            or self.fault is not faithful
        )

    def _pass(self, sent: Sent) -> None:
        fate = self._across(sent.source, sent.target)
        if fate:
            self._write(sent, fate)
            if fate == "held":
                self._between.append(sent)
            return
        now = trio.current_time()
        if self.fault is not faithful:
            arrivals = [now + s for s in self.fault(sent.source, sent.target, sent.frames)]
        else:
            arrivals = self._befall(now, sent)
        if arrivals == [now] and not self._courier.is_late(now):
            self._write(sent, "passed")
            self._deliver(sent)
            return
        self._write(sent, "late" if arrivals else "dropped")
        for at in arrivals:
            if at <= now and not self._courier.is_late(now):
                self._come(sent)
            else:
                self._courier.bring(at, sent)

    def _let_pass(self) -> None:
        between, self._between = self._between, []
        for sent in between:
            if self._across(sent.source, sent.target) == "held":
                self._between.append(sent)
            else:
                self._pass(sent)

    def _befall(self, now: float, sent: Sent) -> list[float]:
        which = (self.name(sent.source), self.name(sent.target), sent.kind)
        weather = self.weather
        there = [*self._throttles, weather] if weather is not None else self._throttles
        rules = [rule for each in there if (rule := each.rule(*which)) is not None]
        faults = () if weather is None else weather.strikes(*which, sent.ordinal)
        self.faults += faults
        size = sum(map(len, sent.frames))
        return self._arrivals.of(now, *which, size, rules, faults)

    def _come(self, sent: Sent) -> None:
        """It was late."""
        self._write(sent, "came")
        self._deliver(sent)

    def _deliver(self, sent: Sent) -> None:
        member = self._members.get(sent.endpoint)
        if member is not None:
            member.arrived((sent.source, sent.frames))
        elif sent.endpoint not in self._left:
            self._early.setdefault(sent.endpoint, []).append(sent)
        else:
            self._write(sent, "vanished")

    # -- what is written down

    def _write(self, sent: Sent, fate: str) -> None:
        if self.log is None:
            return
        checksum = 0
        for frame in sent.frames:
            checksum = crc32(frame, checksum)
        self.log.add(
            trio.current_time(),
            f"{self.name(sent.source)}.{sent.source} > {self.name(sent.target)}.{sent.target} "
            f"{sent.kind} {sum(map(len, sent.frames))} {checksum:08x} "
            f"{fate}",
        )
