"""The README's examples do what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BOUND_S = 50.0

pytestmark = pytest.mark.real


def test_the_program_runs(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    script = tmp_path / "program.py"
    script.write_text(program)
    ran = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "7\n", "")


def test_the_session_at_the_shell_goes_as_it_is_told() -> None:
    """Numbers aside: pids, and milliseconds."""
    text = README.partition("## A minute at the shell")[2].partition("Kill nodes")[0]
    rows = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    commands = [row[:25].strip() for row in rows if row[:25].strip()]
    answers = [re.sub(r"(?<=\S) {3,}\S.*", "", row[25:]) for row in rows]
    ran = subprocess.run(
        [str(Path(sys.executable).parent / "regrow")],
        input="\n".join(commands) + "\n",
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )
    said = [line for line in ran.stdout.splitlines() if line]
    assert [_blank(line) for line in said] == [*map(_blank, answers), "Ok"]
    assert (ran.returncode, ran.stderr) == (0, "")


def _blank(line: str) -> str:
    return re.sub(r"\d{3,}|(?<=Ok:2: )\d+", "N", line)
