"""One suite for every transport: what `runtime.wires.transport` promises."""

from __future__ import annotations

import random
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from runtime.messages.codec import Buffer
from runtime.network.keys import Keys, new_secret
from runtime.network.listening import listen_at, reserve, site_of
from runtime.network.tcp_endpoint import TcpEndpoint, parse_endpoint
from runtime.wires.memory import FaultFunction, MemoryNetwork, faithful
from runtime.wires.reliable import Reliable
from runtime.wires.socket_transport import SocketTransport
from runtime.wires.transport import Message, Transport
from runtime.wires.zmq_mptcp import MptcpTransport
from runtime.wires.zmq_tcp import TcpTransport, public_of
from runtime.wires.zmq_transport import ZmqTransport

Frames = Sequence[Buffer]
BOUND_S = 20
GREETING = b"\xff\0\0\0\0\0\0\0\1\x7f\3\0CURVE".ljust(32, b"\0") + bytes(32)


MPTCP = ("mptcp", "mptcp6", "mptcp bare")
VIRTUAL = ("memory", "reliable", "weather")


def rough(seed: int) -> FaultFunction:
    """Loses, doubles and reorders."""
    rng = random.Random(seed)

    def fault(source: int, target: int, frames: Frames) -> Sequence[float]:
        draw = rng.random()
        if draw < 0.1:
            return ()
        if draw < 0.2:
            return (rng.uniform(0, 0.05), rng.uniform(0, 0.5))
        return (rng.uniform(0, 0.02),) if draw < 0.5 else (0.0,)

    return fault


class Wire:
    """Transports that reach each other; all are closed at the end."""

    def __init__(self, kind: str, folder: str, nursery: trio.Nursery, held: ExitStack) -> None:
        self.kind = kind
        self._held = held
        self._endpoints: dict[int, str] = {}
        self._keys: dict[int, Keys] = {}
        self._member = new_secret()
        self.opened: list[Transport] = []
        self._folder = folder
        self._nursery = nursery
        self._network = MemoryNetwork(nursery, rough(7) if kind == "weather" else faithful)

    def endpoint(self, incarnation: int) -> str:
        if self.kind in VIRTUAL:
            return f"memory:{incarnation}"
        if self.kind in ("ipc", "unix"):
            return f"{self.kind}://{self._folder}/{incarnation}"
        if incarnation not in self._endpoints:
            host = "::1" if self.kind.endswith("6") else "127.0.0.1"
            reserved = self._held.enter_context(reserve(host))
            keys = self.keys(incarnation)
            own = public_of(keys.own) if keys is not None else b""
            kind = "mptcp" if self.kind.startswith("mptcp") else "tcp"
            sites = (site_of(reserved),)
            self._endpoints[incarnation] = str(TcpEndpoint(sites, own, incarnation, kind))
        return self._endpoints[incarnation]

    def keys(self, incarnation: int) -> Keys | None:
        if self.kind.endswith("bare"):
            return None
        return self._keys.setdefault(incarnation, Keys(new_secret(), self._member))

    def open(self, incarnation: int) -> Transport:
        transport: Transport
        if self.kind in VIRTUAL:
            transport = self._network.join(incarnation)
        elif self.kind == "unix":
            transport = SocketTransport(self.endpoint(incarnation), incarnation, self._nursery)
        elif self.kind == "ipc":
            transport = ZmqTransport(self.endpoint(incarnation), incarnation, self._nursery)
        else:
            make = MptcpTransport if self.kind.startswith("mptcp") else TcpTransport
            transport = make(
                self.endpoint(incarnation),
                incarnation,
                self._nursery,
                keys=self.keys(incarnation),
            )
        if self.kind in ("reliable", "weather", "reliable tcp"):
            transport = Reliable(transport, self._nursery)
        self.opened.append(transport)
        return transport

    def two(self) -> tuple[Transport, Transport]:
        """One that is connected to the other."""
        near, far = self.open(1), self.open(2)
        near.connect(far.endpoint)
        return near, far


