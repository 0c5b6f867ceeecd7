"""The floors on trio and pyzmq: what a user would have without us. Run as a script.

    bench_floors.py serve ENDPOINT                  echo until stdin ends
    bench_floors.py ask ENDPOINT BYTES SECONDS      the median round trip in us
    bench_floors.py tasks ENDPOINT BYTES SECONDS N  echoes per second, N tasks
    bench_floors.py pipeline ENDPOINT BYTES SECONDS N  the same, one loop, N outstanding
    bench_floors.py idle ENDPOINT                   open a ROUTER, and idle until stdin ends

Those that measure do it once for every line of stdin, and print the figure. This file
imports trio and zmq and nothing else that is large: the memory of ``idle`` is a floor, too.

Invariants
----------
* ZMQ's FD is edge-triggered: EVENTS is read again before every wait for it.
* Everybody ends with its stdin, so with the benchmark.
"""

import sys
import time
from collections.abc import Awaitable, Callable

import trio
import zmq

Socket = zmq.Socket[bytes]
WARM_S = 0.05


class Wire:
    """A socket that trio can wait for."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._fd = int(socket.get(zmq.FD))
        self.send = socket.send_multipart

    async def receive(self) -> list[bytes]:
        while not int(self._socket.get(zmq.EVENTS)) & zmq.POLLIN:
            await trio.lowlevel.wait_readable(self._fd)
        return self._socket.recv_multipart(zmq.NOBLOCK)


async def serve(context: "zmq.Context[Socket]", endpoint: str) -> None:
    socket = context.socket(zmq.ROUTER)
    socket.bind(endpoint)
    wire = Wire(socket)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_echo, wire)
        await _until_stdin_ends()
        nursery.cancel_scope.cancel()


async def _echo(wire: Wire) -> None:
    while True:
        wire.send(await wire.receive(), zmq.NOBLOCK)


async def idle(context: "zmq.Context[Socket]", endpoint: str) -> None:
    context.socket(zmq.ROUTER).bind(endpoint)
    await _until_stdin_ends()


async def _until_stdin_ends() -> None:
    print("ready", flush=True)
    await trio.lowlevel.wait_readable(0)


def dial(context: "zmq.Context[Socket]", endpoint: str) -> Wire:
    socket = context.socket(zmq.DEALER)
    socket.connect(endpoint)
    return Wire(socket)


async def ask(wires: list[Wire], payload: bytes, seconds: float) -> float:
    """One echo after the other; the median round trip in us."""
    (wire,) = wires
    trips: list[float] = []
    for duration in (WARM_S, seconds):
        trips.clear()
        until = time.perf_counter() + duration
        while (began := time.perf_counter()) < until:
            wire.send([payload], zmq.NOBLOCK)
            await wire.receive()
            trips.append(time.perf_counter() - began)
    return sorted(trips)[len(trips) // 2] * 1e6


async def tasks(wires: list[Wire], payload: bytes, seconds: float) -> float:
    """As a trio user writes it: so many tasks, each awaits its own echo on its own socket."""
    count, until = 0, 0.0

    async def echo(wire: Wire) -> None:
        nonlocal count
        while time.perf_counter() < until:
            wire.send([payload], zmq.NOBLOCK)
            await wire.receive()
            count += 1

    for duration in (WARM_S, seconds):
        count = 0
        began = time.perf_counter()
        until = began + duration
        async with trio.open_nursery() as nursery:
            for wire in wires:
                nursery.start_soon(echo, wire)
    return count / (time.perf_counter() - began)


async def pipeline(wires: list[Wire], payload: bytes, seconds: float, number: int) -> float:
    """One socket and one loop that keeps so many echoes outstanding, for nobody who waits."""
    (wire,) = wires
    for duration in (WARM_S, seconds):
        count = 0
        began = time.perf_counter()
        until = began + duration
        for _ in range(number):
            wire.send([payload], zmq.NOBLOCK)
        while time.perf_counter() < until:
            await wire.receive()
            wire.send([payload], zmq.NOBLOCK)
            count += 1
        for _ in range(number):
            await wire.receive()
    return count / (time.perf_counter() - began)


async def measure(
    context: "zmq.Context[Socket]",
    endpoint: str,
    role: str,
    size: str,
    seconds: str,
    number: str = "1",
) -> None:
    """Once for every line of stdin. Nothing else runs here, so reading it may block."""
    payload, duration, tasks_ = b"x" * int(size), float(seconds), int(number)
    wires = [dial(context, endpoint) for _ in range(tasks_ if role == "tasks" else 1)]
    while sys.stdin.readline():
        if role == "ask":
            figure = await ask(wires, payload, duration)
        elif role == "tasks":
            figure = await tasks(wires, payload, duration)
        else:
            figure = await pipeline(wires, payload, duration, tasks_)
        print(figure, flush=True)


SERVERS: dict[str, Callable[["zmq.Context[Socket]", str], Awaitable[None]]] = {
    "serve": serve,
    "idle": idle,
}


async def main(*arguments: str) -> None:
    role, endpoint, *numbers = arguments
    with zmq.Context() as context:
        context.set(zmq.BLOCKY, 0)
        if role in SERVERS:
            await SERVERS[role](context, endpoint)
        else:
            await measure(context, endpoint, role, *numbers)
        context.destroy(linger=0)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
