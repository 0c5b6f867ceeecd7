"""Looks inside a virtual system: whatever one end of it knows, the other end must know too.

``look`` holds at every step, ``settle`` once all is quiet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import trio

from actors.control.nodes import LAST_WORD_S
from actors.supervision.places import State
from actors.testing.virtual import VirtualSystem
from runtime.address import CONTROLLER
from runtime.hosts.memory_body import MemoryBody
from runtime.traffic.exchange import Exchange
from runtime.traffic.pair import Inbound, Outbound
from tests.chaos_driver import Driver, judge_tree
from tests.chaos_journal import JOURNAL

BAD_STRAYS = ("no envelope", "opened twice", "own endpoint", "no way there")
NOTICED_S = 0.05
"""A death is known within so much time."""
Terms = tuple[int, int, int, int, int]


def terms(outbound: Outbound) -> Terms:
    """All of an account that never falls."""
    window = outbound.window
    return window.handled, window.failed, window.expired, window.rejected, window.undelivered


def done(inbound: Inbound) -> tuple[int, int, int, int]:
    ledger = inbound.ledger
    return ledger.handled, ledger.failed, ledger.expired, ledger.rejected


class Auditor:
    """Of one run."""

    def __init__(self, system: VirtualSystem, driver: Driver) -> None:
        self.system = system
        self.driver = driver
        self._seen: dict[int, tuple[Outbound, Terms]] = {}
        self._unnoticed: dict[int, float] = {}

    def _exchanges(self) -> Iterator[Exchange]:
        yield self.system.exchange
        for body in self.system.host.bodies.values():
            yield body.exchange

    # -- at every step

    def look(self) -> None:
        """Nothing contradicts itself."""
        for exchange in self._exchanges():
            for outbound in exchange.outbounds.values():
                self._seen.setdefault(id(outbound), (outbound, (0, 0, 0, 0, 0)))
        for key, (outbound, before) in list(self._seen.items()):
            now = terms(outbound)
            self._account(outbound, before, now)
            if outbound.closed is not None:
                del self._seen[key]  # for the last time
            else:
                self._seen[key] = outbound, now
        self._places()
        self.driver.judge_certificates()
        JOURNAL.faults += [f"overdue: {each}" for each in JOURNAL.overdue()]

    def _account(self, outbound: Outbound, before: Terms, now: Terms) -> None:
        window = outbound.window
        if min(*now, window.in_flight) < 0 or sum(now) + window.in_flight != window.sent:
            self._fault(outbound, f"{now} of {window.sent} are no account")
        if any(b > n for b, n in zip(before, now, strict=True)):
            self._fault(outbound, f"{before} has become {now}")
        inbound = self.inbound(outbound)
        if inbound is None or outbound.closed is not None:
            return
        known = done(inbound)
        if any(n > k for n, k in zip(now, known, strict=False)):
            self._fault(outbound, f"{now} is more than the receiver's {known}")
        if window.sent < sum(known) + held(inbound):
            self._fault(outbound, f"{window.sent} were sent, {known} done, {held(inbound)} wait")

    def inbound(self, outbound: Outbound) -> Inbound | None:
        """The other end, if its process lives."""
        if outbound.local is not None:
            return outbound.local
        here = outbound.source.exchange
        for exchange in self._exchanges():
            if exchange.address.endpoint == outbound.target.endpoint:
                peer = exchange.peers.get(here.address.endpoint)
                return None if peer is None else peer.inbounds.get(outbound.number)
        return None

    def _places(self) -> None:
        nodes = self.system.nodes
        rows = [nodes.roll.row(name) for name in nodes.places.subtree(CONTROLLER)[1:]]
        judge_tree([(row.name, row.parent, row.guardian, row.state) for row in rows])
        if {row.name for row in rows} != set(nodes.records):
            JOURNAL.faults.append("places and records name others")
        for row in rows:
            record = nodes.records[row.name]
            lives = nodes.places.lives(row.name)
            if lives and record.started and record.gone.is_set():
                JOURNAL.faults.append(f"{row.name} is dead and {row.state}")
            if lives and record.started and not record.spec.local:
                now = trio.current_time()
                if record.incarnation in self.system.host.bodies or record.gone.is_set():
                    self._unnoticed.pop(record.incarnation, None)
                elif (
                    now - self._unnoticed.setdefault(record.incarnation, now)
                    > (LAST_WORD_S if record.body is not None and record.body.left else 0.0)
                    + NOTICED_S
                ):
                    JOURNAL.faults.append(f"nobody has noticed the end of {row.name}")

    # -- when all is quiet

    def settle(self) -> None:
        """Both ends agree, nobody waits, and whoever should live does."""
        self.look()
        for outbound, now in self._seen.values():
            inbound = self.inbound(outbound)
            if outbound.source.exchange not in list(self._exchanges()) or inbound is None:
                continue
            if outbound.window.in_flight or now[:4] != done(inbound) or held(inbound):
                self._fault(outbound, f"{now} of {outbound.window.sent}, {done(inbound)}: no rest")
        for exchange in self._exchanges():
            self._quiet(exchange)
        self._alive()
        self._guarded()
        settle_journal(self.driver)

    def at_work(self) -> bool:
        """Whether anybody has mail yet. What a dead one has sent is in nobody's account."""
        return any(
            cell.mailbox or cell.in_flight is not None
            for exchange in self._exchanges()
            if exchange.address.name != CONTROLLER
            for cell in exchange.cells.values()
        )

    def _quiet(self, exchange: Exchange) -> None:
        name = exchange.address.name
        left: dict[str, Any] = {
            "asks": exchange.pending,
            "streams": exchange.streams,
            "mail": [each for each in exchange.cells.values() if each.mailbox],
            "handlers": [
                (each.address.name, each.handler)
                for each in exchange.cells.values()
                if (each.in_flight is not None or each.apart) and name != CONTROLLER
            ],
            "strays": {
                kind: count
                for kind, count in exchange.strays.items()
                if kind in BAD_STRAYS or kind.startswith("unexpected")
            },
        }
        if exchange.local_cells is not None:
            left["starts"] = exchange.local_cells._starting
            left["wishes"] = exchange.local_cells._wanted
        for cell in exchange.cells.values():
            if cell.reentrants or cell.more or cell.waiting_bytes:
                left["counts"] = cell.reentrants, cell.more, cell.waiting_bytes
        for peer in exchange.peers.values():
            if peer.dead is None and peer.pending:
                left[f"pending at {peer.endpoint}"] = peer.pending
            if peer.dead is not None and (peer.inbounds or peer.outbounds):
                left[f"pairs with the dead {peer.endpoint}"] = peer.outbounds or peer.inbounds
        for what, which in left.items():
            if which:
                JOURNAL.faults.append(f"{name} has {what} left: {which}")

    def _alive(self) -> None:
        """Permanent ones have come back, or were given up, and nobody is half-way."""
        nodes = self.system.nodes
        for name, record in nodes.records.items():
            state = nodes.places.state(name)
            if state in (State.FROZEN, State.BUSY, State.CUT_OFF, State.RESTARTING):
                JOURNAL.faults.append(f"{name} is {state.value if state else ''} for good")
            if (record.planned or record.unwanted) and nodes.roll.has_host(record):
                JOURNAL.faults.append(f"somebody wants the end of {name}, and it stays")
            if (
                record.spec.restart == "permanent"
                and state is State.DEAD
                and nodes.roll.has_host(record)
            ):
                JOURNAL.faults.append(f"{name} is permanent, and dead: {record.reason}")
        alive = {n: r.incarnation for n, r in nodes.records.items() if not r.gone.is_set()}
        for name, incarnation in set(alive.items()) ^ set(self.driver.lives.items()):
            where = "in the model" if name in self.driver.lives else "in the tree"
            JOURNAL.faults.append(f"{name}.{incarnation} lives only {where}")

    def _guarded(self) -> None:
        """Everybody beats to its guardian, and is heard by it alone."""
        nodes, host = self.system.nodes, self.system.host
        guards: dict[str, Any] = {CONTROLLER: nodes.guardians.guard}
        bodies: dict[str, MemoryBody] = {body.name: body for body in host.bodies.values()}
        guards |= {name: body._node.guard for name, body in bodies.items()}
        for name in bodies:
            guardian = nodes.places.guardian(name)
            believed = guards[name]._guardian
            if believed is None or believed.name != guardian:
                JOURNAL.faults.append(f"{name} beats to {believed}, not to {guardian}")
            listening = [its for its, guard in guards.items() if name in guard._wards]
            if listening != [guardian.partition("/")[0]]:  # a local cell's process hears for it
                JOURNAL.faults.append(f"{name} is heard by {listening}, not by {guardian}")
        for its, guard in guards.items():
            for ward in guard._wards.keys() - bodies.keys():
                JOURNAL.faults.append(f"{its} still listens to {ward}")
        expected = sum(len(exchange.vigil) for exchange in self._exchanges())
        if len(nodes.fates.monitors) != expected:
            kept = len(nodes.fates.monitors)
            JOURNAL.faults.append(f"the controller keeps {kept} monitors of {expected}")

    def _fault(self, outbound: Outbound, what: str) -> None:
        source = outbound.source.address
        JOURNAL.faults.append(f"{source.name}.{source.incarnation} to {outbound.target}: {what}")


