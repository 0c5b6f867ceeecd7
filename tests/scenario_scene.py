"""One scenario on its way: two hosts, four wires, a connection of ours, and a manager at each end.

Between setup and checks both ends talk, a kilobyte there and an answer back every few
milliseconds, and every byte is compared. What is done to endpoints is done by our path manager
where it has a verb for it, and the namespace has somebody who listens to its events: it is one.

A check of "at most" can only be refuted: so all checks hold, and hold again after `SETTLE_S`.
"""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Final, TypeVar

import trio

from actors.testing.lab import Host
from runtime.multipath import inspection
from runtime.multipath.connection import Notice
from runtime.multipath.dialling import dial
from runtime.multipath.endpoint import Endpoint
from runtime.multipath.event import Event, ListenerClosed, ListenerCreated
from runtime.multipath.path_guard import plain
from runtime.multipath.path_manager import PathManager
from runtime.multipath.paths import Paths
from runtime.multipath.streams import Streams
from runtime.network.tcp_endpoint import Site
from tests.scenario import Check, Checks, Side, Step, counter
from tests.scenario_books import Account, disagreements, discord
from tests.scenario_carrier import Carrier

HOLD_S: Final = 30.0
SETTLE_S: Final = 0.4
SIDES: Final[tuple[Side, Side]] = ("server", "client")
_CHUNK: Final = 1_024
_PAUSE_S: Final = 0.01
_EARLY: Final = 0.6
E = TypeVar("E")


class Skip(Exception):
    """This kernel cannot do it; the message names what is missing."""


