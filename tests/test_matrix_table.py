"""The README's table says what the results say, and goes where its marks are."""

import sys
from pathlib import Path

import pytest

from tests import matrix_table
from tests.matrix_table import BEGIN, END, HEAD, rows

SEEN = {"end_s": 0.5, "left_s": 0.002}
KILLED = {
    "wait leaf": ("ok", "killed(SIGKILL)", 0.0124),
    "ask leaf": ("ActorDeadError", "unknown", 0.02),
}
CRASHED = {"wait leaf": ("ok", "crashed(LookupError: no)", 0.001)}


def cell(victim: str, event: str, **seen: object) -> dict[str, object]:
    return {"victim": victim, "event": event, "moment": "idle", **SEEN, **seen}


def test_a_row_is_made_of_all_cells_of_its_kind() -> None:
    results = [
        cell("zygote", "SIGKILL", replaced_s=0.7),
        cell("leaf", "raise", told=CRASHED, strays_s=0.1),
        cell("leaf", "SIGKILL", told=KILLED, strays_s=0.03),
        cell("several", "SIGKILL", told={"wait leaf": ("ok", "killed(SIGKILL)", 0.05)}),
        cell("controller", "SIGTERM"),
    ]
    assert rows(results) == [
        "| a node | SIGKILL | asks, streams: `ActorDeadError`; monitors: `Down`: killed(SIGKILL) "
        "| 50 ms | nothing, 30 ms |",
        "| a node | an exception in a told handler | asks, streams: `ActorDeadError`; "
        "monitors: `Down`: crashed(LookupError) | 1 ms | nothing, 100 ms |",
        "| the zygote | SIGKILL | nobody: it is replaced | replaced after 700 ms | nothing, 2 ms |",
        "| the controller | SIGTERM | its block is cancelled; every node stops in order "
        "| all stopped in 500 ms | nothing, 2 ms |",
    ]


def test_the_table_is_written_between_its_marks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, readme = tmp_path / "matrix.jsonl", tmp_path / "README.md"
    results.write_text('{"victim": "controller", "event": "hog", "moment": "idle", '
                       '"end_s": 0.5, "left_s": 0.002}\n')  # fmt: skip
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    monkeypatch.setattr(sys, "argv", ["matrix_table", str(results), "--write", str(readme)])
    for _ in range(2):
        matrix_table.main()
        text = readme.read_text()
        assert text.startswith(f"before\n{BEGIN}\n\n{HEAD[0]}\n")
        assert text.endswith(f"\n\n1 of 215 cells were run for this.\n\n{END}\nafter\n")
        assert "\nold\n" not in text
