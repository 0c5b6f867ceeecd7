"""Opening the shell's tree: an empty one of numbers, or a user's own, of names.

Invariants
----------
* The root of a user's tree is a child of the controller, named by its class in lower case. It is
  up when the block begins.
* A root that was resumed is not started again; one that was not in the file is.
* Nodes that join a tree of numbers have numbers.
* It is transient unless ``--restart`` says otherwise: it lives again after what it did not mean,
  and when it has finished it is finished.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from actors.ref import ref_to
from actors.supervision.places import State
from actors.supervision.supervision import lives_again
from actors.system import System, open_system
from runtime.address import check_name
from runtime.errors import SpawnError
from runtime.exits import ExitReason
from runtime.messages.behaviour import Restart
from shell.classes import find_class
from shell.forest import Forest, supervision
from shell.naming import by_name, by_number, number_joiner
from shell.options import Options

LOOK_S: Final = 0.05
UNDECIDED_S: Final = 10.0
"""How long a dead root may be merely dead, before nobody is taken to restart it."""


@asynccontextmanager
async def open_forest(options: Options) -> AsyncIterator[Forest]:
    """A tree of nodes, stopped at the end of the block.

    Raises:
        SpawnError: the root did not come up.
        StateError: the state file cannot be used.
    """
    output = _keep_quiet if options.quiet_nodes else None
    # The shell's own process hears the signals, and ends the block.
    async with open_system(
        signals=False,
        output=output,
        state=options.state,
        resume=options.resume,
        transport=options.transport,
        listen=options.listen,
        keys=options.keys,
        insecure=options.insecure,
        join_file=options.join_file,
        path_manager=options.path_manager,
        tos=options.tos,
        name_joiner=None if options.root else number_joiner,
        **supervision(options),
    ) as system:
        if options.transport == "mptcp":
            await system.path_manager()
        if not options.root:
            yield Forest(system, options, by_number)
            return
        forest = Forest(system, options, by_name)
        if not _came_back(system, root_name(options)):
            await forest.start(
                root_name(options),
                find_class(options.root),
                options.arguments,
                restart_of(options),
            )
        yield forest


def _came_back(system: System, name: str) -> bool:
    """Whether the root is up already, for its tree was resumed.

    Raises:
        SpawnError: it should be, and is not.
    """
    record = system.nodes.records.get(name)
    if record is None:
        return False
    if record.gone.is_set() or not record.started:
        raise SpawnError(f"{name} did not come back: {record.failure or record.known_reason}")
    return True


def root_name(options: Options) -> str:
    """What the root is called.

    Raises:
        SpawnError: its class's name in lower case is no name for an actor.
    """
    name = options.root.rpartition(":")[2].rpartition(".")[2].lower()
    try:
        return check_name(name)
    except ValueError as error:
        raise SpawnError(str(error)) from error


def restart_of(options: Options) -> Restart:
    return options.restart or "transient"


async def root_end(system: System, options: Options) -> ExitReason:
    """The root has ended for good: this is how its last incarnation did."""
    name, nodes = root_name(options), system.nodes
    reason = ExitReason(kind="unknown")
    while (record := nodes.records.get(name)) is not None:
        reason = await ref_to(record.address).wait()
        if not lives_again(restart_of(options), reason):
            break
        if not await _comes_back(system, name, record.incarnation):
            break
    return reason


async def _comes_back(system: System, name: str, incarnation: int) -> bool:
    """Its next incarnation is there, or nobody will bring it."""
    places = system.nodes.places
    undecided_until = trio.current_time() + UNDECIDED_S
    while (state := places.state(name)) not in (None, State.GIVEN_UP):
        if places.place(name).incarnation != incarnation:
            return True
        if state is State.RESTARTING:
            undecided_until = trio.current_time() + UNDECIDED_S
        elif trio.current_time() > undecided_until:
            return False
        await trio.sleep(LOOK_S)  # nobody is told that it is given up
    return False


def _keep_quiet(name: str, line: str) -> None:
    """Nobody wants to read it."""
