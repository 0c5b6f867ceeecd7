"""What nodes print comes out in whole lines, bounded, and is not lost at their end."""

import os
from pathlib import Path

import pytest
import trio

from runtime.processes.output import (
    KEPT_LINES,
    MAX_FILE_BYTES,
    MAX_LINE_BYTES,
    LineSplitter,
    OutputFollower,
    Outputs,
)
from runtime.processes.run_folder import output_path
from tests.zygote_colony import open_colony


@pytest.mark.parametrize(
    ("pieces", "lines", "rest"),
    [
        pytest.param([b"one\ntwo\n"], ["one", "two"], [], id="two-lines"),
        pytest.param([b"o", b"ne\ntw", b"o"], ["one"], ["two"], id="in-pieces"),
        pytest.param([b"\n\n"], ["", ""], [], id="empty-lines"),
        pytest.param([b"one\r\n"], ["one"], [], id="carriage-return"),
        pytest.param([b"\xff\n"], ["\N{REPLACEMENT CHARACTER}"], [], id="no-utf-8"),
        pytest.param([b"\xc3", b"\xa9\n"], ["\N{LATIN SMALL LETTER E WITH ACUTE}"], [], id="cut"),
        pytest.param([b"12345678\n"], ["12345", "678"], [], id="long"),
        pytest.param([b"1234", b"5678"], ["12345"], ["678"], id="long-and-open"),
        pytest.param([b"12345\n"], ["12345"], [], id="just-fits"),
        pytest.param([], [], [], id="nothing"),
    ],
)
def test_bytes_become_lines(pieces: list[bytes], lines: list[str], rest: list[str]) -> None:
    splitter = LineSplitter(max_line_bytes=5)
    assert [line for piece in pieces for line in splitter.feed(piece)] == lines
    assert splitter.finish() == rest
    assert splitter.finish() == []


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_a_file_is_followed_from_before_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "7.out"
    follower = OutputFollower(str(path))
    assert follower.poll() == []
    append(path, b"one\ntw")
    assert follower.poll() == ["one"]
    assert follower.poll() == []
    append(path, b"o\nthree")
    assert follower.poll() == ["two"]
    assert follower.finish() == ["three"]
    assert follower.tail == ("one", "two", "three")


def test_only_the_last_lines_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "7.out"
    follower = OutputFollower(str(path))
    append(path, b"".join(b"%d\n" % n for n in range(100)))
    assert len(follower.finish()) == 100
    assert follower.tail == tuple(map(str, range(100 - KEPT_LINES, 100)))


def test_a_large_file_is_emptied_once_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "7.out"
    follower = OutputFollower(str(path))
    line = b"x" * 1023 + b"\n"
    append(path, line * (MAX_FILE_BYTES // 1024))
    assert len(follower.poll()) == MAX_FILE_BYTES // 1024
    assert path.stat().st_size == MAX_FILE_BYTES
    append(path, line + b"y")
    assert len(follower.poll()) == 1
    assert path.stat().st_size == 0
    append(path, b"z\n")
    assert follower.finish() == ["yz"]


def test_of_a_flood_the_middle_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "7.out"
    follower = OutputFollower(str(path))
    line = b"x" * 1023 + b"\n"
    append(path, line * (3 * MAX_FILE_BYTES // 1024) + b"end\n")
    lines = follower.poll()
    assert lines[0] == f"[{MAX_FILE_BYTES * 5 // 2 + 4} bytes of output left out]"
    assert lines[-1] == "end"
    assert len(lines) < MAX_FILE_BYTES // 1024
    assert path.stat().st_size == 0
    follower.close()


def test_a_file_that_was_truncated_is_read_from_its_new_beginning(tmp_path: Path) -> None:
    path = tmp_path / "7.out"
    follower = OutputFollower(str(path))
    append(path, b"one, a long one\nopen")
    assert follower.poll() == ["one, a long one"]
    path.write_bytes(b"two\n")
    assert follower.poll() == ["open", "two"]
    follower.close()


def test_a_line_without_end_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "7.out"
    follower = OutputFollower(str(path))
    append(path, b"x" * (3 * MAX_LINE_BYTES + 1))
    assert [len(line) for line in follower.poll()] == [MAX_LINE_BYTES] * 3
    assert follower.finish() == ["x"]


def test_a_name_that_comes_back_keeps_the_lines_apart(tmp_path: Path) -> None:
    said: list[tuple[str, str]] = []
    outputs = Outputs(lambda name, line: said.append((name, line)))
    outputs.add("n", f"{tmp_path}/1.out")
    append(tmp_path / "1.out", b"first\nlast words")
    outputs.add("n", f"{tmp_path}/2.out")
    append(tmp_path / "2.out", b"second\n")
    outputs.poll()
    assert outputs.remove("n") == ("second",)
    assert outputs.remove("n") == ()
    assert said == [("n", "first"), ("n", "last words"), ("n", "second")]


@pytest.mark.real
async def test_what_a_node_prints_is_told_line_by_line() -> None:
    said: list[str] = []
    enough = trio.Event()

    def on_line(name: str, line: str) -> None:
        said.append(f"{name}| {line}")
        if len(said) == 2:
            enough.set()

    outputs = Outputs(on_line)
    async with open_colony() as colony, trio.open_nursery() as nursery:
        nursery.start_soon(outputs.run)
        with trio.fail_after(5):
            node = await colony.fork("print_for_ever")
            outputs.add("n", output_path(colony.folder, node.incarnation))
            await colony.fifo.line()
            await enough.wait()
            assert said == ["n| one", "n| two"]
            os.kill(node.pid, 9)
            await colony.exited(node.incarnation)
        assert outputs.remove("n") == ("one", "two", "half a li")
        nursery.cancel_scope.cancel()
