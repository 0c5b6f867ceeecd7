"""The wire between processes without a thread: Unix stream sockets. For `lockstep`.

One inbox a process, an epoll descriptor over a listening socket and all that have connected to it;
one outgoing connection a peer.

Invariants
----------
* When `send` has handed a message over it lies in the receiver's queue, and its inbox is
  readable: nothing is ever on its way that neither end can see.
* What the kernel does not take is kept here, in order, by one task a peer that ends when the
  backlog is gone or the peer is. It waits for room; for a peer that has yet to listen it tries
  again when somebody new is heard of, and after 1 to 100 ms by trio's clock.
* A sender's second connection is read after the end of its first.
* A peer that has hung up is gone: what is sent to it vanishes.
* A connection that does not say who it is, or whose sizes are absurd, is closed.

bytes: b"regrow" and the sender's incarnation (8 bytes), once; then for each message
[when it was sent: 8][number of frames: 4][length of each: 4][the frames], big-endian.

Source: unix(7).
"""

from __future__ import annotations

import os
import select
import socket
import struct
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Final

import trio

from runtime.messages.codec import MAX_FRAMES, MAX_MESSAGE_BYTES, Buffer
from runtime.processes.run_folder import MAX_IPC_PATH_BYTES
from runtime.wires.transport import Message

SCHEME: Final = "unix://"
_GREETING: Final = struct.Struct(">6sQ")
_MAGIC: Final = b"regrow"
_HEAD: Final = struct.Struct(">dI")
_LENGTH_BYTES: Final = 4
_READ_BYTES: Final = 256 * 1024
_MOST_FRAMES: Final = MAX_FRAMES + 16
_BACKLOG: Final = 4096
FAREWELL_MS: Final = 200
_RETRY_S: Final = (0.001, 0.1)


