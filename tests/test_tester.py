"""One actor under test, without a system."""

from __future__ import annotations

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from actors import (
    Actor,
    ActorDeadError,
    ActorRef,
    Down,
    ExitReason,
    RemoteError,
    SpawnError,
    Suspected,
    WireError,
)
from actors.testing.tester import ActorTester


class Ledger(Actor):
    """What a counter reports to."""

    async def enter(self, value: int) -> int:
        return value


class Counter(Actor):
    """Does everything that an actor can do."""

    def __init__(self, start: int = 0) -> None:
        self.value = start
        self.log: list[str] = []

    async def on_start(self) -> None:
        if self.value < 0:
            raise ValueError(f"start is {self.value}")
        self.log.append("start")

    async def on_stop(self, reason: ExitReason) -> None:
        self.log.append(f"stop {reason}")

    async def on_down(self, down: object) -> None:
        if isinstance(down, Down):
            self.log.append(f"down {down.ref.name} {down.reason}")
        if isinstance(down, Suspected):
            self.log.append(f"{down.kind} {down.ref.name}")

    async def add(self, amount: int) -> int:
        self.value += amount
        return self.value

    async def add_later(self, amount: int) -> None:
        await trio.sleep(10)
        self.value += amount

    async def report_to(self, ledger: ActorRef[Ledger]) -> None:
        await ledger.tell(Ledger.enter, self.value)

    async def confirm(self, ledger: ActorRef[Ledger]) -> int:
        return await ledger.ask(Ledger.enter, self.value)

    async def look_up(self, name: str) -> int:
        return await (await self.system.lookup(name, Ledger)).ask(Ledger.enter, self.value)

    async def grow(self, start: int) -> ActorRef[Counter]:
        child = await self.spawn(Counter, start, name="child", restart="permanent")
        self.monitor(child, suspicions=True)
        await child.tell(Counter.add, 1)
        return child

    async def end(self, who: ActorRef[Counter]) -> str:
        return str(await who.stop())

    async def leave(self) -> None:
        self.finish()

    async def fail(self) -> None:
        raise LookupError("as told")


async def test_handlers_are_called_directly_and_hooks_run() -> None:
    async with ActorTester(Counter, 3) as tester:
        assert await tester.ask(Counter.add, 4) == 7
        await tester.tell(Counter.add, 5)
        assert tester.actor.value == 12
        assert tester.exit_reason is None
    assert tester.actor.log == ["start", "stop shutdown"]
    assert str(tester.exit_reason) == "shutdown"


async def test_arguments_are_encoded_and_checked_as_ever() -> None:
    async with ActorTester(Counter) as tester:
        with pytest.raises(WireError, match="Expected `int`, got `str`"):
            await tester.ask(Counter.add, "4")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="cannot travel"):
            await tester.ask(Counter.add, object())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="too many positional arguments"):
        ActorTester(Counter, 1, 2)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="give a class of actors"):
        ActorTester(int)  # type: ignore[type-var]


async def test_an_ask_of_a_stub_is_answered_by_the_test() -> None:
    async with ActorTester(Counter, 3) as tester:
        ledger = await tester.probe(Ledger, name="ledger")
        await tester.tell(Counter.report_to, ledger.ref)
        assert (await ledger.expect(Ledger.enter)).args == (3,)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def confirm() -> None:
                assert await tester.ask(Counter.confirm, ledger.ref) == 30

            await ledger.expect(Ledger.enter, 3)
            ledger.reply(30)
        ledger.answer(Ledger.enter, lambda value: value * 2)
        assert await tester.ask(Counter.look_up, "ledger") == 6
        with pytest.raises(RemoteError, match="LookupError: no actor is named strange"):
            await tester.ask(Counter.look_up, "strange")
        with pytest.raises(SpawnError, match="the name ledger is taken"):
            await tester.probe(name="ledger")
        with pytest.raises(AssertionError, match="expected a Down within 0 s"):
            await ledger.expect(Down, within_s=0)


async def test_what_it_spawns_is_recorded_and_a_stub_stands_in() -> None:
    async with ActorTester(Counter, 3) as tester:
        ref = await tester.ask(Counter.grow, 5)
        (child,) = tester.spawned
        assert (child.actor, child.args, child.probe.ref) == (Counter, (5,), ref)
        assert (child.spec.name, child.spec.restart) == ("child", "permanent")
        assert tester.monitored == [(ref, True)]
        await child.probe.expect(Counter.add, 1)
        await tester.suspect(ref, "frozen")
        await tester.suspect(ref, "ok")
        await tester.end(ref)
        await tester.end(ref, ExitReason(kind="normal"))
        assert tester.actor.log == ["start", "frozen child", "down child killed(SIGKILL)"]
        assert await tester.ask(Counter.end, ref) == "killed(SIGKILL)"
        assert tester.stopped == [ref]


async def test_a_spawn_can_be_refused() -> None:
    async with ActorTester(Counter) as tester:
        tester.refuse_spawns("no room")
        with pytest.raises(RemoteError, match="SpawnError: no room"):
            await tester.ask(Counter.grow, 5)
        assert tester.spawned == []


@pytest.mark.parametrize(
    ("handler", "reason", "stopped"),
    [
        (Counter.leave, "normal", True),
        (Counter.fail, "crashed(LookupError: as told)", False),
    ],
    ids=["finish", "crash"],
)
async def test_an_end_is_the_exit_reason(handler: object, reason: str, stopped: bool) -> None:
    async with ActorTester(Counter) as tester:
        await tester.tell(handler)  # type: ignore[arg-type]
        assert str(await tester.ended()) == str(tester.exit_reason) == reason
        assert ("stop normal" in tester.actor.log) is stopped
        with pytest.raises(ActorDeadError):
            await tester.ask(Counter.add, 1)


async def test_what_on_start_raises_leaves_the_entry_as_itself() -> None:
    with pytest.raises(ValueError, match="start is -1"):
        async with ActorTester(Counter, -1):
            pass
    with pytest.raises(KeyError, match="mine"):
        async with ActorTester(Counter):
            raise KeyError("mine")


async def test_its_time_is_the_tests(autojump_clock: MockClock) -> None:
    async with ActorTester(Counter) as tester:
        await tester.tell(Counter.add_later, 4)
        assert (tester.actor.value, trio.current_time()) == (0, 0.0)
        assert await tester.ask(Counter.add, 0) == 4
        assert trio.current_time() == 10.0


async def test_refs_work_in_the_block_and_not_after_it() -> None:
    async with ActorTester(Counter, 1) as tester:
        assert await tester.ref.ask(Counter.add, 1) == 2
        assert str(tester.ref) == "actor.3"
    with pytest.raises(RuntimeError, match="no system is open"):
        await tester.ref.ask(Counter.add, 1)


async def test_nothing_of_it_outlives_the_block(autojump_clock: MockClock) -> None:
    def tasks() -> int:
        return trio.lowlevel.current_statistics().tasks_living

    before = tasks()
    async with ActorTester(Counter) as tester:
        await tester.probe()
        assert tasks() > before
        await tester.tell(Counter.add_later, 1)
    assert tasks() == before
