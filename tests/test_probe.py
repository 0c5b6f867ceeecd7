"""Probes: what came is read in order, answered, and never lost from the account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from actors import Actor, ActorRef, Down, Recovered, RemoteError, Suspected, WireError
from actors.testing.probe import Call
from actors.testing.virtual import VirtualSystem


class Counter(Actor):
    """What probes stand in for."""

    async def add(self, amount: int, twice: bool = False) -> int:
        return amount

    async def clear(self) -> None: ...

    async def numbers(self, upto: int) -> AsyncIterator[int]:
        yield upto


class Teller(Actor):
    """Speaks to whoever it is told to."""

    async def tell_many(self, to: ActorRef[Counter], amounts: list[int]) -> None:
        for amount in amounts:
            await to.tell(Counter.add, amount)

    async def ask(self, to: ActorRef[Counter], amount: int) -> int:
        return await to.ask(Counter.add, amount)

    async def mixed(self, to: ActorRef[Counter]) -> int:
        await to.tell(Counter.add, 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(to.ask, Counter.add, 2)
            await trio.sleep(1)
            await to.tell(Counter.clear)
        return 3

    async def collect(self, to: ActorRef[Counter]) -> list[int]:
        async with to.stream(Counter.numbers, 3) as numbers:
            return [number async for number in numbers]

    async def send(self, to: ActorRef[Counter], data: bytes) -> None:
        await to.tell(Blob.put, data)  # type: ignore[arg-type]


class Stranger(Actor):
    async def hello(self) -> str:
        return "hello"


class Blob(Actor):
    """Takes bytes."""

    async def put(self, data: bytes) -> None: ...


async def test_a_probe_hears_of_the_end_of_whom_it_monitors(system: VirtualSystem) -> None:
    probe = await system.probe()
    counter = await system.spawn(Counter)
    monitor = probe.monitor(counter)
    other = probe.monitor(counter)
    probe.demonitor(other)
    system.kill(counter)
    down = await probe.expect(Down, ref=counter)
    assert (down.monitor, str(down.reason)) == (monitor.number, "killed(SIGKILL)")
    await probe.expect_none(for_s=60)


async def test_what_came_is_told_by_its_type_read_or_not(system: VirtualSystem) -> None:
    probe = await system.probe(Counter)
    one, two = await system.spawn(Counter), await system.spawn(Counter)
    for ref in (one, two):
        probe.monitor(ref)
    system.kill(two)
    await probe.expect(Down, ref=two)
    await probe.ref.tell(Counter.add, 4)
    await one.kill()
    await trio.sleep(1)
    assert [down.ref for down in probe.came(Down)] == [two, one]
    assert [call.args for call in probe.came(Call)] == [(4, False)]
    assert probe.came(Suspected) == []


async def test_suspicions_come_in_order_at_their_instants(system: VirtualSystem) -> None:
    probe = await system.probe()
    counter = await system.spawn(Counter)
    probe.monitor(counter, suspicions=True)
    await trio.sleep(1.1)
    system.freeze(counter)
    suspected = await probe.expect(Suspected, kind="frozen")
    assert trio.current_time() == 2.125
    assert suspected.ref == counter
    system.thaw(counter)
    await probe.expect(Recovered)
    system.kill(counter)
    await probe.expect(lambda it: isinstance(it, Down))
    assert probe.account() == (
        f"       2.125 s  taken   Suspected {counter}: frozen, {suspected.evidence}\n"
        f"       2.125 s  taken   Recovered {counter}\n"
        f"       2.125 s  taken   Down of {counter}: killed(SIGKILL)"
    )


async def test_tells_of_any_handler_are_recorded_in_order(system: VirtualSystem) -> None:
    probe = await system.probe()
    teller = await system.spawn(Teller)
    await teller.tell(Teller.tell_many, probe.ref, list(range(200)))
    await probe.ref.tell(Counter.clear)
    got = [await probe.expect(Counter.add) for _ in range(200)]
    assert [call.args for call in got] == [(n, False) for n in range(200)]
    assert await probe.expect() == Call("clear")


async def test_a_probe_of_a_class_takes_what_that_class_takes(system: VirtualSystem) -> None:
    probe = await system.probe(Counter, name="stub")
    teller = await system.spawn(Teller)
    with pytest.raises(WireError, match="Expected `int`, got `str`"):
        await probe.ref.ask(Counter.add, "four")  # type: ignore[arg-type]
    await teller.tell(Teller.send, probe.ref, b"x")
    await teller.tell(Teller.tell_many, probe.ref, [4])
    assert await probe.expect(Counter.add, 4) == Call("add", (4, False))
    await probe.expect_none(for_s=1)
    assert (await system.lookup("controller/stub")) == probe.ref


async def test_asks_are_answered_from_outside(system: VirtualSystem) -> None:
    probe = await system.probe(Counter)
    teller = await system.spawn(Teller)
    answers: list[object] = []

    async def ask(amount: int) -> None:
        try:
            answers.append(await teller.ask(Teller.ask, probe.ref, amount))
        except RemoteError as error:
            answers.append(error.type_name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, 1)
        call = await probe.expect(Counter.add, 1)
        assert call.asked
        probe.reply(10)
        with pytest.raises(RuntimeError, match="nobody waits for an answer"):
            probe.reply(11)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, 2)
        call = await probe.expect(Counter.add)
        probe.reply_error(LookupError("none"), to=call)
    probe.answer(Counter.add, lambda amount, twice: amount * 100)
    await ask(3)
    assert answers == [10, "RemoteError", 300]
    assert "asked add(1, False) (answered)" in probe.account()
    assert "asked add(2, False) (answered by LookupError('none'))" in probe.account()


async def test_an_ask_that_waits_holds_nobody_up(system: VirtualSystem) -> None:
    probe = await system.probe()
    teller = await system.spawn(Teller)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(teller.ask, Teller.mixed, probe.ref)
        await probe.expect(Counter.clear)
        told = await probe.expect(Counter.add)
        asked = await probe.expect(Counter.add)
        assert [told.args[0], asked.args[0], told.asked, asked.asked] == [1, 2, False, True]
        with pytest.raises(RuntimeError, match=r"nobody waits for an answer to add\(1,\)"):
            probe.reply(0, to=Call("add", (1,)))
        probe.reply(2)


async def test_an_asker_that_gives_up_is_in_the_account(system: VirtualSystem) -> None:
    probe = await system.probe()
    with trio.move_on_after(1):
        await probe.ref.ask(Counter.add, 4)
    await probe.expect(Counter.add)
    with pytest.raises(RuntimeError, match="nobody waits"):
        probe.reply(4)
    assert probe.account().endswith("asked add(4, False) (given up by its asker)")


async def test_a_stream_is_answered_with_its_items(system: VirtualSystem) -> None:
    probe = await system.probe(Counter)
    teller = await system.spawn(Teller)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def collect() -> None:
            assert await teller.ask(Teller.collect, probe.ref) == [1, 2, 3]

        await probe.expect(Counter.numbers, 3)
        probe.reply([1, 2, 3])


async def test_a_large_buffer_comes_as_bytes(system: VirtualSystem) -> None:
    probe = await system.probe()
    await probe.ref.tell(Blob.put, b"x" * 10_000)
    assert (await probe.expect(Blob.put)).args == (b"x" * 10_000,)


async def test_what_was_not_asked_for_stays_and_what_is_fished_over_does_not(
    system: VirtualSystem,
) -> None:
    probe = await system.probe()
    for amount in (1, 2, 3):
        await probe.ref.tell(Counter.add, amount)
    await probe.ref.tell(Counter.clear)
    await probe.expect(Counter.clear)
    await probe.fish(Counter.add, 2)
    assert (await probe.expect()).args == (3, False)  # type: ignore[union-attr]
    assert [line.split()[2] for line in probe.account().splitlines()] == [
        "skipped", "taken", "taken", "taken",
    ]  # fmt: skip


async def test_a_failed_expectation_tells_what_did_arrive_and_when(system: VirtualSystem) -> None:
    probe = await system.probe()
    await trio.sleep(1)
    await probe.ref.tell(Counter.add, 1)
    await trio.sleep(0.5)
    await probe.ref.tell(Counter.clear)
    await probe.expect(Counter.add)
    with pytest.raises(AssertionError) as failed:
        await probe.expect(Counter.add, 5, within_s=2)
    assert str(failed.value) == (
        f"{probe.ref} expected a call of Counter.add(5, False) within 2 s, but had\n"
        "       1.000 s  taken   told add(1, False)\n"
        "       1.500 s  unread  told clear()"
    )
    assert trio.current_time() == 3.5
    assert probe.account(only_unread=True) == "       1.500 s  told clear()"
    with pytest.raises(AssertionError, match="expected no message for 1 s, but had"):
        await probe.expect_none(for_s=1)
    assert trio.current_time() == 3.5


async def test_nothing_at_all_is_an_account_too(system: VirtualSystem) -> None:
    probe = await system.probe()
    with pytest.raises(AssertionError, match="a Down within 3 s, but had\n  nothing at all"):
        await probe.expect(Down)


async def test_an_expectation_of_what_cannot_come_is_an_error(system: VirtualSystem) -> None:
    probe = await system.probe()
    cases: list[tuple[Any, tuple[object, ...], dict[str, object], str]] = [
        (int, (), {}, "not <class 'int'>"),
        (Down, (), {"who": 1}, "Down has no field 'who'"),
        (Down, (1,), {}, "by their names"),
        (7, (), {}, "not 7"),
        (Counter.add, (1, 2, 3), {}, "too many positional"),
        (None, (1,), {}, "arguments belong to a handler"),
    ]
    expect: Any = probe.expect
    for what, args, fields, says in cases:
        with pytest.raises(TypeError, match=says):
            await expect(what, *args, **fields)
    counter: Any = await system.probe(Counter)
    calls: list[Any] = [counter.expect, counter.fish, counter.expect_none]
    for call in calls:
        with pytest.raises(TypeError, match=r"a class that has no Stranger\.hello$"):
            await call(Stranger.hello, **({"for_s": 1} if call == counter.expect_none else {}))
    with pytest.raises(TypeError, match=r"a class that has no Stranger\.hello$"):
        counter.answer(Stranger.hello, str)
    assert trio.current_time() == 0
    with pytest.raises(ValueError, match="within_s is a number of seconds, not -1"):
        await probe.expect(Down, within_s=-1)
    with pytest.raises(TypeError, match="give a class of actors"):
        await system.probe(int)  # type: ignore[type-var]
