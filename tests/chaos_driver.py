"""Carries out the operations of chaos on a system, real or virtual, and keeps a plain model of it.

Operations run as tasks; whatever becomes of them is judged where they end. The model is what can
be said of a tree without its insides: incarnations grow, each starts and dies once, a certificate
names something that was done, and a place goes only if somebody had a reason.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from signal import SIGCONT, SIGKILL, SIGSEGV, SIGSTOP, SIGTERM
from typing import Any

import trio

from actors.ref import ActorRef, ref_to
from actors.supervision.record import Happened, Record
from actors.system import System
from actors.testing.virtual import VirtualSystem
from runtime.address import CONTROLLER, CONTROLLER_INCARNATION
from runtime.errors import RemoteError, SpawnError, WireError
from runtime.traffic.letters import MORE
from tests.chaos_actors import BOUND_S, EXPECTED, Chaotic, converse, options, prototype
from tests.chaos_journal import JOURNAL
from tests.chaos_plan import Birth, Op, Talk

SIGNALS = {"kill": SIGKILL, "segv": SIGSEGV, "term": SIGTERM}
CRASHES = {"Boom", "LinkedExit", "RestartIntensity", "SpawnError", "SystemExit"}
KINDS = {"normal", "shutdown", "crashed", "exited", "killed"}
ENDS = {"stop", "leave", "quit", "term", "spawn", "grow", "local", "family", "link", "destroy"}
"""Operations after which the place of whom they name, or of all under it, may be gone."""

CERTIFICATE_S = 3.0
"""So long after a death all is known of it."""


class Driver:
    """Of one system. ``tasks``: where operations run; whoever cancels it gives them all up."""

    def __init__(self, system: System, tasks: trio.Nursery) -> None:
        self.system = system
        self.virtual = isinstance(system, VirtualSystem)
        self.tasks = tasks
        self.done = 0
        self.refs: dict[str, ActorRef[Any]] = {}
        self.before: dict[str, ActorRef[Any]] = {}
        self.parents: dict[str, str] = {}
        self.lives: dict[str, int] = {}  # the living incarnation of a name, as the model has it
        self.deaths: list[tuple[Record, float]] = []
        self._sent = 0  # as the last audit had it
        self._ended: set[int] = set()
        self._excused: set[str] = set()
        self._scopes: list[trio.CancelScope] = []

    # -- the model

    def hear(self, news: Happened) -> None:
        """What the controller says becomes of nodes."""
        name, incarnation = news.name, news.incarnation
        if news.what == "started":
            if name in self.lives:
                self._fault(f"{name}.{incarnation} started beside {self.lives[name]}")
            if incarnation in self._ended:
                self._fault(f"{name}.{incarnation} started after its end")
            if name in self.refs and incarnation <= self.refs[name].incarnation:
                self._fault(f"{name}.{incarnation} is no newer than {self.refs[name]}")
            self._started(name, incarnation)
        elif news.what == "died":
            if self.lives.pop(name, 0) != incarnation:
                self._fault(f"{name}.{incarnation} died and had not lived")
            self._ended.add(incarnation)
            record = self.system.nodes.roll.incarnation(incarnation)
            if record is not None:
                self.deaths.append((record, news.at))
        elif news.what == "removed" and not self._may_go(name):
            self._fault(f"the place of {name} is gone, and nobody wanted it")

    def _started(self, name: str, incarnation: int) -> None:
        record = self.system.nodes.records[name]
        if name in self.refs:
            self.before[name] = self.refs[name]
        self.refs[name] = ref_to(record.address)
        self.lives[name] = incarnation
        self.parents[name] = record.spec.parent

    def _may_go(self, name: str) -> bool:
        """Whether something was done to it, or above it, that may end its place."""
        while name and name != CONTROLLER:
            record = self.system.nodes.roll.known(self.refs[name]) if name in self.refs else None
            if name in self._excused or (record is not None and not record.spec.name):
                return True
            if record is not None and (record.exhausted or record.spec.restart == "temporary"):
                return True
            name = self.parents.get(name, "")
        return not name

    def judge_certificates(self) -> None:
        """Whoever has ended has done so for something that was ordered."""
        deaths, self.deaths = self.deaths, []
        for record, at in deaths:
            reason = record.reason
            if reason is None:
                if trio.current_time() > at + CERTIFICATE_S:
                    self._fault(f"{record.address} has no certificate")
                else:
                    self.deaths.append((record, at))
            elif reason.kind not in KINDS:
                self._fault(f"{record.address} ended as {reason}")
            elif reason.kind == "crashed" and reason.error not in CRASHES:
                self._fault(f"{record.address} ended as {reason}\n{reason.traceback}")

    def _fault(self, what: str) -> None:
        JOURNAL.faults.append(what)

    # -- operations

    def start(self, op: Op) -> None:
        """Begin it."""
        if op.kind in ENDS:
            self._excused |= {op.who, op.whom}
        if op.birth is not None:
            self._excused |= {op.birth.name, f"{op.whom}/{op.birth.name}"}
        self.done += 1
        self.tasks.start_soon(self._run, op)

    async def _run(self, op: Op) -> None:
        run = getattr(self, f"_{op.kind}", self._tell_one)
        with trio.CancelScope() as scope:
            self._scopes.append(scope)
            try:
                with JOURNAL.waiting(CONTROLLER_INCARNATION, str(op), 2 * BOUND_S):
                    await run(op)
            except (*EXPECTED, SpawnError, LookupError):
                pass
            except Exception as error:
                self._fault(f"{op} ended in {error!r}")
            finally:
                self._scopes.remove(scope)

    def _ref(self, name: str, which: str = "present") -> ActorRef[Any]:
        ref = (self.before if which == "before" else self.refs).get(name)
        if ref is None:
            raise LookupError(name)
        return ref.following() if which == "following" else ref

    async def _spawn(self, op: Op) -> None:
        assert op.birth is not None
        parent = self.refs.get(op.whom)
        await self._bear(op.birth, parent)

    async def _bear(self, birth: Birth, parent: ActorRef[Any] | None) -> None:
        await self.system.spawn(*prototype(birth), parent=parent, **options(birth))

    async def _family(self, op: Op) -> None:
        assert op.birth is not None
        self._excused |= {"f", "f-a", "f-b", "f-c"}
        await self._bear(op.birth, None)

    async def _grow(self, op: Op) -> None:
        assert op.birth is not None
        await self._ref(op.whom).tell(Chaotic.grow, op.birth)

    _local = _unnamed = _grow

    async def _talk(self, op: Op) -> None:
        assert op.talk is not None
        await converse(CONTROLLER_INCARNATION, self._ref(op.whom, op.which), op.talk)

    async def _act(self, op: Op) -> None:
        target = self._ref(op.whom, op.which)
        await self._ref(op.who).tell(Chaotic.act, target, op.talk or Talk("ask"))

    async def _crowd(self, op: Op) -> None:
        """Everybody says it to the same."""
        target = self._ref(op.whom, op.which)
        for name in list(self.lives):
            with suppress(*EXPECTED):
                await self.refs[name].tell(Chaotic.act, target, op.talk or Talk("ask"))

    async def _relay(self, op: Op) -> None:
        assert op.talk is not None
        first, second = self._ref(op.who), self._ref(op.whom, op.which)
        path = [second, first, second][: op.code]
        with suppress(RemoteError, WireError), trio.fail_after(op.talk.deadline_s):
            await first.ask(Chaotic.relay, path, op.talk.nap_s)

    async def _monitor(self, op: Op) -> None:
        await self._ref(op.who).tell(Chaotic.watch, self._ref(op.whom, op.which))

    async def _demonitor(self, op: Op) -> None:
        await self._ref(op.who).tell(Chaotic.unwatch)

    async def _link(self, op: Op) -> None:
        await self._ref(op.who).tell(Chaotic.tie, self._ref(op.whom, op.which))

    async def _tell_one(self, op: Op) -> None:
        """Signals, and what it does to itself."""
        if op.kind in SIGNALS:
            body: Any = self._record(op.who).body
            body.signal(SIGNALS[op.kind])
            return
        ref = self._ref(op.who)
        if op.kind == "crash":
            await ref.tell(Chaotic.crash)
        elif op.kind == "leave":
            await ref.tell(Chaotic.leave)
        elif op.kind == "quit":
            await ref.tell(Chaotic.quit, op.code)
        elif op.kind == "vanish":
            await ref.tell(Chaotic.vanish, op.code)
        else:
            raise ValueError(f"there is no operation {op.kind!r}")

    def _record(self, name: str) -> Record:
        record = self.system.nodes.records.get(name)
        if record is None or record.body is None or record.gone.is_set():
            raise LookupError(name)
        return record

    async def _freeze(self, op: Op) -> None:
        body = self._record(op.who).body
        assert body is not None
        body.signal(SIGSTOP)
        try:
            with trio.CancelScope(shield=self.virtual):
                await trio.sleep(op.seconds)
        finally:
            body.signal(SIGCONT)

    async def _hang(self, op: Op) -> None:
        if not self.virtual:
            await self._ref(op.who).tell(Chaotic.hog, op.seconds)
            return
        body: Any = self._record(op.who).body
        body.hang()
        try:
            await trio.sleep(op.seconds)
        finally:
            body.yield_again()

    async def _stop(self, op: Op) -> None:
        await self._finish(op, ActorRef.stop)

    async def _destroy(self, op: Op) -> None:
        reason = await self._finish(op, ActorRef.kill)
        if self._ref(op.who).incarnation in self._ended and reason is None:
            self._fault(f"{op} has no reason")

    async def _wait(self, op: Op) -> None:
        with trio.move_on_after(op.seconds):
            await self._finish(op, ActorRef.wait)

    async def _restart(self, op: Op) -> None:
        ref = self._ref(op.who)
        fresh = await ref.restart()
        if fresh.incarnation <= ref.incarnation:
            self._fault(f"{op} made {fresh} of {ref}")

    async def _finish(self, op: Op, verb: Callable[[ActorRef[Any]], Awaitable[Any]]) -> Any:
        ref = self._ref(op.who, "before" if op.which == "before" else "present")
        reason = await verb(ref)
        if ref.incarnation in self.lives.values():
            self._fault(f"{op} has returned {reason}, and {ref} lives")
        return reason

    async def _cancel(self, op: Op) -> None:
        others = [scope for scope in self._scopes[:-1] if not scope.cancel_called]
        if others:
            others[op.code * 7 % len(others)].cancel()

    async def _lookup(self, op: Op) -> None:
        found = await self.system.lookup(op.who)
        if found.name != op.who:
            self._fault(f"{op} found {found}")

    async def _audit(self, op: Op) -> None:
        """At any instant every message is accounted for, and no term ever falls."""
        before = self._sent
        audit = await self.system.audit()
        if not audit.balances:
            self._fault(f"an audit that does not balance: {audit}")
        if audit.sent < before:
            self._fault(f"{before} messages were sent, and then {audit.sent}")
        self._sent = max(self._sent, audit.sent)

    async def settle_audit(self) -> None:
        """The same, when nothing is in flight any more."""
        audit = await self.system.audit()
        if not audit.balances or audit.in_flight or audit.silent:
            self._fault(f"an audit of what is quiet: {audit}")

    async def _trace(self, op: Op) -> None:
        with trio.fail_after(1 + op.seconds):
            await self.system.trace(self._ref(op.whom, op.which), Chaotic.ping)

    async def _why(self, op: Op) -> None:
        reason = await self.system.why(op.who)
        if reason is not None and reason.kind not in KINDS:
            self._fault(f"{op.who} ended as {reason}")

    async def _letters(self, op: Op) -> None:
        for letter in await self.system.dead_letters():
            named = letter.target or letter.reason == MORE
            if letter.count < 1 or not named or letter.age_s < 0:
                self._fault(f"{letter} is no dead letter")

    async def _tree(self, op: Op) -> None:
        rows = await self.system.tree()
        judge_tree([(row.name, row.parent, row.guardian, row.state) for row in rows])


def judge_tree(rows: list[tuple[str, str, str, str]]) -> None:
    """Each place once, under one that stands before it, with its nearest living ancestor."""
    seen: dict[str, tuple[str, bool]] = {CONTROLLER: ("", True)}
    for name, parent, guardian, state in rows:
        if name in seen:
            JOURNAL.faults.append(f"{name} stands twice in the tree")
        if parent not in seen:
            JOURNAL.faults.append(f"{name} stands before its parent {parent}")
            return
        seen[name] = parent, state not in ("dead", "restarting", "given up")
        nearest = parent
        while not seen[nearest][1]:
            nearest = seen[nearest][0]
        if guardian != nearest:
            JOURNAL.faults.append(f"{name} has the guardian {guardian}, not {nearest}")
