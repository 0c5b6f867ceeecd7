"""The controller of one cell of the kill matrix, as a process of its own.

``python -m tests.matrix_host VICTIM EVENT MOMENT`` opens a system with the tree of
`tests.matrix_cells`, has somebody wait for each watched node in every way there is, and says on
stdout, one JSON object a line, how each of those waits ended and when (CLOCK_MONOTONIC):

    {"said": "ready", "pids": {NAME: PID}, "strays": {NAME: [PID, ...]}}
    {"said": "ended", "what": "ask leaf", "how": "ActorDeadError", "why": REASON, "at": SECONDS}
    {"said": "suspected", "what": "leaf", "why": "frozen", "at": SECONDS}

Its orders come on stdin, one a line: ``suffer`` and ``arm`` (the event, for each victim),
``stop``, ``kill``, ``spawn`` (something new), ``bomb`` (the class whose import does it), ``check``
(who answers), ``leave``. Each is answered with a line that says its name.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable

import trio

from actors.ref import ActorRef
from actors.system import System, open_system
from tests.matrix_actors import (
    Ended,
    Node,
    Slow,
    Witness,
    ending,
    keep_asking,
    keep_telling,
    take,
)
from tests.matrix_cells import TREE, Cell
from tests.matrix_import import Bomb

CHECK_S = 15.0


def say(said: str, **what: object) -> None:
    print(json.dumps({"said": said, **what, "now": time.monotonic()}), flush=True)


def tell_end(what: str, ended: Ended) -> None:
    how, why, at, queued = ended
    say("ended", what=what, how=how, why=why, at=at, queued=queued)


class Scene:
    """One cell, played."""

    def __init__(self, system: System, cell: Cell, nursery: trio.Nursery) -> None:
        self.system = system
        self.cell = cell
        self.nursery = nursery
        self.refs: dict[str, ActorRef[Node]] = {}
        self.witness: ActorRef[Witness]
        self.inner: ActorRef[Node]  # in the controller's own process

    async def plant(self) -> None:
        pids, strays = {}, {}
        for name, parent in TREE.items():
            under = self.refs[parent] if parent else None
            if name == "witness":
                self.witness = await self.system.spawn(Witness, name=name)
                self.refs[name] = self.witness
            else:
                self.refs[name] = await self.system.spawn(Node, name=name, parent=under)
            pids[name], strays[name] = await self.refs[name].ask(Node.start)
        self.inner = await self.system.spawn(Node, name="inner", local=True)
        # What the controller's process starts is its program's own: inner starts nothing.
        for name in self.cell.watched:
            self._wait_for(name)
        for name, ref in self.refs.items():
            if name != "witness":
                await self.witness.ask(Witness.watch, ref)
        if self.cell.victim == "controller":
            await self.witness.ask(Witness.watch, self.inner)
        self.nursery.start_soon(self._listen)
        if self.cell.moment == "load":
            self._load()
        if self.cell.moment == "spawning":
            self._spawn_some()
        await trio.sleep(0.1)  # all of them wait by now
        say("ready", pids=pids, strays=strays)

    # -- who waits

    def _start(self, what: str, waits: Awaitable[object]) -> None:
        async def wait() -> None:
            tell_end(what, await ending(waits))

        self.nursery.start_soon(wait)

    def _afar(self, what: str, answer: Awaitable[Ended]) -> None:
        async def wait() -> None:
            tell_end(what, await answer)

        self.nursery.start_soon(wait)

    def _wait_for(self, name: str) -> None:
        ref = self.refs[name]
        self._start(f"ask {name}", ref.ask(Node.wait_for_ever))
        self._afar(f"ask by witness {name}", self.witness.ask(Witness.ask_of, ref))
        self._start(f"stream {name}", take(ref))
        self._afar(f"stream by witness {name}", self.witness.ask(Witness.take_from, ref))
        self._start(f"wait {name}", ref.wait())

    async def _listen(self) -> None:
        """Pass on what the witness hears of those whom it monitors."""
        number = 0
        while True:
            what, name, ended = await self.witness.ask(Witness.hears, number)
            if what == "Down":
                tell_end(f"monitor {name}", ended)
            else:
                say(what.lower(), what=name, why=ended[1], at=ended[2])
            number += 1

    def _load(self) -> None:
        for name, ref in self.refs.items():
            self._start(f"asks {name}", keep_asking(ref))
            if name != "witness":
                self._start(f"tells {name}", keep_telling(ref))
                self._afar(f"asks by witness {name}", self.witness.ask(Witness.keep_asking, ref))

    def _spawn_some(self) -> None:
        for name in self.cell.watched:
            ref = self.refs[name]
            self._start(f"spawn by {name}", ref.ask(Node.grow, f"by-{name}"))
            under = self.system.spawn(Slow, name=f"under-{name}", parent=ref)
            self._start(f"spawn under {name}", under)

    # -- orders

    def _victims(self) -> list[ActorRef[Node]]:
        if self.cell.victim == "controller":
            return [self.inner]
        return [self.refs[name] for name in self.cell.hit]

    async def suffer(self) -> None:
        for ref in self._victims():
            await ref.tell(Node.suffer, self.cell.event)

    async def arm(self) -> None:
        for ref in self._victims():
            await ref.ask(Node.arm, self.cell.event)

    async def stop(self) -> None:
        for name in self.cell.hit:
            self._start(f"stop {name}", self.refs[name].stop())

    async def kill(self) -> None:
        for name in self.cell.hit:
            self._start(f"kill {name}", self.refs[name].kill())

    async def spawn(self) -> None:
        self._start("spawn", self._spawn())

    async def _spawn(self) -> None:
        ref = await self.system.spawn(Node, name=f"new-{time.monotonic_ns()}")
        await ref.ask(Node.start)

    async def bomb(self) -> None:
        self._start("bomb", self.system.spawn(Bomb))

    async def check(self) -> None:
        """Say who answers, and what the tree is thought to be."""
        answers = {}
        with trio.fail_after(CHECK_S):
            rows = await self.system.tree()
            for row in rows:
                ref = await self._answering(row.name)
                answers[row.name] = ref
        say("check", states={row.name: row.state for row in rows}, answers=answers)

    async def _answering(self, name: str) -> str:
        ref = self.refs.get(name)
        if ref is None:
            return "new"
        if ref is not self.witness:
            seen, *_ = await self.witness.ask(Witness.reaches, ref)
            if seen != "ok":
                return seen
        return (await ending(ref.ask(Node.add, 0)))[0]


async def main(cell: Cell) -> None:
    os.environ["MATRIX_ON_STOP_S"] = "0.2" if cell.stops else "0"
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    orders = trio.lowlevel.FdStream(os.dup(0))
    async with open_system() as system, trio.open_nursery() as nursery:
        scene = Scene(system, cell, nursery)
        await scene.plant()
        async for order in _lines(orders):
            if order == "leave":
                break
            do: Callable[[], Awaitable[None]] = getattr(scene, order)
            await do()
            if order != "check":
                say(order)
        say("leaving")
        nursery.cancel_scope.cancel()
    say("left")


async def _lines(stream: trio.lowlevel.FdStream):  # type: ignore[no-untyped-def]
    rest = b""
    async for data in stream:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line.decode()


if __name__ == "__main__":
    trio.run(main, Cell(*sys.argv[1:]))
