"""What is said of a connection's paths as its samples change."""

import errno
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import trio

from runtime.multipath import connection as connections
from runtime.multipath.connection import Connection, FellBack, PathLost, PathRegained, Trouble
from runtime.multipath.devices import Devices
from runtime.multipath.endpoint import Endpoint, Flags
from runtime.multipath.path_manager import PathManager
from runtime.multipath.statistics import FullInfo, TcpState
from tests.test_path_guard import A, B, link, path

PEER = "10.0.1.1"


class Fake:
    """A socket whose next sample is set here."""

    def __init__(self) -> None:
        self.sample: FullInfo | OSError = link(path(A), path(B))
        self.fd = 1

    def fileno(self) -> int:
        return self.fd

    def info(self, _: object) -> FullInfo:
        if isinstance(self.sample, OSError):
            raise self.sample
        return self.sample


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()
    monkeypatch.setattr(connections, "full_info", fake.info)
    return fake


@pytest.fixture
def connection(fake: Fake) -> Connection:
    connection = Connection("7", fake, server_side=False)
    assert connection.look() == []
    return connection


def test_a_path_is_told_once_when_it_is_lost_and_once_when_it_is_back(
    fake: Fake, connection: Connection
) -> None:
    fake.sample = link(path(A), path(B, state=TcpState.CLOSE))
    assert connection.look() == [PathLost("7", B, PEER)]
    assert connection.look() == []
    fake.sample = link(path(A), path(B))
    assert connection.look() == [PathRegained("7", B, PEER)]
    assert connection.look() == []


def test_a_path_that_is_new_is_no_path_regained(fake: Fake, connection: Connection) -> None:
    fake.sample = link(path(A), path(B), path("10.0.3.2"))
    assert connection.look() == []


def test_a_path_that_is_being_opened_is_not_back_yet(fake: Fake, connection: Connection) -> None:
    fake.sample = link(path(A))
    assert connection.look() == [PathLost("7", B, PEER)]
    fake.sample = link(path(A), path(B, state=TcpState.SYN_SENT))
    assert connection.look() == []


def test_a_connection_that_ends_has_lost_no_path(fake: Fake, connection: Connection) -> None:
    fake.sample = link(path(A, state=TcpState.CLOSE))
    assert connection.look() == []


def plain_tcp(fake: Fake) -> None:
    fake.sample = OSError(errno.EOPNOTSUPP, "Operation not supported")


def fallen_back(fake: Fake) -> None:
    sample = link(path(A))
    fake.sample = FullInfo(msgspec.structs.replace(sample.mptcp, flags=1), 1, sample.subflows)


@pytest.mark.parametrize("become", [plain_tcp, fallen_back])
def test_a_connection_that_has_become_plain_tcp_is_told_once(
    fake: Fake, connection: Connection, become: Callable[[Fake], None]
) -> None:
    become(fake)
    assert connection.look() == [FellBack("7")]
    assert connection.look() == []
    assert connection.fallen_back
    assert not connection.readable


def test_a_socket_that_cannot_be_read_is_told_once(fake: Fake, connection: Connection) -> None:
    fake.sample = OSError(errno.ENOTSOCK, "not a socket")
    assert connection.look() == [Trouble("connection 7: not a socket")]
    assert connection.look() == []
    assert not connection.readable


def test_a_socket_that_its_owner_has_closed_is_left_alone(
    fake: Fake, connection: Connection
) -> None:
    fake.fd = -1
    fake.sample = OSError(errno.EBADF, "bad file descriptor")
    assert connection.look() == []


class FakePaths:
    """A kernel that has an implicit endpoint for the address."""

    def __init__(self) -> None:
        self.added: list[Endpoint] = []

    async def add(self, endpoint: Endpoint) -> None:
        await trio.lowlevel.checkpoint()
        if endpoint.id:
            raise OSError(errno.EINVAL, "too many addresses or duplicate one: -22")
        self.added.append(endpoint)


class FakeNews:
    devices = Devices()

    async def follow(self, _: object) -> None:
        await trio.sleep_forever()


async def test_an_address_that_the_kernel_uses_by_itself_is_put_back_without_its_id(
    autojump_clock: trio.testing.MockClock,
) -> None:
    paths: Any = FakePaths()
    news: Any = FakeNews()
    manager = PathManager(paths, None, news, lambda _: None, None)
    manager._taken[A] = Endpoint(A, Flags.SIGNAL | Flags.BACKUP, id=2, interface=3)
    with trio.move_on_after(1.0):
        await manager.run()
    assert paths.added == [Endpoint(A, Flags.SIGNAL | Flags.BACKUP, interface=3)]
