"""A system without processes: the real controller and real nodes, in virtual time."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from actors import Actor, ActorDeadError, ActorRef, SpawnError, UnreachableError, reentrant
from actors.supervision.record import Happened
from actors.testing.chaos import Chaos
from actors.testing.virtual import VirtualSystem, open_virtual_system
from runtime.exits import ExitReason
from runtime.hosts.memory_body import MemoryBody
from runtime.messages.codec import Buffer
from runtime.processes.orders import Exited

pytestmark = pytest.mark.regrow


class Counter(Actor):
    """Counts, starts others of its kind, and ends in every way that there is."""

    def __init__(self, start: int = 0) -> None:
        if start < 0:
            raise ValueError(f"start is {start}")
        self.value = start

    async def add(self, amount: int) -> int:
        self.value += amount
        return self.value

    async def add_later(self, amount: int, delay_s: float) -> int:
        await trio.sleep(delay_s)
        return await self.add(amount)

    async def relay(self, to: ActorRef[Counter], amount: int) -> int:
        return await to.ask(Counter.add, amount)

    @reentrant
    async def grow(self, name: str) -> ActorRef[Counter]:
        return await self.spawn(Counter, name=name)

    @reentrant
    async def grow_here(self, name: str) -> ActorRef[Counter]:
        return await self.spawn(Counter, 5, name=name, local=True)

    async def leave(self) -> None:
        self.finish()

    async def fail(self) -> None:
        raise LookupError("as told")

    async def quit(self, code: int) -> None:
        raise SystemExit(code)

    async def vanish(self, code: int) -> None:
        os._exit(code)

    async def beg(self, to: ActorRef[Counter]) -> None:
        """Tell ``to`` of this one's end, which nobody must hear if it is killed."""
        try:
            await trio.sleep_forever()
        finally:
            to.tell_nowait(Counter.add, 1000)


def essence(reason: ExitReason) -> str:
    return str(reason)


async def shape(system: VirtualSystem) -> list[tuple[str, str, str, str]]:
    return [(row.name, row.parent, row.guardian, row.state) for row in await system.tree()]


async def test_what_a_program_does_with_processes_it_does_without() -> None:
    async with open_virtual_system() as system:
        one = await system.spawn(Counter, 3, name="one")
        assert await one.ask(Counter.add, 4) == 7
        await one.tell(Counter.add, 10)
        assert await one.ask(Counter.add, 0) == 17
        two = await one.ask(Counter.grow, "two")
        assert await two.ask(Counter.relay, one, 1) == 18
        assert await system.lookup("two") == two
        with pytest.raises(LookupError):
            await system.lookup("three")
        assert await shape(system) == [
            ("one", "controller", "controller", "ok"),
            ("two", "one", "one", "ok"),
        ]
        assert essence(await two.stop()) == "shutdown"
        assert essence(await one.kill()) == "killed(SIGKILL)"
        assert essence(await one.wait()) == "killed(SIGKILL)"
        with pytest.raises(ActorDeadError):
            await one.ask(Counter.add, 1)
    assert trio.current_time() == 0.0


async def test_a_class_from_inside_a_function_will_do(system: VirtualSystem) -> None:
    def make(answer: int) -> type[Any]:
        class Local(Actor):
            async def answer(self) -> int:
                return answer

        return Local

    for answer in (1, 2):
        kind = make(answer)
        ref = await system.spawn(kind)
        assert await ref.ask(kind.answer) == answer


async def test_arguments_are_encoded_all_the_same(system: VirtualSystem) -> None:
    class Keeper(Actor):
        async def add(self, items: list[int]) -> list[int]:
            items.append(1)
            return items

    ref = await system.spawn(Keeper)
    mine: list[int] = []
    assert await ref.ask(Keeper.add, mine) == [1]
    assert mine == []
    with pytest.raises(TypeError):
        await ref.ask(Keeper.add, object())  # type: ignore[arg-type]


