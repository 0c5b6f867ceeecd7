"""Whoever asked hears of an end, and whoever is linked shares it.

The controller's side of monitors and links: it hears every death first, so it alone keeps
who asked and who is linked.

Invariants
----------
* A monitor is answered once, with the whole certificate: at once if its target is dead
  already, or unknown.
* What ends by a link ends by the stop ladder, whatever it does about it.
* The controller itself ends for nobody; whoever monitors it, or links to it, hears nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import trio

from actors.control.ladder import end
from actors.supervision.links import Links, inherited
from actors.supervision.monitors import Asker, Monitors
from actors.supervision.record import Record
from runtime.address import CONTROLLER, CONTROLLER_INCARNATION, FOLLOW, Address
from runtime.exits import ExitReason
from runtime.messages import envelope as wire
from runtime.traffic.exchange import Exchange
from runtime.traffic.pair import Peer


class Fates:
    """Monitors and links of one system.

    ``known``: the record of an incarnation, or of whoever holds the name.
    ``tasks``: in which linked ones are brought to their end.
    """

    def __init__(
        self, exchange: Exchange, known: Callable[[Address], Record | None], tasks: trio.Nursery
    ) -> None:
        self.monitors = Monitors()
        self.links = Links()
        self._exchange = exchange
        self._known = known
        self._tasks = tasks
        self._verdicts: dict[str, wire.Verdict] = {}  # of those that are suspected, by endpoint
        exchange.control[wire.Monitor] = self._monitor
        exchange.control[wire.Demonitor] = self._demonitor
        exchange.control[wire.Link] = self._link

    # -- what becomes of nodes and cells

    def ended(self, record: Record, reason: ExitReason) -> None:
        """This is the whole truth about its end."""
        for asker in self.monitors.fallen(record.incarnation):
            self._tell(asker.endpoint, wire.Fallen(asker.number, record.address, reason))
        for incarnation in self.links.ended(record.incarnation):
            other = self._known(msgspec.structs.replace(record.address, incarnation=incarnation))
            if other is not None:
                self._drag(other, record.name, reason)

    def judged(self, verdict: wire.Verdict) -> None:
        """This is thought of a process from now on."""
        if verdict.kind == "ok":
            self._verdicts.pop(verdict.endpoint, None)
        else:
            self._verdicts[verdict.endpoint] = verdict
        for asker, who in self.monitors.suspicious(verdict.endpoint):
            self._suspect(asker, who, verdict)

    def forget(self, endpoint: str) -> None:
        """The process that listened there is no more."""
        self.monitors.forget(endpoint)
        self._verdicts.pop(endpoint, None)

    # -- what they ask

    def _monitor(self, peer: Peer, monitor: wire.Monitor, _: Any) -> None:
        asker = Asker(peer.endpoint, monitor.number)
        if self._is_controller(monitor.who):
            self.monitors.add(asker, self._exchange.address, monitor.suspicions)
            return
        record = self._known(monitor.who)
        if record is None:
            unknown = ExitReason(kind="unknown")
            self._tell(peer.endpoint, wire.Fallen(monitor.number, monitor.who, unknown))
        elif record.reason is not None:
            fallen = wire.Fallen(monitor.number, record.address, record.reason)
            self._tell(peer.endpoint, fallen)
        else:
            self.monitors.add(asker, record.address, monitor.suspicions)
            verdict = self._verdicts.get(record.address.endpoint)
            if monitor.suspicions and verdict is not None:
                self._suspect(asker, record.address, verdict)

    def _demonitor(self, peer: Peer, demonitor: wire.Demonitor, _: Any) -> None:
        self.monitors.remove(Asker(peer.endpoint, demonitor.number))

    def _link(self, peer: Peer, link: wire.Link, _: Any) -> None:
        its = Address(self._exchange.address.system, "", link.incarnation, peer.endpoint)
        own = self._known(its) if link.incarnation else None
        if own is None or own.address.endpoint != peer.endpoint:
            self._exchange.strays["link of another"] += 1
            return
        if self._is_controller(link.who):
            return
        other = self._known(link.who)
        if other is None:
            if not link.undo:
                self._drag(own, link.who.name, ExitReason(kind="unknown"))
        elif link.undo:
            self.links.untie(own.incarnation, other.incarnation)
        elif other.reason is not None:
            self._drag(own, other.name, other.reason)
        elif own.reason is not None:
            self._drag(other, own.name, own.reason)
        else:
            self.links.tie(own.incarnation, other.incarnation)

    # -- what they are told

    def _tell(self, endpoint: str, envelope: wire.Envelope) -> None:
        self._exchange.say(self._exchange.peer(endpoint), envelope)

    def _suspect(self, asker: Asker, who: Address, verdict: wire.Verdict) -> None:
        said = wire.Suspicion(asker.number, who, verdict.kind, verdict.evidence)
        self._tell(asker.endpoint, said)

    def _drag(self, record: Record, name: str, reason: ExitReason) -> None:
        """Let it share the fate of ``name``."""
        fate = inherited(name, reason)
        if fate is not None and not record.gone.is_set() and not record.planned:
            self._tasks.start_soon(end, record, self._exchange, fate)

    def _is_controller(self, who: Address) -> bool:
        mine = who.system == self._exchange.address.system
        return mine and (
            who.incarnation == CONTROLLER_INCARNATION
            or (who.incarnation == FOLLOW and who.name == CONTROLLER)
        )
