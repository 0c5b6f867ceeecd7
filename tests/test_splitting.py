"""Large frames in pieces."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.messages.codec import Buffer
from runtime.wires import splitting
from runtime.wires.splitting import PIECE_BYTES, join, split

SIZES = st.lists(
    st.sampled_from([0, 1, 4, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES]),
    min_size=1,
    max_size=6,
)


def solid(frames: Sequence[Buffer]) -> list[bytes]:
    return [bytes(frame) for frame in frames]


@given(SIZES)
def test_pieces_are_joined_to_what_was_split(sizes: list[int]) -> None:
    rng = random.Random(1)
    frames = [rng.randbytes(size) for size in sizes]
    sent = split(frames)
    assert max(map(len, sent)) <= PIECE_BYTES
    assert solid(join(sent)) == frames


def test_small_messages_are_left_alone() -> None:
    frames = [b"head", b"", b"x" * PIECE_BYTES]
    assert split(frames) is frames
    assert join(frames) is frames


def test_what_was_not_cut_is_not_copied() -> None:
    small = b"x" * 1000
    joined = join(split([b"head", small, bytes(PIECE_BYTES + 1)]))
    assert joined[1] is small


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=6))
def test_any_frames_are_joined_or_left_as_they_are(frames: list[bytes]) -> None:
    for forged in (frames, [b"", *frames]):
        joined = solid(join(forged))
        assert joined == forged or b"".join(joined) == b"".join(forged[2:])


@pytest.mark.parametrize(
    "forged",
    [
        [b"", b"\0\0\0\5", b"1234"],
        [b"", b"\0\0\0\3\0\0\0\1", b"1234"],
        [b"", b"\0\0\0\3\0\0\0\3", b"12", b"34", b"56"],
        [b"", b"\0\0\0", b"123"],
        [b""],
    ],
)
def test_sizes_that_do_not_fit_are_left_as_they_are(forged: list[bytes]) -> None:
    assert solid(join(forged)) == forged


def test_no_more_is_joined_than_a_message_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = split([bytes(PIECE_BYTES + 1)])
    monkeypatch.setattr(splitting, "MAX_MESSAGE_BYTES", PIECE_BYTES)
    assert join(sent) is sent
