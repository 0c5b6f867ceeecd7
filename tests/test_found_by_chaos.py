"""What runs of chaos have found, made small: each of these failed once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import trio

from actors import Actor, ActorRef, reentrant
from actors.down import Down
from actors.supervision.roll import ENDED_KEPT, Roll
from actors.testing.virtual import VirtualSystem
from runtime.address import CONTROLLER, CONTROLLER_INCARNATION, Address
from runtime.errors import ActorDeadError, ActorError, UnreachableError
from runtime.traffic.registrar import Spec


class Host(Actor):
    """Runs a cell beside itself."""

    async def ping(self) -> str:
        return self.ref.name

    async def crash(self) -> None:
        raise ValueError("as told")

    async def vanish(self) -> None:
        os._exit(3)

    @reentrant
    async def house(self, name: str) -> ActorRef[Host]:
        return await self.spawn(Host, name=name, local=True, restart="permanent")

    async def house_keeper(self, name: str) -> ActorRef[Keeper]:
        return await self.spawn(
            Keeper, name=name, local=True, snapshot_every_s="message", restart="permanent"
        )


class Keeper(Actor):
    """Its state is kept before each answer."""

    def snapshot(self) -> int:
        return 1

    def restore(self, state: int, age_s: float) -> None:
        pass

    async def ping(self) -> str:
        return "here"


async def test_what_hung_and_was_killed_never_yields_again(system: VirtualSystem) -> None:
    ref = await system.spawn(Host)
    (body,) = system.host.bodies.values()
    system.hang(ref)
    system.kill(ref)
    await trio.sleep(1)
    body.yield_again()
    body.hang()
    body.signal(signal.SIGCONT)
    assert await system.tree() != []


async def test_a_cell_of_a_frozen_process_ends_with_it_though_its_name_was_freed_before(
    system: VirtualSystem,
) -> None:
    host = await system.spawn(Host, name="host")
    probe = await system.probe()
    cell = await host.ask(Host.house, "cell")
    probe.monitor(cell)
    ends: list[str] = []

    async def wait() -> None:
        ends.append((await cell.wait()).kind)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        system.freeze(host)
        await host.stop()
        nursery.cancel_scope.deadline = trio.current_time() + 5
    assert ends == ["killed"]
    assert [(down.ref, down.reason.kind) for down in probe.came(Down)] == [(cell, "killed")]


@pytest.mark.regrow(intensity=(1000, 1.0))
async def test_a_cell_whose_process_dies_while_it_waits_for_its_next_life_is_dead(
    system: VirtualSystem,
) -> None:
    host = await system.spawn(Host, name="host")
    await host.ask(Host.house, "cell")
    for _ in range(5):
        await (await system.lookup("host/cell", Host)).tell(Host.crash)
        await trio.sleep(0.01)
        if (await system.tree())[1].state == "restarting":
            break
    await host.kill()
    await trio.sleep(30)
    assert [(row.name, row.state) for row in await system.tree()] == [
        ("host", "dead"),
        ("host/cell", "dead"),
    ]


async def test_a_cell_of_a_process_that_stands_still_is_not_restarted_beside_itself(
    system: VirtualSystem,
) -> None:
    host = await system.spawn(Host, name="host")
    cell = await host.ask(Host.house, "cell")
    system.hang(host)
    for verb in (ActorRef.restart, ActorRef.kill):
        with pytest.raises(UnreachableError, match=r"host/cell.*lives on"):
            await verb(cell)
    assert (await system.lookup("host/cell")) == cell
    system.yield_again(host)
    await trio.sleep(1)
    again = await system.lookup("host/cell", Host)  # it is permanent
    assert again.incarnation > cell.incarnation
    assert await again.ask(Host.ping) == "host/cell"


async def test_a_group_does_not_wait_for_a_cell_of_a_process_that_stands_still(
    system: VirtualSystem,
) -> None:
    host = await system.spawn(Host, name="host", strategy="one_for_all")
    cell = await host.ask(Host.house, "cell")
    sibling = await system.spawn(Host, name="sibling", parent=host, restart="permanent")
    system.hang(host)
    system.kill(sibling)
    await trio.sleep(10)
    assert await (await system.lookup("sibling", Host)).ask(Host.ping) == "sibling"
    system.yield_again(host)
    await trio.sleep(10)
    again = await system.lookup("host/cell", Host)
    assert again.incarnation > cell.incarnation


async def states(system: VirtualSystem) -> dict[str, str]:
    return {row.name: row.state for row in await system.tree()}


async def test_the_controller_listens_no_longer_to_whom_it_stood_in_for(
    system: VirtualSystem,
) -> None:
    top = await system.spawn(Host, name="top")
    middle = await system.spawn(Host, name="middle", parent=top)
    await system.spawn(Host, name="leaf", parent=middle)
    system.freeze(middle)
    await trio.sleep(3)  # the controller listens to the leaf meanwhile
    system.kill(middle)
    await trio.sleep(10)
    assert await states(system) == {"top": "ok", "middle": "dead", "leaf": "ok"}


async def test_who_comes_to_a_frozen_guardian_is_listened_to(system: VirtualSystem) -> None:
    top = await system.spawn(Host, name="top")
    middle = await system.spawn(Host, name="middle", parent=top)
    leaf = await system.spawn(Host, name="leaf", parent=middle)
    system.freeze(top)
    await trio.sleep(3)
    system.kill(middle)
    await trio.sleep(3)
    assert (await states(system))["leaf"] == "ok"
    system.freeze(leaf)
    await trio.sleep(3)
    assert (await states(system))["leaf"] == "frozen"
    system.thaw(leaf)
    system.thaw(top)
    await trio.sleep(3)
    assert await states(system) == {"top": "ok", "middle": "dead", "leaf": "ok"}


async def test_wards_of_a_cell_in_a_frozen_process_are_listened_to(system: VirtualSystem) -> None:
    host = await system.spawn(Host, name="host")
    cell = await host.ask(Host.house, "cell")
    leaf = await system.spawn(Host, name="leaf", parent=cell)
    system.freeze(host)
    await trio.sleep(3)
    system.freeze(leaf)
    await trio.sleep(3)
    assert (await states(system))["leaf"] == "frozen"
    system.thaw(host)
    system.thaw(leaf)
    await trio.sleep(3)
    assert await states(system) == {"host": "ok", "host/cell": "ok", "leaf": "ok"}


async def test_a_node_that_has_left_by_os_exit_has_no_last_word_to_wait_for(
    system: VirtualSystem,
) -> None:
    ref = await system.spawn(Host)
    await ref.tell(Host.vanish)
    await ref.wait()
    assert trio.current_time() < 0.1


async def test_an_answer_that_waits_for_its_snapshot_when_the_process_ends_is_of_the_dead(
    system: VirtualSystem,
) -> None:
    host = await system.spawn(Host, name="host")
    cell = await host.ask(Host.house_keeper, "cell")
    ends: list[str] = []

    async def ask() -> None:
        try:
            await cell.ask(Keeper.ping)
        except ActorError as error:
            ends.append(type(error).__name__)

    system.hang(host)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(0.3)
        system.signal(host, signal.SIGTERM)
        system.yield_again(host)
    assert ends == ["ActorDeadError"]


async def test_a_node_is_known_though_ten_thousand_have_ended_after_a_cell_of_it() -> None:
    roll = Roll(Address("system", CONTROLLER, CONTROLLER_INCARNATION, "here:1"), "there:{}".format)
    node = roll.reserve("node", Spec(entry="", parent=CONTROLLER), b"")
    cell = roll.reserve("node/cell", Spec(entry="", parent="node", local=True), b"")
    roll.strike(cell)
    roll.remember(cell)
    for _ in range(ENDED_KEPT):
        each = roll.reserve("each", Spec(entry="", parent=CONTROLLER), b"")
        roll.strike(each)
        roll.remember(each)
    assert roll.known(cell.address) is None
    assert roll.at(node.address.endpoint) is node


class Leaving(Actor):
    """Has a cell beside it, and ends when it is told to."""

    async def house(self) -> ActorRef[Dweller]:
        return await self.spawn(Dweller, local=True)

    async def leave(self) -> None:
        self.finish()


class Dweller(Actor):
    async def dwell(self) -> None:
        await trio.sleep_forever()

    @reentrant
    async def linger(self) -> None:
        await trio.sleep_forever()


@pytest.mark.regrow(seed=0, runs=20)
@pytest.mark.parametrize("handler", [Dweller.dwell, Dweller.linger])
async def test_what_a_cell_was_asked_when_its_process_ended_says_that_it_died(
    system: VirtualSystem, handler: Callable[[Dweller], Coroutine[Any, Any, None]]
) -> None:
    host = await system.spawn(Leaving)
    dweller = await host.ask(Leaving.house)

    async def dwell() -> None:
        with pytest.raises(ActorDeadError, match="shutdown"):
            await dweller.ask(handler)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dwell)
        await trio.sleep(0.1)
        await host.tell(Leaving.leave)
