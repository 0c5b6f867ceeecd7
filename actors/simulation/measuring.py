"""Trees, measured in virtual time: of real parts, or of the model's.

`measure_real` opens a virtual system: the real controller, guards, detectors and nodes, over the
memory network. `measure_model` takes `actors.simulation.swarm`. Both do the same to their tree, as
far as the model can:

1. It is started, level after level; nodes beat at `PHASES` instants, spread over a beat.
2. It is left alone, and messages are counted.
3. Leaves are killed, at instants spread over a beat, and so is the first node that has wards.
4. Leaves are cut off, so that nobody can look at them: they fall silent, and nothing else is known.
5. A share of the signs of life is lost, and who is suspected lives.

Invariants
----------
* The same arguments give the same figures, but for those of processor time.
* After it nothing is left, of a system that is cancelled too.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from time import process_time
from typing import Any

import msgspec
import trio

from actors.actor import Actor
from actors.ref import ActorRef
from actors.simulation.figures import Figures, Losing, Recovery, depth_of, parent_of, spread
from actors.simulation.swarm import PHASES, Swarm, phase_of
from actors.simulation.traffic import Traffic
from actors.supervision.record import Happened
from actors.testing.virtual import VirtualSystem, open_virtual_system
from runtime.address import CONTROLLER_INCARNATION
from runtime.detection.guard import BEAT_S

SETTLE_S = 4 * BEAT_S
SILENT_S = 6 * BEAT_S
"""By then every silence is told."""
UNLIMITED = (1_000_000, 1.0)
"""Restarts are not what is measured here."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure. ``samples``: so many leaves are killed, and so many cut off, at most."""

    nodes: int
    fan_out: int
    seed: int = 0
    steady_s: float = 2.0
    losses: Sequence[float] = ()
    losing_s: float = 10.0
    samples: int = 200

    def chosen(self, leaves: Sequence[int], dice: Random) -> list[tuple[float, int]]:
        """(delay in seconds within a beat, leaf), by time."""
        count = max(1, min(self.samples, len(leaves) // 4))
        return sorted((dice.random() * BEAT_S, leaf) for leaf in dice.sample(leaves, count))


Progress = Callable[[str], None]


class Leaf(Actor):
    """A node that is there, and nothing else."""


def measure_model(plan: Plan, progress: Progress = lambda line: None) -> Figures:
    """A tree of the model's."""
    dice = Random(plan.seed)
    began = process_time()
    with _without_collecting():
        swarm = Swarm(plan.nodes, plan.fan_out, plan.seed)
        start_cpu_s = process_time() - began
        swarm.run(SETTLE_S)
        swarm.count_anew()
        began = process_time()
        swarm.run(plan.steady_s)
        cpu_s = process_time() - began
        steady = swarm.messages(-1), swarm.busiest, sum(swarm.received)
        progress("steady")
        cut_from = swarm.now + BEAT_S / PHASES
        for delay_s, leaf in plan.chosen(swarm.leaves, dice):
            swarm.cut_off(leaf, cut_from + delay_s)
        swarm.run(BEAT_S + SILENT_S)
        swarm.heal()
        swarm.run(SETTLE_S)
        progress("cut off and healed")
        losing = []
        for loss in plan.losses:
            swarm.loss = loss
            swarm.run(SETTLE_S)
            swarm.count_anew()
            swarm.run(plan.losing_s)
            losing.append(_losing(plan, loss, swarm.suspicions, swarm.messages(-1)))
            swarm.loss = 0.0
            swarm.run(SETTLE_S)
            progress(f"{loss:.1%} lost")
    return Figures(
        real=False,
        nodes=plan.nodes,
        fan_out=plan.fan_out,
        depth=depth_of(plan.nodes, plan.fan_out),
        controller_per_s=steady[0] / plan.steady_s,
        busiest_per_s=steady[1] / plan.steady_s,
        all_per_s=steady[2] / plan.steady_s,
        word=None,
        silence=spread(swarm.silences),
        recovery=None,
        start_messages=None,
        losing=losing,
        start_cpu_s=start_cpu_s / plan.nodes,
        beat_cpu_s=cpu_s / (plan.nodes * plan.steady_s / BEAT_S),
    )


def _losing(plan: Plan, loss: float, suspicions: int, messages: int) -> Losing:
    hours = plan.nodes * plan.losing_s / 3600
    return Losing(loss, suspicions, hours, messages / plan.losing_s)


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Millions of objects that stay are not looked through again and again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
        gc.collect()


async def measure_real(plan: Plan, progress: Progress = lambda line: None) -> Figures:
    """A tree of real parts. The run's clock must be a virtual one that jumps."""
    found: list[Figures] = []
    with _without_collecting():
        async with open_virtual_system(seed=plan.seed, intensity=UNLIMITED) as system:
            found.append(await _Tree(plan, system, progress).measure())
    return found[0]


class _Tree:
    def __init__(self, plan: Plan, system: VirtualSystem, progress: Progress) -> None:
        self.plan = plan
        self.system = system
        self.progress = progress
        self.traffic = Traffic(plan.seed)
        system.network.fault = self.traffic
        self.refs: list[ActorRef[Any]] = []
        self.dice = Random(plan.seed)

    async def measure(self) -> Figures:
        plan = self.plan
        began = process_time()
        await self._start()
        start_cpu_s = process_time() - began
        start_messages = self.traffic.of(CONTROLLER_INCARNATION) / plan.nodes
        self.progress("started")
        await trio.sleep(SETTLE_S + BEAT_S / PHASES / 2)  # from here to there nobody beats
        self.traffic.begin()
        began = process_time()
        await trio.sleep(plan.steady_s)
        cpu_s = process_time() - began
        steady = self._controller, self.traffic.busiest[0], sum(self.traffic.received.values())
        self.progress("steady")
        leaves = self._leaves()
        word = await self._kill(plan.chosen(leaves, self.dice))
        recovery = await self._kill_middle()
        self.progress("killed and regrown")
        silences = await self._cut_off(plan.chosen(leaves, self.dice))
        self.progress("cut off and healed")
        losing = [await self._lose(loss) for loss in plan.losses]
        return Figures(
            real=True,
            nodes=plan.nodes,
            fan_out=plan.fan_out,
            depth=depth_of(plan.nodes, plan.fan_out),
            controller_per_s=steady[0] / plan.steady_s,
            busiest_per_s=steady[1] / plan.steady_s,
            all_per_s=steady[2] / plan.steady_s,
            word=spread(word),
            silence=spread(silences),
            recovery=recovery,
            start_messages=start_messages,
            losing=losing,
            start_cpu_s=start_cpu_s / plan.nodes,
            beat_cpu_s=cpu_s / (plan.nodes * plan.steady_s / BEAT_S),
        )

    @property
    def _controller(self) -> int:
        return self.traffic.of(CONTROLLER_INCARNATION)

    def _leaves(self) -> list[int]:
        parents = {parent_of(number, self.plan.fan_out) for number in range(self.plan.nodes)}
        return [number for number in range(self.plan.nodes) if number not in parents]

    async def _start(self) -> None:
        """Each node begins to beat at the instant of its phase."""
        plan = self.plan
        began = trio.current_time()
        for number in range(plan.nodes):
            at = began + phase_of(number, plan.nodes) * BEAT_S / PHASES
            if at > trio.current_time():
                await trio.sleep_until(at)
            parent = parent_of(number, plan.fan_out)
            ref = await self.system.spawn(
                Leaf,
                name=str(number),
                parent=self.refs[parent] if parent >= 0 else None,
                restart="permanent",
                intensity=UNLIMITED,
            )
            self.refs.append(ref)
            if not (number + 1) % 1000:
                self.progress(f"{number + 1} started")

    async def _kill(self, chosen: Sequence[tuple[float, int]]) -> list[float]:
        """In beats: how long until the controller knows of each death."""
        killed_at: dict[int, float] = {}
        known: list[float] = []

        def heard(happened: Happened) -> None:
            if happened.what == "died":
                known.append((happened.at - killed_at[happened.incarnation]) / BEAT_S)

        with self.system.listen(heard):
            async for leaf in _in_turn(chosen):
                killed_at[self.refs[leaf].incarnation] = trio.current_time()
                self.system.kill(self.refs[leaf])
            await trio.sleep(SETTLE_S)
        if len(known) != len(chosen):
            raise RuntimeError(f"{len(chosen)} nodes were killed, {len(known)} deaths were told")
        for _, leaf in chosen:
            self.refs[leaf] = await self.system.lookup(str(leaf))  # its next life
        return known

    async def _kill_middle(self) -> Recovery | None:
        """The first node dies, if it has wards."""
        wards = [n for n in range(self.plan.nodes) if parent_of(n, self.plan.fan_out) == 0]
        if not wards:
            return None
        first = self.refs[0]
        orphans = {self.refs[ward].incarnation for ward in wards}
        adopted: dict[int, float] = {}
        regained: dict[int, float] = {}
        traffic = self.traffic

        def carry(source: int, target: int, frames: Sequence[Any]) -> Sequence[float]:
            # An orphan's first word to another than its controller's is to the new life.
            if source in orphans:
                found = adopted if target == CONTROLLER_INCARNATION else regained
                found.setdefault(source, trio.current_time())
            return traffic(source, target, frames)

        traffic.begin()
        began, cpu_s = trio.current_time(), process_time()
        self.system.network.fault = carry
        self.system.kill(first)
        await trio.sleep(BEAT_S / PHASES / 2)
        messages, cpu_s = self._controller, process_time() - cpu_s
        await trio.sleep(SETTLE_S)
        self.system.network.fault = traffic
        self.refs[0] = await self.system.lookup("0")
        return Recovery(
            wards=len(wards),
            adopted_beats=_last(adopted, orphans, began),
            regrown_beats=_last(regained, orphans, began),
            messages=messages,
            cpu_s=cpu_s,
        )

    async def _cut_off(self, chosen: Sequence[tuple[float, int]]) -> list[float]:
        """In beats: how long until the controller knows of each silence."""
        cut_at: dict[int, float] = {}
        far: list[ActorRef[Any]] = []
        known: list[float] = []

        def heard(happened: Happened) -> None:
            if happened.what == "silent":
                known.append((trio.current_time() - cut_at[happened.incarnation]) / BEAT_S)

        with self.system.listen(heard):
            async for leaf in _in_turn(chosen):
                far.append(self.refs[leaf])
                cut_at[self.refs[leaf].incarnation] = trio.current_time()
                self.system.part(*far)
            await trio.sleep(SILENT_S)
            self.system.heal()
        await trio.sleep(SETTLE_S)
        ill = [row.name for row in await self.system.tree() if row.state != "ok"]
        if ill:
            raise RuntimeError(f"{len(ill)} nodes are not well again, {ill[0]} first")
        return known

    async def _lose(self, loss: float) -> Losing:
        plan = self.plan
        suspicions = 0

        def heard(happened: Happened) -> None:
            nonlocal suspicions
            suspicions += happened.what == "silent"

        self.traffic.loss = loss
        await trio.sleep(SETTLE_S)
        self.traffic.begin()
        with self.system.listen(heard):
            await trio.sleep(plan.losing_s)
        messages = self._controller
        self.traffic.loss = 0.0
        await trio.sleep(SETTLE_S)
        self.progress(f"{loss:.1%} lost")
        return _losing(plan, loss, suspicions, messages)


async def _in_turn(chosen: Sequence[tuple[float, int]]) -> Any:
    began = trio.current_time()
    for delay_s, leaf in chosen:
        await trio.sleep_until(began + delay_s)
        yield leaf


def _last(found: dict[int, float], wanted: set[int], began: float) -> float:
    """When the last of them was found, in beats; infinite if one was not."""
    if found.keys() < wanted:
        return math.inf
    return (max(found.values()) - began) / BEAT_S
