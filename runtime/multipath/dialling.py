"""A stream to one of several addresses: the first that answers.

MPTCP keeps a connection through the loss of a path, but cannot begin one on a path that is dead.
So the addresses are tried in turn, each a little after the one before, or as soon as that failed.

Invariants
----------
* Families alternate, the one of the first address first; loopback comes last.
* Each attempt has `ATTEMPT_S`. All that were begun are closed when one has won.

Source: RFC 8305 ("Happy Eyeballs"), 4 and 5.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from itertools import chain, zip_longest
from typing import Final, TypeAlias

import trio

from runtime.network.tcp_endpoint import Site

ATTEMPT_S: Final = 3.0
STAGGER_S: Final = 0.25
MakeStream: TypeAlias = Callable[[int], socket.socket]
"""A stream socket of that family, which does not block."""


def in_turn(sites: Iterable[Site]) -> tuple[Site, ...]:
    """The order in which to try them."""
    away = sorted(sites, key=lambda site: site.is_loopback)  # keeps the order of equals
    if not away:
        return ()
    first = [site for site in away if site.is_v6 is away[0].is_v6]
    second = [site for site in away if site.is_v6 is not away[0].is_v6]
    mixed = [site for site in chain(*zip_longest(first, second)) if site is not None]
    return tuple(sorted(mixed, key=lambda site: site.is_loopback))


class _Dial:
    def __init__(self, make: MakeStream) -> None:
        self._make = make
        self.won: socket.socket | None = None
        self.failures: list[str] = []

    async def attempt(self, site: Site, scope: trio.CancelScope, failed: trio.Event) -> None:
        try:
            stream = await self._connected(site)
        except OSError as error:
            self.failures.append(f"{site}: {error.strerror or error}")
            failed.set()
            return
        if self.won is None:
            self.won = stream
            scope.cancel()
        else:
            stream.close()

    async def _connected(self, site: Site) -> socket.socket:
        stream = self._make(socket.AF_INET6 if site.is_v6 else socket.AF_INET)
        try:
            with trio.move_on_after(ATTEMPT_S) as patience:
                try:
                    stream.connect((site.host, site.port))
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(stream)
                    number = stream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if number:
                        raise OSError(number, os.strerror(number)) from None
            if patience.cancelled_caught:
                raise TimeoutError(f"no answer in {ATTEMPT_S:g} s")
        except BaseException:
            stream.close()
            raise
        return stream


async def dial(sites: Iterable[Site], make: MakeStream) -> socket.socket:
    """A connected stream that does not block.

    Raises:
        OSError: no address answered; the message says how each failed.
    """
    dialled = _Dial(make)
    try:
        async with trio.open_nursery() as nursery:
            for site in in_turn(sites):
                failed = trio.Event()
                nursery.start_soon(dialled.attempt, site, nursery.cancel_scope, failed)
                with trio.move_on_after(STAGGER_S):
                    await failed.wait()
    except BaseException:
        if dialled.won is not None:
            dialled.won.close()
        raise
    if dialled.won is None:
        raise ConnectionError("; ".join(dialled.failures))
    return dialled.won
