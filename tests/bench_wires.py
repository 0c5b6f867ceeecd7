"""Rows: asks and tells between two nodes over each wire, in one table.

The figure is tcp with keys, the floor ours over ipc: what is judged is the price of the network
and of encryption; then mptcp with keys, the floor tcp with keys: the price of the
pump at the dialling end. Each wire has a system in a process of its own, and they take turns, so
that all see the same moods of the machine.

    python -m tests.bench_wires WIRE    a figure for each line of stdin: "ask SECONDS", "tell COUNT"
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import trio

from actors.system import open_system
from tests.bench_actors import Caller, Echo
from tests.bench_calls import Measure, take_turns
from tests.bench_process import open_child
from tests.bench_row import Limit, Note, Round, Row, at_least, at_most

WIRES: dict[str, dict[str, Any]] = {
    "ipc": {},
    "tcp": {"transport": "tcp", "insecure": True},
    "tcp+CURVE": {"transport": "tcp"},
    "mptcp+CURVE": {"transport": "mptcp"},
}


@asynccontextmanager
async def open_wires(order: str, *wires: str) -> AsyncIterator[Sequence[Measure]]:
    """A function for each of these `WIRES` that lets its nodes measure once."""
    async with AsyncExitStack() as children:
        measures = []
        for wire in wires:
            command = (sys.executable, "-m", "tests.bench_wires", wire)
            child = await children.enter_async_context(open_child(*command))
            await child.line()

            async def measure(child: Any = child) -> float:
                await child.send(f"{order}\n".encode())
                return float(await child.line())

            measures.append(measure)
        yield measures


class WireAsk(Row):
    """A handler asks another node's handler in a loop."""

    name = "ask over tcp+CURVE, p50"
    floor_name = "the same over ipc"
    unit = "us"
    must = at_most(4)
    aim = at_most(2)

    async def round(self) -> Round:
        async with open_wires(f"ask {self.turn_s}", "ipc", "tcp", "tcp+CURVE") as measures:
            ipc, tcp, curve = await take_turns(self.turns, *measures)
        return Round(curve, ipc, {"over tcp without keys": Note(tcp, "us")})


class WireTells(Row):
    """A handler tells another node's handler, and asks at the end whether all was handled."""

    name = "tells over tcp+CURVE, until handled"
    floor_name = "the same over ipc"
    unit = "/s"
    must = at_least(0.4)
    aim = at_least(0.7)

    async def round(self) -> Round:
        order = f"tell {10_000 if self.quick else 30_000}"
        async with open_wires(order, "ipc", "tcp", "tcp+CURVE") as measures:
            ipc, tcp, curve = await take_turns(self.turns, *measures)
        return Round(curve, ipc, {"over tcp without keys": Note(tcp, "/s")})


class PumpAsk(Row):
    """As `WireAsk`, with a pump where it is sent."""

    name = "ask over mptcp+CURVE, p50"
    floor_name = "the same over tcp+CURVE"
    unit = "us"
    must = Limit("<=", 1.0, offset=150.0)
    aim = at_most(1.5)

    async def round(self) -> Round:
        order = f"ask {self.turn_s}"
        async with open_wires(order, "tcp+CURVE", "mptcp+CURVE") as measures:
            tcp, mptcp = await take_turns(self.turns, *measures)
        return Round(mptcp, tcp)


class PumpTells(Row):
    """As `WireTells`, with a pump where it is sent."""

    name = "tells over mptcp+CURVE, until handled"
    floor_name = "the same over tcp+CURVE"
    unit = "/s"
    must = at_least(0.6)
    aim = at_least(0.8)

    async def round(self) -> Round:
        order = f"tell {10_000 if self.quick else 30_000}"
        async with open_wires(order, "tcp+CURVE", "mptcp+CURVE") as measures:
            tcp, mptcp = await take_turns(self.turns, *measures)
        return Round(mptcp, tcp)


async def serve(wire: str) -> None:
    async with open_system(signals=False, **WIRES[wire]) as system:
        caller, echo = await system.spawn(Caller), await system.spawn(Echo)
        print("ready", flush=True)
        while True:
            await trio.lowlevel.wait_readable(0)
            what, _, number = sys.stdin.readline().partition(" ")
            if what == "ask":
                figure = await caller.ask(Caller.round_trip_us, echo, float(number))
            elif what == "tell":
                figure = await caller.ask(Caller.tells_per_s, echo, int(number))
            else:
                return
            print(figure, flush=True)


ROWS: list[type[Row]] = [WireAsk, WireTells, PumpAsk, PumpTells]

if __name__ == "__main__":
    trio.run(serve, sys.argv[1])
