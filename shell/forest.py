"""The shell's tree, on the actor system.

Shell ids are names of actors, -1 is the controller. Any class of actors may be a node; what
it can do is looked up in the table of its handlers.

Invariants
----------
* Nothing that could grow stale is kept here: what is known is asked of the controller at the
  moment it is wanted.
* A node is created under a parent that has answered just before, so that nobody is put under
  one that is frozen or cut off.
* What is wrong with a call is said of a node that can be had: one that cannot is unavailable,
  whatever it was asked for.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, TypedDict

import msgspec
import trio

from actors.actor import Actor
from actors.control import heartbeat
from actors.node import ComputeNode
from actors.path_manager import PathManager, PathNotice
from actors.ref import ActorRef, ref_to
from actors.supervision.record import Happened, Record
from actors.system import System
from actors.topology import Id
from runtime.address import CONTROLLER
from runtime.errors import ActorError, DeliveryError, SpawnError, WireError
from runtime.messages.accounts import Audit
from runtime.messages.behaviour import Behaviour, Restart, Strategy, handlers_of
from runtime.messages.constructor import constructor_of
from runtime.messages.signature import Signature
from runtime.multipath.link_report import LinkReport
from shell.answers import Created, one_line
from shell.arguments import read_arguments
from shell.certificate import CertificateView
from shell.classes import find_class
from shell.collecting import collect
from shell.commands import CONTROLLER as ROOT
from shell.journey import TraceView, view
from shell.linkage import LinksView, LinkView, introduced
from shell.naming import Naming, by_number, name_of
from shell.options import Options
from shell.paths import (
    AddPath,
    BackUpPath,
    FlushPaths,
    LimitPaths,
    PathCommand,
    PathsView,
    RemovePath,
    ShowPaths,
)
from shell.reach import reach
from shell.results import plain
from shell.signatures import describe
from shell.tree import NodeState, Place, UnknownNode, UnknownVerb

_CHANGES: Final[dict[str, Callable[[Id, float], heartbeat.Change]]] = {
    "started": heartbeat.Created,
    "silent": heartbeat.Silenced,
    "heard": heartbeat.Heard,
    "died": heartbeat.Died,
    "removed": heartbeat.Forgotten,
}


LINKS_S: Final = 1.0
"""How long all nodes together have to tell of their links."""


class Supervision(TypedDict, total=False):
    """What ``--strategy`` and ``--intensity`` say of every supervisor; only what was said."""

    strategy: Strategy
    intensity: tuple[int, float]


def supervision(options: Options) -> Supervision:
    said = Supervision()
    if options.strategy is not None:
        said["strategy"] = options.strategy
    if options.intensity is not None:
        said["intensity"] = options.intensity
    return said


class _Known:
    """A node as it was met last: its record, a ref to it and, once wanted, its handlers."""

    __slots__ = ("handlers", "record", "ref")

    def __init__(self, record: Record) -> None:
        self.record = record
        self.ref: ActorRef[Any] = ref_to(record.address)
        self.handlers: dict[str, Signature] | None = None


class Forest:
    """A `shell.tree.Tree`."""

    def __init__(self, system: System, options: Options, naming: Naming = by_number) -> None:
        self.controller_pid = os.getpid()
        self.system = system
        self._nodes = system.nodes
        self._options = options
        self._id_of = naming
        self._known: dict[Id, _Known] = {}

    # -- looking

    def state(self, id: Id) -> NodeState | None:
        if id == ROOT:
            return NodeState.OK
        return self._nodes.places.state(str(id))

    def places(self) -> list[Place]:
        ids = map(self._id_of, self._nodes.places.names())
        return [self.place(id) for id in ids if id is not None]

    def place(self, id: Id) -> Place:
        name = str(id)
        if name not in self._nodes.places:
            raise KeyError(id)
        row = self._nodes.roll.row(name)
        parent, guardian = self._shown(row.parent), self._shown(row.guardian)
        return Place(id, parent, self._pid(name), NodeState(row.state), guardian)

    def _shown(self, name: str) -> Id:
        """The id of an actor, or of the nearest above it that has one."""
        while (id := self._id_of(name)) is None:
            name = self._nodes.places.parent(name)
        return id

    def _pid(self, name: str) -> int:
        """Of its process: a local cell has its node's."""
        host = name.partition("/")[0]
        if host == CONTROLLER:
            return self.controller_pid
        record = self._nodes.records.get(host)
        return 0 if record is None else record.pid

    async def handlers(self, id: Id) -> list[str]:
        return describe(self._handlers(id).values())

    # -- coming and going

    async def create(
        self, id: Id, parent: Id, actor: str = "", arguments: Sequence[str] = ()
    ) -> Created:
        above: ActorRef[Any] | None = None
        if parent != ROOT:
            above = self._ref(parent)
            with trio.move_on_after(self._options.start_deadline_s) as patience:
                await reach(above)
            if patience.cancelled_caught:
                raise SpawnError(f"node {id} did not start within {self._start_s} s")
        behaviour = find_class(actor) if actor else ComputeNode
        kept = self._options.state is not None
        restart = self._options.restart or ("permanent" if kept else "temporary")
        return await self.start(str(id), behaviour, arguments, restart, above)

    @property
    def _start_s(self) -> str:
        return f"{self._options.start_deadline_s:g}"

    async def start(
        self,
        name: str,
        behaviour: type[Behaviour],
        arguments: Sequence[str],
        restart: Restart,
        parent: ActorRef[Any] | None = None,
    ) -> Created:
        """An actor runs, with arguments that are given as text.

        Raises:
            SpawnError: it did not come up, for whatever reason.
            ActorDeadError, UnknownNode: its parent is no more.
        """
        assert issubclass(behaviour, Actor)
        if name in self._nodes.places:  # to spawn it again would only give a ref to it
            raise SpawnError(f"the name {name} is taken")
        try:
            parameters = constructor_of(behaviour)
            args, keywords = read_arguments(behaviour.__name__, parameters, arguments)
            made: Callable[..., Actor] = (
                functools.partial(behaviour, **keywords) if keywords else behaviour
            )
            ref = await self.system.spawn(
                made,
                *args,
                name=name,
                restart=restart,
                snapshot_every_s="message",  # commands are few, and none is to be forgotten
                start_s=self._options.start_deadline_s,
                parent=parent,
                **supervision(self._options),
            )
        except LookupError as gone:
            raise UnknownNode(parent) from gone
        except (WireError, TypeError, ValueError) as misuse:
            raise SpawnError(str(misuse)) from misuse
        return self._created(ref)

    def _created(self, ref: ActorRef[Any]) -> Created:
        record = self._nodes.roll.known(ref)  # also if it has gone again meanwhile
        if record is not None and not record.spec.local:
            return Created(record.pid, ref.endpoint)
        return Created(self._pid(ref.name), ref.endpoint)

    async def remove(self, id: Id) -> bool:
        with _still_known(id):
            await self._whoever(id).stop()
        self._known.pop(id, None)
        return True

    async def kill(self, id: Id) -> None:
        with _still_known(id):
            await self._whoever(id).kill()

    async def restart(self, id: Id) -> Created:
        with _still_known(id):
            return self._created(await self._whoever(id).restart())

    async def why(self, id: Id) -> CertificateView:
        with _still_known(id):
            reason = await self.system.why(str(id))
        return CertificateView(id, self.state(id), reason)

    # -- talking

    async def _handler(
        self, id: Id, verb: str, arguments: Sequence[str]
    ) -> tuple[Signature, Sequence[Any], dict[str, Any]]:
        try:
            handler = self._handlers(id).get(verb)
            if handler is None:
                raise UnknownVerb(verb)
            return handler, *read_arguments(verb, handler, arguments)
        except (UnknownVerb, WireError):
            await reach(self._ref(id))
            raise

    async def execute(self, id: Id, verb: str, arguments: Sequence[str]) -> object:
        handler, args, keywords = await self._handler(id, verb, arguments)
        ref = self._ref(id)
        try:
            if not handler.streams:
                return plain(await ref.ask(handler.function, *args, **keywords))
            return plain(await collect(verb, ref.stream(handler.function, *args, **keywords)))
        except (TypeError, ValueError) as misfit:
            raise WireError(str(misfit)) from misfit

    async def trace(self, id: Id, verb: str, arguments: Sequence[str]) -> TraceView:
        handler, args, keywords = await self._handler(id, verb, arguments)
        ref = self._ref(id)
        try:
            traced = await self.system.trace(ref, handler.function, *args, **keywords)
        except (TypeError, ValueError) as misfit:
            raise WireError(str(misfit)) from misfit
        return view(traced)

    async def audit(self) -> Audit:
        return await self.system.audit()

    async def links(self) -> LinksView:
        return LinksView(tuple((await self._reports()).items()))

    async def _reports(self) -> dict[Id, LinkReport | None]:
        """Of all nodes; None of one that does not tell."""
        ids = [ROOT, *(place.id for place in self.places() if place.state.lives)]
        found: dict[Id, LinkReport | None] = dict.fromkeys(ids)

        async def ask(id: Id) -> None:
            with trio.move_on_after(LINKS_S), suppress(DeliveryError, UnknownNode):
                found[id] = await self._report(id)

        async with trio.open_nursery() as nursery:
            for id in ids:
                nursery.start_soon(ask, id)
        return found

    async def _report(self, id: Id) -> LinkReport:
        ref = await self.system.lookup(CONTROLLER) if id == ROOT else self._ref(id)
        return await self.system.link_report(ref)

    async def link(self, id: Id) -> LinkView:
        report = await self._report(id)
        if any(stream.remote and not stream.peer for stream in report.streams):
            others = (await self._reports()).values()
            report = introduced(report, (each for each in others if each is not None))
        return LinkView(id, report)

    async def paths(self, asked: PathCommand) -> PathsView | None:
        manager = await self.system.path_manager()
        match asked:
            case ShowPaths():
                return PathsView(await manager.ask(PathManager.show), asked.limits_only)
            case AddPath(endpoint):
                words = msgspec.structs.asdict(endpoint)
                del words["lost"]
                await manager.ask(PathManager.add, words.pop("address"), **words)
            case RemovePath(id):
                await manager.ask(PathManager.remove, id)
            case FlushPaths():
                await manager.ask(PathManager.flush)
            case LimitPaths(accepted, subflows):
                await manager.ask(PathManager.limit, accepted, subflows)
            case BackUpPath(id, on):
                await manager.ask(PathManager.set_backup, id, on)
        return None

    async def watch_paths(self, heard: Callable[[PathNotice], None]) -> None:
        while self._options.transport == "mptcp":
            try:
                manager = await self.system.path_manager()
                async with manager.stream(PathManager.notices) as notices:
                    async for notice in notices:
                        heard(notice)
            except ActorError as error:
                heard(PathNotice("trouble", local=one_line(str(error))))
            await trio.sleep(LINKS_S)

    async def ping(self, id: Id) -> bool:
        await reach(self._ref(id))
        return True

    async def beat(self, period_s: float) -> None:
        self._nodes.guardians.pace(period_s)

    @contextmanager
    def listen(self, heard: Callable[[heartbeat.Change], None]) -> Iterator[None]:
        def translate(happened: Happened) -> None:
            id = self._id_of(happened.name)
            change = _CHANGES.get(happened.what)
            if id is not None and change is not None:
                heard(change(id, happened.at))

        with self.system.listen(translate):
            yield

    def _handlers(self, id: Id) -> dict[str, Signature]:
        known = self._meet(id)
        if known.handlers is None:
            known.handlers = handlers_of(find_class(known.record.spec.entry))
        return known.handlers

    def _whoever(self, id: Id) -> ActorRef[Any]:
        """Whoever holds the name by the time at which the controller acts."""
        return self._ref(id).following()

    def _ref(self, id: Id) -> ActorRef[Any]:
        return self._meet(id).ref

    def _meet(self, id: Id) -> _Known:
        record = self._nodes.records.get(name_of(id))
        if record is None:
            self._known.pop(id, None)
            raise UnknownNode(id)
        known = self._known.get(id)
        if known is None or known.record is not record:
            known = self._known[id] = _Known(record)
        return known


@contextmanager
def _still_known(id: Id) -> Iterator[None]:
    """What the system knows no more has been removed since."""
    try:
        yield
    except LookupError as gone:
        raise UnknownNode(id) from gone
