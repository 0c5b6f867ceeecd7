"""What a netlink client makes of a kernel that is slow, or answers what was not asked."""

import socket
import struct
from collections.abc import AsyncIterator

import pytest
import trio

from runtime.multipath import message
from runtime.multipath.netlink import REPLY_S, Netlink


class Unoptioned(socket.socket):
    """A socket that takes netlink's options for granted."""

    def setsockopt(self, *_: object) -> None:
        pass


class Kernel:
    """The other end."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sock = ours
        self.netlink = Netlink(Unoptioned(fileno=theirs.detach()))

    async def asked(self) -> int:
        """The sequence number of the next request."""
        await trio.lowlevel.wait_readable(self._sock)
        (request,) = message.split_messages(self._sock.recv(65536))
        return request.sequence

    def answer(self, sequence: int, command: int, *, flags: int = 0) -> None:
        self._sock.send(message.encode(20, flags, sequence, message.generic(command)))

    def end(self, sequence: int, errno: int = 0) -> None:
        body = struct.pack("=i", -errno) + bytes(16)
        header = struct.pack("=IHHII", 16 + len(body), message.ERROR, 0x100, sequence, 0)
        self._sock.send(header + body)

    def close(self) -> None:
        self.netlink.close()
        self._sock.close()


@pytest.fixture
async def kernel() -> AsyncIterator[Kernel]:
    kernel = Kernel()
    yield kernel
    kernel.close()


async def commands(kernel: Kernel, told: list[int]) -> None:
    answers = await kernel.netlink.request(20, message.generic(1), what="look")
    told += [each.command for each in answers]


async def test_answers_end_with_the_verdict(kernel: Kernel) -> None:
    told: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(commands, kernel, told)
        sequence = await kernel.asked()
        kernel.answer(sequence, 3)
        kernel.answer(sequence, 4)
        kernel.end(sequence)
    assert told == [3, 4]


async def test_the_answer_to_a_cancelled_request_is_never_anothers(kernel: Kernel) -> None:
    told: list[int] = []
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as inner:
                inner.start_soon(commands, kernel, [])
                first = await kernel.asked()
                scope.cancel()
        kernel.answer(first, 3)
        kernel.end(first, errno=1)
        nursery.start_soon(commands, kernel, told)
        second = await kernel.asked()
        kernel.answer(second, 9)
        kernel.end(second)
    assert told == [9]


async def test_a_kernel_that_says_nothing_is_too_slow(
    kernel: Kernel, autojump_clock: trio.testing.MockClock
) -> None:
    begin = trio.current_time()
    with pytest.raises(trio.TooSlowError):
        await kernel.netlink.request(20, message.generic(1), what="look")
    assert trio.current_time() - begin == REPLY_S


async def test_what_changed_while_it_was_read_is_read_again(kernel: Kernel) -> None:
    told: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(commands, kernel, told)
        first = await kernel.asked()
        kernel.answer(first, 3, flags=message.INTERRUPTED)
        kernel.end(first)
        second = await kernel.asked()
        kernel.answer(second, 4)
        kernel.end(second)
    assert told == [4]


async def test_what_changes_all_the_time_is_an_error(kernel: Kernel) -> None:
    async def change() -> None:
        while True:
            sequence = await kernel.asked()
            kernel.answer(sequence, 3, flags=message.INTERRUPTED)
            kernel.end(sequence)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(change)
        with pytest.raises(InterruptedError, match="look: changed each of 5 times"):
            await kernel.netlink.request(20, message.generic(1), what="look")
        nursery.cancel_scope.cancel()


async def test_a_closed_client_ends_who_waits_on_it(kernel: Kernel) -> None:
    with pytest.RaisesGroup(trio.ClosedResourceError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kernel.netlink.receive)
            await trio.testing.wait_all_tasks_blocked()
            kernel.netlink.close()


async def test_a_refusal_without_words_has_those_of_its_errno(kernel: Kernel) -> None:
    async def refuse() -> None:
        kernel.end(await kernel.asked(), errno=1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(refuse)
        with pytest.raises(PermissionError, match="look: Operation not permitted"):
            await kernel.netlink.request(20, message.generic(1), what="look")
