"""``audit`` and ``trace``: their words, and their turns among other commands."""

import pytest
from trio.testing import MockClock

from actors import Audit
from runtime.errors import RemoteError
from runtime.messages.accounts import Imbalance
from shell.commands import Audit as AuditCommand
from shell.commands import Flaw, Mistake, Trace
from shell.grammar import parse
from shell.usage import usage
from tests.conversation import converse
from tests.fake_tree import FakeTree

PLAIN = Audit(
    sent=8, handled=2, failed=1, expired=1, rejected=1, undelivered=1, in_flight=2
)  # fmt: skip
WORSE = Audit(
    sent=8,
    handled=2,
    failed=1,
    expired=1,
    rejected=1,
    undelivered=1,
    in_flight=2,
    unreported=3,
    silent=("4", "5"),
    unbalanced=(Imbalance("1", "2", 5, 4), Imbalance("controller", "2", 9, 7)),
)
LINE = "sent 8 handled 2 failed 1 expired 1 rejected 1 undelivered 1 in-flight 2"


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("audit", AuditCommand()),
        ("trace 7 time", Trace(7, "time")),
        ("trace 007 add 1 'a b'", Trace(7, "add", ("1", "a b"))),
        ("audit 1", Mistake("too many arguments for audit: '1'", Flaw.OTHER, "audit")),
        ("trace 7", Mistake("trace needs an ID and a command", Flaw.NO_ARGUMENT, "trace")),
        ("trace x y", Mistake("ID must be 0 to 2147483647, not 'x'", Flaw.OTHER, "trace")),
    ],
)
def test_these_are_their_lines(line: str, command: object) -> None:
    assert parse(line) == command


async def test_an_audit_is_one_line(autojump_clock: MockClock) -> None:
    tree = FakeTree()
    tree.account = PLAIN
    assert await converse(tree, ["audit", "all"]) == f"{LINE}\n\nOk\n"


async def test_what_does_not_balance_is_announced_and_ends_with_an_empty_line(
    autojump_clock: MockClock,
) -> None:
    tree = FakeTree()
    tree.account = WORSE
    assert await converse(tree, ["audit", "ping 1"]) == (
        f"{LINE} unreported 3 silent 2 unbalanced 2\n1 -> 2: sent 5, accounted 4\n"
        "controller -> 2: sent 9, accounted 7\n\nError: Not found\nOk\n"
    )


async def test_an_audit_as_json(autojump_clock: MockClock) -> None:
    tree = FakeTree()
    tree.account = WORSE
    assert (await converse(tree, ["audit"], dialect="json")).splitlines()[0] == (
        '{"line": 1, "command": "audit", "ok": true, "result": {"sent": 8, "handled": 2, '
        '"failed": 1, "expired": 1, "rejected": 1, "undelivered": 1, "in_flight": 2, '
        '"unreported": 3, "silent": ["4", "5"], "unbalanced": [{"source": "1", "target": "2", '
        '"sent": 5, "accounted": 4}, {"source": "controller", "target": "2", "sent": 9, '
        '"accounted": 7}]}, "elapsed_ms": 0.0}'
    )


async def test_an_audit_waits_for_all_before_it_and_all_after_it_for_it(
    autojump_clock: MockClock,
) -> None:
    tree = FakeTree()
    tree.delays = {"exec": 1.5, "create 2": 0.5, "audit": 1}
    await converse(tree, ["create 1", "exec 1 start", "create 2", "audit", "exec 1 time", "ping 2"])
    assert tree.log[-3:] == [(1.5, "audit -1"), (2.5, "exec 1"), (2.5, "ping 2")]


async def test_a_trace_has_a_line_for_each_station(autojump_clock: MockClock) -> None:
    tree = FakeTree()
    tree.replies = {"bad": RemoteError("ValueError", "no\nway")}
    lines = ["create 1", "trace 1 start", "trace 1 bad", "trace 1 jump", "trace 9 start", "all"]
    assert await converse(tree, lines) == (
        "Ok: 101\nencoded 0.000\nsent 0.250\nanswered 500.000\n\n"
        "encoded 0.000\nsent 0.250\nfailed 500.000 ValueError: no\\nway\n\n"
        "Error:1: Unknown command\nError:9: Not found\n1\nOk\n"
    )


async def test_a_trace_as_json(autojump_clock: MockClock) -> None:
    tree = FakeTree()
    tree.replies = {"bad": RemoteError("ValueError", "no")}
    lines = ["create 1", "trace 1 time", "trace 1 bad"]
    assert (await converse(tree, lines, dialect="json")).splitlines()[1:3] == [
        '{"line": 2, "command": "trace", "id": 1, "ok": true, "result": {"stations": '
        '[["encoded", 0.0], ["sent", 0.25], ["answered", 500.0]], "result": 0}, '
        '"elapsed_ms": 0.0}',
        '{"line": 3, "command": "trace", "id": 1, "ok": true, "result": {"stations": '
        '[["encoded", 0.0], ["sent", 0.25], ["failed", 500.0]], "error": "ValueError: no"}, '
        '"elapsed_ms": 0.0}',
    ]


async def test_a_trace_has_the_deadline_and_the_turn_of_an_exec(autojump_clock: MockClock) -> None:
    tree = FakeTree()
    tree.delays = {"create": 1, "exec": 5, "kill": 1}
    lines = ["create 1", "trace 1 start", "kill 1", "trace 1 time"]
    assert await converse(tree, lines) == (
        "Ok: 101\nError:1: Node is unavailable\nOk\nError:1: Node is unavailable\nOk\n"
    )
    assert tree.log == [(0, "create 1"), (1, "exec 1"), (3, "kill 1")]


def test_help_says_what_the_words_mean() -> None:
    assert "N lines SOURCE -> TARGET: sent N, accounted N follow" in usage("audit")[0]
    assert "STATION MS" in usage("trace")[0]
