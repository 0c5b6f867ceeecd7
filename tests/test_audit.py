"""`audit`: what all senders of a system know of their messages, added up and reconciled."""

from __future__ import annotations

import random
from contextlib import suppress
from signal import SIGKILL, SIGSTOP

import pytest
import trio
import trio.lowlevel

from actors import Actor, ActorError, ActorRef, Audit
from actors.testing.virtual import VirtualSystem


class Peer(Actor):
    """Talks to others as it is told to."""

    def __init__(self) -> None:
        self.noted = 0

    async def note(self, nap_s: float = 0.0, fail: bool = False) -> None:
        if nap_s:
            await trio.sleep(nap_s)
        if fail:
            raise ValueError("as told")
        self.noted += 1

    async def tells(self, other: ActorRef[Peer], count: int, nap_s: float = 0.0) -> None:
        for _ in range(count):
            with suppress(ActorError):
                other.tell_nowait(Peer.note, nap_s)

    async def asks(self, other: ActorRef[Peer], nap_s: float, fail: bool) -> None:
        with suppress(ActorError):
            await other.ask(Peer.note, nap_s, fail)


def terms(audit: Audit) -> dict[str, int]:
    """What is not zero."""
    names = ("sent", "handled", "failed", "expired", "rejected", "undelivered", "in_flight")
    return {name: getattr(audit, name) for name in names if getattr(audit, name)}


async def two(system: VirtualSystem) -> tuple[ActorRef[Peer], ActorRef[Peer]]:
    return await system.spawn(Peer, name="a"), await system.spawn(Peer, name="b")


async def test_nothing_was_sent_in_a_new_system(system: VirtualSystem) -> None:
    await two(system)
    audit = await system.audit()
    assert terms(audit) == {}
    assert audit.balances
    assert audit == await system.audit()  # what is asked of the controller is left out


async def test_every_sender_is_added_up(system: VirtualSystem) -> None:
    a, b = await two(system)
    await a.ask(Peer.tells, b, 3)
    with trio.move_on_after(1):
        await b.ask(Peer.note, 5.0)
    with suppress(ActorError):
        await b.ask(Peer.note, 0.0, True)
    began = trio.current_time()
    audit = await system.audit()
    assert terms(audit) == {"sent": 6, "handled": 4, "failed": 2}
    assert audit.balances
    assert trio.current_time() == began  # nobody waits for the next report


async def test_what_is_not_handled_yet_is_in_flight(system: VirtualSystem) -> None:
    a, b = await two(system)
    await a.ask(Peer.tells, b, 3, 10.0)
    audit = await system.audit()
    assert terms(audit) == {"sent": 4, "handled": 1, "in_flight": 3}
    assert audit.balances
    await trio.sleep(30.5)
    assert terms(await system.audit()) == {"sent": 4, "handled": 4}


async def test_a_receivers_death_leaves_messages_undelivered(system: VirtualSystem) -> None:
    a, b = await two(system)
    await a.ask(Peer.tells, b, 5, 10.0)
    system.kill(b)
    await trio.sleep(1)
    audit = await system.audit()
    assert terms(audit) == {"sent": 6, "handled": 1, "undelivered": 5}
    assert (audit.unreported, audit.silent) == (1, ())


async def test_the_totals_of_the_dead_stay_and_what_they_may_have_sent_is_said(
    system: VirtualSystem,
) -> None:
    a, b = await two(system)
    await a.ask(Peer.tells, b, 5)
    await trio.sleep(1)  # a beat tells of it
    system.kill(a)
    await trio.sleep(1)
    audit = await system.audit()
    assert terms(audit) == {"sent": 6, "handled": 6}
    assert audit.unreported == 1
    c = await system.spawn(Peer, name="c")
    await c.ask(Peer.tells, b, 7)
    system.kill(c)  # before it could tell of that
    await trio.sleep(1)
    audit = await system.audit()
    assert terms(audit) == {"sent": 7, "handled": 7}
    assert audit.unreported == 2
    assert audit.balances


async def test_a_planned_end_tells_the_last_totals(system: VirtualSystem) -> None:
    a, b = await two(system)
    await a.ask(Peer.tells, b, 5)
    await a.stop()
    audit = await system.audit()
    assert audit.sent == 6
    assert audit.balances
    assert audit.unreported == 0


async def test_the_totals_of_the_deep_climb(system: VirtualSystem) -> None:
    """From guardian to guardian, also past one that dies on the way."""
    above = await system.spawn(Peer, name="n0")
    chain = [above]
    for number in range(1, 5):
        chain.append(await system.spawn(Peer, name=f"n{number}", parent=chain[-1]))
    await chain[4].ask(Peer.tells, chain[0], 9)
    await trio.sleep(2)
    rows = system.exchange.books.rows
    assert rows[chain[4].incarnation][0] == 9
    system.kill(chain[2])
    await chain[4].ask(Peer.tells, chain[0], 1)
    await trio.sleep(2)
    assert rows[chain[4].incarnation][:2] == (10, 10)
    system.kill(chain[4])
    await trio.sleep(1)
    audit = await system.audit()
    assert terms(audit) == {"sent": 12, "handled": 12}
    assert audit.unreported == 2


