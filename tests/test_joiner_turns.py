"""Commands to a node that has joined and is not yet up: they wait, and keep their order."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import trio

from shell.forest import Forest


@pytest.mark.parametrize("up_after", [0, 1, 10, 20])
async def test_who_waits_for_a_joiner_goes_on_in_the_order_of_the_lines(up_after: int) -> None:
    settled = trio.Event()
    record = SimpleNamespace(spec=SimpleNamespace(joined=True), settled=settled)
    known = SimpleNamespace(record=record, ref=None, turn=trio.Lock())
    forest = Forest.__new__(Forest)
    forest._meet = lambda id: known  # type: ignore[method-assign, assignment, return-value]
    order: list[int] = []

    async def speak(number: int) -> None:
        await forest._up(7)
        order.append(number)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            for number in range(20):
                if number == up_after:
                    settled.set()
                nursery.start_soon(speak, number)
                await trio.lowlevel.checkpoint()
            settled.set()
    assert order == list(range(20))
