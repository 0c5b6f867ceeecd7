"""A file that is ours alone and appears whole."""

import os
from pathlib import Path

import pytest

from runtime.network.private_file import read_private, write_private


@pytest.mark.parametrize(("replace", "holds"), [(True, b"new"), (False, b"old")])
def test_a_file_that_is_there_is_replaced_or_stays(
    tmp_path: Path, replace: bool, holds: bytes
) -> None:
    path = str(tmp_path / "file")
    write_private(path, "old", replace=replace)
    assert read_private(path) == b"old"
    write_private(path, "new", replace=replace)
    assert read_private(path) == holds
    assert os.listdir(tmp_path) == ["file"]


def test_what_fails_at_the_last_step_names_the_file_and_leaves_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_private(str(path), "text", replace=True)
    assert str(caught.value) == f"[Errno 21] keys cannot be kept: Is a directory: {str(path)!r}"
    assert os.listdir(tmp_path) == ["folder"]
