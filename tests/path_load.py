"""A controller on one host of the laboratory, and what it sends to a node of another one.

    python -m tests.path_load TRANSPORT JOIN_FILE ADDRESS...

prints the port on which it listens, and ``up`` once ``far`` has joined. Then each line on stdin is
answered by one: ``guard on`` and ``load`` by ``ok``, ``mark`` and ``paths`` by JSON (`Mark`,
`Paths`), ``pour BYTES`` by the bytes that came through in a second. The end of stdin ends the load,
and the last line says what became of all (`Account`).
"""

from __future__ import annotations

import os
import sys

import msgspec
import trio

from actors.actor import Actor
from actors.ref import ActorRef
from actors.supervision.record import Happened
from actors.system import System, open_system
from runtime.errors import ActorDeadError, UnreachableError
from runtime.multipath.link_report import Reporting, StreamReport
from runtime.multipath.statistics import TcpState
from runtime.network.tcp_endpoint import parse_endpoint
from runtime.processes.procfs import queued_s

TELLS = 3
"""For each ask."""


class Ledger(Actor):
    """Takes numbers, told and asked, and notes where the next was not the next."""

    def __init__(self) -> None:
        self.next = 0
        self.wrong: list[tuple[int, int]] = []
        self.pieces = 0

    async def tell(self, number: int) -> None:
        self._note(number)

    async def ask(self, number: int) -> int:
        self._note(number)
        return number

    def _note(self, number: int) -> None:
        if number != self.next:
            self.wrong.append((self.next, number))
        self.next = number + 1

    async def pid(self) -> int:
        return os.getpid()

    async def take(self, piece: bytes) -> None:
        self.pieces += len(piece)

    async def taken(self) -> int:
        return self.pieces

    async def seen(self) -> tuple[int, list[tuple[int, int]]]:
        """How many, and what came where something else was due."""
        return self.next, self.wrong


class Mark(msgspec.Struct, frozen=True):
    """Since the last one: ``worst_s``, the longest round of some tells and an ask.

    ``net_s``: the longest without what the two processes waited for a core meanwhile, which on a
    busy machine is the greater part. ``refused``: how often a round had to be begun again.
    ``heard``: what was said of the node.
    """

    sent: int = 0
    worst_s: float = 0.0
    net_s: float = 0.0
    refused: int = 0
    heard: tuple[str, ...] = ()

    def and_then(self, other: Mark) -> Mark:
        """Both as one."""
        return Mark(
            self.sent + other.sent,
            max(self.worst_s, other.worst_s),
            max(self.net_s, other.net_s),
            self.refused + other.refused,
            self.heard + other.heard,
        )


class Paths(msgspec.Struct, frozen=True):
    """How many subflows each stream of the controller's has."""

    counts: list[int]


class Account(msgspec.Struct, frozen=True):
    """What came of all, and whether the system's own accounts say the same."""

    sent: int
    noted: int
    wrong: list[tuple[int, int]]
    balances: bool
    undelivered: int
    states: list[str]


class Load:
    """What is sent, one round after another. ``pids``: who takes part."""

    def __init__(self, ledger: ActorRef[Ledger], pids: tuple[int, ...]) -> None:
        self.ledger = ledger
        self.sent = 0
        self._pids = pids
        self._since = Mark()
        self._round_of: tuple[float, list[float]] | None = None
        self._stops = False

    async def run(self) -> None:
        """Until `stop`."""
        while not self._stops:
            if self._round_of is None:
                self._round_of = trio.current_time(), [queued_s(pid) for pid in self._pids]
            try:
                await self._round()
            except (UnreachableError, ActorDeadError):
                self._since = self._since.and_then(Mark(refused=1))
                await trio.sleep(0.02)
                continue  # and the next is the same round
            self._note()
            self._round_of = None
        self._round_of = None

    async def _round(self) -> None:
        for _ in range(TELLS):
            await self.ledger.tell(Ledger.tell, self._number())
        number = self._number()
        assert await self.ledger.ask(Ledger.ask, number) == number

    def _number(self) -> int:
        self.sent += 1
        self._since = self._since.and_then(Mark(sent=1))
        return self.sent - 1

    def _note(self) -> None:
        """How long this round has taken by now."""
        if self._round_of is None:
            return
        begin, before = self._round_of
        took_s = trio.current_time() - begin
        waits = zip(self._pids, before, strict=True)
        net_s = took_s - max(queued_s(pid) - begun_s for pid, begun_s in waits)
        self._since = self._since.and_then(Mark(worst_s=took_s, net_s=net_s))

    def hear(self, happened: Happened) -> None:
        self._since = self._since.and_then(Mark(heard=(happened.what,)))

    def stop(self) -> None:
        """No round begins any more."""
        self._stops = True

    def mark(self) -> Mark:
        self._note()
        mark, self._since = self._since, Mark()
        return mark


async def _joined(system: System) -> ActorRef[Ledger]:
    while True:
        try:
            return await system.lookup("far", Ledger)
        except (LookupError, ActorDeadError):
            await trio.sleep(0.02)


def _paths(system: System) -> Paths:
    wire = getattr(system.exchange.transport, "inner", None)
    reports: list[StreamReport] = []
    if isinstance(wire, Reporting):
        reports = [*wire.reports().values(), *wire.incoming_reports()]
    return Paths(
        sorted(
            sum(path.tcp.state == TcpState.ESTABLISHED for path in each.full.living)
            for each in reports
            if each.full is not None
        )
    )


def say(what: str | msgspec.Struct) -> None:
    text = what if isinstance(what, str) else msgspec.json.encode(what).decode()
    print(text, flush=True)


async def orders() -> str:
    """The next line of stdin, "" at its end."""
    line = b""
    while not line.endswith(b"\n"):
        await trio.lowlevel.wait_readable(0)
        data = os.read(0, 1)
        if not data:
            return ""
        line += data
    return line.decode().strip()


async def _follow(system: System, load: Load, nursery: trio.Nursery) -> None:
    while order := await orders():
        match order.split():
            case ["guard", "on"]:
                await system.path_manager()
                say("ok")
            case ["load"]:
                nursery.start_soon(load.run)
                say("ok")
            case ["mark"]:
                say(load.mark())
            case ["paths"]:
                say(_paths(system))
            case ["pour", count]:
                say(str(await _pour(load.ledger, int(count))))
            case _:
                raise ValueError(f"not an order: {order!r}")


async def _pour(ledger: ActorRef[Ledger], count: int) -> float:
    """How many bytes a second come through, of so many; the last must have been handled."""
    piece = bytes(64 * 1024)
    begin = trio.current_time()
    for _ in range(count // len(piece)):
        await ledger.tell(Ledger.take, piece)
    await ledger.ask(Ledger.taken)
    return count / (trio.current_time() - begin)


async def main(transport: str, join_file: str, addresses: list[str]) -> None:
    async with open_system(transport=transport, listen=addresses, join_file=join_file) as system:
        say(str(parse_endpoint(system.exchange.address.endpoint).sites[0].port))
        ledger = await _joined(system)
        load = Load(ledger, (os.getpid(), await ledger.ask(Ledger.pid)))

        with system.listen(load.hear):
            say("up")
            async with trio.open_nursery() as nursery:
                await _follow(system, load, nursery)
                load.stop()
            noted, wrong = await load.ledger.ask(Ledger.seen)
        audit = await system.audit()
        states = [str(row.state) for row in await system.tree() if row.name == "far"]
        say(
            Account(load.sent, noted, wrong, audit.balances, audit.undelivered, states),
        )


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3:])