async def test_local_cells_of_any_process_work(system: VirtualSystem) -> None:
    here = await system.spawn(Counter, 1, name="here", local=True)
    node = await system.spawn(Counter, name="node")
    there = await node.ask(Counter.grow_here, "there")
    assert await here.ask(Counter.relay, there, 2) == 7
    assert await there.ask(Counter.relay, here, 2) == 3
    system.kill(node)
    assert not (await there.wait()).planned
    with pytest.raises(LookupError, match="no living node"):
        system.kill(here)


async def test_what_befalls_a_local_cell_befalls_its_process(
    system: VirtualSystem, chaos: Chaos
) -> None:
    node = await system.spawn(Counter, name="node")
    gone = await node.ask(Counter.grow_here, "gone")
    await gone.kill()
    cell = await node.ask(Counter.grow_here, "cell")
    await chaos.freeze(cell)
    with pytest.raises(UnreachableError, match="frozen"):
        await node.ask(Counter.add, 1)
    await chaos.thaw(cell)
    here = await system.spawn(Counter, local=True)
    for ref in (here, gone):
        with pytest.raises(LookupError, match="no living node"):
            await chaos.kill(ref)
    assert await cell.ask(Counter.add, 1) == 6
    await chaos.kill(cell)
    assert essence(await node.wait()) == "killed(SIGKILL)"
    with pytest.raises(LookupError, match="no living node"):
        await chaos.kill(cell)


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (Counter.leave, "normal"),
        (Counter.fail, "crashed(LookupError: as told)"),
    ],
    ids=["finish", "crash"],
)
async def test_an_actor_ends_as_it_would_in_a_process(
    end: Callable[[Counter], Any], reason: str, system: VirtualSystem
) -> None:
    ref = await system.spawn(Counter)
    await ref.tell(end)
    assert essence(await ref.wait()) == reason


@pytest.mark.parametrize(
    ("end", "code", "reason"),
    [
        (Counter.quit, 0, "normal"),
        (Counter.quit, 3, "crashed(SystemExit: 3)"),
        (Counter.vanish, 0, "exited(0)"),
        (Counter.vanish, 3, "exited(3)"),
    ],
    ids=["quit", "quit 3", "os._exit(0)", "os._exit(3)"],
)
async def test_an_exit_ends_the_node_alone(
    end: Callable[[Counter, int], Any], code: int, reason: str
) -> None:
    real = os._exit
    async with open_virtual_system() as system:
        ref = await system.spawn(Counter)
        await ref.tell(end, code)
        assert essence(await ref.wait()) == reason
    assert os._exit is real


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGKILL, "killed(SIGKILL)"),
        (signal.SIGSEGV, "killed(SIGSEGV)"),
        (signal.SIGTERM, "shutdown"),
    ],
)
async def test_a_signal_does_to_a_node_what_it_does_to_a_process(
    number: int, reason: str, system: VirtualSystem
) -> None:
    ref = await system.spawn(Counter)
    system.signal(ref, signal.SIGCHLD)
    system.signal(ref, number)
    assert essence(await ref.wait()) == reason


async def test_a_crash_leaves_its_traceback_as_output() -> None:
    said: list[tuple[str, str]] = []
    async with open_virtual_system(output=lambda *line: said.append(line)) as system:
        ref = await system.spawn(Counter, name="doomed")
        await ref.tell(Counter.fail)
        reason = await ref.wait()
    assert "LookupError: as told" in reason.output
    assert ("doomed", "LookupError: as told") in said


async def test_a_start_that_fails_leaves_nothing(system: VirtualSystem) -> None:
    with pytest.raises(SpawnError, match="ValueError: start is -1"):
        await system.spawn(Counter, -1, name="unborn")
    assert await system.tree() == []
    assert not system.host.bodies


async def test_nothing_leaves_a_node_after_its_kill(system: VirtualSystem) -> None:
    witness = await system.spawn(Counter)
    victim = await system.spawn(Counter)
    await victim.tell(Counter.beg, witness)
    await trio.sleep(1)
    system.kill(victim)
    assert essence(await victim.wait()) == "killed(SIGKILL)"
    await trio.sleep(1)
    assert await witness.ask(Counter.add, 0) == 0


async def test_who_waits_for_a_killed_node_is_told_at_once(system: VirtualSystem) -> None:
    victim = await system.spawn(Counter)
    failed_at: list[float] = []

    async def wait() -> None:
        with pytest.raises(ActorDeadError, match="killed"):
            await victim.ask(Counter.add_later, 1, 60.0)
        failed_at.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.sleep(3)
        system.kill(victim)
    assert failed_at == [3.0]


