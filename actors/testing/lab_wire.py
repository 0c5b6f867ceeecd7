"""A wire between two hosts that is carried by hand: every packet passes through a trio task.

For delay, loss and noise where the kernel has no netem. Each end is a TUN device; what one host
sends into its device is read here and written to the other's.

Invariants
----------
* Packets of one direction never overtake each other.
* Which of them are lost or corrupted is a function of the seed and of their number.
* One that is corrupted has a bit of its last byte turned over: its checksum tells.
* No more than `MAX_WAITING` wait in a direction: the rest are dropped, as by a full queue.
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from actors.testing.lab import Host


MAX_WAITING: Final = 1_000
_PACKET_BYTES: Final = 65_536
_TUNSETIFF: Final = 0x400454CA
_TUN_NO_HEADER: Final = 0x1001


class Direction:
    """One way of a wire; its attributes may be changed at any time.

    ``delay_s`` is every packet's, ``loss`` and ``noise`` are shares of them from 0 to 1, and when
    it is ``cut`` nothing passes. ``carried``, ``lost`` and ``corrupted`` count packets.
    """

    def __init__(self, source: int, target: int, seed: int) -> None:
        self.delay_s = 0.0
        self.loss = 0.0
        self.noise = 0.0
        self.cut = False
        self.carried = 0
        self.lost = 0
        self.corrupted = 0
        self._source, self._target = source, target
        self._random = random.Random(seed)
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._some = trio.Event()

    async def take(self) -> None:
        """Read packets for ever."""
        while True:
            await trio.lowlevel.wait_readable(self._source)
            with suppress(BlockingIOError):
                for _ in range(64):
                    self._accept(os.read(self._source, _PACKET_BYTES))

    def _accept(self, packet: bytes) -> None:
        lost = self._random.random() < self.loss
        if lost or self.cut or len(self._waiting) >= MAX_WAITING:
            self.lost += 1
            return
        if self._random.random() < self.noise:
            self.corrupted += 1
            packet = packet[:-1] + bytes([packet[-1] ^ 1])
        self._waiting.append((trio.current_time() + self.delay_s, packet))
        self._some.set()

    async def give(self) -> None:
        """Write packets for ever, each when it is due."""
        while True:
            await self._some.wait()
            self._some = trio.Event()
            while self._waiting:
                due, packet = self._waiting.popleft()
                if due > trio.current_time():
                    await trio.sleep_until(due)
                try:
                    os.write(self._target, packet)
                    self.carried += 1
                except OSError as error:
                    if error.errno not in (errno.EIO, errno.EAGAIN):  # down, or full
                        raise
                    self.lost += 1


class Wire:
    """Both ways: ``out`` from left to right, ``back`` from right to left."""

    def __init__(self, out: Direction, back: Direction) -> None:
        self.out = out
        self.back = back

    def cut(self, on: bool = True) -> None:
        """Nothing passes, and neither end is told."""
        self.out.cut = self.back.cut = on


def _tun(host: Host, device: str) -> int:
    with host.inside():
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _TUN_NO_HEADER))
    return fd


@asynccontextmanager
async def open_wire(left: Host, right: Host, number: int, *, seed: int = 0) -> AsyncIterator[Wire]:
    """Device ``tunN`` at both hosts, with the addresses that `lab.connect` gives to wire N."""
    device = f"tun{number}"
    ends = _tun(left, device), _tun(right, device)
    try:
        for host, last in ((left, 1), (right, 2)):
            host.ip(
                f"addr add 10.0.{number}.{last}/24 dev {device}",
                f"addr add dead:beef:{number}::{last}/64 dev {device} nodad",
                f"link set {device} up",
            )
        right.ip(f"route add default via 10.0.{number}.1 dev {device} metric 10{number}")
        wire = Wire(Direction(ends[0], ends[1], seed), Direction(ends[1], ends[0], seed + 1))
        async with trio.open_nursery() as nursery:
            for direction in (wire.out, wire.back):
                nursery.start_soon(direction.take)
                nursery.start_soon(direction.give)
            yield wire
            nursery.cancel_scope.cancel()
    finally:
        for end in ends:
            os.close(end)
