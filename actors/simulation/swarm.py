"""A cheap model of a tree: nodes that beat, guardians that listen, and nothing else.

For trees that are too large for `actors.simulation.measuring`. The guardians' tables, their
detectors, the verdicts and what a node thinks of its acknowledgements are the real ones
(`runtime.detection.watch`, `runtime.detection.detector`, `runtime.detection.verdict`), asked at the
instants at which a real guard asks.

What it leaves out: processes, sockets, envelopes and their cost; starts, ends, restarts and the
controller's table; the word of a host on a death; a controller that stands in for a guardian that
is silent itself (so no guardian is ever cut off here); the accounts that climb with the beats. No
message but an acknowledgement takes any time.

Invariants
----------
* It draws from ``seed`` alone; all its instants are exact in binary.
* At an instant at which nodes beat, a guardian checks after it has heard them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import heapify, heapreplace
from random import Random
from typing import Final

from actors.simulation.figures import parent_of
from actors.simulation.traffic import LATENCY_S
from runtime.detection.guard import BEAT_S
from runtime.detection.verdict import judge
from runtime.detection.watch import Acknowledged, Silence, Watch

PHASES: Final = 64
"""At so many instants within a beat nodes beat; each node at its own one."""
_CONTROLLER: Final = -1


def phase_of(number: int, nodes: int) -> int:
    """At which instant within a beat the node of this number beats, from 0 to `PHASES` - 1."""
    return number * PHASES // nodes


class Swarm:
    """A tree of ``nodes``, all up, at the instant 0 of its own time.

    ``loss``: see `actors.simulation.traffic`; assign to change it.
    """

    def __init__(self, nodes: int, fan_out: int, seed: int) -> None:
        self.nodes = nodes
        self.loss = 0.0
        self.now = 0.0
        self.sent = [0] * (nodes + 1)  # the controller's are the last: its number is -1
        self.received = [0] * (nodes + 1)
        self.suspicions = 0
        self.verdicts: list[str] = []
        self.silences: list[float] = []
        self._cut_at = [math.inf] * nodes
        self._cut = False
        self._dice = Random(seed)
        self._guardians = [parent_of(number, fan_out) for number in range(nodes)]
        self._names = [str(number) for number in range(nodes)]
        self._watches: dict[int, Watch] = {}
        self._turns: list[list[int]] = [[] for _ in range(PHASES)]
        self._heeded = []
        for number, guardian in enumerate(self._guardians):
            phase = phase_of(number, nodes)
            self._turns[phase].append(number)
            at = (phase - PHASES) * BEAT_S / PHASES  # as if it had beaten before
            self._heeded.append(Acknowledged(BEAT_S, at + LATENCY_S))
            watch = self._watches.setdefault(guardian, Watch(BEAT_S))
            watch.guard(self._names[number], number, at)
        self._checks = [(watch.next_at(0.0), who) for who, watch in self._watches.items()]
        heapify(self._checks)
        self._step = 0

    @property
    def leaves(self) -> Sequence[int]:
        """Those who are nobody's guardian."""
        return [number for number in range(self.nodes) if number not in self._watches]

    def count_anew(self) -> None:
        """Messages, and suspicions of those who live, from 0."""
        self.sent = [0] * (self.nodes + 1)
        self.received = [0] * (self.nodes + 1)
        self.suspicions = 0

    def messages(self, number: int) -> int:
        return self.sent[number] + self.received[number]

    @property
    def busiest(self) -> int:
        """The most messages that anybody had."""
        return max(map(int.__add__, self.sent, self.received))

    def cut_off(self, number: int, at: float) -> None:
        """From then on nobody hears of it, nor can look at it."""
        self._cut_at[number] = at
        self._cut = True

    def heal(self) -> None:
        """Who was cut off is heard again."""
        self._cut_at = [math.inf] * self.nodes
        self._cut = False

    def run(self, seconds: float) -> None:
        """Let so much time pass: whole beats."""
        for _ in range(round(seconds / BEAT_S) * PHASES):
            at = self._step * BEAT_S / PHASES
            while self._checks[0][0] < at:
                self._check()
            self.now = at
            self._beat(self._turns[self._step % PHASES], at)
            self._step += 1

    def _beat(self, numbers: Sequence[int], now: float) -> None:
        """They beat; what their guardians answer is there before the next instant."""
        loss, chance = self.loss, self._dice.random
        troubled = bool(loss or self._cut)
        sent, received, names = self.sent, self.received, self._names
        for number in numbers:
            guardian = self._guardians[number]
            heeded = self._heeded[number]
            sent[number] += 1
            unheeded = troubled and guardian != _CONTROLLER and heeded.unheeded(now)
            cut = troubled and now >= self._cut_at[number]
            if not (cut or (loss and chance() < loss)):
                received[guardian] += 1
                sent[guardian] += 1
                if self._watches[guardian].beat(names[number], number, now):
                    self._report(guardian, "ok")
                if not (loss and chance() < loss):
                    received[number] += 1
                    heeded.acknowledged(now + LATENCY_S)
            if unheeded:
                sent[number] += 1
                if not (cut or (loss and chance() < loss)):
                    received[_CONTROLLER] += 1
                    sent[_CONTROLLER] += 1
                    received[number] += not (loss and chance() < loss)

    def _check(self) -> None:
        """The guardian whose turn is next looks at its wards."""
        at, guardian = self._checks[0]
        watch = self._watches[guardian]
        for silence in watch.check(at, 0.0):
            self._judge(guardian, silence, at)
        heapreplace(self._checks, (watch.next_at(at), guardian))

    def _judge(self, guardian: int, silence: Silence, now: float) -> None:
        cut_at = self._cut_at[silence.incarnation]
        if now >= cut_at:
            self.silences.append((now - cut_at) / BEAT_S)
            verdict = judge(pidfd_fired=None, state=None)
        else:
            self.suspicions += 1
            verdict = judge(pidfd_fired=None, state="S", loop_moved=True)
        self._report(guardian, verdict.kind)

    def _report(self, guardian: int, kind: str) -> None:
        self.verdicts.append(kind)
        if guardian != _CONTROLLER:
            self.sent[guardian] += 1
            self.received[_CONTROLLER] += 1