class SocketTransport:
    """One process's sockets. Its backlog tasks live in ``nursery``.

    ``late(sender, sent_at)`` is called for each message that is read later than it was sent, by
    trio's clock. ``dating``: the clock that dates what is sent.
    """

    same_host = True

    def __init__(
        self,
        endpoint: str,
        incarnation: int,
        nursery: trio.Nursery,
        late: Callable[[int, float], None] = lambda sender, sent_at: None,
    ) -> None:
        path = _path(endpoint)
        if len(path.encode()) > MAX_IPC_PATH_BYTES:
            raise ValueError(f"{path} is longer than the {MAX_IPC_PATH_BYTES} bytes of such a path")
        self.endpoint = endpoint
        self._greeting = _GREETING.pack(_MAGIC, incarnation)
        self._nursery = nursery
        self.late = late
        self.dating = trio.current_time
        self._peers: dict[str, _Outgoing] = {}
        self._inbox: deque[Message] = deque()
        self._incoming: dict[int, _Incoming] = {}  # by descriptor
        self._senders: dict[int, _Incoming] = {}  # by incarnation
        self._closed = False
        self._listener = _socket()
        try:
            self._listener.bind(path)
        except OSError:
            self._listener.close()
            raise
        self._listener.listen(_BACKLOG)
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        self._fd = self._poll.fileno()

    @property
    def descriptors(self) -> Collection[int]:
        """What tasks may wait for on its behalf."""
        return {self._fd, *(peer.socket.fileno() for peer in self._peers.values() if peer.socket)}

    # -- outgoing

    def connect(self, endpoint: str) -> None:
        if not self._closed and endpoint not in self._peers:
            self._peers[endpoint] = _Outgoing(_path(endpoint), self._greeting)

    def disconnect(self, endpoint: str) -> None:
        peer = self._peers.pop(endpoint, None)
        if peer is not None:
            peer.close()

    def send(self, endpoint: str, frames: Sequence[Buffer]) -> bool:
        peer = self._peers[endpoint]
        lengths = [len(frame) for frame in frames]
        head = struct.pack(f">d{len(lengths) + 1}I", self.dating(), len(lengths), *lengths)
        peer.backlog.append(memoryview(b"".join((head, *frames))))
        if peer.flush():
            return True
        if not peer.attended:
            peer.attended = True
            self._nursery.start_soon(self._work_off, peer)
        return False

    def holds(self, endpoint: str) -> bool:
        peer = self._peers.get(endpoint)
        return peer is not None and bool(peer.backlog)

    async def _work_off(self, peer: _Outgoing) -> None:
        pause_s, longest_s = _RETRY_S
        try:
            while not peer.flush():
                if peer.socket is not None:
                    await trio.lowlevel.wait_writable(peer.socket)
                else:
                    with trio.move_on_after(pause_s):
                        await peer.stirred.wait()
                    pause_s = min(2 * pause_s, longest_s)
        except trio.ClosedResourceError:
            pass  # disconnected: what is left is the senders' undelivered
        finally:
            peer.attended = False

    # -- incoming

    def receive(self) -> Message | None:
        while not self._inbox and not self._closed:
            ready = self._poll.poll(0)
            if not ready:
                return None
            for fd, _ in ready:
                incoming = self._incoming.get(fd)
                if fd == self._listener.fileno():
                    self._accept()
                elif incoming is not None:
                    self._read(incoming)
        return self._inbox.popleft() if self._inbox else None

    def _accept(self) -> None:
        with suppress(BlockingIOError, ConnectionAbortedError):
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            self._incoming[connection.fileno()] = _Incoming(connection)
            self._poll.register(connection, select.EPOLLIN)
            for peer in self._peers.values():
                if peer.socket is None and peer.backlog and not peer.flush():
                    peer.stir()

    def _read(self, incoming: _Incoming) -> bool:
        """Take in what it has sent; whether there was something."""
        known = incoming.sender
        came = incoming.fill()
        if known is None and incoming.sender is not None:
            before = self._senders.get(incoming.sender)
            while before is not None and self._read(before):
                pass  # it has ended: its sender has opened another
            self._senders[incoming.sender] = incoming
        now = trio.current_time()
        for sent_at, frames in incoming.messages():
            assert incoming.sender is not None
            self._inbox.append((incoming.sender, frames))
            if sent_at != now:
                self.late(incoming.sender, sent_at)
        if incoming.ended:
            self._part_from(incoming)
        return came

    def _part_from(self, incoming: _Incoming) -> None:
        if self._incoming.pop(incoming.socket.fileno(), None) is not None:
            self._poll.unregister(incoming.socket)
            incoming.socket.close()
            if incoming.sender is not None and self._senders.get(incoming.sender) is incoming:
                del self._senders[incoming.sender]

    async def wait(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError(f"{self.endpoint} is closed")
        if self._inbox:
            await trio.lowlevel.checkpoint()
            return
        try:
            await trio.lowlevel.wait_readable(self._fd)
        except trio.ClosedResourceError:
            if self._closed:
                raise

    def interrupt(self) -> None:
        trio.lowlevel.notify_closing(self._fd)

    # -- the end

    def close(self, farewell: str = "") -> None:
        """Close every socket. What ``farewell`` was last sent has `FAREWELL_MS` to leave."""
        if self._closed:
            return
        self._closed = True
        last = self._peers.get(farewell)
        if last is not None:
            last.linger(FAREWELL_MS)
        for endpoint in list(self._peers):
            self.disconnect(endpoint)
        trio.lowlevel.notify_closing(self._fd)
        for incoming in list(self._incoming.values()):
            self._part_from(incoming)
        self._poll.close()
        self._listener.close()
        with suppress(FileNotFoundError):
            os.unlink(_path(self.endpoint))


class _Outgoing:
    """The way to one peer. ``socket``: None as long as nobody listens there."""

    def __init__(self, path: str, greeting: bytes) -> None:
        self.socket: socket.socket | None = None
        self.backlog: deque[memoryview] = deque()
        self.attended = False
        self.stirred = trio.Event()
        self._path = path
        self._greeting = greeting
        self._gone = False

    def flush(self) -> bool:
        """Hand over what can be; whether nothing is left.

        Raises:
            trio.ClosedResourceError: it was closed.
        """
        if self._gone:
            self.backlog.clear()
        if self.backlog and self.socket is None and not self._connect():
            return False
        while self.backlog and self.socket is not None:
            data = self.backlog[0]
            try:
                sent = self.socket.send(data, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return False
            except OSError:  # its process is gone, or it has no use for us
                self._gone = True
                self.backlog.clear()
                return True
            if sent == len(data):
                self.backlog.popleft()
            else:
                self.backlog[0] = data[sent:]
        return True

    def _connect(self) -> bool:
        connection = _socket()
        try:
            connection.connect(self._path)
        except OSError:  # there is no such socket, nobody listens, or too many have come
            connection.close()
            return False
        self.socket = connection
        self.backlog.appendleft(memoryview(self._greeting))
        return True

    def stir(self) -> None:
        """Have its task try again."""
        self.stirred.set()
        self.stirred = trio.Event()

    def linger(self, patience_ms: int) -> None:
        """Wait for what is left, no longer than this."""
        while not self.flush() and self.socket is not None:
            poll = select.poll()
            poll.register(self.socket, select.POLLOUT)
            if not poll.poll(patience_ms):
                return

    def close(self) -> None:
        self._gone = True
        self.backlog.clear()
        self.stir()
        if self.socket is not None:
            trio.lowlevel.notify_closing(self.socket)
            self.socket.close()
            self.socket = None


class _Incoming:
    """What one connection has brought."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.sender: int | None = None
        self.ended = False
        self._bytes = bytearray()

    def fill(self) -> bool:
        """Read what is there, at most 256 KiB; False if there is nothing."""
        try:
            data = self.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        self.ended = not data
        self._bytes += data
        if self.sender is None and len(self._bytes) >= _GREETING.size:
            magic, sender = _GREETING.unpack_from(self._bytes)
            if magic == _MAGIC:
                self.sender = sender
                del self._bytes[: _GREETING.size]
            else:
                self.ended = True
        return bool(data)

    def messages(self) -> list[tuple[float, list[Buffer]]]:
        """The whole messages among it, and when they were sent."""
        found: list[tuple[float, list[Buffer]]] = []
        at = 0
        while self.sender is not None:
            frames = self._frames_at(at)
            if frames is None:
                break
            sent_at, at, lengths = frames
            message: list[Buffer] = []
            for length in lengths:
                message.append(bytes(memoryview(self._bytes)[at : at + length]))
                at += length
            found.append((sent_at, message))
        del self._bytes[:at]
        return found

    def _frames_at(self, at: int) -> tuple[float, int, tuple[int, ...]] | None:
        """Of the message at ``at``, if all is there: its instant, where its frames begin, how long
        they are."""
        have = len(self._bytes)
        if have - at < _HEAD.size:
            return None
        sent_at, count = _HEAD.unpack_from(self._bytes, at)
        if not 0 < count <= _MOST_FRAMES:
            self.ended = True
            return None
        begin = at + _HEAD.size + _LENGTH_BYTES * count
        if have < begin:
            return None
        lengths = struct.unpack_from(f">{count}I", self._bytes, at + _HEAD.size)
        if sum(lengths) > MAX_MESSAGE_BYTES:
            self.ended = True
            return None
        return (sent_at, begin, lengths) if have >= begin + sum(lengths) else None


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.setblocking(False)
    return made


def _path(endpoint: str) -> str:
    path = endpoint.removeprefix(SCHEME)
    if path == endpoint or not path:
        raise ValueError(f"{endpoint!r} is no path of a Unix socket")
    return path
