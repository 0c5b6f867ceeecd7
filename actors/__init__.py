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
those below it, `ExitReason`; for tests `actors.testing.plugin`, `actors.testing.probe`,
`actors.testing.tester`. Examples are in the README.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

import runtime

if os.path.dirname(os.path.dirname(os.path.abspath(runtime.__file__ or ""))) != os.path.dirname(
    os.path.dirname(os.path.abspath(__file__))
):
    raise ImportError(
        f"{runtime.__file__} stands in the way of regrow's own package 'runtime': rename it"
    )

if TYPE_CHECKING:
    from actors.actor import Actor, reentrant
    from actors.child_spec import ChildOptions, ChildSpec, child
    from actors.down import Down, Monitor, Recovered, Suspected
    from actors.ref import ActorRef
    from actors.supervisor import Supervisor
    from actors.system import System, open_system
    from runtime.cells.tracing import Trace
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
    from runtime.messages.accounts import Audit, DeadLetter

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

# Loaded at their first use: pytest imports `actors.testing.plugin` in every session on the machine,
# and 0.4 s of trio, zmq and msgspec are for those alone that use it.
_HOMES = {
    "actors.actor": ("Actor", "reentrant"),
    "actors.child_spec": ("ChildOptions", "ChildSpec", "child"),
    "actors.down": ("Down", "Monitor", "Recovered", "Suspected"),
    "actors.ref": ("ActorRef",),
    "actors.supervisor": ("Supervisor",),
    "actors.system": ("System", "open_system"),
    "runtime.messages.accounts": ("Audit", "DeadLetter"),
    "runtime.errors": (
        "ActorDeadError",
        "ActorError",
        "DeliveryError",
        "MailboxFullError",
        "RemoteError",
        "SpawnError",
        "StateError",
        "UnreachableError",
        "WireError",
    ),
    "runtime.exits": ("ExitReason",),
    "runtime.cells.tracing": ("Trace",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

if not TYPE_CHECKING:  # else every misspelled name would be an Any

    def __getattr__(name: str) -> Any:
        home = _HOME_OF.get(name)
        if home is None:
            raise AttributeError(f"module 'actors' has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(home), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