async def test_a_dead_middle_node_cuts_nobody_off(system: VirtualSystem) -> None:
    top = await system.spawn(Counter, name="top")
    middle = await top.ask(Counter.grow, "middle")
    leaf = await middle.ask(Counter.grow, "leaf")
    await trio.sleep(5)
    system.kill(middle)
    await middle.wait()
    assert await shape(system) == [
        ("top", "controller", "controller", "ok"),
        ("middle", "top", "top", "dead"),
        ("leaf", "middle", "top", "ok"),
    ]
    assert await top.ask(Counter.relay, leaf, 2) == 2
    heard: list[Happened] = []
    with system.listen(heard.append):
        await trio.sleep(60)
    assert heard == []


@pytest.mark.parametrize("depth", [1, 2])
async def test_a_frozen_node_is_told_from_a_dead_one(depth: int, system: VirtualSystem) -> None:
    ref = await system.spawn(Counter, name="n1")
    for number in range(2, depth + 1):
        ref = await ref.ask(Counter.grow, f"n{number}")
    heard: list[tuple[str, float, float]] = []
    with system.listen(lambda it: heard.append((it.what, trio.current_time(), it.at))):
        await trio.sleep(1.1)
        system.freeze(ref)
        await trio.sleep(8.9)
        # The last beat came at 1.0; the verdict 4.5 beats of 0.25 s later.
        assert heard == [("silent", 2.125, 1.0)]
        assert (await system.tree())[-1].state == "frozen"
        with pytest.raises(UnreachableError, match="frozen"):
            await ref.ask(Counter.add, 1)
        system.thaw(ref)
        await trio.sleep(0.01)
        assert await ref.ask(Counter.add, 1) == 1
        assert heard[1:] == [("heard", 10.0, 10.0)]
        await trio.sleep(60)
        assert len(heard) == 2


async def test_what_a_frozen_node_is_sent_waits_for_it(system: VirtualSystem) -> None:
    ref = await system.spawn(Counter)
    answers: list[tuple[float, int]] = []

    async def ask(amount: int) -> None:
        answers.append((trio.current_time(), await ref.ask(Counter.add_later, amount, 0.1)))
        answers[-1] = (trio.current_time(), answers[-1][1])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, 1)
        await trio.sleep(0.05)
        system.freeze(ref)
        nursery.start_soon(ask, 2)
        await trio.sleep(0.65)
        assert answers == []
        system.thaw(ref)
    assert [answer for _, answer in answers] == [1, 3]
    assert [at for at, _ in answers] == pytest.approx([0.7, 0.8])


async def test_a_frozen_guardian_suspects_nobody_when_it_is_thawed(
    system: VirtualSystem,
) -> None:
    guardian = await system.spawn(Counter, name="guardian")
    await guardian.ask(Counter.grow, "ward")
    heard: list[tuple[str, str]] = []
    with system.listen(lambda it: heard.append((it.what, it.name))):
        await trio.sleep(1.1)
        system.freeze(guardian)
        await trio.sleep(30)
        system.thaw(guardian)
        await trio.sleep(30)
    assert heard == [("silent", "guardian"), ("heard", "guardian")]


async def test_a_frozen_node_is_killed_by_a_stop_and_hears_its_signals_when_thawed(
    system: VirtualSystem,
) -> None:
    one, two = await system.spawn(Counter), await system.spawn(Counter)
    for ref in (one, two):
        system.freeze(ref)
    assert essence(await one.stop()) == "killed(SIGKILL)"
    system.signal(two, signal.SIGTERM)
    await trio.sleep(1)
    assert (await system.tree())[0].state != "dead"
    system.thaw(two)
    assert essence(await two.wait()) == "shutdown"


