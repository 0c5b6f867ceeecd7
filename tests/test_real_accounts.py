"""Accounts, dead letters and traces of real processes."""

import os
import re
import signal
from contextlib import suppress

import pytest
import trio

from actors import Actor, ActorError, ActorRef, System
from tests.real import open_console

pytestmark = [pytest.mark.real, pytest.mark.regrow(on="real")]

COUNTER = "tests.shell_actors:Counter"


class Clerk(Actor):
    async def read(self, nap_s: float = 0.0) -> None:
        if nap_s:
            await trio.sleep(nap_s)

    async def write(self, other: "ActorRef[Clerk]", count: int, nap_s: float = 0.0) -> None:
        for _ in range(count):
            await other.tell(Clerk.read, nap_s)

    async def pid(self) -> int:
        return os.getpid()


async def test_accounts_of_processes_are_added_up_while_they_run(system: System) -> None:
    clerks = [await system.spawn(Clerk, name=f"c{number}") for number in range(3)]
    async with trio.open_nursery() as nursery:

        async def write(one: ActorRef[Clerk], other: ActorRef[Clerk]) -> None:
            for _ in range(5):
                await one.ask(Clerk.write, other, 400)

        for one in clerks:
            nursery.start_soon(write, one, clerks[0])
        for _ in range(10):
            await trio.sleep(0.01)
            assert (await system.audit()).balances
    audit = await system.audit()
    assert audit.balances
    assert (audit.sent, audit.handled) == (6015, 6015)
    pid = await clerks[0].ask(Clerk.pid)
    async with system.watch_dead_letters() as letters:
        await clerks[1].ask(Clerk.write, clerks[0], 5, 60.0)
        os.kill(pid, signal.SIGKILL)
        letter = await anext(letters)
    assert (letter.source, letter.target, letter.count) == ("c1", "c0", 5)
    assert [each.count for each in await system.dead_letters()] == [5]
    audit = await system.audit()
    assert audit.balances
    assert (audit.undelivered, audit.in_flight, audit.unreported) == (5, 0, 1)


async def test_the_stations_of_a_trace_are_in_order(system: System) -> None:
    clerk = await system.spawn(Clerk)
    trace = await system.trace(clerk, Clerk.read, 0.01)
    assert [each.station for each in trace.stations] == [
        "encoded", "credit", "sent", "received", "queued", "started", "suspended",
        "ended", "answered",
    ]  # fmt: skip
    times = [each.at_s for each in trace.stations]
    assert times == sorted(times)
    assert times[-2] - times[-3] >= 0.0099
    with suppress(ActorError):
        await clerk.kill()


async def test_the_shell_audits_and_traces() -> None:
    async with open_console() as console:
        await console.create(1)
        await console.create(2, 1)
        zero = "sent 0 handled 0 failed 0 expired 0 rejected 0 undelivered 0 in-flight 0"
        assert await console.ask("audit") == zero
        assert await console.ask_all("ping 1", "exec 1 jump", "ping 2", "audit") == [
            "Ok: 1", "Error:1: Unknown command", "Ok: 1", zero,
        ]  # fmt: skip
        assert await console.ask_all("exec 1 start", "exec 2 time", "audit") == [
            "Ok:1", "Ok:2: 0",
            "sent 2 handled 2 failed 0 expired 0 rejected 0 undelivered 0 in-flight 0",
        ]  # fmt: skip
        lines = [await console.ask("trace 1 time")]
        while lines[-1]:
            lines.append(await console.line())
        assert [re.sub(r" \d+\.\d{3}$", "", line) for line in lines] == [
            "encoded", "credit", "sent", "received", "queued", "started", "ended", "answered", "",
        ]  # fmt: skip
        assert await console.ask_all("kill 2", "audit", "ping 2") == [
            "Ok",
            "sent 3 handled 3 failed 0 expired 0 rejected 0 undelivered 0 in-flight 0 unreported 1",
            "Ok: 0",
        ]