@asynccontextmanager
async def open_wire(kind: str) -> AsyncIterator[Wire]:
    with tempfile.TemporaryDirectory(prefix="rg-", dir="/tmp") as folder, ExitStack() as held:
        async with trio.open_nursery() as nursery:
            wire = Wire(kind, folder, nursery, held)
            try:
                with trio.fail_after(BOUND_S if kind != "weather" else 100 * BOUND_S):
                    yield wire
            finally:
                for transport in wire.opened:
                    transport.close()
                nursery.cancel_scope.cancel()


@pytest.fixture
def clock(kind: str) -> MockClock | None:
    """Virtual time where the wire is in this process, and only there."""
    return MockClock(autojump_threshold=0) if kind in VIRTUAL else None


REAL_KINDS = [
    pytest.param(kind, marks=pytest.mark.real)
    for kind in ("ipc", "unix", "tcp", "tcp6", "tcp bare", "reliable tcp", *MPTCP)
]
every_kind = pytest.mark.parametrize("kind", [*VIRTUAL, *REAL_KINDS])


async def take(transport: Transport, count: int) -> list[tuple[int, list[bytes]]]:
    """The next messages to arrive."""
    taken: list[tuple[int, list[bytes]]] = []
    while len(taken) < count:
        message = transport.receive()
        if message is None:
            await transport.wait()
        else:
            taken.append(solid(message))
    return taken


def solid(message: Message) -> tuple[int, list[bytes]]:
    return message[0], [bytes(frame) for frame in message[1]]


def numbered(start: int, end: int) -> list[list[bytes]]:
    return [[b"%d" % n, b"body"] for n in range(start, end)]


@every_kind
async def test_messages_arrive_once_and_in_order(kind: str, clock: MockClock | None) -> None:
    async with open_wire(kind) as wire:
        near, far = wire.two()
        third = wire.open(3)
        third.connect(far.endpoint)
        for frames in numbered(0, 3000):
            near.send(far.endpoint, frames)
            third.send(far.endpoint, frames)
        taken = await take(far, 6000)
        for incarnation in (1, 3):
            assert [frames for source, frames in taken if source == incarnation] == numbered(
                0, 3000
            )
        assert far.receive() is None
        assert near.receive() is None


@every_kind
async def test_each_direction_has_its_own_connection(kind: str, clock: MockClock | None) -> None:
    async with open_wire(kind) as wire:
        near, far = wire.two()
        with pytest.raises(KeyError):
            far.send(near.endpoint, [b"a", b"b"])
        far.connect(near.endpoint)
        far.connect(near.endpoint)  # again: nothing changes
        far.send(near.endpoint, [b"a", b"b"])
        near.send(far.endpoint, [b"c", b"d"])
        assert await take(near, 1) == [(2, [b"a", b"b"])]
        assert await take(far, 1) == [(1, [b"c", b"d"])]


@every_kind
@pytest.mark.parametrize("size", [0, 1, 300_000, 8_000_000])
@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview])
async def test_a_frame_of_any_size_arrives_as_it_was(
    kind: str, clock: MockClock | None, size: int, buffer: Callable[[bytes], Buffer]
) -> None:
    async with open_wire(kind) as wire:
        near, far = wire.two()
        data = random.Random(size).randbytes(size)
        for position in range(4):
            frames: list[Buffer] = [b"head", b"body", b"3", b"4"]
            frames[position] = buffer(data)
            near.send(far.endpoint, frames)
        for position, (source, taken) in enumerate(await take(far, 4)):
            assert source == 1
            assert taken[position] == data
            assert [len(frame) for frame in taken].count(4) + (size != 4) >= 2


