"""A path is lost under load: how, at whose end, which one, and what came of it.

A controller is on one host of the laboratory, and a node that joined by hand on another; there are
two wires between them. `play` breaks one of them for a while.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

import msgspec
import trio

from actors.testing import lab
from actors.testing.lab import Host
from tests.bench_process import Child, open_child
from tests.path_load import Account, Mark, Paths

T = TypeVar("T")
PORT = 10_000
LOSSES = ("link down", "silent", "one way", "flapping")
ENDS = ("server", "client")
PATHS = ("first", "second", "backup", "first of a backup")
"""Which is lost. The second may be a backup, and then either it is lost or the other."""
FLAP_S = 0.25
GIVE_UP_S = 4.0
"""Plain tcp's path is away for no longer: nothing comes through."""
SETTLE_S = 10.0
SEND_S = 60.0
LOOK_S = 0.05
STARVED_S = 0.75
TRIES = 4


class Cell(msgspec.Struct, frozen=True):
    """One case. ``end``: where the path is broken.

    ``mode``: guarded, at both ends; half guarded, at the controller's alone; unguarded; tcp.
    """

    loss: str
    end: str
    path: str
    mode: str = "guarded"

    @property
    def wire(self) -> int:
        return 1 if self.path.startswith("first") else 2

    @property
    def backup(self) -> bool:
        return "backup" in self.path

    def __str__(self) -> str:
        return f"{self.loss}, {self.end}'s end, {self.path}, {self.mode}"


class Seen(msgspec.Struct, frozen=True):
    """What was marked before, while the path was away, and after; and what came of it all."""

    before: Mark
    away: Mark
    after: Mark
    account: Account

    @property
    def stalls(self) -> Mark:
        return self.away.and_then(self.after)

    @property
    def starved(self) -> bool:
        """Whether the machine let the processes wait so long that a node seemed silent for it."""
        whole = self.before.and_then(self.stalls)
        return whole.worst_s - whole.net_s > STARVED_S

    @property
    def complaint(self) -> str:
        """What must not be, "" if nothing is."""
        account = self.account
        found = []
        if account.noted != account.sent or account.wrong:
            found.append(f"{account.sent} sent, {account.noted} noted, wrong {account.wrong[:3]}")
        if heard := self.before.and_then(self.stalls).heard:
            found.append(f"the node was said to be {', '.join(heard)}")
        if not account.balances or account.undelivered or account.states != ["ok"]:
            found.append(f"undelivered {account.undelivered}, states {account.states}")
        return "; ".join(found)


class Talk:
    """A system of which one node is on another host."""

    def __init__(self, server: Host, client: Host, controller: Child) -> None:
        self.hosts = {"server": server, "client": client}
        self._controller = controller

    async def poured(self, count: int) -> float:
        """Bytes a second, of so many at a time: when nothing else holds them up."""
        return max([float(await self.order(f"pour {count}")) for _ in range(POURS)])

    async def order(self, line: str) -> str:
        """What the controller's program answers."""
        await self._controller.send(f"{line}\n".encode())
        return await self._controller.line()

    async def told(self, line: str, kind: type[T]) -> T:
        return msgspec.json.decode(await self.order(line), type=kind)

    async def until(self, holds: Callable[[Paths], bool]) -> None:
        """It holds of the controller's paths."""
        begin, found = trio.current_time(), await self.told("paths", Paths)
        while not holds(found) and trio.current_time() < begin + SETTLE_S:
            await trio.sleep(LOOK_S)
            found = await self.told("paths", Paths)
        if not holds(found):
            raise TimeoutError(f"after {SETTLE_S:g} s there are {found}")

    async def two_paths(self) -> None:
        """Each of the two streams has both."""
        await self.until(lambda paths: paths.counts == [2, 2])

    async def account(self) -> Account:
        """End it."""
        await self._controller.stdin.aclose()
        return msgspec.json.decode(await self._controller.line(), type=Account)


@asynccontextmanager
async def open_talk(
    server: Host, client: Host, transport: str = "mptcp", *, guards: int = 2
) -> AsyncIterator[Talk]:
    """They are connected; over one path, if nothing is `offer`ed."""
    for host in (server, client):
        host.run("ip", "mptcp", "limits", "set", "subflow", "4", "add_addr_accepted", "2")
    here, there = ([f"10.0.{wire}.{last}" for wire in (1, 2)] for last in (1, 2))
    async with AsyncExitStack() as stack:
        ticket = f"{stack.enter_context(tempfile.TemporaryDirectory())}/join"

        async def start(host: Host, *arguments: str, says: str = "") -> Child:
            with host.inside():  # nothing is waited for in there
                command = (sys.executable, "-m", *arguments)
                return await stack.enter_async_context(open_child(*command, says=says))

        listen = [f"{each}:{PORT}" for each in here]
        controller = await start(server, "tests.path_load", transport, ticket, *listen)
        await controller.line()
        await start(
            client, "shell", "join", listen[0], "--key", ticket, "--transport", transport,
            "--name", "far", "--actor", "tests.path_load:Ledger",
            "--listen", there[0], "--listen", there[1], *([] if guards == 2 else ["--no-guard"]),
            says=f"regrow: joined {listen[0]} as far",
        )  # fmt: skip
        await controller.line()
        talk = Talk(server, client, controller)
        if guards:
            await talk.order("guard on")
        yield talk


