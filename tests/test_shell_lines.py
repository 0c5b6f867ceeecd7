"""Bytes in any portions give the same lines, within bounded memory."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shell.lines import LIMIT_BYTES, NOT_TEXT, TOO_LONG, BadLine, Lines


def lines_of(*portions: bytes) -> list[str | BadLine]:
    lines = Lines()
    found: list[str | BadLine] = []
    for portion in portions:
        found += lines.feed(portion)
    return found + lines.end()


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a", ["a"]),
        (b"a\nb", ["a", "b"]),
        (b"a\nb\n", ["a", "b"]),
        (b"a\r\n\r\nb\r", ["a", "", "b"]),
        (b"a\rb\r\r\n", ["a\rb\r"]),
        ("узел\n".encode(), ["узел"]),
        (b"a\0b\nc\n", [NOT_TEXT, "c"]),
        (b"\xff\nc\n", [NOT_TEXT, "c"]),
        (b"\xed\xa0\x80\n", [NOT_TEXT]),
        (b"x" * LIMIT_BYTES + b"\n", ["x" * LIMIT_BYTES]),
        (b"x" * LIMIT_BYTES + b"\r\n", ["x" * LIMIT_BYTES]),
        (b"x" * (LIMIT_BYTES + 1) + b"\na", [TOO_LONG, "a"]),
        (b"x" * (LIMIT_BYTES + 1), [TOO_LONG]),
        (b"x" * LIMIT_BYTES + b"\rx\n", [TOO_LONG]),
        (b"\0" * (LIMIT_BYTES + 9) + b"\nb", [TOO_LONG, "b"]),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_lines_of(data: bytes, lines: list[str | BadLine]) -> None:
    assert lines_of(data) == lines
    assert lines_of(*(data[at : at + 4096] for at in range(0, len(data), 4096))) == lines


@given(st.lists(st.binary(max_size=20)))
@example([b"\xd1", b"\x83", b"\n"])
def test_portions_do_not_matter(portions: list[bytes]) -> None:
    assert lines_of(*portions) == lines_of(b"".join(portions))


@given(st.binary().map(lambda data: data.replace(b"\r", b"").replace(b"\0", b"")))
def test_text_is_split_as_by_split(data: bytes) -> None:
    expected: list[str | BadLine] = []
    for line in data.split(b"\n"):
        try:
            expected.append(line.decode())
        except UnicodeDecodeError:
            expected.append(NOT_TEXT)
    if expected[-1] == "":
        expected.pop()
    assert lines_of(data) == expected


def test_a_line_of_10_mb_leaves_nothing_behind() -> None:
    lines = Lines()
    for _ in range(160):
        assert lines.feed(b"x" * LIMIT_BYTES) == []
        assert sum(map(len, lines._head)) <= LIMIT_BYTES + 1
    assert lines.feed(b"x\nping 1\n") == [TOO_LONG, "ping 1"]
