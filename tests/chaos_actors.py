"""The actors of a run of chaos: they talk, breed, end in every way, and write it all down."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import trio

from actors import Actor, ActorRef, ChildSpec, Supervisor, child, reentrant
from actors.child_spec import ChildOptions
from actors.down import Down
from runtime.errors import (
    ActorDeadError,
    MailboxFullError,
    RemoteError,
    SpawnError,
    UnreachableError,
    WireError,
)
from tests.chaos_journal import JOURNAL, Report, Tied
from tests.chaos_plan import BEARS, SLOW, STUMBLES, Birth, Talk

BOUND_S = 60.0
"""What has no deadline of its own ends by then, whatever happens."""
EXPECTED = (
    ActorDeadError,
    UnreachableError,
    MailboxFullError,
    trio.TooSlowError,
    trio.ClosedResourceError,
)


class Boom(Exception):
    """As ordered."""


class Chaotic(Actor):
    """See the module."""

    def __init__(self, tag: int = 0) -> None:
        self.tag = tag
        self.seen = 0
        self.monitors: list[Any] = []

    async def on_start(self) -> None:
        name = self.ref.name
        JOURNAL.starts[name] += 1
        if self.tag & SLOW:
            await trio.sleep(0.05)
        if self.tag & STUMBLES and JOURNAL.starts[name] % 3 == 0:
            raise Boom("it stumbles")
        if self.tag & BEARS:
            with suppress(SpawnError, ActorDeadError):
                await self.spawn(Chaotic, name=f"{name}-c", restart="permanent")

    def snapshot(self) -> int:
        return self.seen

    def restore(self, state: int, age_s: float) -> None:
        self.seen = state

    async def on_down(self, down: Down) -> None:
        me = self.ref.incarnation
        JOURNAL.down(me, down.monitor, down.ref.incarnation, down.reason.kind)

    # -- what it is told and asked

    async def note(
        self, source: int, target: int, number: int, told: bool, nap_s: float, data: bytes
    ) -> int:
        """The number, noted."""
        self.seen += 1
        JOURNAL.came(self.ref.incarnation, (source, target), number, told)
        if nap_s:
            await trio.sleep(nap_s)
        return number

    @reentrant
    async def linger(self) -> None:
        """Until nobody waits for it."""
        await trio.sleep_forever()

    async def dwell(self) -> None:
        """The same, and nobody else is served meanwhile."""
        await trio.sleep_forever()

    async def ping(self) -> str:
        return self.ref.name

    async def refuse(self, number: int) -> None:
        raise Boom(str(number))

    async def count(self, items: int, nap_s: float, size: int) -> AsyncIterator[tuple[int, bytes]]:
        for number in range(items):
            if nap_s and number % 8 == 0:
                await trio.sleep(nap_s)
            yield number, bytes(size)

    async def relay(self, path: list[ActorRef[Chaotic]], nap_s: float) -> int:
        """How far it came."""
        await trio.sleep(nap_s)
        return 1 + (await path[0].ask(Chaotic.relay, path[1:], nap_s) if path else 0)

    # -- what it is made to do

    @reentrant
    async def act(self, target: ActorRef[Chaotic], talk: Talk) -> None:
        await converse(self.ref.incarnation, target, talk)

    @reentrant
    async def grow(self, birth: Birth) -> None:
        me = self.ref.incarnation
        with JOURNAL.waiting(me, f"spawn of {birth.name}", BOUND_S), suppress(*EXPECTED):
            try:
                await self.spawn(*prototype(birth), **options(birth))
            except SpawnError:
                pass
            except RuntimeError as error:  # it ends
                JOURNAL.faults.append(f"spawn of {birth.name} by {me}: {error!r}")

    async def watch(self, target: ActorRef[Chaotic]) -> None:
        me = self.ref.incarnation
        monitor = self.monitor(target)
        self.monitors.append(monitor)
        if target.incarnation:
            JOURNAL.watching(me, monitor.number, target.incarnation)

    async def unwatch(self) -> None:
        if self.monitors:
            monitor = self.monitors.pop()
            self.demonitor(monitor)
            watched = JOURNAL.monitors.get((self.ref.incarnation, monitor.number))
            if watched is not None:
                watched.given_up = True

    async def tie(self, target: ActorRef[Chaotic]) -> None:
        self.link(target)
        if target.incarnation:
            tied = Tied(self.ref.incarnation, target.incarnation, trio.current_time())
            JOURNAL.links.append(tied)

    async def crash(self) -> None:
        raise Boom("as told")

    async def leave(self) -> None:
        self.finish()

    async def quit(self, code: int) -> None:
        raise SystemExit(code)

    async def vanish(self, code: int) -> None:
        os._exit(code)

    async def hog(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251

    @reentrant
    async def report(self) -> Report:
        """What this process has written down."""
        return JOURNAL.report()


class Family(Supervisor):
    """Three children of its list."""

    strategy = "rest_for_one"
    intensity = (50, 10.0)
    seen = 0

    def children(self) -> list[ChildSpec[Any]]:
        return [child(Chaotic, name=f"f-{letter}") for letter in "abc"]

    ping = Chaotic.ping
    linger = Chaotic.linger
    dwell = Chaotic.dwell
    note = Chaotic.note
    refuse = Chaotic.refuse
    count = Chaotic.count
    report = Chaotic.report


def prototype(birth: Birth) -> tuple[Any, ...]:
    """The class, and its arguments."""
    return (Family,) if birth.family else (Chaotic, birth.tag)


def options(birth: Birth) -> ChildOptions:
    """The child spec of a birth."""
    found: ChildOptions = {
        "restart": birth.restart,
        "strategy": birth.strategy,
        "intensity": (1000, 1.0) if birth.generous else (3, 10.0),
    }
    if birth.name:
        found["name"] = birth.name
    if birth.each_message:
        found["snapshot_every_s"] = "message"
    if birth.local:
        found["local"] = True
    if birth.family:
        found["strategy"] = "rest_for_one"
    return found


async def converse(source: int, target: ActorRef[Chaotic], talk: Talk) -> None:
    """Say it on behalf of the incarnation ``source``, and judge what comes of it."""
    what = f"{talk.kind} to {target.name}.{target.incarnation}"
    bound_s = talk.deadline_s or BOUND_S
    try:
        with (
            JOURNAL.waiting(source, what, bound_s),
            trio.fail_after(talk.deadline_s or float("inf")),
        ):
            await _say(source, target, talk)
    except Exception as error:
        if not _may_end(talk, error):
            JOURNAL.faults.append(f"{what} of {source} ended in {error!r}")
    else:
        if talk.kind in ("misfit", "refuse"):
            JOURNAL.faults.append(f"{what} of {source} was answered")


def _may_end(talk: Talk, error: Exception) -> bool:
    """Whether it may end so."""
    if isinstance(error, RuntimeError):
        return str(error).startswith("ask cycle: ")
    if isinstance(error, RemoteError):
        return talk.kind == "refuse" and error.type_name == "Boom"
    return isinstance(error, EXPECTED) or (isinstance(error, WireError) and talk.kind == "misfit")


async def _say(source: int, target: ActorRef[Chaotic], talk: Talk) -> None:
    pair = source, target.incarnation
    data = bytes(talk.size)
    if talk.kind == "ask":
        number = JOURNAL.number(pair)
        answer = await target.ask(Chaotic.note, *pair, number, False, talk.nap_s, data)
        if answer != number:
            JOURNAL.faults.append(f"{source} asked {target} for {number} and got {answer}")
    elif talk.kind == "tell":
        for _ in range(min(talk.count, 200)):
            number = JOURNAL.number(pair)
            JOURNAL.attempted[pair] += 1
            await target.tell(Chaotic.note, *pair, number, True, talk.nap_s / 10, data)
            JOURNAL.accepted[pair] += 1
    elif talk.kind == "burst":
        for _ in range(talk.count):
            number = JOURNAL.number(pair)
            target.tell_nowait(Chaotic.note, *pair, number, True, 0.0, data[:100])
            JOURNAL.attempted[pair] += 1
            JOURNAL.accepted[pair] += 1
    elif talk.kind == "stream":
        await _stream(source, target, talk)
    elif talk.kind in ("linger", "dwell"):
        await _leave(target, Chaotic.linger if talk.kind == "linger" else Chaotic.dwell, talk)
    elif talk.kind == "refuse":
        await target.ask(Chaotic.refuse, JOURNAL.number(pair))
    elif talk.kind == "misfit":
        await target.ask(Chaotic.refuse, "no number")  # type: ignore[arg-type]


async def _leave(target: ActorRef[Chaotic], handler: Any, talk: Talk) -> None:
    """Ask, and wait no longer after a while: the deadline that travels is a later one."""
    scope = trio.CancelScope()

    async def ask() -> None:
        with scope, suppress(*EXPECTED, RuntimeError):
            await target.ask(handler)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(talk.nap_s + 0.01 * (talk.count % 30))
        scope.cancel()


async def _stream(source: int, target: ActorRef[Chaotic], talk: Talk) -> None:
    count = 0
    async with target.stream(Chaotic.count, talk.count, talk.nap_s, talk.size) as items:
        async for number, data in items:
            if number != count or len(data) != talk.size:
                JOURNAL.faults.append(f"{source} got item {number} of {target} for {count}")
            count += 1
            if talk.after and count >= talk.after:
                return
    if count != talk.count:
        JOURNAL.faults.append(f"{source} got {count} of {talk.count} items of {target}")
