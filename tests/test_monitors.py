"""Monitors: one Down each, whoever watches whom and however it ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.actor import Actor
from actors.down import Down, Monitor, Recovered, Suspected
from actors.ref import ActorRef, ref_to
from actors.supervision.monitors import Asker, Monitors
from runtime.address import CONTROLLER, Address
from runtime.cells.cell import Cell
from runtime.errors import RemoteError, WireError
from runtime.exits import ExitReason
from runtime.messages import envelope as wire
from tests.small_court import SmallCourt, open_small_court
from tests.small_world import ask, tell


class Target(Actor):
    """Ends as it is told to."""

    async def fail(self, why: str) -> None:
        raise LookupError(why)

    async def leave(self) -> None:
        self.finish()

    async def quit(self, code: int) -> None:
        raise SystemExit(code)


class Watcher(Actor):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[Down | Suspected | Recovered] = []
        self.monitors: list[Monitor] = []
        self.release = trio.Event()
        self.holding = False
        self.log: list[str] = []

    async def on_down(self, down: Down | Suspected | Recovered) -> None:
        self.log.append("hears")
        self.heard.append(down)
        if self.holding:
            await self.release.wait()
        self.log.append("has heard")

    async def watch(self, ref: ActorRef[Actor], suspicions: bool) -> int:
        self.monitors.append(self.monitor(ref, suspicions=suspicions))
        return self.monitors[-1].number

    async def hold(self) -> None:
        self.log.append("holds")
        await self.release.wait()
        self.log.append("lets go")

    async def hold_and_look_away(self) -> None:
        await self.release.wait()
        for monitor in self.monitors:
            self.demonitor(monitor)

    async def look_away(self) -> None:
        for monitor in self.monitors:
            self.demonitor(monitor)

    async def note(self, text: str) -> None:
        self.log.append(text)

    async def finish_it(self) -> None:
        self.finish()


class Liar:
    """Says that somebody is down."""

    async def on_down(self, down: str) -> None:
        raise NotImplementedError


class Curious(Watcher):
    """Asks another one when somebody is down."""

    async def on_down(self, down: Down | Suspected | Recovered) -> None:
        other = self.monitors[1].ref
        self.log.append(str(await other.ask(Echo.say, "well")))
        try:
            await other.ask(Echo.ask_back, self.ref)
        except RemoteError as refusal:
            self.log.append(refusal.message)


class Echo(Actor):
    async def say(self, text: str) -> str:
        return text

    async def ask_back(self, ref: ActorRef[Watcher]) -> None:
        await ref.ask(Watcher.note, "never")


async def watch(watcher: Cell, who: Address, suspicions: bool = False) -> int:
    """Ask it of the watcher, on its own behalf."""
    number = await ask(watcher, watcher, Watcher.watch, ref_to(who), suspicions)
    await wait_all_tasks_blocked()
    assert isinstance(number, int)
    return number


def heard(watcher: Cell) -> list[Down | Suspected | Recovered]:
    assert isinstance(watcher.actor, Watcher)
    return watcher.actor.heard


async def pair_of(court: SmallCourt) -> tuple[Cell, Cell]:
    """A watcher and its target, in two processes."""
    a, b = await court.process("a"), await court.process("b")
    watcher = await court.cell(a, "watcher", Watcher())
    return watcher, await court.cell(b, "target", Target())


async def crash(target: Cell) -> None:
    await tell(target, target, Target.fail, "no")
    await wait_all_tasks_blocked()


# The ways of ending.

End = Callable[[Cell], Awaitable[None]]
WAYS: dict[str, tuple[str, End | None]] = {
    "a crash": ("crashed", lambda cell: tell(cell, cell, Target.fail, "no")),
    "its own end": ("normal", lambda cell: tell(cell, cell, Target.leave)),
    "SystemExit(0)": ("normal", lambda cell: tell(cell, cell, Target.quit, 0)),
    "SystemExit(3)": ("crashed", lambda cell: tell(cell, cell, Target.quit, 3)),
    "a stop": ("shutdown", None),
    "a kill": ("killed", None),
}


PLACES = ("another process", "the same process", "the controller's")


@pytest.mark.parametrize(
    ("way", "place"),
    [
        (way, place)
        for way in WAYS
        for place in PLACES
        if (way, place) != ("a kill", "the same process")  # then nobody is left to hear
    ],
)
async def test_each_monitor_hears_one_down_with_the_true_reason(
    way: str, place: str, autojump_clock: MockClock
) -> None:
    kind, end = WAYS[way]
    async with open_small_court() as court:
        home = await court.process("home")
        target = await court.cell(home, "target", Target())
        if place == "another process":
            process = await court.process("other")
        else:
            process = home if place == "the same process" else court.controller
        watcher = await court.cell(process, "watcher", Watcher())
        numbers = [await watch(watcher, target.address) for _ in range(2)]
        if end is not None:
            await end(target)
        elif way == "a kill":
            court.kill(home)
        else:
            target.stop(force=False)
        await trio.sleep(5)
        first, second = heard(watcher)
        assert isinstance(first, Down)
        assert isinstance(second, Down)
        assert [first.monitor, second.monitor] == numbers
        assert first.ref == second.ref == target.address
        assert first.reason == second.reason
        assert first.reason.kind == kind
        if way == "a crash":
            assert (first.reason.error, first.reason.message) == ("LookupError", "no")
            assert first.reason.handler == "fail"
            assert "LookupError: no" in first.reason.traceback
        assert not court.fates.monitors
        assert not process.vigil


@pytest.mark.parametrize("place", ["another process", "the controller's"])
async def test_one_that_is_dead_already_is_down_at_once(
    place: str, autojump_clock: MockClock
) -> None:
    async with open_small_court() as court:
        watcher, target = await pair_of(court)
        if place == "the controller's":
            watcher = await court.cell(court.controller, "third", Watcher())
        await crash(target)
        number = await watch(watcher, target.address)
        (down,) = heard(watcher)
        assert isinstance(down, Down)
        assert (down.monitor, down.ref, down.reason.kind) == (number, target.address, "crashed")
        assert not court.fates.monitors


@pytest.mark.parametrize(
    "who",
    [
        Address("s", "nobody", 4711, "memory:4711"),
        Address("s", "nobody", 0, ""),
        Address("another", "target", 3, "memory:3"),
        Address("another", CONTROLLER, 1, "memory:1"),
    ],
    ids=["an incarnation", "a name", "another system", "another controller"],
)
async def test_one_that_nobody_knows_is_down_at_once(
    who: Address, autojump_clock: MockClock
) -> None:
    async with open_small_court() as court:
        watcher, _ = await pair_of(court)
        number = await watch(watcher, who)
        assert heard(watcher) == [Down(number, ref_to(who), ExitReason(kind="unknown"))]


@pytest.mark.parametrize("incarnation", [0, 1])
async def test_the_controller_can_be_watched_and_does_not_end(
    incarnation: int, autojump_clock: MockClock
) -> None:
    async with open_small_court() as court:
        watcher, _ = await pair_of(court)
        await watch(watcher, Address("s", CONTROLLER, incarnation, ""))
        await trio.sleep(100)
        assert heard(watcher) == []
        assert len(court.fates.monitors) == 1


async def test_of_a_following_ref_the_down_names_the_incarnation_that_ended(
    autojump_clock: MockClock,
) -> None:
    async with open_small_court() as court:
        watcher, target = await pair_of(court)
        await watch(watcher, ref_to(target.address).following())
        await crash(target)
        await trio.sleep(1)
        (down,) = heard(watcher)
        assert down.ref == target.address
        assert down.ref.incarnation == target.address.incarnation


@pytest.mark.parametrize("misuse", ["target", None, 3])
async def test_what_is_no_ref_cannot_be_watched_or_linked(
    misuse: object, autojump_clock: MockClock
) -> None:
    class Wrong(Actor):
        async def watch(self) -> None:
            self.monitor(misuse)  # type: ignore[arg-type]

        async def tie(self) -> None:
            self.link(misuse)  # type: ignore[arg-type]

    async with open_small_court() as court:
        wrong = await court.cell(await court.process("a"), "wrong", Wrong())
        for handler in (Wrong.watch, Wrong.tie):
            with pytest.raises(RemoteError, match="TypeError: give a ref, not"):
                await ask(wrong, wrong, handler)
        assert not court.fates.monitors


# Looking away.


async def test_a_down_that_is_queued_already_is_taken_back(autojump_clock: MockClock) -> None:
    async with open_small_court() as court:
        watcher, target = await pair_of(court)
        await watch(watcher, target.address)
        await watch(watcher, target.address)
        await tell(watcher, watcher, Watcher.hold_and_look_away)
        await crash(target)
        await trio.sleep(1)
        assert len(watcher.mailbox) == 2
        assert isinstance(watcher.actor, Watcher)
        watcher.actor.release.set()
        await trio.sleep(1)
        assert heard(watcher) == []


async def test_of_two_monitors_only_the_one_that_stays_is_heard(
    autojump_clock: MockClock,
) -> None:
    async with open_small_court() as court:
        watcher, target = await pair_of(court)
        await watch(watcher, target.address)
        await ask(watcher, watcher, Watcher.look_away)
        stays = await watch(watcher, target.address)
        assert len(court.fates.monitors) == 1
        await crash(target)
        await trio.sleep(1)
        assert [each.monitor for each in heard(watcher)] == [stays]


async def test_a_down_that_crosses_the_demonitor_on_the_wire_is_not_heard(
    autojump_clock: MockClock,
) -> None:
    async with open_small_court() as court:
        watcher, target = await pair_of(court)
        await watch(watcher, target.address)
        court.world.weather = lambda source, to, frames: (1.0,) if source == 1 else (0.0,)
        await crash(target)
        await trio.sleep(0.5)
        await ask(watcher, watcher, Watcher.look_away)
        await trio.sleep(5)
        assert heard(watcher) == []


async def test_nobody_can_give_up_the_watch_of_another(autojump_clock: MockClock) -> None:
    async with open_small_court() as court:
        watcher, target = await pair_of(court)
        thief = await court.cell(watcher.exchange, "thief", Watcher())
        await watch(watcher, target.address)
        assert isinstance(thief.actor, Watcher)
        assert isinstance(watcher.actor, Watcher)
        thief.actor.monitors = watcher.actor.monitors
        await ask(thief, thief, Watcher.look_away)
        await crash(target)
        await trio.sleep(1)
        assert len(heard(watcher)) == 1


async def test_what_a_cell_watches_is_forgotten_with_the_cell(autojump_clock: MockClock) -> None:
    async with open_small_court() as court:
        watcher, target = await pair_of(court)
        for _ in range(3):
            await watch(watcher, target.address)
        assert (len(court.fates.monitors), len(watcher.exchange.vigil)) == (3, 3)
        await tell(watcher, watcher, Watcher.finish_it)
        await trio.sleep(1)
        assert (len(court.fates.monitors), len(watcher.exchange.vigil)) == (0, 0)


async def test_what_a_process_watches_is_forgotten_with_the_process(
    autojump_clock: MockClock,
) -> None:
    async with open_small_court() as court:
        watcher, target = await pair_of(court)
        await watch(watcher, target.address)
        court.kill(watcher.exchange)
        assert len(court.fates.monitors) == 0


# The hook.


async def test_a_down_waits_for_its_turn_and_holds_up_what_comes_after(
    autojump_clock: MockClock,
) -> None:
    async with open_small_court() as court:
        watcher, target = await pair_of(court)
        actor = watcher.actor
        assert isinstance(actor, Watcher)
        await watch(watcher, target.address)
        actor.holding = True
        await tell(watcher, watcher, Watcher.hold)
        await crash(target)
        await tell(watcher, watcher, Watcher.note, "a message")
        await trio.sleep(1)
        assert actor.log == ["holds"]
        actor.release.set()
        await trio.sleep(1)
        assert actor.log == ["holds", "lets go", "hears", "has heard", "a message"]


async def test_a_full_mailbox_does_not_hold_it_up(autojump_clock: MockClock) -> None:
    async with open_small_court() as court:
        a, b = await court.process("a"), await court.process("b")
        watcher = await court.cell(a, "watcher", Watcher(), mailbox_messages=1)
        target = await court.cell(b, "target", Target())
        numbers = [await watch(watcher, target.address) for _ in range(5)]
        await tell(watcher, watcher, Watcher.hold)
        await wait_all_tasks_blocked()
        await crash(target)
        assert isinstance(watcher.actor, Watcher)
        watcher.actor.release.set()
        await trio.sleep(1)
        assert [each.monitor for each in heard(watcher)] == numbers


async def test_it_cannot_be_called_from_outside(autojump_clock: MockClock) -> None:
    async with open_small_court() as court:
        watcher, target = await pair_of(court)
        for source in (target, watcher):
            with pytest.raises(WireError, match="watcher has no handler 'on_down'"):
                await ask(source, watcher, Liar.on_down, "a lie")
            await tell(source, watcher, Liar.on_down, "a lie")
        await trio.sleep(1)
        assert heard(watcher) == []


async def test_its_exception_crashes_the_actor(autojump_clock: MockClock) -> None:
    class Brittle(Watcher):
        async def on_down(self, down: Down) -> None:  # type: ignore[override]
            raise ValueError(str(down.reason))

    async with open_small_court() as court:
        watcher, target = await pair_of(court)
        brittle = await court.cell(watcher.exchange, "brittle", Brittle())
        await watch(brittle, target.address)
        await watch(watcher, brittle.address)
        await crash(target)
        await trio.sleep(1)
        (down,) = heard(watcher)
        assert isinstance(down, Down)
        assert str(down.reason) == "crashed(ValueError: crashed(LookupError: no))"
        assert down.reason.handler == "on_down"


async def test_it_speaks_for_its_cell_and_may_ask(autojump_clock: MockClock) -> None:
    async with open_small_court() as court:
        process = await court.process("a")
        target = await court.cell(process, "target", Target())
        echo = await court.cell(process, "echo", Echo())
        curious = await court.cell(await court.process("b"), "curious", Curious())
        await watch(curious, target.address)
        await watch(curious, echo.address)
        await crash(target)
        await trio.sleep(1)
        assert isinstance(curious.actor, Curious)
        assert curious.actor.log == ["well", "ask cycle: curious -> echo -> curious"]


async def test_one_that_hears_nothing_may_watch_all_the_same(autojump_clock: MockClock) -> None:
    class Deaf(Actor):
        async def watch(self, ref: ActorRef[Actor]) -> int:
            return self.monitor(ref).number

    async with open_small_court() as court:
        deaf = await court.cell(await court.process("a"), "deaf", Deaf())
        target = await court.cell(deaf.exchange, "target", Target())
        await ask(deaf, deaf, Deaf.watch, ref_to(target.address))
        await crash(target)
        await trio.sleep(1)
        assert deaf.ending is None


# Suspicions.


def judge(court: SmallCourt, target: Cell, kind: str) -> None:
    evidence = "" if kind == "ok" else "state T"
    court.fates.judged(wire.Verdict(target.address.endpoint, kind, evidence))


async def test_only_who_asked_hears_of_suspicions(autojump_clock: MockClock) -> None:
    async with open_small_court() as court:
        watcher, target = await pair_of(court)
        await watch(watcher, target.address)
        number = await watch(watcher, target.address, suspicions=True)
        for kind in ("frozen", "ok", "busy", "cut off"):
            judge(court, target, kind)
        await trio.sleep(1)
        ref = ref_to(target.address)
        assert heard(watcher) == [
            Suspected(number, ref, "frozen", "state T"),
            Recovered(number, ref),
            Suspected(number, ref, "busy", "state T"),
            Suspected(number, ref, "cut off", "state T"),
        ]
        court.kill(target.exchange)
        await trio.sleep(1)
        assert [type(each) for each in heard(watcher)[4:]] == [Down, Down]


async def test_one_that_is_suspected_already_is_so_at_once(autojump_clock: MockClock) -> None:
    async with open_small_court() as court:
        watcher, target = await pair_of(court)
        judge(court, target, "frozen")
        await watch(watcher, target.address)
        assert heard(watcher) == []
        number = await watch(watcher, target.address, suspicions=True)
        assert heard(watcher) == [Suspected(number, ref_to(target.address), "frozen", "state T")]
        judge(court, target, "ok")
        await watch(watcher, target.address, suspicions=True)
        assert [type(each) for each in heard(watcher)] == [Suspected, Recovered]


# Whose word counts.


async def test_only_the_controller_is_believed(autojump_clock: MockClock) -> None:
    async with open_small_court() as court:
        watcher, target = await pair_of(court)
        number = await watch(watcher, target.address, suspicions=True)
        liar = target.exchange
        its = liar.peer(watcher.exchange.address.endpoint)
        liar.say(its, wire.Fallen(number, target.address, ExitReason(kind="normal")))
        liar.say(its, wire.Suspicion(number, target.address, "frozen"))
        await trio.sleep(1)
        assert heard(watcher) == []
        await crash(target)
        await trio.sleep(1)
        assert len(heard(watcher)) == 1


# The table.

A, B = (Address("s", name, number, f"memory:{name}") for name, number in (("a", 7), ("b", 8)))


def test_an_end_is_told_to_each_asker_once_in_the_order_of_asking() -> None:
    monitors = Monitors()
    askers = [Asker("x", 2), Asker("y", 1), Asker("x", 1)]
    for asker in askers:
        monitors.add(asker, A, suspicions=False)
    monitors.add(Asker("x", 3), B, suspicions=False)
    assert monitors.fallen(7) == askers
    assert monitors.fallen(7) == []
    assert len(monitors) == 1


def test_a_number_that_is_used_again_means_the_new_target() -> None:
    monitors = Monitors()
    for target in (A, B, B):
        monitors.add(Asker("x", 1), target, suspicions=False)
    assert (monitors.fallen(7), monitors.fallen(8)) == ([], [Asker("x", 1)])


def test_a_process_that_is_forgotten_asks_nothing() -> None:
    monitors = Monitors()
    for asker in (Asker("x", 1), Asker("y", 1), Asker("x", 2)):
        monitors.add(asker, A, suspicions=True)
    monitors.forget("x")
    monitors.forget("nobody")
    assert monitors.suspicious("memory:a") == [(Asker("y", 1), A)]
    monitors.remove(Asker("y", 1))
    monitors.remove(Asker("y", 1))
    assert not monitors
    assert monitors.fallen(7) == []
