"""A controller that starts nothing: what one actor asks of it is recorded, and answered by stubs.

For `actors.testing.tester`. Whoever the actor spawns or looks up is a probe; it ends when the test
says so.

Invariants
----------
* Every request is answered: by a probe, by an end that the test gave, or by a refusal.
* One `Down` comes of each monitor, at once for those that have ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import trio

from actors.actor import Actor, reentrant
from actors.ref import ActorRef, ref_to
from actors.testing.probe import Probe
from runtime.address import CONTROLLER, Address
from runtime.errors import SpawnError
from runtime.exits import ExitReason
from runtime.messages import envelope as wire
from runtime.messages.behaviour import Behaviour
from runtime.messages.constructor import constructor_of
from runtime.traffic.exchange import Exchange
from runtime.traffic.registrar import Answer, Refusal, Registrar, Row, Spec

MakeProbe = Callable[[type[Behaviour] | None, str], Awaitable[Probe[Any]]]


@dataclass(frozen=True)
class Spawned:
    """A child that the actor has spawned: its class, arguments and spec, and who stands in."""

    actor: type[Any]
    args: tuple[Any, ...]
    spec: Spec
    probe: Probe[Any]


class Watched(NamedTuple):
    """Whom the actor monitors, and whether it wants to hear of suspicions."""

    ref: ActorRef[Any]
    suspicions: bool


class StubController(Registrar, Actor):
    """Of one tester. ``refuse_spawn``: why children do not come up; "" where they do."""

    def __init__(
        self, exchange: Exchange, find: Callable[[str], type[Behaviour]], make_probe: MakeProbe
    ) -> None:
        self.refuse_spawn = ""
        self.spawned: list[Spawned] = []
        self.monitored: list[Watched] = []
        self.linked: list[ActorRef[Any]] = []
        self.stopped: list[ActorRef[Any]] = []
        self.killed: list[ActorRef[Any]] = []
        self.names: dict[str, Address] = {}
        self._exchange = exchange
        self._find = find
        self._make_probe = make_probe
        self._watches: dict[int, Address] = {}
        self._ends: dict[Address, ExitReason] = {}
        self._ended = trio.Event()
        control = exchange.control
        control[wire.Monitor] = self._monitor
        control[wire.Demonitor] = self._demonitor
        control[wire.Link] = lambda peer, it, _: self.linked.append(ref_to(it.who))
        control[wire.Snapshot] = lambda peer, it, _: None
        control[wire.Account] = lambda peer, it, _: None

    # -- from the test

    def end(self, who: Address, reason: ExitReason) -> None:
        """It has ended: whoever monitors it or waits for it hears so. The first end stands."""
        if who in self._ends:
            return
        self._ends[who] = reason
        self.names = {name: each for name, each in self.names.items() if each != who}
        for number, each in list(self._watches.items()):
            if each == who:
                self._fall(number, who)
        ended, self._ended = self._ended, trio.Event()
        ended.set()

    def suspect(self, who: Address, kind: str, evidence: str) -> None:
        """Monitors that asked for suspicions hear this; ``kind`` "ok": it is heard again."""
        for number, each in self._watches.items():
            if each == who:
                news = wire.Suspicion(number, who, kind, evidence)
                self._exchange.say(self._exchange.here, news)

    def _fall(self, number: int, who: Address) -> None:
        self._watches.pop(number, None)
        self._exchange.say(self._exchange.here, wire.Fallen(number, who, self._ends[who]))

    def _monitor(self, peer: Any, it: wire.Monitor, _: Any) -> None:
        self.monitored.append(Watched(ref_to(it.who), it.suspicions))
        who = it.who if it.who.incarnation else self.names.get(it.who.name, it.who)
        self._watches[it.number] = who
        if who in self._ends:
            self._fall(it.number, who)

    def _demonitor(self, peer: Any, it: wire.Demonitor, _: Any) -> None:
        self._watches.pop(it.number, None)

    # -- from the actor

    @reentrant
    async def spawn_child(self, spec: Spec, args: bytes) -> Answer:
        if self.refuse_spawn:
            return Answer(refusal=Refusal(kind="spawn", message=self.refuse_spawn))
        if spec.name in self.names:
            return Answer(address=self.names[spec.name])
        behaviour = self._find(spec.entry)
        parameters = constructor_of(behaviour)
        values = parameters.decode(args, (), ()) if parameters is not None else ()
        name = spec.name or f"{spec.stem}-{len(self.spawned) + 1}"
        try:
            probe = await self._make_probe(behaviour, name)
        except SpawnError as refused:
            return Answer(refusal=Refusal(kind="spawn", message=str(refused)))
        self.spawned.append(Spawned(behaviour, values, spec, probe))
        return Answer(address=probe.ref)

    @reentrant
    async def look_up(self, name: str) -> Answer:
        if name == CONTROLLER:
            return Answer(address=self.ref)
        if name in self.names:
            return Answer(address=self.names[name])
        return Answer(refusal=Refusal(kind="unknown", message=f"no actor is named {name}"))

    @reentrant
    async def stop_tree(self, who: Address) -> Answer:
        self.stopped.append(ref_to(who))
        self.end(who, ExitReason(kind="shutdown"))
        return Answer(reason=self._ends[who])

    @reentrant
    async def kill_one(self, who: Address) -> Answer:
        self.killed.append(ref_to(who))
        self.end(who, ExitReason(kind="killed", signal=9))
        return Answer(reason=self._ends[who])

    @reentrant
    async def wait_for(self, who: Address) -> Answer:
        while who not in self._ends:
            await self._ended.wait()
        return Answer(reason=self._ends[who])

    @reentrant
    async def keep(self, who: Address, kept: bytes) -> None: ...

    @reentrant
    async def abandon(self, token: str) -> None: ...

    @reentrant
    async def local_ended(self, who: Address, reason: ExitReason) -> None: ...

    @reentrant
    async def certificate(self, name: str) -> Answer:
        return Answer()

    @reentrant
    async def rows(self) -> list[Row]:
        return []