class Scene:
    def __init__(self, server: Host, client: Host, carrier: Carrier) -> None:
        self.hosts: dict[Side, Host] = {"server": server, "client": client}
        self.carrier = carrier
        self.paths: dict[Side, Paths] = {}
        self.managers: dict[Side, PathManager] = {}
        self.logs: dict[Side, list[Event]] = {"server": [], "client": []}
        self.notices: dict[Side, list[Notice]] = {"server": [], "client": []}
        self.by_hand: dict[str, None] = {}
        """Why verbs were used that are not our path manager's."""
        self.altered = False
        self.opened = 0
        """Connections, one after another."""
        self.accounts: dict[Side, Account] = {}
        self.answered = 0
        self.carried = 0
        self._turn = trio.Lock()
        self._closed = False

    def other(self, side: Side) -> Side:
        return "client" if side == "server" else "server"

    def manager(self, side: Side, why_not: str = "") -> PathManager | None:
        """That end's; None where it cannot be used, which is noted: ``why_not``, or nobody may."""
        found = self.managers.get(side)
        if found is None or why_not:
            self.by_hand[why_not or "nobody may listen to events"] = None
            return None
        return found

    async def endpoints(self, side: Side) -> list[Endpoint]:
        return await (
            self.managers[side].endpoints() if side in self.managers else self.paths[side].all()
        )

    # -- the connection

    async def connect(self, address: str, nursery: trio.Nursery) -> None:
        await self.carrier.connect(address, nursery)
        await self._stream_is_open()

    async def _stream_is_open(self) -> None:
        """Both ends have one that is not the last; it is looked after from now on."""
        last = {side: account.end.outer for side, account in self.accounts.items()}
        with trio.fail_after(HOLD_S):
            while any(  # noqa: ASYNC110
                (end := self.carrier.end(side)) is None or end.outer is last.get(side)
                for side in SIDES
            ):
                await trio.sleep(_PAUSE_S)
        self.opened += 1
        for side in SIDES:
            end = self.carrier.end(side)
            assert end is not None
            self.accounts[side] = Account.opened(end)
            if side in self.managers:
                self.managers[side].watch(f"{self.opened}", end.outer, server_side=side == "server")

    def outer(self, side: Side) -> socket.socket:
        """The MPTCP socket of that end."""
        return self.accounts[side].end.outer

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

    async def answers(self, count: int) -> None:
        """So many more have come. In the beginning: both ends know that the other speaks MPTCP."""
        goal = self.answered + count
        with trio.fail_after(HOLD_S):
            while self.answered < goal:  # noqa: ASYNC110
                await trio.sleep(_PAUSE_S)

    async def _carry(self, side: Side, data: bytes) -> None:
        """From that end to the other, all of it, unaltered unless that is what is tested."""
        got = await self.carrier.carry(side, data, self._arrived)
        assert self.altered or got == data, "bytes were altered"

    def _arrived(self, count: int) -> None:
        self.carried += count

    async def transfer(
        self, client_bytes: int, server_bytes: int, midway: Step | None = None
    ) -> None:
        """So much comes across; when half of it has, the step is taken.

        Not before that is more than `_EARLY` of it under way, however late a busy machine takes it.
        """
        half, acted = self.carried + (client_bytes + server_bytes) // 2, trio.Event()
        async with self._turn, trio.open_nursery() as nursery:
            nursery.start_soon(self._transfer, "client", client_bytes, acted)
            nursery.start_soon(self._transfer, "server", server_bytes, acted)
            if midway is not None:
                while self.carried < half:  # noqa: ASYNC110
                    await trio.sleep(_PAUSE_S)
                await midway(self)
            acted.set()

    async def _transfer(self, side: Side, count: int, acted: trio.Event) -> None:
        data = struct.pack("!I", count) * (count // 4)
        early = int(_EARLY * len(data))
        await self._carry(side, data[:early])
        await acted.wait()
        await self._carry(side, data[early:])

    async def break_stream(self, side: Side) -> None:
        """That end fails; the link has another stream soon, and the talk goes on."""
        self.accounts[side].end.break_off()
        await self._stream_is_open()
        await self.answers(5)

    async def next_stream(self) -> None:
        """The link has had to open another stream by itself, and the talk goes on."""
        await self._stream_is_open()
        await self.answers(5)

    async def refused_connect(self, address: str, port: int) -> None:
        try:
            stream = await dial(
                [Site(address, port)], Streams(self.hosts["client"].socket).dialling
            )
        except ConnectionError:
            return
        stream.close()
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
                found = inspection.mptcp_info(self.outer(check.side))
                if not found.knows(check.name):
                    raise Skip(f"mptcp_info of this kernel has no {check.name}")
                return int(getattr(found, check.name))
            case "living":
                return len(inspection.full_info(self.outer(check.side)).living)
            case "event":
                return sum(_is(event, check.name) for event in self.logs[check.side])
            case "notice":
                return sum(type(each).__name__ == check.name for each in self.notices[check.side])
            case "sent":
                return host.sent_bytes(check.name)

    def standing(self) -> Checks:
        """What holds in the end whatever was done: no stream was opened that nobody knows of."""
        falls = int(self.altered)
        checks = [Check(side, "notice", "FellBack", falls, falls) for side in self.managers]
        checks += [Check(side, "notice", "Trouble", 0, 0) for side in self.managers]
        if self.opened:
            checks += [counter("client", "MPCapableSYNTX", self.opened)]
            checks += [counter("server", "MPCapableSYNRX", self.opened)]
        return tuple(checks)

    def discord(self, lost: Collection[str]) -> list[str]:
        """Where the hosts disagree; see `tests.scenario_books`."""
        counters = {side: host.counters() for side, host in self.hosts.items()}
        events = {
            side: Counter(type(event).__name__ for event in self.logs[side])
            for side in self.managers
        }
        return discord(counters, events, self.opened, lost)

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

    async def hold_still(self, checks: Checks, lost: Collection[str]) -> None:
        """All of them hold, and the hosts agree; and after a while still."""
        await self.hold(checks)
        with trio.move_on_after(HOLD_S):
            while self.discord(lost):  # noqa: ASYNC110
                await trio.sleep(0.05)
        await trio.sleep(SETTLE_S)
        assert not (unmet := self.unmet(checks) + self.discord(lost)), "; ".join(unmet)

    # -- the end

    async def close(self) -> None:
        """Both ends have closed in good order, and the books agree."""
        async with self._turn:
            self._closed = True
            if not self.altered:
                await self._balance()
            for manager in self.managers.values():
                for number in range(1, self.opened + 1):
                    manager.forget(f"{number}")
            before = self._fast()
            await self.carrier.leave()
            ends = [account.end for account in self.accounts.values()]
            with trio.fail_after(HOLD_S):
                while any(end.is_open for end in ends):  # noqa: ASYNC110
                    await trio.sleep(_PAUSE_S)
            assert not (amiss := [said for end in ends if (said := end.amiss())]), amiss
            assert self._fast() == before, "an end was no end in good order"

    def _fast(self) -> list[int]:
        """How many connections each host has ended at once."""
        return [counted(host.counters(), "MPFastcloseTx") for host in self.hosts.values()]

    async def _balance(self) -> None:
        with trio.move_on_after(HOLD_S):
            while disagreements(self.accounts):  # noqa: ASYNC110
                await trio.sleep(_PAUSE_S)
        assert not (said := disagreements(self.accounts)), "; ".join(said)

    def report(self) -> str:
        """What is known, for the one who has to find out why."""
        lines = []
        for side, host in self.hosts.items():
            counted = {name: value for name, value in host.counters().items() if value}
            lines += [f"{side}: {counted}", *(f"  {event}" for event in self.logs[side])]
            lines += [f"  {notice}" for notice in self.notices[side]]
        return "\n".join(lines)


def _is(event: Event, name: str) -> bool:
    """Whether it is of that class and, if ``name`` says where, of that address and port."""
    kind, _, where = name.partition(" ")
    if type(event).__name__ != kind or not where:
        return type(event).__name__ == kind
    assert isinstance(event, ListenerCreated | ListenerClosed)
    return f"{plain(event.address.host)}:{event.address.port}" == where


def counted(counters: Mapping[str, int], name: str) -> int:
    if name not in counters:
        raise Skip(f"this kernel does not count {name}")
    return counters[name]
