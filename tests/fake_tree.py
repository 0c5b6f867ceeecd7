"""A tree of nodes without processes, for the shell's tests.

Everything takes exactly as long as ``delays`` says, in virtual time; 0 means: no
suspension at all. Nodes can be frozen, thawed and killed from outside, and creates be
told to fail.

Invariants
----------
* Pids count up from 101 in the order in which creates *succeed to start*, and next lives
  begin; 100 is the root.
* A call takes effect when its delay is over; the events of a change come then.
* A frozen node's beats stop: `Silenced` comes 4 beats later, dated with the last beat.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import trio

from actors.control.heartbeat import Change, Created, Died, Forgotten, Heard, Silenced
from actors.path_manager import PathNotice, PathTable
from actors.topology import Id
from runtime.errors import ActorDeadError, RemoteError, SpawnError, WireError
from runtime.exits import ExitReason
from runtime.messages.accounts import Audit
from runtime.multipath.link_report import LinkReport
from shell.answers import Created as Answer
from shell.certificate import CertificateView
from shell.journey import TraceView
from shell.linkage import LinksView, LinkView
from shell.paths import PathCommand, PathsView, ShowPaths
from shell.tree import NodeState, Place, UnknownNode, UnknownVerb


class FakeTree:
    """See the module. ``log`` holds each call with its instant, when it was made."""

    controller_pid = 100

    def __init__(self) -> None:
        self.delays: dict[str, float] = {}  # "create 1", else "create", else 0
        self.create_errors: dict[Id, Exception] = {}
        self.restart_errors: dict[Id, Exception] = {}
        self.actors: dict[Id, tuple[str, tuple[str, ...]]] = {}  # what creates have named
        self.reasons: dict[Id, ExitReason] = {}  # how they have ended
        self.replies: dict[str, object] = {}  # by handler, besides the stopwatch's
        self.unconfirmed: set[Id] = set()
        self.beat_s = 0.25
        self.log: list[tuple[float, str]] = []
        self.account = Audit(
            sent=0, handled=0, failed=0, expired=0, rejected=0, undelivered=0, in_flight=0
        )
        self.reports: dict[Id, LinkReport] = {}
        self.table: PathTable | Exception = PathTable((), (0, 2))
        self.asked: list[PathCommand] = []
        self.path_notices: list[tuple[float, PathNotice]] = []
        self._places: dict[Id, Place] = {}
        self._stopwatches: dict[Id, tuple[float, float | None]] = {}
        self._listeners: list[Callable[[Change], None]] = []
        self._thawed: dict[Id, trio.Event] = {}
        self._pid = 100

    def state(self, id: Id) -> NodeState | None:
        place = self._places.get(id)
        return None if place is None else place.state

    def places(self) -> list[Place]:
        return list(self._places.values())

    def _lives(self, id: Id) -> bool:
        state = self.state(id)
        return state is not None and state.lives

    def place(self, id: Id) -> Place:
        return self._places[id]

    async def create(
        self, id: Id, parent: Id, actor: str = "", arguments: Sequence[str] = ()
    ) -> Answer:
        await self._wait("create", id)
        if id in self.create_errors:
            raise self.create_errors[id]
        if parent != -1 and not self._lives(parent):
            raise ActorDeadError(f"{parent} is gone")
        if id in self._places:
            raise SpawnError(f"node {id} is there already")
        self._pid += 1
        self._places[id] = Place(id, parent, self._pid, NodeState.OK, parent)
        self._stopwatches[id] = (0.0, None)
        if actor:
            self.actors[id] = (actor, tuple(arguments))
        self._tell(Created(id, trio.current_time()))
        return Answer(self._pid, f"memory://{id}")

    async def execute(self, id: Id, verb: str, arguments: Sequence[str]) -> object:
        if self.delays or self.log or self._thawed:
            await self._wait("exec", id)
            if id in self._thawed:
                await self._thawed[id].wait()
        if not self._lives(id):
            raise ActorDeadError(f"{id} is gone")
        if verb in self.replies:
            reply = self.replies[verb]
            if isinstance(reply, Exception):
                raise reply
            return reply
        total_s, since = self._stopwatches[id]
        now = trio.current_time()
        running_s = 0.0 if since is None else now - since
        if verb == "fail":
            raise RemoteError("ValueError", " ".join(arguments))
        if verb not in ("start", "stop", "time"):
            raise UnknownVerb(verb)
        if arguments:
            raise WireError(f"{verb} takes no arguments, not {list(arguments)!r}")
        if verb == "time":
            return round((total_s + running_s) * 1000)
        if verb == "start":
            self._stopwatches[id] = (total_s, now)
        else:
            self._stopwatches[id] = (total_s + running_s, None)
        return None

    async def trace(self, id: Id, verb: str, arguments: Sequence[str]) -> TraceView:
        started = trio.current_time()
        stations = [("encoded", 0.0), ("sent", 0.00025)]
        try:
            result = await self.execute(id, verb, arguments)
        except RemoteError as error:
            return TraceView([*stations, ("failed", 0.5)], None, str(error))
        return TraceView([*stations, ("answered", trio.current_time() - started + 0.5)], result)

    async def links(self) -> LinksView:
        await self._wait("links", -1)
        ids = [-1, *(id for id, place in self._places.items() if place.state.lives)]
        return LinksView([(id, self.reports.get(id)) for id in ids])

    async def link(self, id: Id) -> LinkView:
        await self._wait("link", id)
        if id not in self.reports:
            raise ActorDeadError(f"{id} is not alive")
        return LinkView(id, self.reports[id])

    async def paths(self, asked: PathCommand) -> PathsView | None:
        await self._wait("paths", -1)
        self.asked.append(asked)
        if isinstance(self.table, Exception):
            raise self.table
        return PathsView(self.table, asked.limits_only) if isinstance(asked, ShowPaths) else None

    async def watch_paths(self, heard: Callable[[PathNotice], None]) -> None:
        for at, notice in self.path_notices:
            await trio.sleep_until(at)
            heard(notice)

    async def audit(self) -> Audit:
        await self._wait("audit", -1)
        return self.account

    async def ping(self, id: Id) -> bool:
        await self._wait("ping", id)
        if id in self._thawed:
            await self._thawed[id].wait()
        return self.state(id) is NodeState.OK

    async def remove(self, id: Id) -> bool:
        await self._wait("remove", id)
        subtree = self._subtree(id)
        for each in subtree:
            del self._places[each]
            self._thawed.pop(each, None)
            self._tell(Forgotten(each, trio.current_time()))
        return not self.unconfirmed.intersection(subtree)

    async def kill(self, id: Id) -> None:
        await self._wait("kill", id)
        self.die(id)

    async def restart(self, id: Id) -> Answer:
        await self._wait("restart", id)
        if id not in self._places:
            raise UnknownNode(id)
        if self._lives(id):
            self.die(id)
        if id in self.restart_errors:
            raise self.restart_errors[id]
        return self.revive(id)

    async def why(self, id: Id) -> CertificateView:
        await self._wait("why", id)
        if id not in self._places and id not in self.reasons:
            raise UnknownNode(id)
        return CertificateView(id, self.state(id), self.reasons.get(id))

    async def handlers(self, id: Id) -> list[str]:
        return ["start() -> None", "stop() -> None", "time() -> int", *sorted(self.replies)]

    async def beat(self, period_s: float) -> None:
        await self._wait("beat", -1)
        self.beat_s = period_s

    @contextmanager
    def listen(self, heard: Callable[[Change], None]) -> Iterator[None]:
        self._listeners.append(heard)
        yield
        self._listeners.remove(heard)

    # What happens to nodes by itself.

    def die(self, id: Id) -> None:
        """The node is killed, here and now; its last sign of life is now."""
        self._set(id, NodeState.DEAD)
        if id in self._thawed:
            self._thawed.pop(id).set()
        self._tell(Died(id, trio.current_time()))

    def mark(self, id: Id, state: NodeState) -> None:
        """The fate of a dead node: it is restarting, or given up."""
        self._set(id, state)

    def revive(self, id: Id) -> Answer:
        """Its next incarnation is there, with a stopwatch at 0."""
        old = self._places[id]
        self._pid += 1
        self._places[id] = Place(id, old.parent, self._pid, NodeState.OK, old.guardian)
        self._stopwatches[id] = (0.0, None)
        self._tell(Created(id, trio.current_time()))
        return Answer(self._pid, f"memory://{id}")

    def vanish(self, id: Id) -> None:
        """The node ends of itself, as it should, and is forgotten."""
        del self._places[id]
        self._tell(Forgotten(id, trio.current_time()))

    async def freeze(self, id: Id) -> None:
        """The node is frozen; returns when that was noticed, 4 beats later."""
        self._thawed[id] = trio.Event()
        last_beat = trio.current_time()
        await trio.sleep(4 * self.beat_s)
        self._set(id, NodeState.FROZEN)
        self._tell(Silenced(id, last_beat))

    def thaw(self, id: Id) -> None:
        """The node goes on, and is heard at once."""
        self._thawed.pop(id).set()
        self._set(id, NodeState.OK)
        self._tell(Heard(id, trio.current_time()))

    def _set(self, id: Id, state: NodeState) -> None:
        old = self._places[id]
        self._places[id] = Place(id, old.parent, old.pid, state, old.guardian)

    def _tell(self, change: Change) -> None:
        for heard in self._listeners:
            heard(change)

    def _subtree(self, id: Id) -> list[Id]:
        found = [id]
        for each in found:
            found += (place.id for place in self._places.values() if place.parent == each)
        return found

    async def _wait(self, verb: str, id: Id) -> None:
        self.log.append((trio.current_time(), f"{verb} {id}"))
        delay_s = self.delays.get(f"{verb} {id}", self.delays.get(verb, 0.0))
        if delay_s:
            await trio.sleep(delay_s)
