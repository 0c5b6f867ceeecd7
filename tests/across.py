"""A controller on one host of the laboratory, and the load that it puts on a node of another.

    python -m tests.across ADDRESS JOIN_FILE

prints ``listening PORT``; once ``far`` has joined ``up``; ``silent SECONDS`` and ``heard`` with
each verdict on it. At a line on stdin the load ends, and a line of JSON says what became of it.
"""

from __future__ import annotations

import json
import sys

import trio

from actors.ref import ActorRef
from actors.supervision.record import Happened
from actors.system import System, open_system
from runtime.errors import ActorDeadError, UnreachableError
from runtime.network.tcp_endpoint import parse_endpoint
from tests.cut_actors import Sink


def say(*words: object) -> None:
    print(*words, flush=True)


class Load:
    """What was sent, and what became of it."""

    def __init__(self, sink: ActorRef[Sink]) -> None:
        self.sink = sink
        self.accepted: list[int] = []
        self.answered: list[int] = []
        self.unreachable = 0

    async def ask(self) -> None:
        number = 0
        while True:
            number += 1
            try:
                self.answered.append(await self.sink.ask(Sink.ask, number))
            except UnreachableError:
                self.unreachable += 1
            await trio.sleep(0.005)

    async def tell(self) -> None:
        number = 0
        while True:
            number += 1
            try:
                with trio.CancelScope(shield=True):  # one that was sent is known to have been
                    await self.sink.tell(Sink.tell, number)
                    self.accepted.append(number)
            except UnreachableError:
                self.unreachable += 1
            await trio.sleep(0.005)


async def joined(system: System) -> ActorRef[Sink]:
    while True:
        try:
            return await system.lookup("far", Sink)
        except (LookupError, ActorDeadError):
            await trio.sleep(0.02)


def heard(happened: Happened) -> None:
    if happened.what == "silent":
        say("silent", trio.current_time() - happened.at)
    else:
        say(happened.what)


async def main(address: str, join_file: str) -> None:
    async with open_system(transport="tcp", listen=[address], join_file=join_file) as system:
        say("listening", parse_endpoint(system.exchange.address.endpoint).sites[0].port)
        load = Load(await joined(system))
        with system.listen(heard):
            say("up")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load.ask)
                nursery.start_soon(load.tell)
                await trio.lowlevel.wait_readable(0)
                nursery.cancel_scope.cancel()
            asked, told = await load.sink.ask(Sink.seen)
        await trio.sleep(0.5)
        audit = await system.audit()
        found = {
            "accepted": load.accepted,
            "answered": load.answered,
            "unreachable": load.unreachable,
            "asked": asked,
            "told": told,
            "balances": audit.balances,
            "undelivered": audit.undelivered,
            "states": [row.state for row in await system.tree()],
        }
        say(json.dumps(found))


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
