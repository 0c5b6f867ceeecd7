"""The README's examples do what it says."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.testing import lab
from runtime.messages.codec import MAX_PAYLOAD_BYTES
from tests import mptcp

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BOUND_S = 50.0

pytestmark = pytest.mark.real


def _programs() -> Iterator[tuple[str, str]]:
    """Each program and its name; that of the first is `counter`."""
    for title, program in re.findall(r"([^\n]*)\n+```python\n(.*?)```", README, re.DOTALL):
        names = re.findall(r"<code>(\w+)\.py</code>", title)
        yield names[-1] if names else "counter", program


NO_PATHS = mptcp.missing() or lab.missing("nft", "tc")
OPTIONS = ["--strict-markers", *(["--ignore", "test_cable.py"] if NO_PATHS else [])]
PROGRAMS = dict(_programs())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where all the programs are, each in its file."""
    for name, program in PROGRAMS.items():
        (tmp_path / f"{name}.py").write_text(program)
    return tmp_path


def _run(folder: Path, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, f"{name}.py", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        check=False,
    )


def test_these_are_the_programs() -> None:
    assert list(PROGRAMS) == [
        "counter",
        *("test_counter", "test_both", "test_till", "test_storm", "test_stock", "test_alone"),
        *("test_minute", "test_cable"),
        *("tally", "words", "crawler", "sweep"),
    ]
    for name, program in PROGRAMS.items():
        assert name == "counter" or re.match(r'""".+\."""\n', program)


def test_the_most_that_a_message_holds_is_said_to_the_byte() -> None:
    assert f"{MAX_PAYLOAD_BYTES:,} bytes, 64 MiB less 128 KiB, are the most" in README
    assert MAX_PAYLOAD_BYTES == (64 * 1024 - 128) * 1024


SWEPT = "".join(f"{n} {round(1 / (n + 1), 6)}\n" for n in range(24))


@pytest.mark.parametrize(
    ("name", "answer"),
    [("counter", "7\n"), ("tally", "101\n102\n"), ("crawler", "60 pages\n"), ("sweep", SWEPT)],
    ids=["counter", "tally", "crawler", "sweep"],
)
def test_a_program_runs(folder: Path, name: str, answer: str) -> None:
    ran = _run(folder, name)
    assert (ran.stderr, ran.stdout, ran.returncode) == ("", answer, 0)


def test_the_tests_pass_and_nothing_is_configured(folder: Path) -> None:
    ran = subprocess.run(
        [*(sys.executable, "-m", "pytest", "-p", "actors.testing.plugin", "-W", "error"), *OPTIONS],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    assert re.search(rf"\b{10 - bool(NO_PATHS)} passed", ran.stdout), ran.stdout


def test_the_programs_are_typed(folder: Path) -> None:
    pytest.importorskip("mypy")
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *map(str, sorted(folder.glob("*.py")))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout


def test_words_are_counted_and_the_bar_reaches_its_end(folder: Path) -> None:
    paths = [folder / f"{n}.txt" for n in range(5)]
    for n, path in enumerate(paths):
        path.write_text("the Quick brown fox and THE quick dog\n" * (1 + n) + "the\n")
    ran = _run(folder, "words", *map(str, paths))
    assert (ran.stdout, ran.returncode) == ("35 the\n30 quick\n15 brown\n", 0)
    bars = ran.stderr.splitlines()[1:]  # each return begins a line
    assert len(bars) == len(paths)
    assert bars[-1] == f"[{'#' * 40}] 100%"


@pytest.mark.parametrize(
    ("begin", "end", "options", "varying"),
    [
        ("## A minute at the shell", "Kill nodes", [], r"\d{3,}|(?<=Ok:2: )\d+"),
        ("--restart permanent\n", "A tree of your own", ["--restart", "permanent"], r"\d{3,}"),
        pytest.param(
            *("## Over several paths", "* **Connecting", ["--transport", "mptcp"], r"(?<!-)\d+"),
            marks=pytest.mark.skipif(
                bool(os.geteuid() or mptcp.missing()), reason=mptcp.missing() or "not root"
            ),
        ),
    ],
    ids=["timers", "any actor", "several paths"],
)
def test_a_session_at_the_shell_goes_as_it_is_told(
    folder: Path, begin: str, end: str, options: list[str], varying: str
) -> None:
    """Numbers aside: pids, and milliseconds."""
    text = README.partition(begin)[2].partition(end)[0]
    rows = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    width = rows[0].index("Ok")
    commands = [row[:width].strip() for row in rows if row[:width].strip()]
    answers = [re.sub(r"(?<=\S) {3,}\S.*", "", row[width:]) for row in rows]
    ran = subprocess.run(
        [str(Path(sys.executable).parent / "regrow"), *options],
        cwd=folder,
        input="\n".join(commands) + "\n",
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )

    def blank(line: str) -> str:
        return re.sub(varying, "N", line)

    said = [line for line in ran.stdout.splitlines() if line]
    assert [blank(line) for line in said] == [*map(blank, answers), "Ok"]
    assert (ran.returncode, ran.stderr) == (0, "")
