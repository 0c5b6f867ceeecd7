"""Classes by their names, and where they are looked for."""

import importlib
import os
import site
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.node import ComputeNode
from runtime.errors import SpawnError
from shell import classes
from shell.classes import find_class, import_from_here


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with modules that can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_class_is_found_by_its_name() -> None:
    assert find_class("actors.node:ComputeNode") is ComputeNode


MODULES = {
    "fine_zz": "import actors\nclass A(actors.Actor):\n    class B(actors.Actor): ...\nx = 1\n",
    "broken_zz": "1 / 0\n",
    "leaves_zz": "raise SystemExit(3)\n",
    "needs_zz": "import nothing_zz.at_all\n",
    "bad_zz": "def (\n",
}


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("nothing_zz:A", "there is no module 'nothing_zz'"),
        ("nothing_zz.sub:A", "there is no module 'nothing_zz'"),
        ("os.sub_zz:A", "there is no module 'os.sub_zz'"),
        ("broken_zz:A", "broken_zz cannot be imported: ZeroDivisionError: division by zero"),
        ("leaves_zz:A", "leaves_zz cannot be imported: SystemExit: 3"),
        ("needs_zz:A", "needs_zz cannot be imported: No module named 'nothing_zz'"),
        ("fine_zz:C", "there is no 'C' in fine_zz (FOLDER/fine_zz.py)"),
        ("fine_zz:A.C", "there is no 'A.C' in fine_zz (FOLDER/fine_zz.py)"),
        ("fine_zz:x", "fine_zz:x is no class of actors"),
        ("json:JSONDecoder", "json:JSONDecoder is no class of actors"),
    ],
)
def test_what_is_no_class_of_actors_is_said_in_one_line(entry: str, why: str, folder: Path) -> None:
    for name, text in MODULES.items():
        (folder / f"{name}.py").write_text(text)
    import_from_here()
    with pytest.raises(SpawnError) as caught:
        find_class(entry)
    assert str(caught.value) == why.replace("FOLDER", str(folder))
    assert find_class("fine_zz:A.B").__qualname__ == "A.B"


def test_what_a_module_prints_is_no_data(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "loud_zz.py").write_text("from actors import Actor as A\nprint('hello')\n")
    import_from_here()
    find_class("loud_zz:A")
    assert capsys.readouterr() == ("", "hello\n")


def test_a_module_that_comes_or_is_mended_later_is_found(folder: Path) -> None:
    import_from_here()
    with pytest.raises(SpawnError):
        find_class("late_zz:A")
    (folder / "late_zz.py").write_text("oops")
    with pytest.raises(SpawnError, match="NameError"):
        find_class("late_zz:A")
    (folder / "late_zz.py").write_text("from actors import Actor as A  # longer now\n")
    assert find_class("late_zz:A").__name__ == "Actor"


def test_the_working_directory_stands_before_what_is_installed_and_behind_the_library(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, sites = "/lib/python", "/site-packages"
    monkeypatch.setattr(site, "getsitepackages", lambda: [sites])
    monkeypatch.setattr(sys, "path", [library, sites])
    import_from_here()
    import_from_here()
    assert sys.path == [library, str(folder), sites]


@pytest.mark.parametrize("name", classes.OWN)
def test_a_folder_that_would_shadow_our_packages_comes_last(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / f"{name}.py").write_text("")
    importlib.invalidate_caches()
    monkeypatch.setattr(sys, "path", ["/lib/python", *site.getsitepackages()])
    import_from_here()
    assert sys.path[-1] == str(folder)


def test_a_working_directory_that_is_gone_is_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "gone").mkdir()
    monkeypatch.chdir(folder / "gone")
    os.rmdir(folder / "gone")
    before = list(sys.path)
    import_from_here()
    assert sys.path == before
