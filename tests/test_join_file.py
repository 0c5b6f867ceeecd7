"""The file that lets a node on another host join."""

import os
from pathlib import Path

import pytest

from runtime.network.join_file import Pass, read_pass, remove_pass, write_pass
from runtime.network.key_file import keep_keys
from runtime.network.tcp_endpoint import to_text

ONE = Pass(b"c" * 32, b"m" * 32)
OTHER = Pass(b"d" * 32, b"n" * 32)


def test_what_was_written_is_read_by_us_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "join")
    write_pass(path, ONE)
    assert read_pass(path) == ONE
    assert os.stat(path).st_mode & 0o777 == 0o600
    write_pass(path, OTHER)
    assert read_pass(path) == OTHER
    assert os.listdir(tmp_path) == ["join"]


def test_a_file_of_something_else_is_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    keep_keys(str(path))
    before = path.read_bytes()
    with pytest.raises(OSError, match="is not controller = KEY or member = KEY"):
        write_pass(str(path), ONE)
    assert path.read_bytes() == before


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o400])
def test_a_file_that_others_can_read_is_refused_by_name_and_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "join"
    write_pass(str(path), ONE)
    path.chmod(mode)
    for use in (read_pass, lambda path: write_pass(path, OTHER)):
        with pytest.raises(PermissionError, match=f"its mode is {mode:04o}, must be 0600"):
            use(str(path))


def test_a_file_that_cannot_be_made_is_named_as_it_was_given(tmp_path: Path) -> None:
    path = str(tmp_path / "nowhere" / "join")
    with pytest.raises(FileNotFoundError) as caught:
        write_pass(path, ONE)
    assert (
        str(caught.value) == f"[Errno 2] keys cannot be kept: No such file or directory: {path!r}"
    )


def test_half_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "join"
    path.write_text(f"member = {to_text(b'm' * 32)}\n")
    path.chmod(0o600)
    with pytest.raises(OSError, match="does not hold both keys: controller = KEY and member = KEY"):
        read_pass(str(path))


def test_it_is_removed_as_long_as_it_is_ours(tmp_path: Path) -> None:
    path = tmp_path / "join"
    remove_pass(str(path), ONE)
    write_pass(str(path), OTHER)
    remove_pass(str(path), ONE)
    assert read_pass(str(path)) == OTHER
    remove_pass(str(path), OTHER)
    assert os.listdir(tmp_path) == []
    keep_keys(str(path))
    remove_pass(str(path), ONE)
    assert os.listdir(tmp_path) == ["join"]


def test_no_secret_shows_in_its_text() -> None:
    assert repr(ONE) == "Pass(...)"
