"""The floor of large payloads: pyzmq alone, DEALER and ROUTER, one echo at a time. As a script.

    bench_floors_payload.py serve ENDPOINT BYTES SECONDS
    bench_floors_payload.py ask ENDPOINT BYTES SECONDS

Both use ``send(copy=False)`` and ``recv(copy=True)``. ``ask`` measures for every line of stdin and
prints the echoes per second, from the median. No trio; sends and receives block.

Invariants
----------
* Everybody ends with its stdin, so with the benchmark, or after 30 s in which nothing comes.
"""

import sys
import time

import zmq

Socket = zmq.Socket[bytes]
PATIENCE_MS = 30_000


def open_socket(context: "zmq.Context[Socket]", kind: int) -> Socket:
    socket = context.socket(kind)
    socket.set(zmq.RCVTIMEO, PATIENCE_MS)
    socket.set(zmq.SNDTIMEO, PATIENCE_MS)
    return socket


def serve(context: "zmq.Context[Socket]", endpoint: str) -> None:
    socket = open_socket(context, zmq.ROUTER)
    socket.bind(endpoint)
    print("ready", flush=True)
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(sys.stdin.fileno(), zmq.POLLIN)
    while True:
        ready = dict(poller.poll())
        if socket not in ready:
            return
        identity, payload = socket.recv(), socket.recv()
        socket.send(identity, zmq.SNDMORE)
        socket.send(payload, copy=False)


def ask(context: "zmq.Context[Socket]", endpoint: str, size: int, seconds: float) -> None:
    socket = open_socket(context, zmq.DEALER)
    socket.connect(endpoint)
    payload = b"x" * size
    while sys.stdin.readline():
        trips: list[float] = []
        until = time.perf_counter() + seconds
        while (began := time.perf_counter()) < until:
            socket.send(payload, copy=False)
            if len(socket.recv()) != size:
                raise ValueError("that is no echo")
            trips.append(time.perf_counter() - began)
        print(1 / sorted(trips)[len(trips) // 2], flush=True)


def main(role: str, endpoint: str, size: str, seconds: str) -> None:
    with zmq.Context() as context:
        context.set(zmq.BLOCKY, 0)
        if role == "serve":
            serve(context, endpoint)
        else:
            ask(context, endpoint, int(size), float(seconds))
        context.destroy(linger=0)


if __name__ == "__main__":
    main(*sys.argv[1:])
