"""The shell's tree, on the actor system.

Shell ids are names, -1 is the controller. A node under another one is started by that one:
it is asked to, like any actor would be.

Invariants
----------
* Nothing that could grow stale is kept here: what is known is asked of the controller at the
  moment it is wanted.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import trio

from actors import heartbeat
from actors.node import ComputeNode
from actors.record import Happened, Record
from actors.ref import ActorRef, ref_to
from actors.system import System, open_system
from runtime.address import CONTROLLER
from runtime.errors import SpawnError, WireError
from shell.commands import CONTROLLER as ROOT
from shell.options import Options
from shell.tree import NodeState, Place, UnknownVerb

VERBS: Final = {
    "start": ComputeNode.start,
    "stop": ComputeNode.stop,
    "time": ComputeNode.time,
}
_CHANGES: Final[dict[str, Callable[[int, float], heartbeat.Change]]] = {
    "started": heartbeat.Created,
    "silent": heartbeat.Silenced,
    "heard": heartbeat.Heard,
    "died": heartbeat.Died,
    "removed": heartbeat.Forgotten,
}


class Forest:
    """A `shell.tree.Tree`."""

    def __init__(self, system: System, start_s: float) -> None:
        self.controller_pid = os.getpid()
        self._system = system
        self._nodes = system.nodes
        self._start_s = start_s
        self._refs: dict[int, tuple[Record, ActorRef[ComputeNode]]] = {}

    def state(self, id: int) -> NodeState | None:
        if id == ROOT:
            return NodeState.OK
        return self._nodes.places.state(str(id))

    def places(self) -> list[Place]:
        return [self.place(int(name)) for name in self._nodes.places.names() if _is_id(name)]

    def place(self, id: int) -> Place:
        name = str(id)
        if name not in self._nodes.places:
            raise KeyError(id)
        row = self._nodes.roll.row(name)
        return Place(id, _id(row.parent), row.pid, NodeState(row.state), _id(row.guardian))

    def endpoint(self, id: int) -> str:
        return self._nodes.roll.row(str(id)).endpoint

    async def create(self, id: int, parent: int) -> int:
        name = str(id)
        try:
            with trio.move_on_after(self._start_s):
                under = None if parent == ROOT else self._ref(parent)
                await self._system.spawn(
                    ComputeNode, name=name, start_s=self._start_s, parent=under
                )
                return self._nodes.roll.row(name).pid
        except BaseException:
            await self._leave_nothing(name)
            raise
        await self._leave_nothing(name)
        raise SpawnError(f"node {id} did not start within {self._start_s:g} s")

    async def _leave_nothing(self, name: str) -> None:
        """Its parent may have died with the news that it is up."""
        with trio.CancelScope(shield=True):
            record = self._nodes.records.get(name)
            if record is not None:
                await ref_to(record.address).kill()
                await ref_to(record.address).stop()

    async def execute(self, id: int, verb: str, arguments: Sequence[str]) -> object:
        handler = VERBS.get(verb)
        if handler is None:
            raise UnknownVerb(verb)
        if arguments:
            raise WireError(f"{verb} takes no arguments, but was given {arguments[0]!r}")
        return await self._ref(id).ask(handler)

    async def ping(self, id: int) -> bool:
        return await self._ref(id).ask(ComputeNode.ping)

    async def remove(self, id: int) -> bool:
        await self._ref(id).stop()
        self._refs.pop(id, None)
        return True

    async def kill(self, id: int) -> None:
        await self._ref(id).kill()

    async def beat(self, period_s: float) -> None:
        self._nodes.guardians.pace(period_s)

    @contextmanager
    def listen(self, heard: Callable[[heartbeat.Change], None]) -> Iterator[None]:
        def translate(happened: Happened) -> None:
            if _is_id(happened.name):
                heard(_CHANGES[happened.what](int(happened.name), happened.at))

        with self._system.listen(translate):
            yield

    def _ref(self, id: int) -> ActorRef[ComputeNode]:
        record = self._nodes.records[str(id)]
        known = self._refs.get(id)
        if known is None or known[0] is not record:
            known = self._refs[id] = record, ref_to(record.address)
        return known[1]


def _is_id(name: str) -> bool:
    return name.isdigit()


def _id(name: str) -> int:
    return ROOT if name == CONTROLLER else int(name)


@asynccontextmanager
async def open_forest(options: Options) -> AsyncIterator[Forest]:
    """A tree of compute nodes, stopped at the end of the block."""
    output = _keep_quiet if options.quiet_nodes else None
    # The shell's own process hears the signals, and ends the block.
    async with open_system(signals=False, output=output) as system:
        yield Forest(system, options.start_deadline_s)


def _keep_quiet(name: str, line: str) -> None:
    """Nobody wants to read it."""
