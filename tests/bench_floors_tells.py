"""The floor of tells: pyzmq alone, one message after the other. Run as a script.

    bench_floors_tells.py receive ENDPOINT KIND COUNT TEXT
    bench_floors_tells.py send ENDPOINT KIND COUNT TEXT

KIND ``encoded``: each message is the envelope and the payload that we would send, encoded for
it, in two frames; the receiver decodes both and calls the method. KIND ``raw``: two frames of the
same sizes, encoded once; the receiver counts them.

``send`` sends COUNT messages for every line of stdin, and prints the messages per second, from
the first send to the receiver's word that it has handled them all. No trio, no batches: sends
and receives block.

Invariants
----------
* Everybody ends with its stdin, so with the benchmark, or after 30 s in which nothing comes.
"""

import sys
import time
from collections.abc import Callable

import msgspec
import zmq

Socket = zmq.Socket[bytes]
PATIENCE_MS = 30_000


class Tell(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2):
    """The envelope, as ours is."""

    pair: int
    handler: str
    size: int
    buffers: tuple[int, ...] = ()


class Sink:
    """The actor."""

    def __init__(self) -> None:
        self.noted = 0

    def note(self, number: int, text: str) -> None:
        self.noted += 1


def open_socket(context: "zmq.Context[Socket]", kind: int) -> Socket:
    socket = context.socket(kind)
    socket.set(zmq.RCVTIMEO, PATIENCE_MS)
    socket.set(zmq.SNDTIMEO, PATIENCE_MS)
    return socket


def receive(context: "zmq.Context[Socket]", endpoint: str, kind: str, count: str, _: str) -> None:
    socket = open_socket(context, zmq.ROUTER)
    socket.bind(endpoint)
    print("ready", flush=True)
    sink = Sink()
    take = decode_all if kind == "encoded" else count_all
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(0, zmq.POLLIN)
    while 0 not in dict(poller.poll()):
        sink.noted = 0
        sender = take(socket, sink, int(count))
        assert sink.noted == int(count)
        socket.send_multipart([sender, b"handled"])


def decode_all(socket: Socket, sink: Sink, count: int) -> bytes:
    envelopes = msgspec.msgpack.Decoder(list[Tell])
    arguments = msgspec.msgpack.Decoder(tuple[int, str])
    methods = {"note": sink.note}
    for _ in range(count):
        sender, head, payload = socket.recv_multipart()
        for envelope in envelopes.decode(head):
            methods[envelope.handler](*arguments.decode(payload))
    return sender


def count_all(socket: Socket, sink: Sink, count: int) -> bytes:
    for _ in range(count):
        sender, _head, _payload = socket.recv_multipart()
        sink.noted += 1
    return sender


def send(context: "zmq.Context[Socket]", endpoint: str, kind: str, count: str, text: str) -> None:
    socket = open_socket(context, zmq.DEALER)
    socket.connect(endpoint)
    offer = encode_all if kind == "encoded" else repeat
    while sys.stdin.readline():
        began = time.perf_counter()
        offer(socket, text, int(count))
        assert socket.recv_multipart() == [b"handled"]
        print(int(count) / (time.perf_counter() - began), flush=True)


def encode_all(socket: Socket, text: str, count: int) -> None:
    encode = msgspec.msgpack.Encoder().encode
    for number in range(count):
        payload = encode((number, text))
        socket.send_multipart([encode([Tell(1, "note", len(payload))]), payload])


def repeat(socket: Socket, text: str, count: int) -> None:
    encode = msgspec.msgpack.Encoder().encode
    payload = encode((count, text))
    frames = [encode([Tell(1, "note", len(payload))]), payload]
    for _ in range(count):
        socket.send_multipart(frames)


ROLES: dict[str, Callable[..., None]] = {"receive": receive, "send": send}


if __name__ == "__main__":
    with zmq.Context() as _context:
        ROLES[sys.argv[1]](_context, *sys.argv[2:])
        # What was sent last has left before the sockets are closed.
        _context.destroy(linger=1000)
