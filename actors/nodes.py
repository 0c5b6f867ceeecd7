"""The nodes of a system: how the controller starts them, hears of them, and ends them.

It gives out incarnations, orders processes from the zygote, welcomes them, keeps the table of
places and guardians, and tells everybody who should know what has become of whom.

Invariants
----------
* A name is reserved before anything is started for it, and free again if that fails; then
  nothing is left of it.
* A node is dead when its pidfd or the zygote says so, and by nothing else.
* Whoever watches an incarnation gets its Down once, at once if it is dead already.
* No wait in here is unbounded: a start takes at most ``start_s``, the end of a node 2 s and
  SIGKILL.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from signal import SIGKILL
from typing import Any

import msgspec
import trio

from actors.fates import Fates
from actors.guardians import Guardians
from actors.places import Places, State
from actors.record import Happened, Record
from runtime import envelope as wire
from runtime.address import CONTROLLER, CONTROLLER_INCARNATION, Address
from runtime.exchange import Exchange
from runtime.exits import ExitReason
from runtime.keeper import Keeper
from runtime.life import START, Boot, boot_id
from runtime.orders import Exited, Order
from runtime.output import Outputs
from runtime.pair import Peer
from runtime.pidfd import close_pidfd, wait_exited, wait_status
from runtime.registrar import Refusal, Row, Spec
from runtime.run_folder import output_path, page_path, socket_path
from runtime.status_page import read_status

ZYGOTE_S = 0.02
"""How long a death waits for the zygote's word on how it came."""
LAST_WORD_S = 1.0
_WORD = re.compile(r"\w")  # the ruler under a group's traceback has none
ENDED_KEPT = 10_000


