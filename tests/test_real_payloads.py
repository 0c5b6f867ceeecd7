"""Large payloads between real processes."""

from __future__ import annotations

import os
import random

import pytest

from actors.actor import Actor
from actors.ref import ActorRef
from actors.system import System
from runtime.processes import procfs
from tests.real import ANSWER_S

pytestmark = [pytest.mark.real, pytest.mark.regrow(on="real")]

SIZE = 8 * 1024 * 1024


class Carrier(Actor):
    """Keeps what it is given, and gives it back."""

    def __init__(self, kept: bytes = b"") -> None:
        self.kept: bytes | memoryview = kept

    async def view(self, data: memoryview) -> memoryview:
        return data

    async def copy(self, data: bytes) -> bytes:
        return data

    async def change(self, data: bytearray) -> bytearray:
        data[0] ^= 0xFF
        return data

    async def keep(self, data: memoryview) -> bool:
        self.kept = data
        return data.readonly

    async def give(self) -> memoryview:
        return memoryview(self.kept)

    async def pass_on(self, data: memoryview, to: list[ActorRef[Carrier]]) -> memoryview:
        """Through all of them, one after the other."""
        if to:
            return await to[0].ask(Carrier.pass_on, data, to[1:])
        return data

    async def threads(self) -> int:
        return procfs.thread_count(os.getpid())


@pytest.mark.regrow(deadline_s=ANSWER_S)
async def test_large_payloads_arrive_whole_and_start_no_thread(system: System) -> None:
    data = random.Random(1).randbytes(SIZE)
    here = procfs.thread_count(os.getpid())
    carriers = [await system.spawn(Carrier) for _ in range(3)]
    first, *others = carriers
    view = memoryview(data)
    assert await first.ask(Carrier.view, view) == data
    assert await first.ask(Carrier.copy, data) == data
    assert await first.ask(Carrier.change, bytearray(data)) == (bytes([data[0] ^ 0xFF]) + data[1:])
    assert await first.ask(Carrier.keep, view)
    assert await first.ask(Carrier.give) == data
    assert await first.ask(Carrier.give) == data  # the frame that it has kept, once more
    assert await first.ask(Carrier.pass_on, view[::2], others) == data[::2]
    assert [await each.ask(Carrier.threads) for each in carriers] == [3, 3, 3]
    assert procfs.thread_count(os.getpid()) == here


@pytest.mark.regrow(deadline_s=ANSWER_S)
async def test_a_constructors_large_argument_travels_inside(system: System) -> None:
    data = random.Random(2).randbytes(SIZE)
    carrier = await system.spawn(Carrier, data)
    assert await carrier.ask(Carrier.give) == data
