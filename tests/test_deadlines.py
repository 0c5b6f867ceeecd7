"""The deadline in force, as trio says it."""

# ruff: noqa: ASYNC100

from __future__ import annotations

import math

import pytest
import trio
from trio.testing import MockClock

from runtime.cells.deadlines import effective_deadline


async def test_it_is_what_trio_says_of_any_scopes(autojump_clock: MockClock) -> None:
    def seen() -> float:
        deadline = effective_deadline()
        assert deadline == trio.current_effective_deadline()
        return deadline

    assert seen() == math.inf
    with trio.move_on_at(9), trio.CancelScope() as inner:
        assert seen() == 9
        inner.deadline = 5
        assert seen() == 5
        with trio.move_on_at(7):
            assert seen() == 5
        with trio.CancelScope(shield=True) as shielded:
            assert seen() == math.inf
            shielded.deadline = 8
            assert seen() == 8
            inner.cancel()
            assert seen() == 8
            shielded.shield = False
            assert seen() == -math.inf
        assert seen() == -math.inf
    assert seen() == math.inf
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.deadline = 3

        async def child() -> None:
            assert seen() == 3

        nursery.start_soon(child)


async def test_it_is_trios_word_where_scopes_look_different(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    class Task:
        pass

    with trio.move_on_at(9):
        monkeypatch.setattr(trio.lowlevel, "current_task", Task)
        deadline = effective_deadline()
        monkeypatch.undo()
    assert deadline == 9


async def test_what_is_around_the_outermost_is_not_looked_at(autojump_clock: MockClock) -> None:
    with trio.move_on_at(5) as around, trio.move_on_at(9) as outermost, trio.move_on_at(11):
        assert effective_deadline() == 5
        assert effective_deadline(outermost) == 9
        outermost.deadline = 12
        assert effective_deadline(outermost) == 11
        assert effective_deadline(trio.CancelScope()) == 5
        around.cancel()
        assert effective_deadline(outermost) == -math.inf