def held(inbound: Inbound) -> int:
    """Messages that wait in the mailbox, as entries, or are being handled."""
    cell = inbound.cell
    if cell is None:
        return 0
    waiting = sum(its is inbound for its, _ in cell.mailbox)
    waiting += sum(its is inbound for its, _ in cell.apart)
    return waiting


def settle_journal(driver: Driver) -> None:
    """What was told has come, monitors have brought their one Down, the linked share their fate."""
    alive = {*driver.lives.values(), 1}
    for pair, accepted in JOURNAL.accepted.items():
        sender, receiver = pair
        if {sender, receiver} <= alive:
            received, attempted = JOURNAL.received[pair], JOURNAL.attempted[pair]
            if not accepted <= received <= attempted:
                JOURNAL.faults.append(f"{pair}: {accepted} to {attempted} told, {received} came")
    for (watcher, number), watched in JOURNAL.monitors.items():
        if watcher in alive and not watched.given_up:
            dead = watched.target not in alive
            if watched.downs != dead:
                what = f"monitor {number} of {watched.target} by {watcher}: {watched.downs} Downs"
                JOURNAL.faults.append(what)
    for tied in JOURNAL.links:
        if tied.one in alive and tied.other not in alive:
            record = driver.system.nodes.roll.incarnation(tied.other)
            kind = record.known_reason.kind if record is not None else "unknown"
            if kind != "normal":
                JOURNAL.faults.append(f"{tied.one} outlived {tied.other}, which ended as {kind}")
