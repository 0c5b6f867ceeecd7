"""Carries out scenarios, many at a time."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AsyncExitStack
from typing import Final

import msgspec
import pytest
import trio

from actors.testing import lab
from runtime.multipath import network_link
from runtime.multipath.path_manager import open_path_manager
from runtime.multipath.paths import open_events, open_paths
from runtime.wires import zmq_tcp
from tests.scenario import Scenario, Side
from tests.scenario_carrier import Carrier, LinkCarrier, TransportCarrier
from tests.scenario_scene import Scene, Skip

AT_ONCE: Final = 8
SCENARIO_S: Final = 120.0


async def _log(scene: Scene, side: Side, task_status: trio.TaskStatus[None]) -> None:
    async with open_events(scene.hosts[side].socket) as events:
        task_status.started()
        async for event in events:
            scene.logs[side].append(event)


async def play(scenario: Scenario, scenes: list[Scene]) -> None:
    """It holds, or this raises what does not, or `Skip`. The scene is left in ``scenes``."""
    with lab.open_pair(4) as (server, client), lab.open_host("quiet") as quiet:
        carrier: Carrier = TransportCarrier(server, client, quiet)
        if scenario.link:
            carrier = LinkCarrier(server, client)
        scene = Scene(server, client, carrier)
        scene.altered = scenario.altered
        scenes.append(scene)
        async with AsyncExitStack() as stack:
            stack.callback(carrier.close)
            for side, host in scene.hosts.items():
                scene.paths[side] = await stack.enter_async_context(open_paths(host.socket))
                if side not in scenario.deaf:
                    manager = open_path_manager(
                        scene.notices[side].append, guarded=False, make_socket=host.socket
                    )
                    scene.managers[side] = await stack.enter_async_context(manager)
            async with trio.open_nursery() as nursery:
                try:
                    await _play(scenario, scene, nursery)
                except AssertionError as error:
                    error.add_note(scene.report())
                    raise
                finally:
                    nursery.cancel_scope.cancel()


async def _play(scenario: Scenario, scene: Scene, nursery: trio.Nursery) -> None:
    for side, manager in scene.managers.items():
        await nursery.start(_log, scene, side)
        nursery.start_soon(manager.run)
    for step in scenario.setup:
        await step(scene)
    if scenario.traffic == "talk":
        await scene.connect(scenario.connect, nursery)
        nursery.start_soon(scene.talk)
        await scene.answers(5)
        await scene.hold(scenario.before)
    for step in scenario.during:
        await step(scene)
    await scene.hold_still(scenario.checks + scene.standing(), scenario.lost)
    if scenario.traffic == "talk":
        await scene.close()
    await scene.hold(scenario.after)


class Outcome(msgspec.Struct, frozen=True):
    """How a scenario ended: neither ``error`` nor ``skipped`` if it holds.

    ``link``: as in `Scenario`; ``by_hand``: why endpoints were not left to our path manager alone.
    """

    error: BaseException | None = None
    skipped: str = ""
    attempts: int = 1
    took_s: float = 0.0
    link: str = ""
    by_hand: tuple[str, ...] = ()


def _first_error(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def attempt(scenario: Scenario) -> Outcome:
    outcome, begin = Outcome(), trio.current_time()
    for count in range(1, scenario.attempts + 1):
        scenes: list[Scene] = []
        try:
            with trio.fail_after(SCENARIO_S):
                await play(scenario, scenes)
            took_s = trio.current_time() - begin
            by_hand = tuple(scenes[0].by_hand)
            return Outcome(attempts=count, took_s=took_s, link=scenario.link, by_hand=by_hand)
        except Exception as error:
            first = _first_error(error)
            if isinstance(first, Skip):
                return Outcome(skipped=str(first))
            outcome = Outcome(error=first, attempts=count)
    return outcome


def _patient(patch: pytest.MonkeyPatch) -> None:
    """The links of a busy machine are not hasty, nor do they mend what falls back on purpose."""
    patch.setattr(network_link, "LEAVE_S", SCENARIO_S)
    patch.setattr(network_link, "MEND_S", SCENARIO_S)
    patch.setattr(zmq_tcp, "HANDSHAKE_S", SCENARIO_S)


async def play_all(scenarios: Collection[Scenario]) -> dict[int, Outcome]:
    """The outcome of each, by number; `AT_ONCE` of them at a time, those with deaf ends alone."""
    outcomes: dict[int, Outcome] = {}
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def one(scenario: Scenario) -> None:
        async with limiter:
            outcomes[scenario.number] = await attempt(scenario)

    with pytest.MonkeyPatch.context() as patch:
        _patient(patch)
        async with trio.open_nursery() as nursery:
            for scenario in scenarios:
                if not scenario.deaf:
                    nursery.start_soon(one, scenario)
        for scenario in scenarios:
            if scenario.deaf:
                await one(scenario)
    return outcomes