@every_kind
@pytest.mark.parametrize("count", [1, 2, 3, 1024])
async def test_so_many_frames_stay_together(kind: str, clock: MockClock | None, count: int) -> None:
    async with open_wire(kind) as wire:
        near, far = wire.two()
        frames = [b"%d" % n for n in range(count)]
        near.send(far.endpoint, frames)
        near.send(far.endpoint, frames[::-1])
        assert await take(far, 2) == [(1, frames), (1, frames[::-1])]


@every_kind
async def test_a_message_to_a_peer_that_is_not_connected_is_a_key_error(
    kind: str, clock: MockClock | None
) -> None:
    async with open_wire(kind) as wire:
        near, far = wire.open(1), wire.open(2)
        with pytest.raises(KeyError):
            near.send(far.endpoint, [b"a", b"b"])
        near.connect(far.endpoint)
        near.send(far.endpoint, [b"c", b"d"])
        assert await take(far, 1) == [(1, [b"c", b"d"])]
        assert far.receive() is None


@every_kind
async def test_a_peer_that_is_disconnected_is_forgotten(kind: str, clock: MockClock | None) -> None:
    async with open_wire(kind) as wire:
        near = wire.open(1)
        near.disconnect(wire.endpoint(2))  # never heard of: ignored
        near.connect(wire.endpoint(2))
        for frames in numbered(0, 100):  # nobody is there yet
            near.send(wire.endpoint(2), frames)
        near.disconnect(wire.endpoint(2))
        near.disconnect(wire.endpoint(2))
        with pytest.raises(KeyError):
            near.send(wire.endpoint(2), [b"a", b"b"])
        far = wire.open(2)
        near.connect(far.endpoint)
        near.send(far.endpoint, [b"new", b"life"])
        assert await take(far, 1) == [(1, [b"new", b"life"])]
        assert far.receive() is None


@every_kind
async def test_receive_never_waits(kind: str, clock: MockClock | None) -> None:
    async with open_wire(kind) as wire:
        near, far = wire.two()
        for _ in range(3):
            assert far.receive() is None
        near.send(far.endpoint, [b"a", b"b"])
        await far.wait()
        assert await take(far, 1) == [(1, [b"a", b"b"])]
        for _ in range(3):
            assert far.receive() is None


@every_kind
async def test_nothing_is_missed_between_receive_and_wait(
    kind: str, clock: MockClock | None
) -> None:
    """ZMQ's descriptor is edge-triggered: an edge that was consumed does not come again."""
    async with open_wire(kind) as wire:
        near, far = wire.two()
        far.connect(near.endpoint)

        async def echo() -> None:
            for _ in range(2000):
                ((_, frames),) = await take(far, 1)
                far.send(near.endpoint, frames)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo)
            for frames in numbered(0, 2000):
                near.send(far.endpoint, frames)
                assert await take(near, 1) == [(2, frames)]


@every_kind
async def test_an_interrupt_wakes_the_task_that_waits(kind: str, clock: MockClock | None) -> None:
    async with open_wire(kind) as wire:
        near, far = wire.two()
        woken = []

        async def wait() -> None:
            assert far.receive() is None
            await far.wait()
            woken.append(far.receive())

        for _ in range(3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await wait_all_tasks_blocked()
                far.interrupt()
        assert woken == [None] * 3
        near.send(far.endpoint, [b"a", b"b"])
        assert await take(far, 1) == [(1, [b"a", b"b"])]


@every_kind
async def test_an_interrupt_that_nobody_waits_for_is_forgotten(
    kind: str, clock: MockClock | None
) -> None:
    async with open_wire(kind) as wire:
        far = wire.open(2)
        far.interrupt()
        assert far.receive() is None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.wait)
            await wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == 1
            far.interrupt()


@every_kind
async def test_a_wait_can_be_cancelled_and_taken_up_by_another_task(
    kind: str, clock: MockClock | None
) -> None:
    async with open_wire(kind) as wire:
        near, far = wire.two()
        for frames in numbered(0, 20):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(take, far, 1)
                    await wait_all_tasks_blocked()
                    scope.cancel()
            near.send(far.endpoint, frames)
            assert await take(far, 1) == [(1, frames)]


