"""Netlink on trio: requests that the kernel answers, and the groups it tells news to.

One `Netlink` is one socket, of the network namespace in which the socket was made, whoever
uses it. `message` has the bytes.

Invariants
----------
* No wait is unbounded: the kernel answers within `REPLY_S` or the request is `trio.TooSlowError`.
  Waiting for news is the caller's own wait.
* A refusal is an `OSError` with the kernel's errno, its class by errno as everywhere in Python
  (EPERM is `PermissionError`), and the kernel's own words where it has any.
* An answer to a request that was cancelled is never taken for another's.
* News that the kernel had to drop are reported, once, where they are missing.

Cancellation: a request that was sent is carried out whether or not its answer is waited for.

Source: ``netlink(7)``; ``Documentation/userspace-api/netlink/intro.rst``.
"""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec
import trio

from runtime.multipath import message
from runtime.multipath.message import Message, each_attribute, number, split_attributes

REPLY_S: Final = 5.0
SocketFactory = Callable[[int, int, int], socket.socket]
"""Makes a socket of (family, type, protocol), in the network namespace it stands for."""

ROUTE: Final = 0
GENERIC: Final = 16
"""The protocols: of the kernel's routing, and of the families that have a name."""

_SOL_NETLINK: Final = 270
_ADD_MEMBERSHIP: Final = 1
_CAP_ACK: Final = 10
_EXT_ACK: Final = 11
_DATAGRAM_BYTES: Final = 1 << 16
_NEWS_BYTES: Final = 1 << 20
_ATTEMPTS: Final = 5

_CONTROLLER: Final = 16  # the family that knows the families
_GET_FAMILY: Final = 3
_FAMILY_ID: Final = 1
_FAMILY_NAME: Final = 2
_GROUPS: Final = 7
_GROUP_NAME: Final = 1
_GROUP_ID: Final = 2


class Family(msgspec.Struct, frozen=True):
    """The number of a generic-netlink family, and those of its groups by name."""

    id: int
    groups: dict[str, int]


class Netlink:
    """A netlink socket. Requests of several tasks take turns."""

    def __init__(self, sock: socket.socket) -> None:
        """The socket is ours from now on."""
        self._sock = sock
        self._sequence = 0
        self._turn = trio.Lock()
        sock.setblocking(False)
        for option in (_CAP_ACK, _EXT_ACK):
            sock.setsockopt(_SOL_NETLINK, option, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _NEWS_BYTES)

    def close(self) -> None:
        """Whoever waits gets `trio.ClosedResourceError`."""
        if self._sock.fileno() != -1:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    async def family(self, name: str) -> Family:
        """The family of that name.

        Raises:
            FileNotFoundError: this kernel has none.
        """
        asked = message.attribute(_FAMILY_NAME, name.encode() + b"\0")
        (found,) = await self.request(
            _CONTROLLER, message.generic(_GET_FAMILY, asked), what=f"generic netlink family {name}"
        )
        groups = [
            split_attributes(group)
            for _, group in each_attribute(found.attributes.get(_GROUPS, b""))
        ]
        return Family(
            id=number(found.attributes, _FAMILY_ID, "=H"),
            groups={
                group[_GROUP_NAME].rstrip(b"\0").decode(): number(group, _GROUP_ID, "=I")
                for group in groups
                if _GROUP_NAME in group
            },
        )

    async def request(
        self, type: int, body: bytes, *, what: str, dump: bool = False
    ) -> list[Message]:
        """Everything the kernel answered before it said that it was done; ``what`` is for errors.

        Raises:
            OSError: it refused.
            trio.TooSlowError: it said nothing.
        """
        flags = message.REQUEST | (message.DUMP if dump else message.ACK)
        async with self._turn:
            for _ in range(_ATTEMPTS):
                self._sequence = self._sequence % 0xFFFFFFFF + 1
                self._sock.send(message.encode(type, flags, self._sequence, body))
                with trio.fail_after(REPLY_S):
                    answers, whole = await self._answers(self._sequence, what)
                if whole:
                    return answers
        raise OSError(errno.EINTR, f"{what}: changed each of {_ATTEMPTS} times while it was read")

    async def _answers(self, sequence: int, what: str) -> tuple[list[Message], bool]:
        """The answers, and whether none changed while they were read."""
        answers: list[Message] = []
        whole = True
        while True:
            for each in await self.receive():
                if each.sequence != sequence:
                    continue
                whole = whole and not each.flags & message.INTERRUPTED
                if each.type not in (message.ERROR, message.DONE):
                    answers.append(each)
                    continue
                verdict = message.verdict(each)
                if verdict.errno:
                    said = os.strerror(verdict.errno)
                    words = f"{verdict.text} ({said})" if verdict.text else said
                    raise OSError(verdict.errno, f"{what}: {words}")
                return answers, whole

    def subscribe(self, group: int, *, what: str) -> None:
        """From now on `receive` brings the news of that group.

        Raises:
            PermissionError: the group is for those with CAP_NET_ADMIN, and this process has it not.
        """
        try:
            self._sock.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        except OSError as error:
            number = error.errno or 0
            raise OSError(number, f"{what}: {os.strerror(number)}") from None

    async def receive(self) -> list[Message]:
        """The messages of the next datagram.

        Raises:
            OSError: ENOBUFS, the kernel had to drop some; those that follow are whole again.
        """
        while True:
            try:
                data, _, flags, _ = self._sock.recvmsg(_DATAGRAM_BYTES)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._sock)
                continue
            if flags & socket.MSG_TRUNC:
                raise OSError(errno.ENOBUFS, f"a netlink datagram of over {_DATAGRAM_BYTES} bytes")
            return list(message.split_messages(data))


@contextmanager
def open_netlink(make_socket: SocketFactory, protocol: int = GENERIC) -> Iterator[Netlink]:
    """A socket that is closed at the end of the block."""
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    sock = make_socket(socket.AF_NETLINK, kind, protocol)
    netlink = Netlink(sock)
    try:
        sock.bind((0, 0))  # a socket without an address hears no news
        yield netlink
    finally:
        netlink.close()
