"""The actors of the kill matrix, and the ways in which one of them ends itself."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable

import trio

from actors.actor import Actor, reentrant
from actors.down import Down, Recovered, Suspected
from actors.ref import ActorRef
from runtime.errors import ActorDeadError, UnreachableError
from runtime.processes.procfs import queued_s
from runtime.traffic.exchange import Exchange
from runtime.wires.zmq_transport import ZmqTransport
from tests.matrix_cells import CODE, WHY
from tests.real_actors import start_strays

SLOW_S = 1.0
MIB = 1024 * 1024
Ended = tuple[str, str, float, float]
"""How somebody's wait ended: the error's name or "ok", the reason, when (CLOCK_MONOTONIC), and the
`queued_s` of its process then."""


async def ending(waits: Awaitable[object]) -> Ended:
    """Wait to the end, and tell of it."""
    how, why = "ok", ""
    try:
        value = await waits
        why = str(value) if type(value).__name__ == "ExitReason" else ""
    except ActorDeadError as error:
        how, why = "ActorDeadError", str(error.reason or "")
    except UnreachableError as error:
        how, why = "UnreachableError", error.verdict
    except Exception as error:
        how, why = type(error).__name__, str(error)
    return how, why, time.monotonic(), queued_s(os.getpid())


class Node(Actor):
    """One that can be hit."""

    def __init__(self) -> None:
        self.armed = ""
        self.count = 0

    async def start(self) -> tuple[int, list[int]]:
        """Its pid, and those of the processes that it has started."""
        return os.getpid(), start_strays()

    @reentrant
    async def add(self, amount: int) -> int:
        self.count += amount
        return self.count

    async def note(self, amount: int) -> None:
        self.count += amount

    @reentrant
    async def wait_for_ever(self) -> None:
        await trio.sleep_forever()

    @reentrant
    async def ticks(self, every_s: float) -> AsyncIterator[int]:
        while True:
            yield self.count
            await trio.sleep(every_s)

    @reentrant
    async def grow(self, name: str) -> ActorRef[Slow]:
        return await self.spawn(Slow, name=name)

    @reentrant
    async def suffer(self, event: str) -> None:
        inflict(event, self._cell.exchange, os.environ["TMPDIR"])

    @reentrant
    async def arm(self, event: str) -> None:
        """It happens at the stop."""
        self.armed = event

    async def on_stop(self, reason: object) -> None:
        await trio.sleep(float(os.environ["MATRIX_ON_STOP_S"]))
        if self.armed:
            inflict(self.armed, self._cell.exchange, os.environ["TMPDIR"])


class Slow(Node):
    """Takes its time to start."""

    async def on_start(self) -> None:
        await trio.sleep(SLOW_S)


class Witness(Node):
    """Waits for others, from a process of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, str, Ended]] = []  # what, of whom
        self.bell = trio.Event()

    async def watch(self, ref: ActorRef[Node]) -> None:
        self.monitor(ref, suspicions=True)

    async def on_down(self, down: Down | Suspected | Recovered) -> None:
        why = str(down.reason) if isinstance(down, Down) else getattr(down, "kind", "")
        ended = "ok", why, time.monotonic(), queued_s(os.getpid())
        self.heard.append((type(down).__name__, down.ref.name, ended))
        self.bell.set()
        self.bell = trio.Event()

    @reentrant
    async def hears(self, count: int) -> tuple[str, str, Ended]:
        """The news of that number, from 0."""
        while len(self.heard) <= count:
            await self.bell.wait()
        return self.heard[count]

    @reentrant
    async def ask_of(self, ref: ActorRef[Node]) -> Ended:
        return await ending(ref.ask(Node.wait_for_ever))

    @reentrant
    async def reaches(self, ref: ActorRef[Node]) -> Ended:
        return await ending(ref.ask(Node.add, 0))

    @reentrant
    async def keep_asking(self, ref: ActorRef[Node]) -> Ended:
        return await ending(keep_asking(ref))

    @reentrant
    async def take_from(self, ref: ActorRef[Node]) -> Ended:
        return await ending(take(ref))


async def keep_asking(ref: ActorRef[Node]) -> None:
    while True:
        await ref.ask(Node.add, 1)


async def keep_telling(ref: ActorRef[Node]) -> None:
    while True:
        await ref.tell(Node.note, 1)


async def take(ref: ActorRef[Node]) -> None:
    async with ref.stream(Node.ticks, 0.01) as ticks:
        async for _ in ticks:
            pass


# What is done to it from within.


def inflict(event: str, exchange: Exchange | None, home: str) -> None:
    """Let it happen in this process. ``home``: where the paths of its sockets are."""
    if event == "oom-cgroup":
        _fill(512)
    elif event == "oom-rlimit":
        _reserve(1024)
    elif event == "_exit":
        os._exit(CODE)
    elif event == "raise":
        raise LookupError(WHY)
    elif event == "hog":
        _compute(120.0)
    elif event == "closed-sockets":
        close_sockets(home)
    elif event == "closed-all":
        os.closerange(3, 4096)
    elif event == "closed-router":
        assert exchange is not None
        transport = getattr(exchange.transport, "inner", exchange.transport)
        assert isinstance(transport, ZmqTransport)
        transport._router.close()
    else:
        raise AssertionError(f"no event is named {event}")


def _fill(mib: int) -> None:
    """Touch so much memory; the limit must come before."""
    blocks = [b"x" * MIB for _ in range(mib)]
    raise AssertionError(f"{len(blocks)} MiB were had")


def _reserve(gib: int) -> None:
    """Ask for so much memory at most, and touch none."""
    blocks = [bytearray(512 * MIB) for _ in range(2 * gib)]
    raise AssertionError(f"{len(blocks)} blocks were had")


def _compute(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def close_sockets(home: str) -> None:
    """Close the descriptors of all that is connected to, or bound to, a path in ``home``."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            twin = socket.socket(fileno=os.dup(fd))
        except OSError:
            continue  # it is no socket, or the one that listed them
        with twin:
            if any(str(name).startswith(home) for name in _names(twin)):
                os.close(fd)


def _names(of: socket.socket) -> list[object]:
    names: list[object] = []
    if of.family == socket.AF_UNIX:
        for name in (of.getsockname, of.getpeername):
            try:
                names.append(name())
            except OSError:
                continue
    return names
