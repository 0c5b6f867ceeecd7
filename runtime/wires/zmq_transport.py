"""The wire between processes: ZeroMQ, and all that must be known about it.

One inbound ROUTER, never sent on, and one outgoing DEALER a peer: replies come through
the peer's own DEALER, so that no send of ours eats the edge that the ROUTER's reader
waits for.

Invariants
----------
* ZMQ's FD is edge-triggered: a read of EVENTS or a recv consumes the edge. So `receive`
  says None only after it has seen POLLIN clear, and only then may `wait` be awaited.
  That contract lives in this module alone.
* ZMQ's own limits are off; memory is bounded by the credits of `runtime.traffic.credit`.
* A socket that somebody has closed behind our back is told by `wait`. `receive` has nothing then:
  handlers call it too, and it is not their failure.
* IMMEDIATE is 1: nothing is queued for a peer that is not connected, so that no message
  waits for another life of an endpoint. What ZMQ refuses with EAGAIN is kept here, in
  order, by one task a peer that ends when the backlog is gone or the peer is.
* The identity on the wire is the sender's incarnation: no two processes share one.
* `ZmqTransport` is the wire of one host, over ipc; `runtime.wires.zmq_tcp` makes a network's of it
  by how it binds, how it dials, and what it does to frames.
* What is sent is copied once into libzmq, but a whole frame that came from it goes on as it is.
  What is received is never copied here: a large frame is a read-only view of libzmq's memory.

Why not ``send(copy=False)``: pyzmq starts a thread for it, and a context of its own with two more,
and there are no threads of ours. Nor is it faster. 8 MiB echoed over ipc, the best median of eight
runs in ms: sent without a copy, received with one, 3.9; both copied, 4.8; sent with a copy,
received without, 3.8; the same, but the echo hands on the frame it has got, 3.0; through two
nodes' handlers that take and give a memoryview, 3.5, and bytes, 5.7.

Source: zmq_getsockopt(3), ZMQ_FD; zmq_setsockopt(3), ZMQ_IMMEDIATE, ZMQ_ROUTER_HANDOVER.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import trio
import zmq

from runtime.messages.codec import MAX_MESSAGE_BYTES, Buffer
from runtime.wires.transport import Message

# Plain numbers: an operator on one of zmq's enums takes 1.7 us.
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)
_POLLOUT = int(zmq.POLLOUT)
_NOW = int(zmq.NOBLOCK)
_NOW_AND_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)
_send = zmq.backend.Socket.send  # without what the subclass has for sockets that are not ours
RECONNECT_MS = 1
FAREWELL_MS = 200
MAX_PATH_BYTES = 107


class ZmqTransport:
    """One process's sockets. Its backlog tasks live in ``nursery``.

    ``max_sockets``: ZMQ's limit if None. Each possible socket costs 12 bytes at once: 0.75 MiB
    for the limit, which a controller can spare and a node cannot.
    """

    same_host = True
    max_frame_bytes = MAX_MESSAGE_BYTES
    redial_s = math.inf

    def __init__(
        self,
        endpoint: str,
        incarnation: int,
        nursery: trio.Nursery,
        max_sockets: int | None = None,
    ) -> None:
        self._check(endpoint)
        self.endpoint = endpoint
        self._nursery = nursery
        self._identity = b"R" + incarnation.to_bytes(8, "big")
        self._fd = -1
        self._closed = False
        self._failure: zmq.ZMQError | None = None
        self._peers: dict[str, zmq.Socket[bytes]] = {}
        self._backlogs: dict[str, deque[Sequence[Buffer]]] = {}
        self._context: zmq.Context[Any] = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, max_sockets or self._context.get(zmq.SOCKET_LIMIT))
        self._router = self._socket(zmq.ROUTER)
        self._router.set(zmq.ROUTER_HANDOVER, 1)
        try:
            self._bind(self._router)
        except BaseException:
            self.close()
            raise
        self._fd = _int(self._router.get(zmq.FD))
        self._get: Callable[[int], int] = self._router.get  # type: ignore[assignment]
        self._recv = self._router.recv

    def _check(self, endpoint: str) -> None:
        """Raise `ValueError` if nobody can ever listen there."""
        path = endpoint.removeprefix("ipc://")
        if path != endpoint and len(path.encode()) > MAX_PATH_BYTES:
            raise ValueError(f"{path} is longer than the {MAX_PATH_BYTES} bytes of a socket's path")

    def _bind(self, router: "zmq.Socket[bytes]") -> None:
        router.bind(self.endpoint)

    def _dial(self, socket: "zmq.Socket[bytes]", endpoint: str) -> None:
        """Raises `ValueError` or `zmq.ZMQError` if no connection can ever lead there."""
        socket.connect(endpoint)

    def _socket(self, kind: int) -> "zmq.Socket[bytes]":
        socket: zmq.Socket[bytes] = self._context.socket(kind)
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.SNDHWM, 0)
        socket.set(zmq.RCVHWM, 0)
        socket.set(zmq.MAXMSGSIZE, self.max_frame_bytes)
        return socket

    def connect(self, endpoint: str) -> None:
        if endpoint not in self._peers:
            self._peers[endpoint] = self._dialled(endpoint)

    def _dialled(self, endpoint: str) -> "zmq.Socket[bytes]":
        socket = self._socket(zmq.DEALER)
        socket.set(zmq.IMMEDIATE, 1)
        socket.set(zmq.ROUTING_ID, self._identity)
        socket.set(zmq.RECONNECT_IVL, RECONNECT_MS)
        socket.set(zmq.RECONNECT_IVL_MAX, 100)
        try:
            self._dial(socket, endpoint)
        except (ValueError, zmq.ZMQError) as cause:
            socket.close()
            raise ValueError(f"cannot connect to {endpoint!r}: {cause}") from cause
        return socket

    def disconnect(self, endpoint: str) -> None:
        socket = self._peers.pop(endpoint, None)
        if socket is None:
            return
        if self._backlogs.pop(endpoint, None) is not None:
            trio.lowlevel.notify_closing(_int(socket.get(zmq.FD)))
        socket.close()

    def send(self, endpoint: str, frames: Sequence[Buffer]) -> bool:
        socket = self._peers[endpoint]
        if endpoint in self._backlogs:
            self._backlogs[endpoint].append(frames)
        elif _offer(socket, frames):
            return True
        else:
            self._backlogs[endpoint] = deque([frames])
            self._nursery.start_soon(self._work_off, endpoint, socket)
        return False

    def holds(self, endpoint: str) -> bool:
        return endpoint in self._backlogs

    async def _work_off(self, endpoint: str, socket: "zmq.Socket[bytes]") -> None:
        """Send what was kept, as soon as the wire takes it, unless the peer is given up first."""
        if socket.closed:
            return
        backlog = self._backlogs[endpoint]
        try:
            while backlog and not socket.closed:
                if not _int(socket.get(_EVENTS)) & _POLLOUT:
                    with trio.move_on_after(self.redial_s) as patience:
                        await trio.lowlevel.wait_readable(_int(socket.get(zmq.FD)))
                    if patience.cancelled_caught and not socket.closed:
                        # No connection, so nothing is in there that could be lost.
                        socket.close()
                        socket = self._peers[endpoint] = self._dialled(endpoint)
                elif _offer(socket, backlog[0]):
                    backlog.popleft()
        except trio.ClosedResourceError:
            pass  # disconnected: what is left is the senders' undelivered
        finally:
            if self._backlogs.get(endpoint) is backlog:
                del self._backlogs[endpoint]

    def receive(self) -> Message | None:
        recv = self._recv
        try:
            if not self._get(_EVENTS) & _POLLIN:
                return None
            identity = recv(_NOW)
            frame = recv(_NOW, copy=False)  # there is always one
            frames: list[Buffer] = [frame.bytes]
            while frame.more:
                frame = recv(_NOW, copy=False)
                frames.append(frame.buffer.toreadonly())
        except zmq.Again:
            return None
        except zmq.ZMQError as failure:
            self._failure = failure
            self.interrupt()  # the kernel tells nobody of a descriptor that was closed
            return None
        if len(identity) == 9 and identity[:1] == b"R":
            return int.from_bytes(identity[1:], "big"), frames
        return 0, frames

    async def wait(self) -> None:
        if self._failure is not None:
            raise trio.BrokenResourceError(f"{self.endpoint}: {self._failure}") from self._failure
        try:
            await trio.lowlevel.wait_readable(self._fd)
        except trio.ClosedResourceError:
            if self._closed:
                raise

    def interrupt(self) -> None:
        trio.lowlevel.notify_closing(self._fd)

    def close(self, farewell: str = "") -> None:
        """Close every socket and the context.

        Nothing lingers, but what ``farewell`` was last sent has `FAREWELL_MS` to leave.
        """
        if self._closed:
            return
        self._closed = True
        last = self._peers.pop(farewell, None)
        if last is not None:
            last.set(zmq.LINGER, FAREWELL_MS)
            if self._backlogs.pop(farewell, None) is not None:
                trio.lowlevel.notify_closing(_int(last.get(zmq.FD)))
            last.close()
        for endpoint in list(self._peers):
            self.disconnect(endpoint)
        if self._fd >= 0:
            trio.lowlevel.notify_closing(self._fd)
        self._router.close()
        self._context.term()


def _int(option: int | bytes) -> int:
    assert isinstance(option, int)
    return option


def _offer(socket: "zmq.Socket[bytes]", frames: Sequence[Buffer]) -> bool:
    """Send the frames as one message, or nothing of them."""
    last = len(frames) - 1
    try:
        if not last:
            _send(socket, frames[0], _NOW)
            return True
        for number, frame in enumerate(frames):
            flags = _NOW if number == last else _NOW_AND_MORE
            owner: object = frame.obj if type(frame) is memoryview else None
            if isinstance(owner, zmq.Frame) and len(owner) == len(frame):
                socket.send(owner, flags, copy=False)  # libzmq counts who holds it
            else:
                _send(socket, frame, flags)
    except zmq.Again:
        return False
    return True
