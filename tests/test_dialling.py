"""Which address of a peer is tried when, and what is said when none answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
import trio

from runtime.multipath import dialling
from runtime.multipath.dialling import dial, in_turn
from runtime.multipath.streams import Streams
from runtime.network.listening import listen_at, site_of
from runtime.network.tcp_endpoint import Site

pytestmark = pytest.mark.real

BOUND_S = 30
FOUR, SIX = Site("192.0.2.1", 1), Site("2001:db8::1", 1)
LOCAL, OTHER = Site("127.0.0.1", 1), Site("192.0.2.2", 1)


@pytest.mark.parametrize(
    ("sites", "order"),
    [
        ((), ()),
        ((FOUR,), (FOUR,)),
        ((LOCAL, FOUR), (FOUR, LOCAL)),
        ((FOUR, OTHER, SIX), (FOUR, SIX, OTHER)),
        ((SIX, FOUR, OTHER), (SIX, FOUR, OTHER)),
        ((LOCAL, SIX, FOUR), (SIX, FOUR, LOCAL)),
    ],
)
def test_addresses_are_tried_in_this_order(
    sites: tuple[Site, ...], order: tuple[Site, ...]
) -> None:
    assert in_turn(sites) == order


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    (listening,) = listen_at([Site("127.0.0.1", 0)])
    with listening:
        yield listening


async def test_an_address_that_refuses_is_followed_at_once(listening: socket.socket) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        sites = [site_of(unheard), site_of(listening)]
        begin = trio.current_time()
        with await dial(sites, Streams().dialling) as stream:
            assert stream.getpeername() == listening.getsockname()
        assert trio.current_time() < begin + BOUND_S


async def test_an_address_that_is_silent_is_overtaken(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[socket.socket] = []

    def make(family: int) -> socket.socket:
        made.append(Streams().dialling(family))
        return made[-1]

    monkeypatch.setattr(dialling, "ATTEMPT_S", BOUND_S)
    with Silent() as site, trio.fail_after(BOUND_S):
        stream = await dial([site, site_of(listening)], make)
        assert stream.getpeername() == listening.getsockname()
        assert [each.fileno() == -1 for each in made] == [True, False]
        stream.close()


async def test_when_nobody_answers_the_error_says_so_of_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dialling, "ATTEMPT_S", 0.3)
    with Silent() as site, socket.socket() as unheard, trio.fail_after(BOUND_S):
        unheard.bind(("127.0.0.1", 0))
        deaf = site_of(unheard)
        with pytest.raises(ConnectionError) as raised:
            await dial([deaf, site], Streams().dialling)
        assert str(raised.value) == f"{deaf}: Connection refused; {site}: no answer in 0.3 s"


class Silent:
    """Someone who never accepts, with as many callers waiting as he takes."""

    def __enter__(self) -> Site:
        self.held = [socket.socket()]
        self.held[0].bind(("127.0.0.1", 0))
        self.held[0].listen(0)
        for _ in range(3):
            self.held.append(socket.socket())
            self.held[-1].setblocking(False)
            with suppress(BlockingIOError):
                self.held[-1].connect(self.held[0].getsockname())
        return site_of(self.held[0])

    def __exit__(self, *_: object) -> None:
        for each in self.held:
            each.close()
