"""Dead, frozen, busy, cut off: the evidence, and what it means."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runtime.detection.verdict import judge
from runtime.processes.evidence import looking_into


@pytest.mark.parametrize(
    ("evidence", "kind", "text"),
    [
        pytest.param({"pidfd_fired": True, "state": None}, "dead", "its pidfd fired", id="pidfd"),
        pytest.param(
            {"pidfd_fired": True, "state": "T", "loop_moved": True},
            "dead",
            "its pidfd fired",
            id="a-number-may-be-somebody-elses-by-now",
        ),
        pytest.param(
            {"pidfd_fired": None, "state": "Z"},
            "dead",
            "its process has ended and is not reaped (state Z)",
            id="zombie",
        ),
        pytest.param(
            {"pidfd_fired": False, "state": "X"},
            "dead",
            "its process has ended (state X)",
            id="ended",
        ),
        pytest.param(
            {"pidfd_fired": False, "state": "T"},
            "frozen",
            "its process is stopped by a signal (state T)",
            id="stopped-controller-or-node",
        ),
        pytest.param(
            {"pidfd_fired": None, "state": "T", "handler": "add", "cpu_moved": True},
            "frozen",
            "its process is stopped by a signal (state T)",
            id="stopped-inside-a-handler",
        ),
        pytest.param(
            {"pidfd_fired": False, "state": "t"},
            "frozen",
            "its process is stopped by a tracer (state t)",
            id="traced",
        ),
        pytest.param(
            {"pidfd_fired": False, "state": "R", "handler": "add", "handler_age_s": 3.21}
            | {"loop_moved": False, "cpu_moved": True},
            "busy",
            "handler add has run for 3.2 s, computing",
            id="computing",
        ),
        pytest.param(
            {"pidfd_fired": False, "state": "S", "handler": "add", "handler_age_s": 3.0}
            | {"loop_moved": False, "cpu_moved": False},
            "busy",
            "handler add has run for 3.0 s, blocked: it uses no CPU time",
            id="blocked",
        ),
        pytest.param(
            {"pidfd_fired": False, "state": "D", "cpu_moved": False},
            "busy",
            "it lives, waiting in the kernel (state D)",
            id="waiting-for-a-disk",
        ),
        pytest.param(
            {"pidfd_fired": False, "state": "S"},
            "busy",
            "it lives, in state S",
            id="no-status-page",
        ),
        pytest.param(
            {"pidfd_fired": False, "state": "S", "loop_moved": True},
            "busy",
            "its loop turns, but no beats arrive",
            id="only-its-beats-are-late",
        ),
        pytest.param(
            {"pidfd_fired": False, "state": None},
            "busy",
            "it lives, its state cannot be read",
            id="hidden-but-the-pidfd-says-it-lives",
        ),
        pytest.param(
            {"pidfd_fired": None, "state": None},
            "cut off",
            "nothing can be learned from its host",
            id="nothing-known",
        ),
    ],
)
def test_judge(evidence: dict[str, Any], kind: str, text: str) -> None:
    verdict = judge(**evidence)
    assert (verdict.kind, verdict.evidence) == (kind, text)


@pytest.mark.real
def test_a_process_of_this_machine_that_is_no_more_is_dead_and_not_cut_off(
    tmp_path: Path,
) -> None:
    look = looking_into(str(tmp_path))
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert look(1, child.pid).state in {"R", "S", "D"}
    child.communicate()
    seen = look(1, child.pid)
    assert judge(pidfd_fired=None, state=seen.state).kind == "dead"
    assert look(1, 0).state is None  # nobody knows its number
