"""What ``why`` prints of a certificate."""

from __future__ import annotations

import json

import pytest

from runtime.exits import ExitReason
from shell.certificate import NOT_OURS, CertificateView
from shell.tree import NodeState

KILLED = ExitReason(kind="killed", signal=9)
CRASHED = ExitReason(
    kind="crashed",
    error="LookupError",
    message="no\nsuch",
    traceback='Traceback:\n  File "x"\n\nLookupError: no\nsuch\n',
    handler="find",
    handler_age_s=0.25,
    output=("before", 'Traceback:\n  File "x"', "\x1b[31mred", "LookupError: no", "such"),
    user_s=0.5,
    system_s=0.125,
    max_rss_bytes=33 * 1024 * 1024,
    restarts=2,
)


@pytest.mark.parametrize(
    ("state", "reason", "first"),
    [
        (NodeState.OK, None, "7 is alive"),
        (NodeState.FROZEN, None, "7 is alive"),
        (NodeState.RESTARTING, None, "7 is coming up"),
        (NodeState.OK, KILLED, "7 is alive, after killed(SIGKILL)"),
        (NodeState.DEAD, KILLED, "7 is dead: killed(SIGKILL)"),
        (NodeState.RESTARTING, KILLED, "7 is restarting: killed(SIGKILL)"),
        (NodeState.GIVEN_UP, KILLED, "7 is given up: killed(SIGKILL)"),
        (None, KILLED, "7 is gone: killed(SIGKILL)"),
        (NodeState.DEAD, CRASHED, "7 is dead: crashed(LookupError: no\\nsuch)"),
    ],
)
def test_the_first_line_says_all(
    state: NodeState | None, reason: ExitReason | None, first: str
) -> None:
    assert CertificateView(7, state, reason).text().split("\n")[0] == first


def test_a_certificate_in_full() -> None:
    assert CertificateView("a/b", NodeState.DEAD, CRASHED).text() == (
        "a/b is dead: crashed(LookupError: no\\nsuch)\n"
        "  handler: find, for 0.250 s\n"
        "  used: 0.500 s user, 0.125 s system, 33.0 MiB\n"
        "  restarts before it: 2\n"
        "  output:\n"
        "    before\n"
        '    Traceback:\\n  File "x"\n'
        "    \\x1b[31mred\n"
        "  traceback:\n"
        "    Traceback:\n"
        '      File "x"\n'
        "    \n"
        "    LookupError: no\n"
        "    such\n"
    )


def test_who_killed_it_and_the_want_of_memory_have_lines() -> None:
    reason = ExitReason(kind="killed", signal=9, message="a stop: it was frozen", oom="it rose")
    assert CertificateView(7, NodeState.DEAD, reason).text() == (
        "7 is dead: killed(SIGKILL)\n"
        "  because: a stop: it was frozen\n"
        "  out of memory: it rose\n"
        "  restarts before it: 0\n"
    )


@pytest.mark.parametrize(
    ("reason", "because"),
    [
        (KILLED, "signal 9, by no order of this system: from outside, or its own doing"),
        (
            ExitReason(kind="killed", signal=11),
            "signal 11, by no order of this system: from outside, or its own doing",
        ),
        (
            ExitReason(kind="killed", signal=9, message="a kill, ordered in this system"),
            "a kill, ordered in this system",
        ),
        (ExitReason(kind="killed", signal=9, oom="it rose"), None),
        (
            ExitReason(kind="shutdown", signal=15, message="SIGTERM from outside"),
            "SIGTERM from outside",
        ),
        (ExitReason(kind="normal"), None),
        (ExitReason(kind="unknown"), None),
        (CRASHED, None),
    ],
    ids=str,
)
def test_who_killed_it_is_said_as_far_as_it_is_known(
    reason: ExitReason, because: str | None
) -> None:
    lines = CertificateView(7, NodeState.DEAD, reason).text().splitlines()
    said = [line for line in lines if "because" in line]
    assert said == ([] if because is None else [f"  because: {because}"])


def test_the_same_as_json() -> None:
    view = json.loads(CertificateView(7, NodeState.OK, CRASHED).json())
    assert view["alive"] is True
    assert view["reason"] == "crashed(LookupError: no\nsuch)"
    assert view["certificate"]["handler"] == "find"
    assert json.loads(CertificateView(7, NodeState.OK, None).json()) == {
        "alive": True,
        "reason": None,
        "certificate": None,
    }


@pytest.mark.parametrize(
    ("reason", "because"),
    [
        (ExitReason(kind="killed", signal=9), f"signal 9, {NOT_OURS}"),
        (ExitReason(kind="killed", signal=9, message="a kill"), "a kill"),
        (ExitReason(kind="killed", signal=9, oom="it was"), None),
        (ExitReason(kind="killed"), None),
        (ExitReason(kind="shutdown"), None),
        (CRASHED, CRASHED.message),
    ],
    ids=["from outside", "by us", "for memory", "no signal", "shutdown", "crashed"],
)
def test_who_killed_it_is_said_in_json_in_the_words_of_the_text(
    reason: ExitReason, because: str | None
) -> None:
    view = CertificateView(7, NodeState.DEAD, reason)
    assert json.loads(view.json())["certificate"].get("message") == because
    said = [line for line in view.text().splitlines() if line.startswith("  because: ")]
    assert said == ([] if reason is CRASHED or because is None else [f"  because: {because}"])
