"""Carries out scenarios: two hosts each, four wires between them, many at a time.

Between setup and checks both ends talk, a kilobyte there and back every few milliseconds, and
every byte is compared. At the end the books must agree as an independent observer would have it:
what one end has sent the other has received, by its own count and by the kernel's, and the
sequence has advanced by that much.

A check of "at most" can only be refuted: so all checks hold, and hold again after `SETTLE_S`.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from typing import Final, TypeVar

import msgspec
import trio

from runtime.multipath import inspection
from runtime.multipath.event import Event
from runtime.multipath.paths import Paths, open_events, open_paths
from runtime.multipath.statistics import MptcpInfo
from tests import lab
from tests.lab import Host
from tests.mptcp import IPPROTO_MPTCP
from tests.scenario import Check, Checks, Scenario, Side, Step

PORT: Final = 10_000
AT_ONCE: Final = 8
HOLD_S: Final = 20.0
SETTLE_S: Final = 0.4
SCENARIO_S: Final = 90.0
_CHUNK: Final = 1_024
_PAUSE_S: Final = 0.01
E = TypeVar("E")


class Skip(Exception):
    """This kernel cannot do it; the message names what is missing."""


class Scene:
    """One scenario on its way."""

    def __init__(self, server: Host, client: Host, nursery: trio.Nursery) -> None:
        self.hosts: dict[Side, Host] = {"server": server, "client": client}
        self.paths: dict[Side, Paths] = {}
        self.logs: dict[Side, list[Event]] = {"server": [], "client": []}
        self.sent: dict[Side, int] = {"server": 0, "client": 0}
        self.streams: dict[Side, trio.SocketStream] = {}
        self.answered = 0
        self.carried = 0
        self.altered = False
        self._first: dict[Side, MptcpInfo] = {}
        self._nursery = nursery
        self._turn = trio.Lock()
        self._closed = False

    def other(self, side: Side) -> Side:
        return "client" if side == "server" else "server"

    # -- the connection

    async def connect(self, address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listener = self.hosts["server"].socket(socket.AF_INET6, proto=IPPROTO_MPTCP)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        client = self.hosts["client"].socket(family, proto=IPPROTO_MPTCP)
        listening, connecting = map(trio.socket.from_stdlib_socket, (listener, client))
        await listening.bind(("::", PORT))
        listening.listen()
        self.streams["client"] = trio.SocketStream(connecting)
        with trio.fail_after(HOLD_S):
            await connecting.connect((address, PORT))
            accepted, _ = await listening.accept()
        self.streams["server"] = trio.SocketStream(accepted)
        self.listening = listening
        for side, stream in self.streams.items():
            self._first[side] = inspection.mptcp_info(stream.socket)

    async def talk(self) -> None:
        """For ever, but while something else is under way."""
        while True:
            async with self._turn:
                if self._closed:
                    return
                chunk = struct.pack("!I", self.answered) * (_CHUNK // 4)
                for side in ("client", "server"):
                    await self._carry(side, chunk)
                self.answered += 1
            await trio.sleep(_PAUSE_S)

    async def settled(self) -> None:
        """Both ends know that the other speaks MPTCP: only then endpoints count."""
        with trio.fail_after(HOLD_S):
            while self.answered < 5:  # noqa: ASYNC110
                await trio.sleep(_PAUSE_S)

    async def _carry(self, side: Side, data: bytes) -> None:
        """From that end to the other, all of it, and unaltered unless that is what is tested."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.streams[side].send_all, data)
            self.sent[side] += len(data)
            receiver = self.streams[self.other(side)]
            got = bytearray()
            while len(got) < len(data):
                part = await receiver.receive_some(min(len(data) - len(got), 1 << 18))
                assert part, f"the end of the stream after {len(got)} of {len(data)} bytes"
                got += part
                self.carried += len(part)
        assert self.altered or got == data, "bytes were altered"

    async def transfer(
        self, client_bytes: int, server_bytes: int, midway: Step | None = None
    ) -> None:
        """So much comes across; when half of it has, the step is taken."""
        half = self.carried + (client_bytes + server_bytes) // 2
        async with self._turn, trio.open_nursery() as nursery:
            counts: tuple[tuple[Side, int], ...] = (
                ("client", client_bytes),
                ("server", server_bytes),
            )
            for side, count in counts:
                if count:
                    data = struct.pack("!I", count) * (count // 4)
                    nursery.start_soon(self._carry, side, data)
            if midway is not None:
                while self.carried < half:  # noqa: ASYNC110
                    await trio.sleep(_PAUSE_S)
                await midway(self)

    async def fast_close(self, side: Side) -> None:
        async with self._turn:
            self._closed = True
            sock = self.streams[side].socket
            await self.streams[self.other(side)].send_all(b"unread")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()

    async def refused_connect(self, address: str, port: int) -> None:
        sock = self.hosts["client"].socket(socket.AF_INET, proto=IPPROTO_MPTCP)
        with trio.socket.from_stdlib_socket(sock) as connecting, trio.move_on_after(1.0):
            try:
                await connecting.connect((address, port))
            except OSError:
                return
            raise AssertionError("the connection was not refused")

    # -- what is seen

    async def event(self, side: Side, kind: type[E]) -> E:
        """The first of that kind."""
        with trio.fail_after(HOLD_S):
            while True:
                for event in self.logs[side]:
                    if isinstance(event, kind):
                        return event
                await trio.sleep(0.01)

    def seen(self, check: Check) -> int:
        host = self.hosts[check.side]
        match check.kind:
            case "counter" if check.name.endswith("+peer"):
                name = check.name.removesuffix("+peer")
                return sum(counted(each.counters(), name) for each in self.hosts.values())
            case "counter":
                plus, _, minus = check.name.partition("-")
                counters = host.counters()
                return counted(counters, plus) - (counted(counters, minus) if minus else 0)
            case "tcp counter":
                return counted(host.tcp_counters(), check.name)
            case "info":
                found = inspection.mptcp_info(self.streams[check.side].socket)
                if not found.knows(check.name):
                    raise Skip(f"mptcp_info of this kernel has no {check.name}")
                return int(getattr(found, check.name))
            case "living":
                return len(inspection.full_info(self.streams[check.side].socket).living)
            case "event":
                return sum(type(event).__name__ == check.name for event in self.logs[check.side])
            case "sent":
                return host.sent_bytes(check.name)

    def unmet(self, checks: Checks) -> list[str]:
        found = [(check, self.seen(check)) for check in checks]
        return [
            f"{check}, not {value}"
            for check, value in found
            if not check.least <= value <= check.most
        ]

    async def hold(self, checks: Checks, within_s: float = HOLD_S) -> None:
        """All of them hold. `AssertionError` says which do not."""
        with trio.move_on_after(within_s):
            while self.unmet(checks):  # noqa: ASYNC110
                await trio.sleep(0.05)
        assert not (unmet := self.unmet(checks)), "; ".join(unmet)

    async def hold_still(self, checks: Checks) -> None:
        """All of them hold, and after a while still."""
        await self.hold(checks)
        await trio.sleep(SETTLE_S)
        assert not (unmet := self.unmet(checks)), "; ".join(unmet)

    # -- the end

    async def close(self) -> None:
        """Both ends have closed in good order, and the books agree."""
        async with self._turn:
            if self._closed:
                return
            self._closed = True
            if not self.altered:
                self._audit()
            with trio.fail_after(HOLD_S):
                for side in ("client", "server"):
                    await self.streams[side].send_eof()
                    assert await self.streams[self.other(side)].receive_some() == b""

    def _audit(self) -> None:
        now = {side: inspection.mptcp_info(each.socket) for side, each in self.streams.items()}
        for side in ("client", "server"):
            ours, theirs, first = now[side], now[self.other(side)], self._first
            count = self.sent[side]
            assert ours.bytes_sent == count
            assert theirs.bytes_received == count
            assert (ours.write_seq - first[side].write_seq) % (1 << 64) == count
            moved = theirs.rcv_nxt - first[self.other(side)].rcv_nxt
            assert moved % (1 << 64) == count or not first[self.other(side)].rcv_nxt

    def report(self) -> str:
        """What is known, for the one who has to find out why."""
        lines = []
        for side, host in self.hosts.items():
            counted = {name: value for name, value in host.counters().items() if value}
            lines += [f"{side}: {counted}", *(f"  {event}" for event in self.logs[side])]
        return "\n".join(lines)


def counted(counters: Mapping[str, int], name: str) -> int:
    if name not in counters:
        raise Skip(f"this kernel does not count {name}")
    return counters[name]


async def _log(scene: Scene, side: Side, task_status: trio.TaskStatus[None]) -> None:
    async with open_events(scene.hosts[side].socket) as events:
        task_status.started()
        async for event in events:
            scene.logs[side].append(event)


async def play(scenario: Scenario) -> None:
    """It holds, or this raises what does not, or `Skip`."""
    with lab.open_pair(4) as (server, client):
        async with AsyncExitStack() as stack:
            nursery = await stack.enter_async_context(trio.open_nursery())
            scene = Scene(server, client, nursery)
            scene.altered = scenario.altered
            try:
                await _play(scenario, scene, stack, nursery)
            except AssertionError as error:
                error.add_note(scene.report())
                raise
            finally:
                for stream in scene.streams.values():
                    stream.socket.close()
            nursery.cancel_scope.cancel()


async def _play(
    scenario: Scenario, scene: Scene, stack: AsyncExitStack, nursery: trio.Nursery
) -> None:
    for side, host in scene.hosts.items():
        scene.paths[side] = await stack.enter_async_context(open_paths(host.socket))
        if side not in scenario.deaf:
            await nursery.start(_log, scene, side)
    for step in scenario.setup:
        await step(scene)
    if scenario.traffic == "talk":
        await scene.connect(scenario.connect)
        nursery.start_soon(scene.talk)
        await scene.settled()
        await scene.hold(scenario.before)
    for step in scenario.during:
        await step(scene)
    await scene.hold_still(scenario.checks)
    if scenario.traffic == "talk":
        await scene.close()
        for stream in scene.streams.values():
            await stream.aclose()
        scene.listening.close()
    await scene.hold(scenario.after)


class Outcome(msgspec.Struct, frozen=True):
    """How a scenario ended: neither is None if it holds."""

    error: BaseException | None = None
    skipped: str = ""
    attempts: int = 1
    took_s: float = 0.0


def _first_error(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def attempt(scenario: Scenario) -> Outcome:
    outcome, begin = Outcome(), trio.current_time()
    for count in range(1, scenario.attempts + 1):
        try:
            with trio.fail_after(SCENARIO_S):
                await play(scenario)
            return Outcome(attempts=count, took_s=trio.current_time() - begin)
        except Exception as error:
            first = _first_error(error)
            if isinstance(first, Skip):
                return Outcome(skipped=str(first))
            outcome = Outcome(error=first, attempts=count)
    return outcome


async def play_all(scenarios: Collection[Scenario]) -> dict[int, Outcome]:
    """The outcome of each, by number; `AT_ONCE` of them at a time, those with deaf ends alone."""
    outcomes: dict[int, Outcome] = {}
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def one(scenario: Scenario) -> None:
        async with limiter:
            outcomes[scenario.number] = await attempt(scenario)

    async with trio.open_nursery() as nursery:
        for scenario in scenarios:
            if not scenario.deaf:
                nursery.start_soon(one, scenario)
    for scenario in scenarios:
        if scenario.deaf:
            await one(scenario)
    return outcomes
