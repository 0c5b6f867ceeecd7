"""A traced ask tells its stations, at their exact times, and means what an ask means."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from actors import Actor, ActorDeadError, RemoteError, Trace, WireError, reentrant
from actors.testing.virtual import VirtualSystem
from runtime.cells.tracing import fitted
from runtime.weather.weather import Weather


class Worker(Actor):
    def __init__(self) -> None:
        self.done = 0

    async def work(self, nap_s: float, result: str = "") -> str:
        if nap_s:
            await trio.sleep(nap_s)
        self.done += 1
        return result

    async def fail(self) -> None:
        raise ValueError("no")

    @reentrant
    async def look(self) -> int:
        await trio.sleep(1)
        return self.done

    async def items(self) -> AsyncIterator[int]:
        yield 1

    async def host(self) -> list[tuple[str, float]]:
        child = await self.spawn(Worker, local=True)
        return passed(await self.system.trace(child, Worker.work, 2.0, "x"))


def passed(trace: Trace) -> list[tuple[str, float]]:
    return [(each.station, round(each.at_s, 4)) for each in trace.stations]


SLOW = Weather(latency_s=0.25)


HERE = ["encoded", "credit", "sent"]


@pytest.mark.regrow(weather=SLOW)
async def test_every_station_has_its_time(system: VirtualSystem) -> None:
    worker = await system.spawn(Worker)
    await worker.tell(Worker.work, 3.0)
    trace = await system.trace(worker, Worker.work, 2.0, "done")
    assert (trace.result, trace.error) == ("done", None)
    assert passed(trace) == [
        ("encoded", 0.0), ("credit", 0.0), ("sent", 0.0), ("received", 0.25),
        ("queued", 0.25), ("started", 3.25), ("suspended", 3.25), ("ended", 5.25),
        ("answered", 5.5),
    ]  # fmt: skip


async def test_one_that_does_not_suspend_has_no_such_station(system: VirtualSystem) -> None:
    worker = await system.spawn(Worker)
    for _ in range(3):
        trace = await system.trace(worker, Worker.work, 0.0)
        assert [name for name, _ in passed(trace)] == [
            *HERE, "received", "queued", "started", "ended", "answered",
        ]  # fmt: skip
    body = system.host.bodies[worker.incarnation]
    cell = body.exchange.cells[worker.incarnation]
    assert len(cell.handlers) <= 6  # nothing is left of those that are over
    assert await worker.ask(Worker.work, 0.0, "y") == "y"


async def test_it_waits_for_credit_like_others(system: VirtualSystem) -> None:
    worker = await system.spawn(Worker, mailbox_messages=2)
    await worker.tell(Worker.work, 1.0)
    trace = await system.trace(worker, Worker.work, 0.0)
    times = dict(passed(trace))
    assert times["encoded"] == 0.0
    assert times["answered"] >= 1.0


async def test_what_failed_ends_with_why(system: VirtualSystem) -> None:
    worker = await system.spawn(Worker)
    trace = await system.trace(worker, Worker.fail)
    assert [name for name, _ in passed(trace)] == [
        *HERE, "received", "queued", "started", "ended", "failed",
    ]  # fmt: skip
    assert isinstance(trace.error, RemoteError)
    assert str(trace.error) == "ValueError: no"
    trace = await system.trace(worker, Worker.work, "misfit")  # type: ignore[arg-type]
    assert [name for name, _ in passed(trace)] == [*HERE, "received", "queued", "failed"]
    assert isinstance(trace.error, WireError)


async def test_a_reentrant_handler_is_started_beside_others(system: VirtualSystem) -> None:
    worker = await system.spawn(Worker)
    await worker.tell(Worker.work, 30.0)
    await trio.sleep(1)
    trace = await system.trace(worker, Worker.look)
    assert passed(trace)[3:] == [
        ("received", 0.0), ("queued", 0.0), ("started", 0.0), ("suspended", 0.0),
        ("ended", 1.0), ("answered", 1.0),
    ]  # fmt: skip
    assert trace.result == 0


async def test_in_the_same_process_it_is_the_same(system: VirtualSystem) -> None:
    worker = await system.spawn(Worker)
    assert (await worker.ask(Worker.host))[2:] == [
        ("sent", 0.0), ("received", 0.0), ("queued", 0.0), ("started", 0.0),
        ("suspended", 0.0), ("ended", 2.0), ("answered", 2.0),
    ]  # fmt: skip


async def test_a_death_on_the_way_shows_how_far_it_came(system: VirtualSystem) -> None:
    worker = await system.spawn(Worker)

    async def murder() -> None:
        await trio.sleep(1)
        system.kill(worker)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(murder)
        trace = await system.trace(worker, Worker.work, 5.0)
    assert passed(trace)[-2:] == [("suspended", 0.0), ("failed", 1.0)]
    assert isinstance(trace.error, ActorDeadError)
    with pytest.raises(ActorDeadError):
        await system.trace(worker, Worker.work, 5.0)


async def test_cancelling_it_cancels_the_handler_and_it_is_counted(system: VirtualSystem) -> None:
    worker = await system.spawn(Worker)
    with trio.move_on_after(1) as scope:
        await system.trace(worker, Worker.work, 5.0)
    assert scope.cancelled_caught
    assert await worker.ask(Worker.work, 0.0, "free") == "free"
    assert trio.current_time() - scope.deadline < 0.1
    audit = await system.audit()
    assert (audit.sent, audit.handled, audit.failed) == (2, 1, 1)
    assert system.exchange.stations.told == {}


async def test_a_stream_is_refused(system: VirtualSystem) -> None:
    worker = await system.spawn(Worker)
    with pytest.raises(TypeError, match="is a stream"):
        await system.trace(worker, Worker.items)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("received_at", "shares_clock", "sent_at", "told"),
    [
        (5.0, True, 4.0, [5.0, 6.0]),
        (3.5, True, 3.5, [3.5, 4.5]),  # read before the call that sent it had returned
        (1.0, True, 3.0, [1.0, 2.0]),  # no earlier than it might leave
        (1.0, False, 4.0, [4.0, 5.0]),
        (9.0, False, 4.0, [4.0, 5.0]),
    ],
)
def test_nothing_is_received_before_it_was_sent(
    received_at: float, shares_clock: bool, sent_at: float, told: list[float]
) -> None:
    own = [("encoded", 2.0), ("credit", 3.0), ("sent", 4.0)]
    theirs = [("received", received_at), ("queued", received_at + 1)]
    theirs = fitted(own, theirs, shares_clock)
    assert own == [("encoded", 2.0), ("credit", 3.0), ("sent", sent_at)]
    assert theirs == list(zip(("received", "queued"), told, strict=True))


def test_one_that_was_never_received_was_sent_when_it_says() -> None:
    own = [("credit", 3.0), ("sent", 4.0)]
    assert fitted(own, [], True) == []
    assert own == [("credit", 3.0), ("sent", 4.0)]
