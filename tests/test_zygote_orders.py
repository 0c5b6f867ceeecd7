"""What controller and zygote say survives the way, and nothing else is taken for it."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import SpawnError, WireError
from runtime.processes.orders import (
    MAX_MESSAGE_BYTES,
    Adopt,
    Begin,
    Exited,
    Fork,
    Forked,
    FromZygote,
    Importing,
    Main,
    Order,
    Ping,
    Pong,
    Ready,
    Refused,
    Survivor,
    Tainted,
    ToZygote,
    decode_news,
    decode_order,
    encode,
)

ORDER = Order("m:f", "m:C", "7", 2**63 - 1, {"A": "b"}, "/", b"\0\xff")


@pytest.mark.parametrize(
    "message",
    [
        Begin("/run/r", "/", ("/a", ""), Main(path="/s.py"), ("trio",), ("bad",)),
        Begin("/run/r", "/", (), None, (), ()),
        Adopt((Survivor("7", 3, 77), Survivor("8", 4, 78))),
        Fork(ORDER),
        Ping(3),
    ],
    ids=lambda message: type(message).__name__,
)
def test_an_order_survives_the_way(message: ToZygote) -> None:
    assert decode_order(encode(message)) == message


@pytest.mark.parametrize(
    "message",
    [
        Ready(),
        Pong(3),
        Importing("m", 2),
        Forked(2, 77),
        Refused(2, "Traceback", misuse=True),
        Tainted(2, "m", "threads"),
        Exited(2, 77, 9, 0.5, 0.25, 4096),
        Exited(2, 77, None),
    ],
    ids=lambda message: type(message).__name__,
)
def test_news_survive_the_way(message: FromZygote) -> None:
    assert decode_news(encode(message)) == message


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_wire_error(data: bytes) -> None:
    for decode in (decode_order, decode_news):
        try:
            decode(data)
        except WireError:
            continue


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x91" * 100_000, id="nested"),
        pytest.param(b"\x92\xa4ping\xa1\xff", id="no-utf-8"),
        pytest.param(encode(Pong(1)), id="the-other-direction"),
        pytest.param(encode(Ping(1))[:-1], id="cut"),
    ],
)
def test_a_broken_order_is_a_wire_error(data: bytes) -> None:
    with pytest.raises(WireError):
        decode_order(data)


def test_an_order_beyond_the_limit_names_node_and_size() -> None:
    order = Order("m:f", "m:C", "7", 1, {}, "/", bytes(MAX_MESSAGE_BYTES))
    with pytest.raises(SpawnError, match=r"the order for 7 takes 131\d\d\d bytes"):
        encode(Fork(order))


def test_text_without_utf_8_is_the_caller_s_fault() -> None:
    order = Order("m:f", "m:C", "7", 1, {"A": os.fsdecode(b"\xff")}, "/")
    with pytest.raises(TypeError, match="the order for 7 cannot be encoded"):
        encode(Fork(order))


@pytest.mark.parametrize(
    ("status", "text"),
    [
        pytest.param(9, "killed(SIGKILL)", id="signal"),
        pytest.param(3 << 8, "exited(3)", id="code"),
        pytest.param(None, "unknown", id="unknown"),
    ],
)
def test_an_exit_is_read_from_the_status(status: int | None, text: str) -> None:
    exited = Exited(2, 77, status, 0.5, 0.25, 4096)
    assert str(exited.reason) == text
    assert (exited.reason.user_s, exited.reason.max_rss_bytes) == (
        (0.0, 0) if status is None else (0.5, 4096)
    )
