"""Real tcp connections that break under load: nothing is lost, doubled or out of order."""

from __future__ import annotations

import logging
import random

import pytest
import trio

from actors.actor import Actor
from actors.down import Down
from actors.ref import ActorRef
from actors.system import open_system
from tests.cut_actors import Sink
from tests.cutting import cut_all
from tests.real import ANSWER_S

pytestmark = pytest.mark.real

ASKS = 2500
TELLS = 2500
STREAMED = 3000


class Source(Actor):
    """Asks and tells a sink, and cuts its own connections meanwhile."""

    def __init__(self) -> None:
        self.downs: list[str] = []

    async def on_down(self, down: Down) -> None:
        self.downs.append(str(down))

    async def work(self, sink: ActorRef[Sink], seed: int) -> tuple[list[int], int]:
        """What was answered, and how many connections were cut."""
        self.monitor(sink)
        chance = random.Random(seed)
        answers: list[int] = []
        cut = 0

        async def asking() -> None:
            answers.extend([await sink.ask(Sink.ask, number) for number in range(ASKS)])

        async def telling() -> None:
            for number in range(TELLS):
                await sink.tell(Sink.tell, number)
                if number % 50 == 0:
                    await trio.sleep(chance.random() * 0.05)

        async def cutting() -> None:
            nonlocal cut
            while True:
                await trio.sleep(chance.random() * 0.3)
                cut += cut_all()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cutting)
            async with trio.open_nursery() as working:
                working.start_soon(asking)
                working.start_soon(telling)
            nursery.cancel_scope.cancel()
        await sink.ask(Sink.seen)
        return answers, cut

    async def heard(self) -> list[str]:
        return self.downs


@pytest.mark.parametrize("insecure", [False, True], ids=["keys", "no keys"])
async def test_nothing_is_lost_when_connections_break_under_load(
    insecure: bool, home: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with trio.fail_after(10 * ANSWER_S):
        async with open_system(transport="tcp", insecure=insecure) as system:
            sink = await system.spawn(Sink, name="sink", restart="permanent")
            source = await system.spawn(Source, name="source", restart="permanent")
            near: list[int] = []

            async def from_here() -> None:
                chance = random.Random(7)
                for number in range(ASKS, 2 * ASKS):
                    near.append(await sink.ask(Sink.ask, number))
                    if number % 400 == 0:
                        await trio.sleep(chance.random() * 0.1)
                        assert cut_all() >= 2

            async with trio.open_nursery() as nursery:
                nursery.start_soon(from_here)
                answers, cut = await source.ask(Source.work, sink, 1)
            assert cut >= 10
            assert answers == list(range(ASKS))
            assert near == list(range(ASKS, 2 * ASKS))
            asked, told = await sink.ask(Sink.seen)
            assert told == list(range(TELLS))
            assert [number for number in asked if number < ASKS] == answers
            assert [number for number in asked if number >= ASKS] == near
            assert await source.ask(Source.heard) == []
            await trio.sleep(0.5)  # the totals climb with the beats
            audit = await system.audit()
            assert audit.balances
            assert audit.undelivered == 0
            rows = await system.tree()
            assert {row.name: row.state for row in rows} == {"sink": "ok", "source": "ok"}
            assert [row.incarnation for row in rows] == [2, 3]
    assert caplog.text == ""
