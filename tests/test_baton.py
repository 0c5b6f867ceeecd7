"""What the conductor of a lockstep and its followers say to each other, as bytes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import WireError
from runtime.lockstep.baton import (
    Due,
    Held,
    Idle,
    Joined,
    Late,
    Still,
    Wave,
    decode_conductor,
    decode_follower,
    encode,
)


@pytest.mark.parametrize(
    "said",
    [Joined(7), Idle(1, 2.5), Idle(2, None), Still(3, 4), Held("a thread"), Late(3, 1.5, 2.0)],
    ids=repr,
)
def test_what_a_follower_says_comes_as_it_was(said: Joined | Idle | Still | Held | Late) -> None:
    assert decode_follower(encode(said)) == said


@pytest.mark.parametrize("said", [Wave(1), Due()], ids=repr)
def test_what_the_conductor_says_comes_as_it_was(said: Wave | Due) -> None:
    assert decode_conductor(encode(said)) == said


@given(st.binary(max_size=40))
def test_any_bytes_are_a_word_or_a_wire_error(data: bytes) -> None:
    for decode in (decode_follower, decode_conductor):
        with suppress(WireError):
            decode(data)


def test_a_word_of_the_other_side_is_a_wire_error() -> None:
    with pytest.raises(WireError, match="no word of a follower"):
        decode_follower(encode(Due()))
    with pytest.raises(WireError, match="no word of the conductor"):
        decode_conductor(encode(Joined(1)))
