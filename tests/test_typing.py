"""What type checkers say of the public API: mypy --strict, and pyright.

They belong to the extra ``check``; ``make check`` runs this file.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ACCEPTS = "tests/typing_accepts.py"
REFUSES = "tests/typing_refuses.py"
BOUND_S = 300

Errors = dict[str, dict[int, str]]
"""By file and line."""


def mypy() -> Errors:
    """What mypy --strict says of both files."""
    found: Errors = {ACCEPTS: {}, REFUSES: {}}
    run = _run("mypy", "--strict", "--no-pretty", "--hide-error-context", ACCEPTS, REFUSES)
    for line in run.stdout.splitlines():
        error = re.match(r"([^:]+):(\d+): error: (.*)", line)
        if error and error[1] in found:
            found[error[1]][int(error[2])] = error[3]
    assert run.returncode in (0, 1), run.stderr
    return found


def pyright() -> Errors:
    """What pyright says of both files, in its strict mode for what they import."""
    found: Errors = {ACCEPTS: {}, REFUSES: {}}
    run = _run("pyright", "--outputjson", "--pythonpath", sys.executable, ACCEPTS, REFUSES)
    for each in json.loads(run.stdout)["generalDiagnostics"]:
        name = str(Path(each["file"]).relative_to(ROOT))
        if each["severity"] == "error":
            found[name][each["range"]["start"]["line"] + 1] = each["message"]
    return found


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", *command),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )


CHECKERS = [
    pytest.param(
        checker,
        id=checker.__name__,
        marks=pytest.mark.skipif(
            find_spec(checker.__name__) is None,
            reason=f"{checker.__name__} is not installed: pip install -e '.[check]'",
        ),
    )
    for checker in (mypy, pyright)
]


def bodies(name: str) -> list[ast.stmt]:
    """The statements that a file is about: those of its functions, not of its actors."""
    tree = ast.parse((ROOT / name).read_text())
    outer = [each for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    outer += [each for each in tree.body if getattr(each, "name", "") == "Wrong"]  # type: ignore[misc]
    return [statement for each in outer for statement in each.body]


def test_every_statement_to_accept_is_an_assert_type() -> None:
    for statement in bodies(ACCEPTS):
        assert isinstance(statement, ast.Expr)
        assert ast.unparse(statement).startswith("assert_type("), ast.unparse(statement)


def test_every_statement_to_refuse_takes_one_line() -> None:
    for statement in bodies(REFUSES):
        assert statement.lineno == statement.end_lineno, ast.unparse(statement)


@pytest.mark.real
@pytest.mark.parametrize("checker", CHECKERS)
def test_it_accepts_what_is_right_and_refuses_every_line_that_is_wrong(checker: object) -> None:
    assert callable(checker)
    errors: Errors = checker()
    assert errors[ACCEPTS] == {}
    wrong = {statement.lineno for statement in bodies(REFUSES)}
    missed = wrong - errors[REFUSES].keys()
    assert not missed, [(ROOT / REFUSES).read_text().splitlines()[n - 1] for n in sorted(missed)]
    assert not {n: errors[REFUSES][n] for n in errors[REFUSES].keys() - wrong}
