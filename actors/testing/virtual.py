"""A system without processes: the real controller and real nodes, in this trio run.

    async def test_a_dead_middle_node_cuts_nobody_off(autojump_clock: Clock) -> None:
        async with open_virtual_system() as system:
            middle = await system.spawn(Relay)
            ...
            system.kill(middle)

Time is whatever the run's clock says. With a virtual one, hours pass in seconds, every silence is
judged at its exact instant, and a seed replays a run.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from random import Random
from signal import SIGCONT, SIGKILL, SIGSTOP
from types import TracebackType

import trio

from actors.archive.state_file import ClaimState, StatePath, claiming
from actors.child_spec import check
from actors.control.controller import Controller
from actors.opening import OpenHost, Opening
from actors.supervision.record import Happened
from actors.system import System
from runtime.address import Address
from runtime.cells.cell import Cell
from runtime.hosts.host import Host
from runtime.hosts.memory_body import MemoryBody
from runtime.hosts.memory_host import MemoryHost, open_memory_host
from runtime.messages.behaviour import Strategy
from runtime.scheduling import seeded_scheduling
from runtime.weather.event_log import EventLog
from runtime.weather.weather import Weather
from runtime.wires.memory import FaultFunction, MemoryNetwork, faithful


class VirtualSystem(System):
    """A system whose nodes are tasks, and what can befall them. See `runtime.hosts.memory_host`."""

    def __init__(self, controller: Controller, cell: Cell, host: Host) -> None:
        super().__init__(controller, cell, host)
        assert isinstance(host, MemoryHost)
        self.host: MemoryHost = host
        self.network: MemoryNetwork = host.network
        if self.network.log is not None:
            self.nodes.listeners.append(self._write)

    def _write(self, it: Happened) -> None:
        if self.network.log is not None:
            now = trio.current_time()
            self.network.log.add(now, f"{it.name}.{it.incarnation} {it.what}")

    def kill(self, who: Address) -> None:
        """Its node is gone, here and now, as by ``kill -9``."""
        self._body(who).signal(SIGKILL)

    def exit(self, who: Address, code: int) -> None:
        """Its node is gone, here and now, as by ``os._exit(code)``."""
        self._body(who).vanish((code & 0xFF) << 8)

    def freeze(self, who: Address) -> None:
        """Its node neither hears nor is heard any more, as by SIGSTOP."""
        self._body(who).signal(SIGSTOP)

    def thaw(self, who: Address) -> None:
        """Its node goes on where it was, and so do the messages from and to it."""
        self._body(who).signal(SIGCONT)

    def hang(self, who: Address) -> None:
        """Its loop stands still from now on, as by a handler that does not yield."""
        self._body(who).hang()

    def yield_again(self, who: Address) -> None:
        """Its loop turns again."""
        self._body(who).yield_again()

    def freeze_controller(self) -> None:
        """The controller's process stands still: it neither hears, nor beats, nor judges."""
        self.host.hold()
        self.nodes.guardians.guard.stand_still()

    def thaw_controller(self) -> None:
        """It goes on, and so do the messages from and to it."""
        self.host.release()
        self.nodes.guardians.guard.go_on()

    def part(self, *far: Address) -> None:
        """These nodes are on a host that nobody else can reach, or look into, until `heal`.

        Of one another they know as before. Nothing is lost, as TCP has it.
        """
        self.network.part(self._body(who).incarnation for who in far)

    def heal(self) -> None:
        """All can reach one another again."""
        self.network.heal()

    def signal(self, who: Address, number: int) -> None:
        """Its node gets this signal."""
        self._body(who).signal(number)

    def _body(self, who: Address) -> MemoryBody:
        record = self.nodes.roll.known(who)
        body = self.host.bodies.get(record.incarnation) if record is not None else None
        if body is None:
            raise LookupError(f"{who} is no living node of this system")
        return body


class _VirtualOpening(Opening[VirtualSystem]):
    """The same, with trio's own dice loaded meanwhile."""

    def __init__(
        self,
        seed: int,
        open_host: OpenHost,
        strategy: Strategy,
        intensity: tuple[int, float],
        claim: ClaimState,
    ) -> None:
        super().__init__(
            open_host,
            VirtualSystem,
            False,
            strategy,
            intensity,
            Random(seed).random,
            claim,
        )
        self._seed = seed
        self._held = ExitStack()

    async def __aenter__(self) -> VirtualSystem:
        with ExitStack() as held:
            held.enter_context(seeded_scheduling(self._seed))
            system = await super().__aenter__()
            self._held = held.pop_all()
        return system

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        with self._held:
            return await super().__aexit__(kind, raised, trace)


def open_virtual_system(
    *,
    seed: int = 0,
    weather: Weather | None = None,
    log: int = 0,
    fault: FaultFunction = faithful,
    reliable: bool | None = None,
    output: Callable[[str, str], None] = lambda name, line: None,
    strategy: Strategy = "one_for_one",
    intensity: tuple[int, float] = (5, 10.0),
    state: StatePath | None = None,
    resume: bool = False,
) -> Opening[VirtualSystem]:
    """``async with open_virtual_system() as system:`` runs one for the length of the block.

    Args:
        seed: decides in which order tasks run that could run at the same instant, and how long
            the pauses between restarts are.
        weather: what befalls messages, see `runtime.weather.weather`; ``system.network`` changes
            it.
        log: how many lines ``system.network.log`` keeps of what happened, see
            `runtime.weather.event_log`; 0 for none.
        fault: a function in place of weather; see `runtime.wires.memory`.
        reliable: whether what befalls messages is made good, as on a real network link (see
            `runtime.wires.reliable`); if None, where the ``weather`` drops, doubles or reorders.
        output: called with (name, line) for what nodes print: the tracebacks of crashes.
        strategy, intensity, state, resume: see `open_system`. The file is a real one, and this
            process waits for the disk.

    Raises:
        ValueError: as `open_system` does.
        TypeError: the weather is none.
    """
    check({"strategy": strategy, "intensity": intensity})
    if not isinstance(weather, Weather | None):
        raise TypeError(f"weather is a Weather, or None, not {weather!r}")
    written = EventLog(log) if log else None
    open_host = partial(open_memory_host, fault, output, weather, written, reliable)
    return _VirtualOpening(seed, open_host, strategy, intensity, claiming(state, resume))
