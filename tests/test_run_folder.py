"""A system's folder is ours alone, ends with it, and does not outlive a crash for long."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.processes.run_folder import (
    default_root,
    open_run_folder,
    output_path,
    page_path,
    raise_open_file_limit,
    socket_path,
)
from tests.zygote_colony import ROOT, short_folder


@pytest.fixture
def root() -> Iterator[str]:
    with short_folder() as short:
        yield f"{short}/regrow"


def test_a_folder_is_ours_alone_and_ends_with_its_block(root: str) -> None:
    with open_run_folder(root) as folder:
        assert os.path.dirname(folder) == root
        assert os.stat(root).st_mode & 0o777 == 0o700
        assert os.stat(folder).st_mode & 0o777 == 0o700
        Path(output_path(folder, 7)).write_text("left behind")
    assert os.listdir(root) == []


def test_files_are_named_by_incarnation_alone(root: str) -> None:
    assert output_path(root, 7) == f"{root}/7.out"
    assert page_path(root, 7) == f"{root}/7.page"
    assert socket_path(root, 7) == f"{root}/7.sock"


def test_two_systems_have_a_folder_each(root: str) -> None:
    with open_run_folder(root) as one, open_run_folder(root) as other:
        assert one != other
        assert os.path.isdir(one)
        assert os.path.isdir(other)


def test_a_stale_folder_is_removed_by_the_next_start(root: str) -> None:
    dying = (
        "import os, sys\n"
        "from runtime.processes.run_folder import open_run_folder\n"
        "held = open_run_folder(sys.argv[1])\n"
        "folder = held.__enter__()\n"
        "open(folder + '/7.out', 'w').close()\n"
        "os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", dying, root], cwd=ROOT, check=True, timeout=10)
    (stale,) = os.listdir(root)
    with open_run_folder(root) as folder:
        assert os.listdir(root) == [os.path.basename(folder)] != [stale]


def test_a_file_or_link_among_the_folders_is_left_alone(root: str, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    os.mkdir(root, 0o700)
    os.symlink(tmp_path, f"{root}/link")
    Path(f"{root}/file").write_text("x")
    with open_run_folder(root):
        pass
    assert sorted(os.listdir(root)) == ["file", "link"]
    assert (tmp_path / "precious").exists()


def test_a_root_that_others_may_enter_is_refused(root: str) -> None:
    os.mkdir(root, 0o700)
    os.chmod(root, 0o755)
    with pytest.raises(PermissionError, match="must be ours alone"), open_run_folder(root):
        pass
    assert os.listdir(root) == []


def test_a_link_in_place_of_the_root_is_refused(root: str, tmp_path: Path) -> None:
    os.symlink(tmp_path, root)
    with pytest.raises(PermissionError, match="no folder of ours"), open_run_folder(root):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_root_of_somebody_else_is_refused(root: str) -> None:
    os.mkdir(root, 0o700)
    os.chown(root, 12345, -1)
    with pytest.raises(PermissionError, match="belongs to user 12345"), open_run_folder(root):
        pass


def test_a_path_too_long_for_sockets_is_refused_before_anything_is_made(root: str) -> None:
    long = root + "x" * 60
    with (
        pytest.raises(ValueError, match=r"would take 1\d\d bytes, at most 107"),
        open_run_folder(long),
    ):
        pass
    assert not os.path.exists(long)


def test_the_longest_socket_path_fits(root: str) -> None:
    longest = len(os.fsencode(socket_path(f"{root}/01234567", 2**64 - 1)))
    with open_run_folder(root + "x" * (107 - longest)) as folder:
        assert len(os.fsencode(socket_path(folder, 2**64 - 1))) == 107


def test_the_root_is_the_users_runtime_folder_if_it_is_his(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = f"{os.path.realpath('/tmp')}/regrow-{os.geteuid()}"
    monkeypatch.setattr("tempfile.tempdir", "/tmp")
    monkeypatch.setenv("XDG_RUNTIME_DIR", f"{tmp_path}/")
    assert default_root() == f"{tmp_path}/regrow"
    for other in ("", "not/absolute", f"{tmp_path}/missing"):
        monkeypatch.setenv("XDG_RUNTIME_DIR", other)
        assert default_root() == temporary


def test_the_soft_limit_of_open_files_becomes_the_hard_one() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        assert raise_open_file_limit() == before[1]
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
