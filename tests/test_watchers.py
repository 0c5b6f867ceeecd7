"""Monitors, links and following refs between processes, real ones and virtual ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from actors.actor import Actor, reentrant
from actors.down import Down, Recovered, Suspected
from actors.ref import ActorRef
from actors.system import System
from actors.testing.chaos import Chaos
from runtime.errors import ActorDeadError, RemoteError
from runtime.exits import ExitReason
from tests.real import ANSWER_S
from tests.real_actors import Counter

pytestmark = pytest.mark.regrow(on=["virtual", "real"])

News = Down | Suspected | Recovered


class Watcher(Counter):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.value = 0
        self.heard: list[News] = []
        self.bell = trio.Event()

    async def on_down(self, down: Down | Suspected | Recovered) -> None:
        self.heard.append(down)
        self.bell.set()

    async def watch(self, ref: ActorRef[Actor], suspicions: bool = False) -> int:
        return self.monitor(ref, suspicions=suspicions).number

    @reentrant
    async def hears(self, count: int) -> list[tuple[str, str, int, str]]:
        """The first so many: what, of whom, its monitor, and how or why."""
        while len(self.heard) < count:
            self.bell = trio.Event()
            await self.bell.wait()
        return [told(each) for each in self.heard]

    async def reason(self, number: int) -> ExitReason:
        down = self.heard[number]
        assert isinstance(down, Down)
        return down.reason

    async def tie(self, ref: ActorRef[Actor]) -> None:
        self.link(ref)

    async def neighbour(self) -> ActorRef[Watcher]:
        return await self.spawn(Watcher, name="neighbour", local=True)

    async def child(self) -> ActorRef[Watcher]:
        return await self.spawn(Watcher, name="child")

    async def ask_parent(self) -> tuple[str, int, int]:
        return self.parent.name, self.parent.incarnation, await self.parent.ask(Counter.add, 1)

    async def parents_name(self) -> str:
        return self.parent.name

    async def look_around(self) -> tuple[list[str], int]:
        found = await self.system.lookup("target", Counter)
        child = await self.system.spawn(Counter, 40, name="roots-child")
        rows = [f"{row.parent}:{row.name}" for row in await self.system.tree()]
        return rows, await found.ask(Counter.add, 1) + await child.ask(Counter.add, 1)

    async def spawn_locally_at_the_root(self) -> None:
        await self.system.spawn(Counter, local=True)


def told(news: News) -> tuple[str, str, int, str]:
    what = type(news).__name__
    if isinstance(news, Down):
        return what, news.ref.name, news.monitor, str(news.reason)
    return what, news.ref.name, news.monitor, getattr(news, "kind", "")


async def hears(watcher: ActorRef[Watcher], count: int) -> list[tuple[str, str, int, str]]:
    with trio.fail_after(ANSWER_S):
        return await watcher.ask(Watcher.hears, count)


Ending = Callable[[Chaos, ActorRef[Counter]], Awaitable[object]]
ENDS: dict[str, tuple[Ending, str]] = {
    "kill -9": (Chaos.kill, "killed(SIGKILL)"),
    "a crash": (lambda chaos, ref: ref.tell(Counter.fail, "no"), "crashed(LookupError: no)"),
    "its own end": (lambda chaos, ref: ref.tell(Counter.leave), "normal"),
    "a stop": (lambda chaos, ref: ref.stop(), "shutdown"),
    "exit(3)": (lambda chaos, ref: ref.tell(Counter.vanish, 3), "exited(3)"),
}


@pytest.mark.parametrize("end", ENDS)
async def test_each_monitor_hears_one_down_with_the_true_reason(
    end: str, system: System, chaos: Chaos, regrow_kind: str
) -> None:
    how, expected = ENDS[end]
    afar = await system.spawn(Watcher, name="afar")
    watchers = [
        afar,
        await afar.ask(Watcher.neighbour),
        await system.spawn(Watcher, name="here", local=True),
    ]
    target = await system.spawn(Counter, name="target")
    numbers = [
        [await each.ask(Watcher.watch, ref) for ref in (target, target.following())]
        for each in watchers
    ]
    await how(chaos, target)
    for watcher, its in zip(watchers, numbers, strict=True):
        assert await hears(watcher, 2) == [("Down", "target", number, expected) for number in its]
    late = [await each.ask(Watcher.watch, target) for each in watchers]
    for watcher, its, number in zip(watchers, numbers, late, strict=True):
        assert [each[2] for each in await hears(watcher, 3)] == [*its, number]
        reason = await watcher.ask(Watcher.reason, 2)
        assert reason == await watcher.ask(Watcher.reason, 0)
        assert reason.max_rss_bytes > 0 or regrow_kind == "virtual"  # the whole certificate
    assert len(system.nodes.fates.monitors) == 0


@pytest.mark.parametrize("end", ["a crash", "its own end", "a stop", "kill -9"])
async def test_the_end_of_a_local_cell_is_a_down_like_any_other(
    end: str, system: System, chaos: Chaos
) -> None:
    host = await system.spawn(Watcher, name="host")
    target = await host.ask(Watcher.neighbour)
    watcher = await system.spawn(Watcher, name="watcher")
    number = await watcher.ask(Watcher.watch, target)
    how, expected = ENDS[end]
    await how(chaos, target)
    (down,) = await hears(watcher, 1)
    assert down == ("Down", "host/neighbour", number, expected)


async def test_who_is_unknown_is_down_at_once(system: System) -> None:
    watcher = await system.spawn(Watcher)
    unknown = ActorRef[Actor](system.exchange.address.system, "nobody", 0, "")
    foreign = ActorRef[Actor]("another", "target", 2, "ipc:///nowhere")
    for ref in (unknown, foreign):
        await watcher.ask(Watcher.watch, ref)
    assert [each[3] for each in await hears(watcher, 2)] == ["unknown", "unknown"]


async def test_a_watcher_that_dies_is_forgotten(system: System) -> None:
    watcher = await system.spawn(Watcher)
    target = await system.spawn(Counter)
    await watcher.ask(Watcher.watch, target)
    assert len(system.nodes.fates.monitors) == 1
    await watcher.kill()
    await watcher.wait()
    assert len(system.nodes.fates.monitors) == 0


async def test_a_frozen_one_is_suspected_and_recovers(system: System, chaos: Chaos) -> None:
    watchers = [await system.spawn(Watcher), await system.spawn(Watcher, local=True)]
    target = await system.spawn(Watcher, name="target")
    inner = await target.ask(Watcher.neighbour)
    for watcher in watchers:
        for ref in (target, inner):
            await watcher.ask(Watcher.watch, ref, True)
    await chaos.freeze(target)
    names = ["target", "target/neighbour"]
    for watcher in watchers:
        news = await hears(watcher, 2)
        assert [(what, name, kind) for what, name, _, kind in news] == [
            ("Suspected", name, "frozen") for name in names
        ]
    await chaos.thaw(target)
    for watcher in watchers:
        news = await hears(watcher, 4)
        assert [(what, name) for what, name, _, _ in news[2:]] == [
            ("Recovered", name) for name in names
        ]


# Links.


@pytest.mark.parametrize("end", ENDS)
async def test_linked_ones_share_their_fate(end: str, system: System, chaos: Chaos) -> None:
    how, reason = ENDS[end]
    target = await system.spawn(Counter, name="target")
    linked = await system.spawn(Watcher, name="linked")
    local = await system.spawn(Watcher, name="local", local=True)
    for each in (linked, local):
        await each.ask(Watcher.tie, target)
    await how(chaos, target)
    if reason == "normal":
        await target.wait()
        assert await linked.ask(Counter.add, 2) == 2
        assert await local.ask(Counter.add, 3) == 3
        return
    expected = f"crashed(LinkedExit: linked to target, which ended: {reason})"
    with trio.fail_after(ANSWER_S):
        for each in (linked, local):
            its = str(await each.wait())
            assert its == ("shutdown" if reason == "shutdown" else expected)


async def test_a_frozen_one_that_is_dragged_along_is_killed(system: System, chaos: Chaos) -> None:
    target = await system.spawn(Counter, name="target")
    linked = await system.spawn(Watcher, name="linked")
    await linked.ask(Watcher.tie, target)
    await chaos.freeze(linked)
    await chaos.kill(target)
    with trio.fail_after(ANSWER_S):
        assert str(await linked.wait()) == "killed(SIGKILL)"


# Following refs, parents and the system.


async def test_a_following_ref_reaches_the_next_life(system: System, chaos: Chaos) -> None:
    first = await system.spawn(Counter, 1, name="target")
    ref = first.following()
    watcher = await system.spawn(Watcher)
    assert await ref.ask(Counter.add, 0) == 1
    await chaos.kill(first)
    with pytest.raises(ActorDeadError, match="target is not alive"):
        await ref.ask(Counter.add, 0)
    assert (await ref.stop()).kind == "killed"
    with pytest.raises(ActorDeadError, match="no actor is named target"):
        await ref.ask(Counter.add, 0)
    second = await system.spawn(Counter, 2, name="target")
    await ref.tell(Counter.add, 40)
    assert await ref.ask(Counter.add, 0) == 42
    with pytest.raises(ActorDeadError):
        await first.ask(Counter.add, 0)
    await watcher.ask(Watcher.watch, ref)
    assert (await ref.kill()).kind == "killed"
    assert (await ref.wait()).kind == "killed"
    assert [each[1] for each in await hears(watcher, 1)] == ["target"]
    assert ref != second


async def test_an_actor_knows_its_parent_and_its_system(system: System) -> None:
    await system.spawn(Counter, 1, name="target")
    top = await system.spawn(Watcher, name="top")
    child = await top.ask(Watcher.child)
    inner = await child.ask(Watcher.neighbour)
    assert await child.ask(Watcher.ask_parent) == ("top", 0, 1)
    assert await inner.ask(Watcher.ask_parent) == ("child", 0, 1)
    for each in (top, await system.spawn(Watcher, local=True)):
        assert await each.ask(Watcher.parents_name) == "controller"
    rows, total = await inner.ask(Watcher.look_around)
    assert total == 43
    assert "controller:roots-child" in rows
    assert "child:child/neighbour" in rows
    with pytest.raises(RemoteError, match="cannot run in the process of top"):
        await top.ask(Watcher.spawn_locally_at_the_root)


async def names(system: System) -> list[str]:
    return [row.name for row in await system.tree()]


async def test_a_planned_end_by_a_link_takes_its_subtree_along(system: System) -> None:
    target = await system.spawn(Counter, name="target")
    top = await system.spawn(Watcher, name="top")
    await top.ask(Watcher.child)
    await top.ask(Watcher.tie, target)
    await target.stop()
    with trio.fail_after(ANSWER_S):
        assert (await top.wait()).kind == "shutdown"
        while await names(system):  # noqa: ASYNC110
            await trio.sleep(0.01)
