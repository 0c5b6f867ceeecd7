"""One actor under test: no network, no processes, no system.

    async with ActorTester(Counter, 3) as tester:
        assert await tester.ask(Counter.add, 4) == 7

        stub = await tester.probe(Ledger)  # a ref to give to it
        await tester.tell(Counter.report_to, stub.ref)
        await stub.expect(Ledger.enter, 7)

        assert tester.spawned == []
    assert str(tester.exit_reason) == "shutdown"

The actor lives in a cell as any other: its hooks run, arguments are encoded, what it raises ends
it. Whom it spawns is recorded and never starts: a probe stands in.

Invariants
----------
* `ActorTester.tell` returns when all that it set off stands still, so a test needs no sleeps.
* An exception of the block leaves it as itself; of ``on_start``, it leaves the entry.
* After the block none of its tasks is left, and the actor has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, TypeVarTuple, cast

import trio
from trio.testing import wait_all_tasks_blocked

from actors import requests
from actors.actor import Actor
from actors.ref import ActorRef, ref_to
from actors.testing.probe import EXPECT_S, Probe
from actors.testing.recording import Recording
from actors.testing.stub_controller import Spawned, StubController, Watched
from runtime.address import CONTROLLER, CONTROLLER_INCARNATION, Address, check_name
from runtime.cells import asks, context, tells
from runtime.cells.call import Call, current
from runtime.cells.cell import Cell
from runtime.cells.local_cells import LocalCells
from runtime.errors import SpawnError
from runtime.exits import ExitReason
from runtime.hosts.memory_host import Classes
from runtime.messages.behaviour import Behaviour, handlers_of
from runtime.messages.constructor import construct
from runtime.messages.signature import signature_of
from runtime.traffic.exchange import Exchange
from runtime.virtual_clock import VirtualClock
from runtime.wires.memory import MemoryNetwork

Ts = TypeVarTuple("Ts")
A = TypeVar("A", bound=Actor)
B = TypeVar("B", bound=Actor)
P = ParamSpec("P")
R = TypeVar("R")
SYSTEM = "tester"
END_S = 5.0

__all__ = ["ActorTester", "Spawned", "Watched"]


class ActorTester(Generic[A]):
    """See the module. ``name``: the actor's."""

    def __init__(self, actor: Callable[[*Ts], A], /, *args: *Ts, name: str = "actor") -> None:
        self._behaviour, self._args = requests.prepare(actor, args)
        self._name = check_name(name)
        self.exit_reason: ExitReason | None = None
        """How it ended; None while it lives."""
        self.expect_s = EXPECT_S
        self._recorded: list[Probe[Any]] = []

    # -- the block

    async def __aenter__(self) -> Self:
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        try:
            await self._open()
        except BaseException:
            await self._close()
            raise
        return self

    async def _open(self) -> None:
        self._since = trio.current_time()
        self._incarnation = CONTROLLER_INCARNATION
        self._up = trio.Event()
        self._ended = trio.Event()
        self._failure: BaseException | None = None
        transport = MemoryNetwork(self._nursery).join(CONTROLLER_INCARNATION)
        here = Address(SYSTEM, CONTROLLER, CONTROLLER_INCARNATION, transport.endpoint)
        self._exchange = exchange = Exchange(here, transport, boot_id=SYSTEM, simple=True)
        exchange.clock = VirtualClock()
        classes = Classes()
        exchange.by_reference = classes.keep
        LocalCells(exchange)
        await self._nursery.start(exchange.run)
        self._controller = StubController(exchange, classes.find, self._probe)
        await self._run(self._controller, here)
        self._speaker = Cell(exchange, self._next("test"), {})
        self._had_root = context.root.get()
        if self._had_root is None:
            context.root.set(self._speaker)
        actor = self._behaviour.__new__(self._behaviour)
        self.actor = cast("A", actor)
        """The actor itself, to look at its state."""
        address = self._next(self._name)
        self.ref: ActorRef[A] = ref_to(address)
        self._controller.names[self._name] = address
        self._cell = Cell(exchange, address, handlers_of(self._behaviour))
        self._cell.parent = here
        self._nursery.start_soon(self._live, actor)
        await self._up.wait()
        if self._failure is not None:
            raise self._failure

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with trio.move_on_after(END_S, shield=True):
            if self.exit_reason is None:
                self._cell.stop(force=raised is not None)
                await self._ended.wait()
        await self._close()

    async def _close(self) -> None:
        if hasattr(self, "_had_root") and self._had_root is None:
            context.root.set(None)
        self._nursery.cancel_scope.shield = True
        self._nursery.cancel_scope.cancel()
        await self._manager.__aexit__(None, None, None)

    async def _live(self, actor: Behaviour) -> None:
        cell = self._cell
        current.set(Call(cell, None, None))
        try:
            construct(actor, self._args)
            self.exit_reason = await cell.run(actor, self._up.set)
        except (Exception, SystemExit) as failure:  # it did not start
            self._failure = failure
        else:
            self._controller.end(cell.address, self.exit_reason)
        self._up.set()
        self._ended.set()

    def _next(self, name: str) -> Address:
        self._incarnation += 1
        return Address(SYSTEM, name, self._incarnation, self._exchange.address.endpoint)

    async def _run(self, actor: Behaviour, address: Address) -> None:
        """A cell that lives as long as the block."""
        cell = Cell(self._exchange, address, handlers_of(type(actor)))
        up = trio.Event()

        async def live() -> None:
            current.set(Call(cell, None, None))
            await cell.run(actor, up.set)

        self._nursery.start_soon(live)
        await up.wait()

    # -- calls

    async def ask(
        self,
        handler: Callable[Concatenate[A, P], Coroutine[Any, Any, R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """The handler ran, and this is its result; errors are those of `ActorRef.ask`."""
        signature = signature_of(handler)
        bound = signature.bind(args, kwargs)
        result: R = await asks.ask(self._speaker, self.ref, signature, bound)
        return result

    async def tell(
        self,
        handler: Callable[Concatenate[A, P], Coroutine[Any, Any, object]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """The handler ran, as far as it goes before something else must happen."""
        signature = signature_of(handler)
        bound = signature.bind(args, kwargs)
        await tells.tell(self._speaker, self.ref, signature, bound)
        await wait_all_tasks_blocked()

    async def ended(self) -> ExitReason:
        """It has ended by itself: its exit reason."""
        await self._ended.wait()
        assert self.exit_reason is not None
        return self.exit_reason

    # -- stubs

    async def probe(self, actor: type[B] | None = None, *, name: str = "") -> Probe[B]:
        """A stub to give to the actor; by ``name`` it can also look it up. See
        `actors.testing.probe`.

        Raises:
            SpawnError: the name is taken.
        """
        return await self._probe(actor, name or f"probe-{len(self._recorded) + 1}")

    async def _probe(self, actor: type[Behaviour] | None, name: str) -> Probe[Any]:
        if check_name(name) in self._controller.names:
            raise SpawnError(f"the name {name} is taken")
        recording = Recording()
        behaviour = recording.class_of(actor)
        address = self._controller.names[name] = self._next(name)
        await self._run(behaviour(), address)
        probe = Probe(ref_to(address), recording, self._since, self.expect_s)
        self._recorded.append(probe)
        return probe

    async def end(self, who: ActorRef[Any], reason: ExitReason | None = None) -> None:
        """``who`` is dead, as far as the actor can know: its monitors bring `Down`.

        ``reason``: killed, if nothing else is said.
        """
        self._controller.end(who, reason or ExitReason(kind="killed", signal=9))
        await wait_all_tasks_blocked()

    async def suspect(self, who: ActorRef[Any], kind: str, evidence: str = "") -> None:
        """``who`` is "frozen", "busy" or "cut off", or "ok" again, as far as it can know."""
        self._controller.suspect(who, kind, evidence)
        await wait_all_tasks_blocked()

    # -- what it has done

    @property
    def spawned(self) -> list[Spawned]:
        """Its children, in order; each has a ``probe``."""
        return self._controller.spawned

    def refuse_spawns(self, why: str) -> None:
        """What it spawns from now on is a `SpawnError`; "": no more."""
        self._controller.refuse_spawn = why

    @property
    def monitored(self) -> list[Watched]:
        """Whom it has monitored, in order."""
        return self._controller.monitored

    @property
    def linked(self) -> list[ActorRef[Any]]:
        """To whom it has linked itself, in order."""
        return self._controller.linked

    @property
    def stopped(self) -> list[ActorRef[Any]]:
        """Whom it has stopped, in order."""
        return self._controller.stopped

    @property
    def killed(self) -> list[ActorRef[Any]]:
        """Whom it has killed, in order."""
        return self._controller.killed
