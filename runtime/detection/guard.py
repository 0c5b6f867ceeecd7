"""A process's part in keeping watch: its own beats, and those of its wards.

Every node beats to its guardian, and to the controller as well while nobody heeds it. A
guardian answers each beat, and when one is missing it judges why and reports *changes* of
its verdicts, at once. The controller's process has a guard too, that beats to nobody.

Invariants
----------
* Guardianship is numbered by the controller; a lower number changes nothing.
* A verdict is given only after everything that waited has been read, and never for a
  silence that this process's own standing still explains.
* What a ward does is judged by two looks within the present silence; the first comes after two
  beats that were missed.
* ``report`` gets a verdict when it differs from the last one on that ward; the first beat
  of a ward is news too, for it may have been silent under another guardian.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import trio

from runtime.address import CONTROLLER_INCARNATION, Address
from runtime.detection.verdict import judge
from runtime.detection.watch import Acknowledged, Watch
from runtime.messages import envelope as wire
from runtime.processes.evidence import Look, see_nothing
from runtime.traffic.exchange import Exchange
from runtime.traffic.pair import Peer

BEAT_S = 0.25


class _Ward:
    __slots__ = ("address", "cpu_ticks", "kind", "loop_ticks", "pid", "sequence")

    def __init__(self, sequence: int, address: Address, pid: int) -> None:
        self.sequence = sequence
        self.address = address
        self.pid = pid
        self.kind = ""  # until it is heard
        self.loop_ticks = -1
        self.cpu_ticks = -1


class Guard:
    """Beats, and listens to beats. ``look``: what can be learned of a silent ward."""

    def __init__(
        self,
        exchange: Exchange,
        report: Callable[[wire.Verdict], None],
        look: Look = see_nothing,
    ) -> None:
        self._exchange = exchange
        self._report = report
        self._look = look
        self._beat_s = BEAT_S
        self._watch = Watch(BEAT_S)
        self._wards: dict[str, _Ward] = {}
        self._names: dict[int, str] = {}  # of the wards, by incarnation
        self._guardian: Address | None = None
        self._sequence = 0
        self._number = 0
        self._acknowledged = Acknowledged(BEAT_S, trio.current_time())
        self._changed = trio.Event()
        self._still: trio.Event | None = None
        control = exchange.control
        control[wire.Beat] = self._beat
        control[wire.Heard] = self._heard
        control[wire.Guard] = lambda peer, envelope, _: self.guard(
            envelope.sequence, envelope.ward, envelope.pid
        )
        control[wire.Unguard] = lambda peer, envelope, _: self.unguard(
            envelope.sequence, envelope.incarnation
        )
        control[wire.Guardian] = lambda peer, envelope, _: self.beat_to(
            envelope.sequence, envelope.guardian
        )
        control[wire.Pace] = lambda peer, envelope, _: self.pace(envelope.beat_s)

    @property
    def heeded_at(self) -> float:
        """When its guardian last acknowledged a beat, or another guardian began."""
        return self._acknowledged.since

    # -- what the controller decides

    def guard(self, sequence: int, address: Address, pid: int) -> None:
        """Listen to the beats of the node at ``address`` from now on."""
        ward = self._wards.get(address.name)
        if ward is not None and ward.sequence > sequence:
            return
        if ward is not None:
            self._names.pop(ward.address.incarnation, None)
        first = not self._wards
        self._wards[address.name] = _Ward(sequence, address, pid)
        self._names[address.incarnation] = address.name
        self._watch.guard(address.name, address.incarnation, trio.current_time())
        if first:  # else the next check comes early enough
            self._change()

    def unguard(self, sequence: int, incarnation: int) -> None:
        """Listen to that incarnation no longer."""
        name = self._names.get(incarnation)
        if name is not None and self._wards[name].sequence < sequence:
            del self._wards[name], self._names[incarnation]
            self._watch.unguard(name, incarnation)

    def beat_to(self, sequence: int, guardian: Address) -> None:
        """Beat to ``guardian`` from now on, the first time at once."""
        if sequence <= self._sequence:
            return
        self._sequence = sequence
        self._guardian = guardian
        self._exchange.books.begin_anew()
        self._acknowledged.acknowledged(trio.current_time())
        self._beat_now()

    def pace(self, beat_s: float) -> None:
        """Beat, and expect beats, every ``beat_s`` seconds from now on."""
        if beat_s != self._beat_s:
            now = trio.current_time()
            self._beat_s = beat_s
            self._watch.set_period(beat_s, now)
            self._acknowledged.set_period(beat_s, now)
            self._change()

    def stand_still(self) -> None:
        """Neither beat nor check until `go_on`, as in a process that was stopped."""
        self._still = trio.Event()

    def go_on(self) -> None:
        if self._still is not None:
            self._still.set()
            self._still = None

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # -- beats

    def _beat_now(self) -> None:
        if self._guardian is None:
            return
        self._number += 1
        beat = wire.Beat(self._number, self._exchange.books.beat(self._number))
        peer = self._exchange.peer(self._guardian.endpoint)
        if peer.dead is None:
            self._exchange.sign(peer, beat)
        if self._guardian.incarnation != CONTROLLER_INCARNATION and self._acknowledged.unheeded(
            trio.current_time()
        ):
            self._exchange.sign(self._exchange.controller, beat)

    def _beat(self, peer: Peer, envelope: wire.Beat, _: Any) -> None:
        if peer.address is None:
            return
        self._exchange.books.take(envelope.counts)
        self._exchange.sign(peer, wire.Heard(envelope.number))
        name = peer.address.name
        now = trio.current_time()
        self._watch.beat(name, peer.address.incarnation, now)
        ward = self._wards.get(name)
        if ward is None:
            return
        ward.cpu_ticks = ward.loop_ticks = -1
        if ward.kind != "ok" and ward.address == peer.address:
            ward.kind = "ok"
            self._report(wire.Verdict(ward.address.endpoint, "ok"))

    def _heard(self, peer: Peer, envelope: wire.Heard, _: Any) -> None:
        if self._guardian is not None and peer.endpoint == self._guardian.endpoint:
            self._acknowledged.acknowledged(trio.current_time())
            self._exchange.books.heard(envelope.number)

    async def run(self) -> None:
        """Beat and check until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_beating)
            nursery.start_soon(self._keep_checking)

    async def _keep_beating(self) -> None:
        due = trio.current_time()
        while True:
            if self._still is not None:
                await self._still.wait()
            self._beat_now()
            if self._guardian and self._acknowledged.unheeded(trio.current_time()):
                self._exchange.drain()  # it may be our own inbox that is broken
            due = max(due + self._beat_s, trio.current_time())
            pace = self._beat_s
            while pace == self._beat_s and due > trio.current_time():
                with trio.move_on_at(due):
                    await self._changed.wait()
                    await trio.lowlevel.checkpoint()
            if pace != self._beat_s:
                due = trio.current_time()

    async def _keep_checking(self) -> None:
        while True:
            now = trio.current_time()
            due = self._watch.next_at(now) if self._wards else math.inf
            with trio.move_on_at(due):
                await self._changed.wait()
                continue
            if self._still is not None:
                await self._still.wait()
            woken = trio.current_time()
            if woken - due > self._beat_s / 2:  # this process stood still: let the beats in
                await trio.sleep(0.02)
            self._exchange.drain()
            self._check(trio.current_time(), woken - due)

    def _check(self, now: float, late_s: float) -> None:
        for silence in self._watch.check(now, late_s):
            self._judge(self._wards[silence.name], now)
        for name in self._watch.silent():
            self._judge(self._wards[name], now)
        for name in self._watch.quiet(now):
            ward = self._wards[name]
            if max(ward.cpu_ticks, ward.loop_ticks) < 0:
                seen = self._look(ward.address.incarnation, ward.pid)
                ward.cpu_ticks, ward.loop_ticks = seen.cpu_ticks, seen.loop_ticks

    def _judge(self, ward: _Ward, now: float) -> None:
        seen = self._look(ward.address.incarnation, ward.pid)
        cpu, loop = seen.cpu_ticks, seen.loop_ticks
        verdict = judge(
            pidfd_fired=None,
            state=seen.state,
            handler=seen.handler,
            handler_age_s=seen.handler_age_s,
            loop_moved=loop != ward.loop_ticks if min(loop, ward.loop_ticks) >= 0 else None,
            cpu_moved=cpu != ward.cpu_ticks if min(cpu, ward.cpu_ticks) >= 0 else None,
        )
        ward.cpu_ticks, ward.loop_ticks = cpu, loop
        if verdict.kind in ("dead", ward.kind):
            return  # a death is told by whoever holds its pidfd
        ward.kind = verdict.kind
        silent_s = now - self._watch.last_heard(ward.address.name)
        self._report(wire.Verdict(ward.address.endpoint, verdict.kind, verdict.evidence, silent_s))
