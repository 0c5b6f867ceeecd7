"""Once its holes are filled, memory is given out in order, beside all that was there before."""

from __future__ import annotations

from itertools import pairwise

import pytest

from runtime.processes.holes import fill_holes

HEAD = 33  # of bytes


def riddle(size: int, count: int) -> list[bytes]:
    """Every second block is free; the others are returned."""
    blocks = [bytes(size - HEAD) for _ in range(count)]
    return blocks[::2]


@pytest.mark.parametrize("size", [48, 112, 240, 512])
def test_small_blocks_follow_each_other_when_the_holes_are_filled(size: int) -> None:
    def in_order() -> int:
        blocks = [bytes(size - HEAD) for _ in range(20)]
        return sum(id(other) - id(one) == size for one, other in pairwise(blocks))

    kept = riddle(size, 4000)
    assert in_order() < 10
    fill_holes()
    assert in_order() >= 14  # of 19: a pool may have ended, and others take blocks, too
    assert kept


@pytest.mark.parametrize("size", [1024, 5000, 20_000])
def test_large_blocks_lie_above_all_others_when_the_holes_are_filled(size: int) -> None:
    kept = riddle(size, 100)
    assert id(bytes(size - HEAD)) < max(map(id, kept))
    fill_holes()
    assert id(bytes(size - HEAD)) > max(map(id, kept))
