"""Imports point one way: shell -> actors -> runtime -> (zmq only at its edge)."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "runtime": {"runtime"},
    "actors": {"actors", "runtime"},
    "shell": {"shell", "actors", "runtime"},
}
# The zygote imports it only so that the nodes it forks have it loaded; it opens no context. The
# wire itself is six: what all have, what a network adds, what one with several paths does, who is
# let in from it, why one is not, and what libzmq reports of either.
ZMQ_MODULES = {
    "runtime/wires/zmq_door.py",
    "runtime/wires/zmq_mptcp.py",
    "runtime/wires/zmq_refusal.py",
    "runtime/wires/zmq_reports.py",
    "runtime/wires/zmq_tcp.py",
    "runtime/wires/zmq_transport.py",
    "runtime/processes/zygote.py",
}
# The rooms of a package, from the ground up; what lies beside them may be used in all.
ROOMS = {
    "runtime": [
        "network",
        "multipath",
        "messages",
        "weather",
        "processes",
        "wires",
        "traffic",
        "cells",
        "detection",
        "hosts",
        "lockstep",
    ],
    "actors": ["supervision", "control", "archive", "testing", "simulation"],
}
# No thread of ours, no second process machinery, nothing unpickled from a socket.
NEVER = {"_pickle", "_thread", "concurrent", "multiprocessing", "pickle", "threading"}
ENTRY_ABOVE = re.compile(r"(actors|shell)[.:]\w")

MODULES = [p for package in MAY_IMPORT for p in sorted((ROOT / package).rglob("*.py"))]
TESTS = sorted((ROOT / "tests").glob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> set[str]:
    """Every top-level package a file names, at any depth, typing-only too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.ImportFrom):
            found.add(path.relative_to(ROOT).parts[0])
    return found


def names(path: Path) -> set[str]:
    """Every name, attribute and string of a file; of a string only the whole."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.add(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found


def rooms(path: Path) -> set[str]:
    """The rooms of its package from which a file imports when it is run."""
    package = path.relative_to(ROOT).parts[0]
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{package}."):
            found.add(str(node.module).split(".")[1])
        waiting += ast.iter_child_nodes(node)
    return found & set(ROOMS[package])


every_module = pytest.mark.parametrize("path", MODULES, ids=name_of)


@every_module
def test_imports_point_down(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    upward = imports(path) & MAY_IMPORT.keys() - MAY_IMPORT[package]
    assert not upward


@every_module
def test_no_module_starts_threads_or_reads_pickles(path: Path) -> None:
    assert not imports(path) & NEVER
    assert "to_thread" not in names(path)


@pytest.mark.parametrize(
    "path", [p for p in MODULES if name_of(p).startswith("runtime/")], ids=name_of
)
def test_the_runtime_names_no_entry_above_it(path: Path) -> None:
    assert not [text for text in names(path) if ENTRY_ABOVE.match(text)]


@pytest.mark.parametrize(
    "path", [p for p in MODULES if len(p.relative_to(ROOT).parts) == 3], ids=name_of
)
def test_a_room_stands_on_those_below_it(path: Path) -> None:
    package, room, _ = path.relative_to(ROOT).parts
    below = ROOMS[package][: ROOMS[package].index(room)]
    assert rooms(path) <= {*below, room}


@pytest.mark.parametrize("package", ROOMS)
def test_every_room_has_its_place(package: str) -> None:
    folders = {p.name for p in (ROOT / package).iterdir() if (p / "__init__.py").exists()}
    assert folders == set(ROOMS[package])


@pytest.mark.parametrize("path", [*MODULES, *TESTS], ids=name_of)
def test_zmq_is_imported_at_one_rim(path: Path) -> None:
    if name_of(path) not in ZMQ_MODULES and not name_of(path).startswith("tests/bench"):
        assert "zmq" not in imports(path)


@every_module
def test_netlink_is_spoken_by_the_multipath_package_alone(path: Path) -> None:
    if not name_of(path).startswith("runtime/multipath/"):
        assert "AF_NETLINK" not in names(path)
        assert "runtime.multipath.netlink" not in path.read_text()


@every_module
def test_a_module_fits_on_a_few_screens(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400
