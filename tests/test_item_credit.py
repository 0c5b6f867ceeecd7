"""The two ends of a stream's window: never too much on its way, and never stuck."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.traffic.item_credit import (
    FIRST_BYTES,
    FIRST_ITEMS,
    SMALL_BYTES,
    WINDOW_BYTES,
    WINDOW_ITEMS,
    ItemLedger,
    ItemWindow,
)

SIZES = st.one_of(
    st.integers(0, 100),
    st.sampled_from(
        [SMALL_BYTES, SMALL_BYTES + 1, FIRST_BYTES, WINDOW_BYTES // 2, WINDOW_BYTES, 10**7]
    ),
)


def test_at_first_so_much_may_leave() -> None:
    window = ItemWindow()
    for _ in range(FIRST_ITEMS):
        assert window.has_room(10)
        window.spend(10)
    assert not window.has_room(0)


@pytest.mark.parametrize("size", [WINDOW_BYTES + 1, 10**9])
def test_one_item_of_any_size_may_leave_alone(size: int) -> None:
    window, ledger = ItemWindow(), ItemLedger()
    for _ in range(3):
        assert window.has_room(size)
        window.spend(size)
        assert not window.has_room(1)
        assert ledger.take(size)
        window.grant(*ledger.grant())


def test_grants_only_grow() -> None:
    window = ItemWindow()
    window.grant(1000, 10**6)
    for items, size in ((10, 10), (-5, -5), (999, 10**6)):
        window.grant(items, size)
        assert (window.items, window.bytes) == (1000, 10**6)


def test_a_consumer_that_keeps_up_grants_four_times_a_window() -> None:
    window, ledger = ItemWindow(), ItemLedger()
    grants = 0
    for _ in range(32 + 100 * WINDOW_ITEMS):
        assert window.has_room(10)
        window.spend(10)
        if ledger.take(10):
            grants += 1
            window.grant(*ledger.grant())
        assert not ledger.behind
    assert grants == 1 + 100 * 4


@given(
    st.lists(SIZES, max_size=300),
    st.lists(st.integers(1, 400), min_size=1, max_size=20),
    st.integers(1, 50),
)
def test_never_stuck_and_never_too_much(sizes: list[int], bursts: list[int], repeat: int) -> None:
    """The consumer takes in bursts, and sometimes the source is quicker, sometimes not."""
    waiting: deque[int] = deque(sizes * repeat)
    on_its_way: deque[int] = deque()
    window, ledger = ItemWindow(), ItemLedger()
    turn = 0
    while waiting or on_its_way:
        while waiting and window.has_room(waiting[0]):
            on_its_way.append(waiting.popleft())
            window.spend(on_its_way[-1])
            assert len(on_its_way) <= WINDOW_ITEMS
            largest = max(on_its_way)
            assert sum(on_its_way) <= max(WINDOW_BYTES, largest + SMALL_BYTES)
        assert on_its_way, "both ends wait"
        for _ in range(min(bursts[turn % len(bursts)], len(on_its_way))):
            if ledger.take(on_its_way.popleft()):
                window.grant(*ledger.grant())
        if not on_its_way and ledger.behind:
            window.grant(*ledger.grant())
        turn += 1
    assert ledger.taken == len(sizes) * repeat
