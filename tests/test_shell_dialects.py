"""Every literal of every dialect."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.control.heartbeat import Notice, Sign
from runtime.exits import ExitReason
from shell.answers import MAX_WHY, Created, Done, Failed, Failure, Outcome, one_line
from shell.certificate import NOT_OURS, CertificateView
from shell.commands import (
    Command,
    Create,
    Execute,
    Exit,
    Heartbeat,
    Help,
    Kill,
    ListAll,
    Mistake,
    Ping,
    Remove,
    Restart,
    ShowTree,
    Sleep,
    Why,
)
from shell.dialects import DIALECTS, shown
from shell.grammar import parse
from shell.tree import NodeState, Place
from shell.views import TreeView

VIEW = TreeView(
    100,
    [
        Place(1, -1, 101, NodeState.DEAD, -1),
        Place(2, 1, 102, NodeState.OK, -1),
        Place(4, -1, 104, NodeState.CUT_OFF, -1),
        Place(3, 2, 103, NodeState.FROZEN, 2),
    ],
)
DRAWN = (
    "-1 pid 100 ok\n"
    "  1 pid 101 dead\n"
    "    2 pid 102 ok guardian -1\n"
    "      3 pid 103 frozen\n"
    "  4 pid 104 cut off\n"
    "\n"
)

X = Execute(7, "x")
STARTED = "Ok: 42\nCompute Node 7 started, listening on ipc://x\n"
NOT_AVAILABLE = "Error: Node is not available\n"
BAD_SUBCOMMAND = "Error: bad subcommand\n"

TABLE: list[tuple[Command, Outcome, str, str | None, str]] = [
    # command, outcome, spec, v34, v45; "" means as in spec, None no answer
    (Create(7), Done(Created(42, "ipc://x")), "Ok: 42\n", STARTED, "OK: 42\n"),
    (Create(7), Failed(Failure.ALREADY_EXISTS), "Error: Already exists\n", "", ""),
    (Create(7), Failed(Failure.PARENT_NOT_FOUND), "Error: Parent not found\n", "", ""),
    (Create(7), Failed(Failure.PARENT_UNAVAILABLE), "Error: Parent is unavailable\n", "", ""),
    (Create(7), Failed(Failure.OTHER, "no\nroom"), "Error: no\\nroom\n", "", ""),
    (Execute(7, "start"), Done(), "Ok:7\n", "", "OK: start\n"),
    (Execute(7, "stop"), Done(), "Ok:7\n", "", "OK: stop\n"),
    (Execute(7, "time"), Done(4716), "Ok:7: 4716\n", "Ok:7:4716\n", "OK: 4716 ms\n"),
    (X, Done(), "Ok:7\n", "", ""),
    (X, Done(5), "Ok:7: 5\n", "", ""),
    (X, Done("a: b"), "Ok:7: a: b\n", "", ""),
    (X, Done({"a": [1, None]}), 'Ok:7: {"a": [1, null]}\n', "", ""),
    (Execute(7, "time"), Done("noon"), "Ok:7: noon\n", "Ok:7:noon\n", ""),
    (Execute(7, "time"), Done(), "Ok:7\n", "", ""),
    (Execute("a/b", "x"), Done(5), "Ok:a/b: 5\n", "", ""),
    (Execute("a", "x"), Failed(Failure.OTHER, "no"), "Error:a: no\n", "", "Error: no\n"),
    (Restart(7), Done(Created(42, "ipc://x")), "Ok: 42\n", "", ""),
    (Restart(7), Failed(Failure.NOT_FOUND), "Error: Not found\n", "", ""),
    (Restart(7), Failed(Failure.OTHER, "no"), "Error: no\n", "", ""),
    (Why(7), Done(CertificateView(7, NodeState.OK, None)), "7 is alive\n\n", "", ""),
    (Why(7), Failed(Failure.NOT_FOUND), "Error: Not found\n", "", ""),
    (Help(id=7), Done(("f() -> int",)), "f() -> int\n\n", "", ""),
    (Help(id=7), Failed(Failure.NOT_FOUND), "Error: Not found\n", "", ""),
    (X, Failed(Failure.NOT_FOUND), "Error:7: Not found\n", "", "Error: Not found\n"),
    (X, Failed(Failure.UNAVAILABLE), "Error:7: Node is unavailable\n", "", NOT_AVAILABLE),
    (X, Failed(Failure.UNKNOWN), "Error:7: Unknown command\n", "", BAD_SUBCOMMAND),
    (X, Failed(Failure.OTHER, "no"), "Error:7: no\n", "", "Error: no\n"),
    (Ping(7), Done(True), "Ok: 1\n", "Ok: 1 // узел 7 доступен\n", "OK: 1\n"),
    (Ping(7), Done(False), "Ok: 0\n", "Ok: 0 // узел 7 недоступен\n", "OK: -1\n"),
    (Ping(7), Failed(Failure.NOT_FOUND), "Error: Not found\n", "", "OK: -1\n"),
    (Heartbeat(10), Done(2), "Ok\n", None, "OK\n"),
    (Heartbeat(10), Done(0), "Ok\n", None, "Error: Not found\n"),
    (Remove(7), Done(), "Ok\n", "", "OK\n"),
    (Remove(7), Failed(Failure.NOT_FOUND), "Error: Not found\n", "", ""),
    (Remove(7), Failed(Failure.UNAVAILABLE), "Error: Node is unavailable\n", "", NOT_AVAILABLE),
    (Kill(7), Done(), "Ok\n", "", ""),
    (Kill(7), Failed(Failure.NOT_FOUND), "Error: Not found\n", "", ""),
    (ListAll(), Done((3, 1)), "3 1\n", "", "3 1 \n"),
    (ListAll(), Done(()), "\n", "", "Error: Not found\n"),
    (ShowTree(), Done(VIEW), DRAWN, "", ""),
    (Sleep(1), Done(), "Ok\n", "", ""),
    (Help(), Done(("a", "b")), "a\nb\n\n", "", ""),
    (Help("x"), Failed(Failure.UNKNOWN), "Error: Unknown command\n", "", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "outcome", "spec", "v34", "v45"),
    TABLE,
    ids=[f"{type(row[0]).__name__}-{str(row[1])[:40]}" for row in TABLE],
)
def test_answers(command: Command, outcome: Outcome, spec: str, v34: str | None, v45: str) -> None:
    expected = {
        "spec": spec,
        "v34": "" if v34 is None else v34 or spec,
        "v45": v45 or spec,
    }
    answers = {name: DIALECTS[name]().answer(command, outcome, 1, 0.0) for name in expected}
    assert answers == expected


@pytest.mark.parametrize(
    ("line", "spec", "v34", "v45"),
    [
        ("foo", "Error: Unknown command\n", "Error: [Unknown command]\n", "Error: bad command\n"),
        (
            "create",
            "Error: create needs an ID\n",
            "Error: Missing arguments for 'create' command\n",
            "Error: create needs an ID\n",
        ),
        (
            "exec 1",
            "Error: exec 1 needs a command for the node\n",
            "Error: exec 1 needs a command for the node\n",
            "Error: bad subcommand\n",
        ),
        ("heartbeat 9", *["Error: MS must be 10 to 86400000\n"] * 3),
        ("ping 'a\x1b'", *["Error: ID must be 0 to 2147483647, not 'a\\x1b'\n"] * 3),
    ],
    ids=["unknown", "create", "exec", "heartbeat", "ping"],
)
def test_mistakes(line: str, spec: str, v34: str, v45: str) -> None:
    mistake = parse(line)
    assert isinstance(mistake, Mistake)
    outcome = Failed(Failure.OTHER, mistake.why)
    answers = [DIALECTS[name]().answer(mistake, outcome, 1, 0.0) for name in ("spec", "v34", "v45")]
    assert answers == [spec, v34, v45]


@pytest.mark.parametrize(
    ("sign", "spec", "v34", "json_"),
    [
        (
            Sign.LOST,
            "Heartbit: node 2 is unavailable now\n",
            "НОДА: 2 // СДОХЛА\n",
            '{"notice": "heartbit", "id": 2, "available": false}\n',
        ),
        (
            Sign.BACK,
            "Heartbit: node 2 is available again\n",
            "",
            '{"notice": "heartbit", "id": 2, "available": true}\n',
        ),
        (Sign.BEAT, "", "Ok: 2 // got beat\n", ""),
    ],
)
def test_notices(sign: Sign, spec: str, v34: str, json_: str) -> None:
    notices = [DIALECTS[n]().notice(Notice(2, sign)) for n in ("spec", "v34", "json", "v45")]
    assert notices == [spec, v34, json_, ""]


@pytest.mark.parametrize(
    ("dialect", "after_exit", "after_end"),
    [("spec", "Ok\n", "Ok\n"), ("v34", "Ok\n", "Exiting on EOF.\n"), ("v45", "OK\n", "OK\n")],
)
def test_the_end(dialect: str, after_exit: str, after_end: str) -> None:
    words = DIALECTS[dialect]()
    assert words.end(Exit(), 3, 0.0) == after_exit
    assert words.end(Exit(), None, 0.0) == after_end


@pytest.mark.parametrize(
    ("command", "outcome", "text"),
    [
        (
            Execute(2, "time"),
            Done(4716),
            '{"line": 7, "command": "exec", "id": 2, "ok": true, "result": 4716, '
            '"elapsed_ms": 0.4}',
        ),
        (
            Execute(2, "time"),
            Failed(Failure.NOT_FOUND),
            '{"line": 7, "command": "exec", "id": 2, "ok": false, "error": "Not found", '
            '"elapsed_ms": 0.4}',
        ),
        (
            Mistake("é", word="ping"),
            Failed(Failure.OTHER, 'é "'),
            '{"line": 7, "command": "ping", "ok": false, "error": "é \\"", "elapsed_ms": 0.4}',
        ),
        (
            ListAll(),
            Done((3, 1)),
            '{"line": 7, "command": "all", "ok": true, "result": [3, 1], "elapsed_ms": 0.4}',
        ),
        (
            Ping(1),
            Done(True),
            '{"line": 7, "command": "ping", "id": 1, "ok": true, "result": 1, "elapsed_ms": 0.4}',
        ),
        (
            Sleep(5),
            Done(),
            '{"line": 7, "command": "sleep", "ok": true, "result": null, "elapsed_ms": 0.4}',
        ),
        (
            Execute("a/b", "x"),
            Done({"k": "é"}),
            '{"line": 7, "command": "exec", "id": "a/b", "ok": true, "result": {"k": "é"}, '
            '"elapsed_ms": 0.4}',
        ),
        (
            Restart(1),
            Done(Created(42, "ipc://x")),
            '{"line": 7, "command": "restart", "id": 1, "ok": true, "result": 42, '
            '"elapsed_ms": 0.4}',
        ),
        (
            Why(1),
            Done(CertificateView(1, NodeState.DEAD, ExitReason(kind="killed", signal=9))),
            '{"line": 7, "command": "why", "id": 1, "ok": true, "result": {"alive": false, '
            '"reason": "killed(SIGKILL)", "certificate": {"kind": "killed", "signal": 9, '
            f'"message": "signal 9, {NOT_OURS}"}}}}, '
            '"elapsed_ms": 0.4}',
        ),
        (
            Help(id=1),
            Done(("f()", "g()")),
            '{"line": 7, "command": "help", "id": 1, "ok": true, "result": ["f()", "g()"], '
            '"elapsed_ms": 0.4}',
        ),
    ],
    ids=["exec", "not found", "mistake", "all", "ping", "sleep", "names", "restart", "why", "help"],
)
def test_json(command: Command, outcome: Outcome, text: str) -> None:
    assert DIALECTS["json"]().answer(command, outcome, 7, 0.0004) == text + "\n"


def test_the_json_tree_is_nested() -> None:
    assert json.loads(VIEW.json()) == {
        "id": -1,
        "pid": 100,
        "state": "ok",
        "children": [
            {
                "id": 1,
                "pid": 101,
                "state": "dead",
                "guardian": -1,
                "children": [
                    {
                        "id": 2,
                        "pid": 102,
                        "state": "ok",
                        "guardian": -1,
                        "children": [
                            {
                                "id": 3,
                                "pid": 103,
                                "state": "frozen",
                                "guardian": 2,
                                "children": [],
                            }
                        ],
                    }
                ],
            },
            {"id": 4, "pid": 104, "state": "cut off", "guardian": -1, "children": []},
        ],
    }


def test_a_notice_names_a_name() -> None:
    notice = Notice("boss", Sign.LOST)
    assert DIALECTS["spec"]().notice(notice) == "Heartbit: node boss is unavailable now\n"
    assert json.loads(DIALECTS["json"]().notice(notice))["id"] == "boss"


def test_a_tree_of_names_and_of_fates() -> None:
    view = TreeView(
        100,
        [
            Place("boss", -1, 101, NodeState.RESTARTING, -1),
            Place("boss/cell", "boss", 101, NodeState.OK, "boss"),
            Place("kid", "boss", 102, NodeState.GIVEN_UP, -1),
        ],
    )
    assert view.text() == (
        "-1 pid 100 ok\n  boss pid 101 restarting\n    boss/cell pid 101 ok\n"
        "    kid pid 102 given up guardian -1\n"
    )
    (boss,) = json.loads(view.json())["children"]
    assert (boss["id"], boss["state"]) == ("boss", "restarting")
    assert [(each["id"], each["guardian"]) for each in boss["children"]] == [
        ("boss/cell", "boss"),
        ("kid", -1),
    ]


def test_a_list_of_5000_nodes_can_be_drawn() -> None:
    view = TreeView(1, [Place(id, id - 1, 9, NodeState.OK, id - 1) for id in range(5000)])
    assert len(view.text().splitlines()) == 5001
    assert view.json().count("children") == 5001


def test_v34_hears_stop_only_while_beats_are_on() -> None:
    words = DIALECTS["v34"]()
    assert isinstance(words.read("stop"), Mistake)
    assert words.echo("stop") == "Received command: stop\n"
    assert words.read("heartbeat 100") == Heartbeat(100)
    assert words.echo("heartbeat 100") == "Received command: heartbeat 100\n"
    assert words.read("stop") == Heartbeat(0)
    assert words.echo("stop") == ""
    assert isinstance(words.read("stop"), Mistake)


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("bare text", "bare text"),
        ("узел", "узел"),
        ("two\nlines", '"two\\nlines"'),
        ("\u2028", '"\\u2028"'),
        ([1, "é"], '[1, "é"]'),
        ({"a": "\x7f"}, '{"a": "\\u007f"}'),
        (1.5, "1.5"),
        (True, "true"),
    ],
)
def test_results_on_one_line(result: object, text: str) -> None:
    assert shown(result) == text


@given(st.text(st.characters()) | st.text(st.characters(), min_size=999, max_size=1100))
def test_why_is_one_printable_line(text: str) -> None:
    line = one_line(text)
    assert line.isprintable()
    assert len(line) <= MAX_WHY
    if text.isprintable() and len(text) <= MAX_WHY:
        assert line == text