async def test_one_that_does_not_answer_is_taken_by_its_last_report(system: VirtualSystem) -> None:
    a, b = await two(system)
    await a.ask(Peer.tells, b, 5)
    await trio.sleep(1)
    system.freeze(a)
    began = trio.current_time()
    audit = await system.audit()
    assert terms(audit) == {"sent": 6, "handled": 6}
    assert audit.silent == ("a",)
    assert trio.current_time() - began == 1.0
    await trio.sleep(5)
    began = trio.current_time()
    audit = await system.audit()
    assert audit.silent == ("a",)
    assert trio.current_time() == began
    system.thaw(a)
    await trio.sleep(1)
    assert (await system.audit()).silent == ()


async def test_an_actor_may_ask_for_it_too(system: VirtualSystem) -> None:
    class Auditor(Actor):
        async def audit(self) -> Audit:
            return await self.system.audit()

    auditor = await system.spawn(Auditor)
    audit = await auditor.ask(Auditor.audit)
    assert terms(audit) == {"sent": 1, "in_flight": 1}


async def test_a_message_that_got_lost_is_told_by_its_pair(system: VirtualSystem) -> None:
    a, b = await two(system)
    await a.ask(Peer.tells, b, 2)
    await trio.sleep(1)
    ends = {a.incarnation, b.incarnation}

    def fault(source: int, target: int, frames: object) -> tuple[float, ...]:
        return () if {source, target} == ends else (0.0,)

    system.network.fault, faithful = fault, system.network.fault
    await a.ask(Peer.tells, b, 3)
    await trio.lowlevel.checkpoint()
    system.network.fault = faithful
    audit = await system.audit()
    assert not audit.balances
    assert [str(each) for each in audit.unbalanced] == ["a -> b: sent 5, accounted 2"]
    assert terms(audit) == {"sent": 7, "handled": 4, "in_flight": 3}


@pytest.mark.regrow(seed=0, runs=8)
async def test_random_conversations_balance_at_every_quiet_instant(
    regrow_seed: int, system: VirtualSystem
) -> None:
    """Asks, tells, cancels, deadlines, floods, kills, freezes, stops and restarts."""
    rng = random.Random(regrow_seed)
    refs: list[ActorRef[Peer]] = []
    spawned = 0
    sent_before = 0

    async def spawn() -> None:
        nonlocal spawned
        spawned += 1
        parent = rng.choice(refs) if refs and rng.random() < 0.5 else None
        with suppress(ActorError, LookupError):
            refs.append(
                await system.spawn(
                    Peer,
                    name=f"p{spawned}",
                    parent=parent,
                    mailbox_messages=rng.choice((8, 500)),
                )
            )

    async def talk() -> None:
        one, other = rng.sample(refs, 2)
        with trio.CancelScope() as scope, suppress(ActorError):
            # Two that ask each other would wait for good.
            scope.deadline = trio.current_time() + rng.choice((rng.random(), 10.0))
            if rng.random() < 0.5:
                await one.ask(Peer.asks, other, rng.choice((0.0, rng.random())), rng.random() < 0.2)
            elif rng.random() < 0.7:
                await one.ask(Peer.tells, other, rng.randrange(40), rng.choice((0.0, 0.001)))
            else:
                await one.tell(Peer.note, rng.random())

    for _ in range(4):
        await spawn()
    for _ in range(12):
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(talk)
                await trio.sleep(rng.random() * 0.1)
            event = rng.randrange(6)
            victim = rng.choice(refs)
            if event == 0 and len(refs) > 2:
                refs.remove(victim)
                with suppress(LookupError):
                    system.signal(victim, SIGKILL)
            elif event == 1 and len(refs) > 2:
                refs.remove(victim)
                await victim.stop()
            elif event == 2:
                with suppress(LookupError):
                    system.signal(victim, SIGSTOP)
                    await trio.sleep(rng.random() * 3)
                    system.thaw(victim)
            elif event == 3:
                await spawn()
        audit = await system.audit()  # also while something is in flight
        assert audit.balances, audit
        assert audit.sent >= sent_before
        sent_before = audit.sent
        await trio.sleep(20)
        audit = await system.audit()
        assert audit.balances, audit
        assert not audit.in_flight, audit
        for row in await system.tree():
            if row.state == "dead" and any(ref.name == row.name for ref in refs):
                refs[:] = [ref for ref in refs if ref.name != row.name]
        while len(refs) < 3:
            await spawn()