@every_kind
async def test_a_transport_is_closed_once(kind: str, clock: MockClock | None) -> None:
    async with open_wire(kind) as wire:
        near, far = wire.two()
        near.send(far.endpoint, [b"a", b"b"])
        near.close()
        near.close()
        with pytest.raises(KeyError):
            near.send(far.endpoint, [b"c", b"d"])
        far.disconnect(near.endpoint)
        far.close()
        far.close()


@every_kind
async def test_what_is_sent_to_a_closed_transport_harms_nobody(
    kind: str, clock: MockClock | None
) -> None:
    async with open_wire(kind) as wire:
        near, far = wire.two()
        third = wire.open(3)
        near.connect(third.endpoint)
        near.send(far.endpoint, [b"a", b"b"])
        await take(far, 1)
        far.close()
        for frames in numbered(0, 500):
            near.send(far.endpoint, frames)
            near.send(third.endpoint, frames)
        assert await take(third, 500) == [(1, frames) for frames in numbered(0, 500)]
        near.disconnect(far.endpoint)


@every_kind
@pytest.mark.parametrize("endpoint", ["", "nowhere", "carrier-pigeon://7"])
async def test_an_endpoint_that_leads_nowhere_is_a_value_error(
    kind: str, clock: MockClock | None, endpoint: str
) -> None:
    async with open_wire(kind) as wire:
        near = wire.open(1)
        with pytest.raises(ValueError, match=repr(endpoint)):
            near.connect(endpoint)
        with pytest.raises(KeyError):
            near.send(endpoint, [b"a", b"b"])


# -- what only one of them can do


@pytest.mark.parametrize("kind", REAL_KINDS)
async def test_a_peer_may_connect_before_the_other_has_bound(kind: str) -> None:
    async with open_wire(kind) as wire:
        near = wire.open(1)
        near.connect(wire.endpoint(2))
        for frames in numbered(0, 1000):
            assert not near.send(wire.endpoint(2), frames)
        await wait_all_tasks_blocked()
        far = wire.open(2)
        assert await take(far, 1000) == [(1, frames) for frames in numbered(0, 1000)]
        near.send(far.endpoint, [b"and", b"on"])
        assert await take(far, 1) == [(1, [b"and", b"on"])]


@pytest.mark.real
@pytest.mark.parametrize("noise", [b"HTTP/1.1 400 Bad Request\r\n\r\n", GREETING + b"\xff" * 300])
@pytest.mark.parametrize("kind", ["tcp", "mptcp"])
async def test_a_peer_whose_place_was_held_by_another_is_dialled_again(
    kind: str, noise: bytes
) -> None:
    async with open_wire(kind) as wire:
        near = wire.open(1)
        with listen_at(parse_endpoint(wire.endpoint(2)).sites, reserved=True)[0] as impostor:
            listener = trio.SocketListener(trio.socket.from_stdlib_socket(impostor))
            near.connect(wire.endpoint(2))
            near.send(wire.endpoint(2), [b"for", b"the right one"])
            async with await listener.accept() as caught:
                await caught.send_all(noise)
                with suppress(trio.BrokenResourceError):
                    async for _ in caught:
                        pass
        far = wire.open(2)
        assert await take(far, 1) == [(1, [b"for", b"the right one"])]
        assert near.send(far.endpoint, [b"next"])
        assert await take(far, 1) == [(1, [b"next"])]


@pytest.mark.real
async def test_a_socket_closed_underneath_is_told_to_who_waits_not_to_who_receives() -> None:
    async with open_wire("ipc") as wire, trio.open_nursery() as nursery:
        inbox = wire.open(1)
        assert isinstance(inbox, ZmqTransport)

        async def receive() -> None:
            while inbox.receive() is None:
                await inbox.wait()

        async def lead() -> None:
            with pytest.raises(trio.BrokenResourceError, match=inbox.endpoint):
                await receive()

        nursery.start_soon(lead)
        await wait_all_tasks_blocked()
        inbox._router.close()
        assert inbox.receive() is None