async def test_a_stop_answers_with_how_it_ended_though_that_is_known_late(
    system: VirtualSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = MemoryBody.exited

    async def say_late(body: MemoryBody) -> Exited:
        await trio.sleep(0.5)
        return await said(body)

    monkeypatch.setattr(MemoryBody, "exited", say_late)
    ref = await system.spawn(Counter)
    monkeypatch.setattr(system.host, "_on_exit", lambda exited: None)
    system.freeze(ref)
    assert str(await ref.stop()) == "killed(SIGKILL)"


async def test_a_network_that_loses_messages_is_a_silence() -> None:
    cut: set[int] = set()

    def fault(source: int, target: int, frames: Sequence[Buffer]) -> Sequence[float]:
        return () if cut & {source, target} else (0.0,)

    async with open_virtual_system(fault=fault) as system:
        ref = await system.spawn(Counter)
        await trio.sleep(1.1)
        cut.add(ref.incarnation)
        await trio.sleep(2)
        assert (await system.tree())[0].state == "busy"
        cut.clear()
        await trio.sleep(1)
        assert (await system.tree())[0].state == "ok"


async def test_the_end_of_a_block_leaves_no_task() -> None:
    def tasks() -> int:
        return trio.lowlevel.current_statistics().tasks_living

    before = tasks()
    async with open_virtual_system() as system:
        refs = [await system.spawn(Counter) for _ in range(5)]
        await refs[0].ask(Counter.grow, "below")
        system.kill(refs[1])
        system.freeze(refs[2])
        assert tasks() > before
    assert tasks() == before
    assert trio.current_time() < 5.0


async def test_an_exception_of_the_body_leaves_the_block_as_itself() -> None:
    async def body() -> None:
        async with open_virtual_system() as system:
            await system.spawn(Counter)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await body()


async def history(seed: int) -> list[tuple[object, ...]]:
    """What happens in a small world of many things at the same instants."""
    log: list[tuple[object, ...]] = []

    def fault(source: int, target: int, frames: Sequence[Buffer]) -> Sequence[float]:
        log.append((source, target, sum(map(len, frames))))
        return (abs(source - target) % 3 * 0.001,)

    async with open_virtual_system(seed=seed, fault=fault) as system:

        def note(it: Happened) -> None:
            log.append((it.what, it.name, trio.current_time()))

        with system.listen(note):
            refs: list[ActorRef[Counter]] = []
            async with trio.open_nursery() as nursery:

                async def start(number: int) -> None:
                    refs.append(await system.spawn(Counter, name=f"n{number}"))

                for number in range(8):
                    nursery.start_soon(start, number)
            log.extend((ref.name, ref.incarnation) for ref in refs)
            async with trio.open_nursery() as nursery:
                for ref in refs:
                    for other in refs[:4]:
                        if ref != other:
                            nursery.start_soon(ref.tell, Counter.add, 1)
                nursery.start_soon(refs[0].ask, Counter.grow, "below")
            await trio.sleep(1)
            system.kill(refs[0])
            system.freeze(refs[1])
            await refs[2].tell(Counter.fail)
            await trio.sleep(5)
    return log


def test_a_seed_replays_a_run() -> None:
    def run(seed: int) -> list[tuple[object, ...]]:
        # From the same instant: what is a tie there may be none an hour later, in floats.
        return trio.run(history, seed, clock=MockClock(autojump_threshold=0))

    first = run(1)
    assert len(first) > 400
    assert run(2) != first
    assert run(1) == first


async def test_two_hundred_nodes_beat_for_a_minute(system: VirtualSystem) -> None:
    for _ in range(200):
        await system.spawn(Counter)
    heard: list[Happened] = []
    with system.listen(heard.append):
        await trio.sleep(60)
    assert heard == []
    assert [row.state for row in await system.tree()] == ["ok"] * 200


async def test_whom_to_kill_is_said_by_a_ref(system: VirtualSystem, chaos: Chaos) -> None:
    who: Any = "counter"
    with pytest.raises(TypeError, match="give a ref, not 'counter'"):
        system.kill(who)
    with pytest.raises(TypeError, match="give a ref, not 'counter'"):
        await chaos.kill(who)


def test_its_weather_is_a_weather() -> None:
    weather: Any = {"drop": 0.3}
    with pytest.raises(TypeError, match=r"weather is a Weather, or None, not \{'drop': 0\.3\}"):
        open_virtual_system(weather=weather)