def offer(server: Host, client: Host, *, backup: bool = False) -> None:
    """Each host offers both of its addresses to whoever is connected to it."""
    for wire in (1, 2):
        flags = ("signal", *(("backup",) if backup and wire == 2 else ()))
        for host, last in ((server, 1), (client, 2)):
            address, device = f"10.0.{wire}.{last}", f"eth{wire}"
            host.run("ip", "mptcp", "endpoint", "add", address, "dev", device, *flags)


async def play(cell: Cell, messages: int, away_s: float = 1.5) -> Seen:
    """So many asks and tells: a quarter before, a half while the path is away, a quarter after.

    It is away for so long at least. What a `Seen.starved` run says is not believed the first time;
    and one whose paths did not come about is begun again, since the kernel tries each of them once.
    """
    for number in range(TRIES):
        last = number == TRIES - 1
        try:
            seen = await _play(cell, messages, away_s)
        except TimeoutError:
            if last:
                raise
            continue
        if last or cell.mode == "tcp" or not (seen.starved and seen.complaint):
            return seen
    raise AssertionError


async def _play(cell: Cell, messages: int, away_s: float) -> Seen:
    transport = "tcp" if cell.mode == "tcp" else "mptcp"
    guards = {"guarded": 2, "half guarded": 1}.get(cell.mode, 0)
    with lab.open_pair(2) as (server, client):
        if transport == "mptcp":
            offer(server, client, backup=cell.backup)
        async with open_talk(server, client, transport, guards=guards) as talk:
            await talk.order("load")
            if transport == "mptcp":
                await talk.two_paths()
            await _send(talk, 200)
            before = await _send(talk, messages // 4)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_break, talk.hosts[cell.end], cell)
                within_s = GIVE_UP_S if cell.mode == "tcp" else SEND_S
                away = await _send(talk, messages // 2, within_s, away_s)
                nursery.cancel_scope.cancel()
            _mend(talk, cell)
            after = await _send(talk, messages // 4)
            return Seen(before, away, after, await talk.account())


async def _send(talk: Talk, messages: int, within_s: float = SEND_S, for_s: float = 0.0) -> Mark:
    """So many more, and for so long at least; what was seen meanwhile."""
    seen = Mark()
    begin, passed_s = trio.current_time(), 0.0
    while passed_s < within_s and (seen.sent < messages or passed_s < for_s):
        await trio.sleep(LOOK_S)
        seen = seen.and_then(await talk.told("mark", Mark))
        passed_s = trio.current_time() - begin
    return seen


async def _break(host: Host, cell: Cell) -> None:
    device = f"eth{cell.wire}"
    if cell.loss == "link down":
        host.ip(f"link set {device} down")
        return
    rules = [f"output oifname {device} drop", f"input iifname {device} drop"]
    while True:
        host.filter(*rules[: 1 if cell.loss == "one way" else 2])
        if cell.loss != "flapping":
            return
        await trio.sleep(FLAP_S)
        host.unfilter()
        await trio.sleep(FLAP_S)


def _mend(talk: Talk, cell: Cell) -> None:
    host = talk.hosts[cell.end]
    if cell.loss == "link down":
        host.ip(f"link set eth{cell.wire} up")
        lab.restore_routes(talk.hosts["server"], talk.hosts["client"], 2)
    else:
        host.unfilter()


RATE = "20mbit"
POURS = 3
POUR_BYTES = 4 << 20


async def bandwidth() -> tuple[float, float]:
    """Bytes a second that come through one path, and two of the same rate: the best of some."""
    with lab.open_pair(2) as (server, client):
        for host in (server, client):
            for device in ("eth1", "eth2"):
                host.shape(device, RATE)
        async with open_talk(server, client) as talk:
            await talk.until(lambda paths: paths.counts == [1, 1])
            one = await talk.poured(POUR_BYTES)
            offer(server, client)
            await talk.two_paths()
            two = await talk.poured(2 * POUR_BYTES)
            await talk.account()
    return one, two
