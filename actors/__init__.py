"""Actors: the public API, and the programs for the machine.

import trio
from actors import Actor, open_system

class Counter(Actor):
    def __init__(self, start: int = 0) -> None:
        self.value = start

    async def add(self, amount: int) -> int:
        self.value += amount
        return self.value

async def main() -> None:
    async with open_system() as system:
        counter = await system.spawn(Counter, 3, name="counter")  # its own process
        with trio.fail_after(2):
            print(await counter.ask(Counter.add, 4))

if __name__ == "__main__":
    trio.run(main)

Where to read on: `open_system`, `System` (spawn, lookup, tree), `Actor` (what a class may have, and
what it can do), `ActorRef` (ask, tell, stream, stop, kill, restart, wait, following),
`actors.child_spec.ChildOptions` (the keywords of spawn and `child`), `Supervisor`, `ActorError` and
those below it, `ExitReason`. Four examples are in the README.
"""

import os

import runtime

if os.path.dirname(os.path.dirname(os.path.abspath(runtime.__file__ or ""))) != os.path.dirname(
    os.path.dirname(os.path.abspath(__file__))
):
    raise ImportError(
        f"{runtime.__file__} stands in the way of regrow's own package 'runtime': rename it"
    )

from actors.actor import Actor, reentrant
from actors.child_spec import ChildOptions, ChildSpec, child
from actors.down import Down, Monitor, Recovered, Suspected
from actors.ref import ActorRef
from actors.supervisor import Supervisor
from actors.system import System, open_system
from runtime.accounts import Audit, DeadLetter
from runtime.errors import (
    ActorDeadError,
    ActorError,
    DeliveryError,
    MailboxFullError,
    RemoteError,
    SpawnError,
    StateError,
    UnreachableError,
    WireError,
)
from runtime.exits import ExitReason
from runtime.tracing import Trace

__all__ = [
    "Actor",
    "ActorDeadError",
    "ActorError",
    "ActorRef",
    "Audit",
    "ChildOptions",
    "ChildSpec",
    "DeadLetter",
    "DeliveryError",
    "Down",
    "ExitReason",
    "MailboxFullError",
    "Monitor",
    "Recovered",
    "RemoteError",
    "SpawnError",
    "StateError",
    "Supervisor",
    "Suspected",
    "System",
    "Trace",
    "UnreachableError",
    "WireError",
    "child",
    "open_system",
    "reentrant",
]
