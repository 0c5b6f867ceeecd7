"""Second descriptors of streams that somebody else has accepted."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from runtime.multipath import accepted as subject
from runtime.multipath.accepted import Accepted
from runtime.multipath.streams import Streams
from runtime.network.listening import listen_at
from runtime.network.tcp_endpoint import Site

pytestmark = pytest.mark.real
TOS = 0x88


class Port:
    """Where callers come in. What is accepted is kept by its number, as ZMQ would."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.streams = Streams(tos=TOS)
        (self.listening,) = listen_at([Site("127.0.0.1", 0)], make=self.streams.make)
        stack.enter_context(self.listening)
        self.accepted = Accepted([self.listening], self.streams)
        stack.callback(self.accepted.close)

    def call(self, number: int = -1) -> tuple[socket.socket, int]:
        """A caller, and the number of his stream here: that one anew, if any is given."""
        caller = self._stack.enter_context(socket.socket())
        caller.settimeout(10.0)
        caller.connect(self.listening.getsockname())
        stream, _ = self.listening.accept()
        found = stream.detach()
        if number not in (-1, found):
            os.dup2(found, number)
            os.close(found)
            found = number
        self._stack.callback(self.close, found)
        return caller, found

    def close(self, number: int) -> None:
        with suppress(OSError):
            os.close(number)


@pytest.fixture
def port() -> Iterator[Port]:
    with ExitStack() as stack:
        yield Port(stack)


def open_numbers() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_the_peer_sees_the_end_as_soon_as_both_descriptors_are_closed(port: Port) -> None:
    caller, number = port.call()
    assert port.accepted.came(number)
    os.close(number)
    caller.settimeout(0.05)
    with pytest.raises(TimeoutError):
        caller.recv(1)
    caller.settimeout(10.0)
    port.accepted.gone(number)
    assert caller.recv(1) == b""


def test_what_is_held_is_settled_and_told_of(port: Port) -> None:
    caller, number = port.call()
    port.accepted.came(number)
    (stream,) = port.accepted.now().values()
    assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert stream.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    caller.sendall(bytes(1000))
    os.write(number, bytes(300))
    assert len(os.read(number, 2000)) == 1000
    assert len(caller.recv(300, socket.MSG_WAITALL)) == 300
    (report,) = port.accepted.reports()
    assert (report.received_bytes, report.sent_bytes, report.tos) == (1000, 300, TOS)
    assert report.remote == "{}:{}".format(*caller.getsockname())
    assert not report.outgoing


def test_what_has_gone_already_is_not_held(port: Port) -> None:
    _, number = port.call()
    os.close(number)
    before = open_numbers()
    assert not port.accepted.came(number)
    assert open_numbers() == before
    port.accepted.gone(number)
    assert not port.accepted.now()


def test_who_has_the_number_by_now_is_not_taken_for_a_stream(port: Port) -> None:
    (elsewhere,) = listen_at([Site("127.0.0.1", 0)])
    with ExitStack() as stack:
        stack.enter_context(elsewhere)
        other = stack.enter_context(socket.create_connection(elsewhere.getsockname()))
        unix, _ = map(stack.enter_context, socket.socketpair())
        file = stack.enter_context(open("/dev/null", "rb"))
        datagrams = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        before = open_numbers()
        for each in (other, unix, file, datagrams, elsewhere, port.listening):
            assert not port.accepted.came(each.fileno()), each
        assert open_numbers() == before
    assert not port.accepted.now()


def test_our_own_duplicate_is_not_taken_for_a_stream(port: Port) -> None:
    _, number = port.call()
    port.accepted.came(number)
    (stream,) = port.accepted.now().values()
    assert not port.accepted.came(stream.fileno())
    assert list(port.accepted.now().values()) == [stream]


def test_a_number_that_is_reported_anew_is_another_stream(port: Port) -> None:
    first, number = port.call()
    port.accepted.came(number)
    second, _ = port.call(number)
    assert port.accepted.came(number)
    assert first.recv(1) == b""
    (stream,) = port.accepted.now().values()
    assert stream.getpeername() == second.getsockname()
    port.accepted.gone(number)
    os.close(number)
    assert second.recv(1) == b""


def test_reports_that_are_read_late_leave_what_is_there(port: Port) -> None:
    """Of one stream that has gone meanwhile, and of one that has its number since."""
    _, number = port.call()
    port.call(number)
    for _ in range(2):
        port.accepted.gone(number)
        assert port.accepted.came(number)
        assert len(port.accepted.now()) == 1


def test_a_stream_that_its_peer_has_ended_is_left_though_nobody_reports_it(port: Port) -> None:
    caller, number = port.call()
    friend, other = port.call()
    for each in (number, other):
        assert port.accepted.came(each)
    assert len(port.accepted.now()) == 2
    caller.close()
    select.select([number], [], [], 10.0)
    assert len(port.accepted.now()) == 1
    os.close(number)
    assert [each.getpeername() for each in port.accepted.now().values()] == [friend.getsockname()]


def test_where_there_was_no_descriptor_for_one_it_is_held_later(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, number = port.call()

    def none_left(fd: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(subject.os, "dup", none_left)  # type: ignore[attr-defined]
        assert port.accepted.came(number)
        assert not port.accepted.now()
    assert len(port.accepted.now()) == 1


def test_nothing_is_open_after_the_close(port: Port) -> None:
    before = open_numbers()
    numbers = [port.call()[1] for _ in range(20)]
    for number in numbers:
        assert port.accepted.came(number)
    port.accepted.close()
    for number in numbers:
        port.close(number)
    assert len(open_numbers()) == len(before) + 20  # the callers
    assert not port.accepted.now()
