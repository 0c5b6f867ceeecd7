"""Regrowth: what the controller does about ends that nobody ordered.

It hears every death first, and keeps everybody's child spec, arguments and snapshot; so it
carries out every supervisor's plan (`actors.supervision.supervision`), on the supervisor's behalf.
One death costs no further message, and a supervisor that is busy, frozen or dying holds up nobody's
return.

Invariants
----------
* A planned end takes its subtree along before anything else is done about it. After an
  unplanned one the named children live on under another guardian, and come back.
* Every life after the first is paid for: from the budget of its supervisor's present incarnation,
  or, while it is adopted, from a budget of its own.
* A supervisor over its budget has its children stopped, then ends as ``crashed``, and its own
  supervisor decides. The controller never ends for a child: it gives the child up, and says so.
* What somebody stops, or starts anew, while it waits for its next life is left to them.
* Restarts of one group (one_for_all, rest_for_one) never overlap. Who was stopped for the sake of
  one that does not come back lives again without it.

Source: Erlang/OTP ``supervisor``; a start that fails is one more end, as it is there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import trio

from actors.control.nodes import Nodes
from actors.control.stopping import Stopping
from actors.supervision.backoff import Backoff
from actors.supervision.intensity import Intensity
from actors.supervision.places import State
from actors.supervision.record import Record
from actors.supervision.supervision import Child, lives_again, plan
from runtime.address import CONTROLLER
from runtime.exits import ExitReason
from runtime.messages.behaviour import Strategy

log = logging.getLogger("regrow")


class Regrowth:
    """Of one system. ``chance``: a number in [0, 1), each time."""

    def __init__(
        self,
        nodes: Nodes,
        stopping: Stopping,
        chance: Callable[[], float],
        strategy: Strategy = "one_for_one",
        intensity: tuple[int, float] = (5, 10.0),
    ) -> None:
        self._nodes = nodes
        self._stopping = stopping
        self._chance = chance
        self._strategy: Strategy = strategy
        self._budget = Intensity(*intensity)
        self._lane = trio.Lock()

    async def ended(self, record: Record) -> None:
        """All is done that an end which nobody ordered entails."""
        nodes = self._nodes
        if not nodes.roll.holds(record):
            return
        reason = record.known_reason
        if reason.planned:
            await self._stopping.stop_under(record.name)
        else:
            await self._stopping.stop_unnamed_under(record.name)
        if not self._waits(record):
            return
        if not lives_again(record.spec.restart, reason) or not nodes.roll.has_host(record):
            if reason.planned:
                nodes.roll.bury(record)
                nodes.forget(record)
        elif self._strategy_for(record) == "one_for_one":
            await self._regrow(record)
        else:
            supervisor = self._supervisor(record)
            async with self._lane if supervisor is None else supervisor.lane:
                await self._regrow(record)

    async def again(self, record: Record) -> Record:
        """Its next incarnation: up if it has ``started``, else its ``failure`` says why not."""
        before = str(record.known_reason)
        record = self._nodes.roll.renew(record)
        try:
            refusal = await self._nodes.bring_up(record)
            if refusal is None:
                log.info("%s lives again, after %s", record.name, before)
            else:
                record.failure = refusal.message
        finally:
            if not record.started:
                with trio.CancelScope(shield=True):
                    await self.scrap(record)
        return record

    async def scrap(self, record: Record) -> None:
        """Nothing is left of an incarnation that did not come up, but its place."""
        await self._nodes.scrap(record)
        if self._nodes.roll.holds(record):
            await self._stopping.stop_unnamed_under(record.name)

    # -- who is restarted with whom

    async def _regrow(self, record: Record) -> None:
        """It lives again, and who goes with it; or somebody has decided otherwise."""
        lost: Record | None = record
        names: Sequence[str] = ()
        while lost is not None:
            if await self._may(lost):
                todo = plan(self._strategy_for(lost), self._siblings(lost), lost.name)
                for name in todo.stop:
                    await self._make_room(name)
                names = todo.start
            else:
                names = [name for name in names if name != lost.name]
            lost = await self._start(names)

    def _siblings(self, record: Record) -> list[Child]:
        """It and its siblings, in the order of their first starts."""
        nodes = self._nodes
        names = nodes.places.children(nodes.places.parent(record.name))
        return [Child(name, nodes.records[name].spec.restart) for name in names]

    async def _make_room(self, name: str) -> None:
        record = self._nodes.records.get(name)
        if record is None or record.gone.is_set():
            return
        if record.spec.restart == "temporary":
            await self._stopping.stop(record)
            return
        await self._stopping.halt(record)
        if not record.gone.is_set():  # a cell of a process that stands still
            record.planned = record.unwanted  # else it would not live again after its end
        elif self._nodes.roll.holds(record):
            self._nodes.roll.mark(name, State.RESTARTING)

    async def _start(self, names: Sequence[str]) -> Record | None:
        """Those of them that are dead live again; or the first one that does not."""
        for name in names:
            child = self._nodes.records.get(name)
            if child is None or child.unwanted or not child.gone.is_set():
                continue  # removed meanwhile, or started by somebody else
            if not self._nodes.roll.has_host(child):
                self._nodes.roll.mark(name, State.DEAD)  # its process died while it waited
                continue
            child = await self.again(child)
            if not child.started:
                return child
        return None

    # -- when

    async def _may(self, record: Record) -> bool:
        """Whether it is to live again, now: its budget allows it, and it has waited."""
        if not self._waits(record):
            return False
        now = trio.current_time()
        budget = self._budget_of(record)
        if not budget.spend(now):
            await self._exhaust(record, budget)
            return False
        self._nodes.roll.mark(record.name, State.RESTARTING)
        if record.backoff is None:
            record.backoff = Backoff()
        lived_s = now - record.up_at if record.started else 0.0
        await trio.sleep(record.backoff.next_s(lived_s, self._chance()))
        return self._waits(record)

    def _waits(self, record: Record) -> bool:
        """Whether its place is still its own, and nobody wants it to stay dead."""
        return self._nodes.roll.holds(record) and not record.planned

    # -- budgets

    def _supervisor(self, record: Record) -> Record | None:
        """Whose child it is; None for the controller's."""
        parent = self._nodes.places.parent(record.name)
        return None if parent == CONTROLLER else self._nodes.records[parent]

    def _adopted(self, record: Record) -> bool:
        supervisor = self._supervisor(record)
        return supervisor is not None and (supervisor.gone.is_set() or not supervisor.started)

    def _strategy_for(self, record: Record) -> Strategy:
        supervisor = self._supervisor(record)
        if supervisor is None:
            return self._strategy
        return "one_for_one" if self._adopted(record) else supervisor.spec.strategy

    def _budget_of(self, record: Record) -> Intensity:
        supervisor = self._supervisor(record)
        if supervisor is None:
            return self._budget
        if self._adopted(record):
            if record.orphan_budget is None:
                record.orphan_budget = Intensity()
            return record.orphan_budget
        if supervisor.budget is None:
            spec = supervisor.spec
            supervisor.budget = Intensity(spec.max_restarts, spec.period_s)
        return supervisor.budget

    async def _exhaust(self, record: Record, budget: Intensity) -> None:
        """It died once too often."""
        supervisor = self._supervisor(record)
        last = f"{record.name} ended last: {record.known_reason}"
        if supervisor is None or self._adopted(record):
            self._nodes.roll.mark(record.name, State.GIVEN_UP)
            log.warning("%s given up: more than %s; %s", record.name, budget, last)
            return
        if supervisor.exhausted:
            return
        supervisor.exhausted = True
        log.warning("%s ends: more than %s; %s", supervisor.name, budget, last)
        why = ExitReason(
            kind="crashed", error="RestartIntensity", message=f"more than {budget}; {last}"
        )
        await self._stopping.stop_under(supervisor.name)
        await self._stopping.end_alone(supervisor, why)