class Nodes:
    """Every node of one system. ``tasks`` must outlive all of them."""

    def __init__(
        self,
        exchange: Exchange,
        keeper: Callable[[], Keeper],
        folder: str,
        tasks: trio.Nursery,
        outputs: Outputs,
    ) -> None:
        self.places = Places()
        self.records: dict[str, Record] = {}  # the present or last incarnation of each place
        self.listeners: list[Callable[[Happened], None]] = []
        self.guardians = Guardians(exchange, self.places, self.records, self._judged, folder)
        self.fates = Fates(exchange, self.known, tasks)
        self._exchange = exchange
        self._keeper = keeper
        boot = Boot(exchange.address.system, exchange.address, boot_id())
        self._boot = msgspec.msgpack.encode(boot)  # the same for every node
        self._folder = folder
        self._tasks = tasks
        self._outputs = outputs
        self.planned_end: Callable[[Record], None] = _nothing
        self._incarnation = CONTROLLER_INCARNATION
        self._by_incarnation: dict[int, Record] = {}
        self._by_endpoint: dict[str, Record] = {}
        self._ended_ones: deque[Record] = deque()
        self._counters: dict[str, int] = {}
        control = exchange.control
        control[wire.Hello] = self._hello
        control[wire.Started] = self._started
        control[wire.StartFailed] = self._start_failed
        control[wire.Exiting] = self._exiting
        control[wire.Watch] = self._watch
        control[wire.Unwatch] = self._unwatch
        control[wire.Verdict] = lambda peer, verdict, _: self._judged(verdict)

    # -- starting

    def next_name(self, stem: str) -> str:
        while True:
            number = self._counters[stem] = self._counters.get(stem, 0) + 1
            if f"{stem}-{number}" not in self.places:
                return f"{stem}-{number}"

    def reserve(self, name: str, spec: Spec, args: bytes) -> Record:
        self._incarnation += 1
        endpoint = (
            self._endpoint_of(name.partition("/")[0])
            if spec.local
            else f"ipc://{socket_path(self._folder, self._incarnation)}"
        )
        address = Address(self._exchange.address.system, name, self._incarnation, endpoint)
        record = Record(address, spec, args)
        self.records[name] = record
        self._by_incarnation[record.incarnation] = record
        if not spec.local:
            self._by_endpoint[endpoint] = record
        record.sequence = self.places.add(name, spec.parent, record.incarnation).number
        return record

    def _endpoint_of(self, name: str) -> str:
        if name == CONTROLLER:
            return self._exchange.address.endpoint
        return self.records[name].address.endpoint

    async def bring_up(self, record: Record) -> Refusal | None:
        """The node has started, or why not."""
        spec = record.spec
        name, environ = record.name, spec.environ or {}
        order = Order(START, spec.entry, name, record.incarnation, environ, spec.cwd, self._boot)
        with trio.move_on_after(spec.start_s) as patience:
            try:
                forked = await self._keeper().fork(order)
            except ValueError as misuse:
                return Refusal(kind="misuse", message=str(misuse))
            except Exception as failure:
                return Refusal(kind="spawn", message=str(failure))
            record.pid, record.pidfd = forked.pid, forked.pidfd
            self._outputs.add(record.name, output_path(self._folder, record.incarnation))
            self._tasks.start_soon(self._await_end, record)
            # Connected by the time it says hello.
            self._exchange.ready(self._exchange.peer(record.address.endpoint))
            await record.settled.wait()
        if patience.cancelled_caught:
            why = f"node {record.name} did not start within {spec.start_s:g} s"
            return Refusal(kind="spawn", message=why)
        if record.failure:
            return Refusal(kind="spawn", message=record.failure)
        return None

    async def undo(self, record: Record) -> None:
        """Nothing is left of a start that failed."""
        record.planned = True
        if not record.settled.is_set():
            record.failure = "its start was given up"
            record.settled.set()
        if record.pid:
            record.signal(SIGKILL)
            await record.gone.wait()
        else:
            self._ended(record, ExitReason(kind="unknown"))
        self.forget(record)

    def forget(self, record: Record) -> None:
        if self.records.get(record.name) is record:
            del self.records[record.name]
            if record.name in self.places and not self.places.children(record.name):
                self.places.removed(record.name)
            if record.started:
                self._tell_listeners("removed", record, trio.current_time())

    # -- what nodes say

    def _present(self, endpoint: str) -> Record | None:
        """The node that listens there, if it holds a place and is not known to be dead."""
        record = self._by_endpoint.get(endpoint)
        if record is None or record.gone.is_set() or self.records.get(record.name) is not record:
            return None
        return record

    def _hello(self, peer: Peer, hello: wire.Hello, _: Any) -> None:
        record = self._present(hello.address.endpoint)
        if record is None or record.address != hello.address or record.planned:
            self._exchange.strays["uninvited"] += 1
            return
        if record.settled.is_set():
            return  # it has only connected anew
        record.peer = peer
        spec = record.spec
        welcome = wire.Welcome(
            spec.entry,
            len(record.args),
            self.guardians.address_of(self.places.guardian(record.name)),
            record.sequence,
            self.guardians.beat_s,
            spec.mailbox_messages,
            spec.mailbox_bytes,
            parent=self.guardians.address_of(spec.parent),
        )
        self._exchange.say(peer, welcome, record.args)

    def _started(self, peer: Peer, started: wire.Started, _: Any) -> None:
        record = self._present(peer.endpoint)
        if record is None or record.settled.is_set():
            return
        record.started = True
        record.settled.set()
        self.guardians.assign(self.places.guardian(record.name), record)
        self._tell_listeners("started", record, trio.current_time())

    def _start_failed(self, peer: Peer, failed: wire.StartFailed, _: Any) -> None:
        record = self._by_endpoint.get(peer.endpoint)
        if record is not None and not record.settled.is_set():
            record.failure = f"{failed.type_name}: {failed.message}"
            record.settled.set()

    def _exiting(self, peer: Peer, exiting: wire.Exiting, _: Any) -> None:
        record = self._by_endpoint.get(peer.endpoint)
        if record is not None:
            record.said = exiting.reason
            record.spoke.set()

    def _watch(self, peer: Peer, watch: wire.Watch, _: Any) -> None:
        record = self._by_endpoint.get(watch.endpoint)
        if record is None or record.gone.is_set():
            reason = record.reason if record is not None else None
            down = wire.Down(watch.endpoint, reason or ExitReason(kind="unknown"))
            self._exchange.say(peer, down)
            return
        record.watchers[peer] = None
        if record.verdict != "ok":
            self._exchange.say(peer, wire.Verdict(watch.endpoint, record.verdict))

    def _unwatch(self, peer: Peer, unwatch: wire.Unwatch, _: Any) -> None:
        record = self._by_endpoint.get(unwatch.endpoint)
        if record is not None:
            record.watchers.pop(peer, None)

    def _judged(self, verdict: wire.Verdict) -> None:
        record = self._present(verdict.endpoint)
        if record is None or record.verdict == verdict.kind:
            return
        was, record.verdict = record.verdict, verdict.kind
        self.places.mark(record.name, record.incarnation, State(verdict.kind))
        unreachable = verdict.kind if verdict.kind in ("frozen", "cut off") else ""
        self._exchange.verdict(verdict.endpoint, unreachable)
        for watcher in record.watchers:
            self._exchange.say(watcher, verdict)
        self.fates.judged(verdict)
        now = trio.current_time()
        self.guardians.stand_in(record)
        if verdict.kind == "ok":
            self._tell_listeners("heard", record, now)
        elif was == "ok":
            self._tell_listeners("silent", record, now - verdict.silent_s)

    # -- deaths

    def hear_exit(self, exited: Exited) -> None:
        """The zygote's word."""
        record = self._by_incarnation.get(exited.incarnation)
        if record is not None:
            if record.said is None and self._has_left(record):
                self._tasks.start_soon(self._await_last_word, record, exited)
            else:
                self._ended(record, exited.reason)

    def _has_left(self, record: Record) -> bool:
        """Whether it has said why it ended, though that has not come yet."""
        try:
            page = read_status(page_path(self._folder, record.incarnation))
        except ValueError:
            return False
        return page is not None and page.left

    async def _await_last_word(self, record: Record, exited: Exited) -> None:
        with trio.move_on_after(LAST_WORD_S):
            await record.spoke.wait()
        self._ended(record, exited.reason)

    async def _await_end(self, record: Record) -> None:
        """The pidfd's word, in case the zygote has none."""
        try:
            await wait_exited(record.pidfd)
            if await record.goes_within(ZYGOTE_S):
                return
            self._gone(record, _whole(record.said, ExitReason(kind="unknown")))
            status = await wait_status(record.pidfd)
            self.hear_exit(Exited(record.incarnation, record.pid, status))
        finally:
            pidfd, record.pidfd = record.pidfd, -1
            close_pidfd(pidfd)

    def _ended(self, record: Record, seen: ExitReason) -> None:
        """The whole truth about its end."""
        if record.reason is not None:
            return
        reason = _whole(record.said, seen)
        if not record.spec.local:
            reason = msgspec.structs.replace(reason, output=self._output(record))
            self._remove_files(record)
        self._gone(record, reason)
        record.reason = reason
        record.ended.set()
        self._remember(record)
        for local in [] if record.spec.local else list(self.records.values()):
            if local.spec.local and local.address.endpoint == record.address.endpoint:
                self._ended(local, reason)
        self.fates.ended(record, reason)
        if record.started and not record.planned and reason.planned:
            self.planned_end(record)

    def _output(self, record: Record) -> tuple[str, ...]:
        """The last lines that it printed."""
        if record.output is None:
            record.output = self._outputs.remove(record.name)
        return record.output

    def _remember(self, record: Record) -> None:
        """Keep the certificates of the last `ENDED_KEPT` that ended."""
        self._ended_ones.append(record)
        if len(self._ended_ones) > ENDED_KEPT:
            oldest = self._ended_ones.popleft()
            if self.records.get(oldest.name) is not oldest:
                self._by_incarnation.pop(oldest.incarnation, None)
                self._by_endpoint.pop(oldest.address.endpoint, None)

    def _gone(self, record: Record, reason: ExitReason) -> None:
        """It is certainly dead: everybody is told, whatever may still be learned of it."""
        if record.gone.is_set():
            return
        record.gone.set()
        if not record.settled.is_set():
            last = next((line for line in reversed(self._output(record)) if _WORD.search(line)), "")
            record.failure = f"it ended before it was up: {reason}{': ' * bool(last)}{last}"
            record.settled.set()
        changes = self.places.died(record.name, record.incarnation)
        if not record.spec.local:  # else its process lives on, and closes its pairs itself
            self._exchange.down(record.address.endpoint, reason)
            down = wire.Down(record.address.endpoint, reason)
            for watcher in record.watchers:
                self._exchange.say(watcher, down)
            record.watchers.clear()
            self.fates.forget(record.address.endpoint)
        for change in changes:
            self.guardians.change(change)
        self.guardians.release(record)
        if record.started:
            self._tell_listeners("died", record, trio.current_time())

    def _remove_files(self, record: Record) -> None:
        for path in (output_path, page_path, socket_path):
            with suppress(FileNotFoundError):
                os.unlink(path(self._folder, record.incarnation))

    # -- looking

    def known(self, who: Address) -> Record | None:
        """The record of that incarnation, or of whoever holds the name."""
        if who.system != self._exchange.address.system:
            return None
        if who.incarnation:
            return self._by_incarnation.get(who.incarnation)
        return self.records.get(who.name)

    def local_ended(self, who: Address, reason: ExitReason) -> None:
        """A local cell is no more."""
        record = self._by_incarnation.get(who.incarnation)
        if record is not None:
            self._ended(record, reason)

    def row(self, name: str) -> Row:
        """One node, as `System.tree` shows it."""
        record = self.records[name]
        place = self.places.place(name)
        return Row(
            name,
            place.parent,
            self.places.guardian(name),
            record.incarnation,
            record.pid,
            place.state.value,
            record.address.endpoint,
        )

    def _tell_listeners(self, what: str, record: Record, at: float) -> None:
        for listener in self.listeners:
            listener(Happened(what, record.name, record.incarnation, at))


def _whole(said: ExitReason | None, seen: ExitReason) -> ExitReason:
    """What the node said of its end, with what the kernel says it used.

    A node that was killed after its last word was killed: the kernel knows better.
    """
    if said is None or seen.kind in ("killed", "lost"):
        return seen
    return msgspec.structs.replace(
        said, user_s=seen.user_s, system_s=seen.system_s, max_rss_bytes=seen.max_rss_bytes
    )


def _nothing(record: Record) -> None:
    """Nobody wants to know."""