@pytest.mark.real
async def test_an_ipc_path_has_107_bytes_at_most() -> None:
    async with open_wire("ipc") as wire, trio.open_nursery() as nursery:
        for letter in ("x", "\u00fc"):
            root = wire.endpoint(1).removeprefix("ipc://") + "/.."
            room = 107 - len(root.encode()) + 2
            name = letter * (room // len(letter.encode()) + 1)
            with pytest.raises(ValueError, match="longer than the 107 bytes"):
                ZmqTransport(f"ipc://{root[:-2]}{name}", 5, nursery)
        folder = wire.endpoint(1).removeprefix("ipc://").rpartition("/")[0]
        longest = ZmqTransport(f"ipc://{folder}/" + "x" * (106 - len(folder)), 5, nursery)
        longest.close()


def shouts() -> dict[str, bytes]:
    rng = random.Random(7)
    greeting = b"\xff\0\0\0\0\0\0\0\1\x7f"
    return {
        "nothing": b"",
        "zeros": bytes(10_000),
        "noise": rng.randbytes(10_000),
        "text": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "half a greeting": greeting,
        "a greeting and noise": greeting + b"\3\0NULL" + bytes(48) + rng.randbytes(5000),
        "a message of 2**32 frames": b"regrow" + bytes(16) + b"\xff" * 4,
        "two frames of 2**31 bytes": b"regrow" + bytes(16) + b"\0\0\0\2" + b"\x7f" * 8,
        "half a message": b"regrow" + bytes(16) + b"\0\0\0\1\0\0\0\7abc",
        "a frame of 2**63 bytes": greeting + b"\3\0NULL" + bytes(48) + b"\2\x7f" + b"\xff" * 7,
    }


@pytest.mark.real
@pytest.mark.parametrize("shout", shouts().values(), ids=shouts().keys())
@pytest.mark.parametrize("kind", ["ipc", "unix"])
async def test_a_connection_that_speaks_otherwise_does_no_harm(kind: str, shout: bytes) -> None:
    async with open_wire(kind) as wire:
        near, far = wire.two()
        path = far.endpoint.removeprefix(f"{kind}://")
        for frames in numbered(0, 20):
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.connect(path)
                stranger.setblocking(False)
                # else ZMQ has hung up, or does not read on
                with suppress(BrokenPipeError, BlockingIOError):
                    stranger.send(shout)
                near.send(far.endpoint, frames)
                while (arrived := (await take(far, 1))[0]) != (1, frames):
                    assert arrived[0] == 0  # noise that passes for an old ZMTP is a stranger's
        while (message := far.receive()) is not None:
            assert message[0] == 0


async def test_a_fault_of_the_memory_wire_decides_alone(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        seen = []

        def weather(source: int, target: int, frames: Frames) -> Sequence[float]:
            seen.append((source, target))
            return {b"drop": (), b"twice": (0, 0), b"late": (2.5,)}.get(bytes(frames[0]), (0.0,))

        network = MemoryNetwork(nursery, weather)
        near, far = network.join(1), network.join(2)
        near.connect(far.endpoint)
        for word in (b"drop", b"late", b"twice", b"once"):
            near.send(far.endpoint, [word])
        assert [frames[0] for _, frames in await take(far, 3)] == [b"twice", b"twice", b"once"]
        assert await take(far, 1) == [(1, [b"late"])]
        assert trio.current_time() == 2.5
        assert seen == [(1, 2)] * 4


async def test_the_memory_wire_copies_what_it_carries(autojump_clock: MockClock) -> None:
    async with open_wire("memory") as wire:
        near, far = wire.two()
        frame = bytearray(b"before")
        near.send(far.endpoint, [frame])
        frame[:] = b"after!"
        assert await take(far, 1) == [(1, [b"before"])]
