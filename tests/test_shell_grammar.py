"""Lines to words to commands. Nothing raises, whatever is read."""

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shell.commands import (
    WORDS,
    Command,
    Create,
    Execute,
    Exit,
    Flaw,
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
from shell.grammar import MAX_ID, parse
from shell.words import split_words

NOISE = st.text(alphabet="ab \t\r\n'\"\\#é\x0b\u00a0\u2028")


@given(NOISE.filter(lambda line: "#" not in line))
def test_words_are_those_of_shlex(line: str) -> None:
    try:
        expected = shlex.split(line)
    except ValueError:
        with pytest.raises(ValueError, match=r"quote|backslash"):
            split_words(line)
    else:
        assert split_words(line) == expected


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("# all", []),
        ("  # all", []),
        ("a #b", ["a"]),
        ("a#b", ["a#b"]),
        ("a '#b'", ["a", "#b"]),
        (r"a \#b", ["a", "#b"]),
        ("a ''#b", ["a", "#b"]),
        ("a # 'unclosed", ["a"]),
        ("'' a", ["", "a"]),
    ],
)
def test_comments(line: str, words: list[str]) -> None:
    assert split_words(line) == words


@given(st.lists(st.text()))
def test_quoted_words_come_back(words: list[str]) -> None:
    assert split_words(shlex.join(words)) == words


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("", None),
        (" \t", None),
        ("# exec 1 time", None),
        ("create 7", Create(7)),
        ("create 7 -1", Create(7, -1)),
        ("create 007 0003", Create(7, 3)),
        ("create 2147483647", Create(MAX_ID)),
        ("'create' \"7\"", Create(7)),
        ("exec 1 time", Execute(1, "time")),
        ("\texec  0000000001\ttime  ", Execute(1, "time")),
        ("exec 1 time # now", Execute(1, "time")),
        ("exec 1 put 'a b' 2", Execute(1, "put", ("a b", "2"))),
        ("exec 1 'two words'", Execute(1, "two words")),
        ("ping 3", Ping(3)),
        ("heartbeat 10", Heartbeat(10)),
        ("heartbeat 86400000", Heartbeat(86400000)),
        ("heartbeat 0", Heartbeat(0)),
        ("heartbeat stop", Heartbeat(0)),
        ("remove 4", Remove(4)),
        ("kill 5", Kill(5)),
        ("restart 006", Restart(6)),
        ("why 006", Why(6)),
        ("create 7 --actor a:B", Create(7, None, "a:B")),
        ("create 7 3 --actor a.b:B.C", Create(7, 3, "a.b:B.C")),
        ("create 7 -1 --actor a:B x '' --actor", Create(7, -1, "a:B", ("x", "", "--actor"))),
        ("all", ListAll()),
        ("tree", ShowTree()),
        ("sleep 0", Sleep(0)),
        ("help", Help()),
        ("help exec", Help("exec")),
        ("help 007", Help(id=7)),
        ("help jump", Help("jump")),
        ("exit", Exit()),
    ],
)
def test_commands(line: str, command: Command | None) -> None:
    assert parse(line) == command


@pytest.mark.parametrize(
    ("line", "flaw", "why"),
    [
        ("foo 1", Flaw.UNKNOWN, "unknown command: 'foo'"),
        ("EXIT", Flaw.UNKNOWN, "unknown command: 'EXIT'"),
        ("''", Flaw.UNKNOWN, "unknown command: ''"),
        ("create", Flaw.NO_ARGUMENT, "create needs an ID"),
        ("exec", Flaw.NO_ARGUMENT, "exec needs an ID and a command"),
        ("exec 1", Flaw.NO_VERB, "exec 1 needs a command for the node"),
        ("create -1", Flaw.OTHER, "ID must be 0 to 2147483647, not '-1'"),
        ("create 2147483648", Flaw.OTHER, "ID must be 0 to 2147483647, not '2147483648'"),
        ("exec 9999999999 time", Flaw.OTHER, "ID must be 0 to 2147483647, not '9999999999'"),
        ("ping 00000000001", Flaw.OTHER, "ID must be 0 to 2147483647, not '00000000001'"),
        ("ping \u0661", Flaw.OTHER, "ID must be 0 to 2147483647, not '\u0661'"),
        ("ping +1", Flaw.OTHER, "ID must be 0 to 2147483647, not '+1'"),
        ("create 1 -2", Flaw.OTHER, "PARENT must be 0 to 2147483647, not '-2'"),
        ("create 1 2 3", Flaw.OTHER, "too many arguments for create: '3'"),
        ("create --actor a:B", Flaw.NO_ARGUMENT, "create needs an ID"),
        ("create 1 --actor", Flaw.NO_ARGUMENT, "create needs module:Class behind --actor"),
        ("create 1 --actr a:B", Flaw.OTHER, "create has no option '--actr'"),
        ("create 1 2 --actor=a:B", Flaw.OTHER, "create has no option '--actor=a:B'"),
        ("create 1 --x --actor a:B", Flaw.OTHER, "create has no option '--x'"),
        ("create 1 2 3 --actor a:B", Flaw.OTHER, "too many arguments for create: '3'"),
        *[
            (
                f"create 1 --actor {text}",
                Flaw.OTHER,
                f"a class is given as package.module:Class, not {text!r}",
            )
            for text in ("a", "a:", ":B", "a.:B", "a/b:C", "a:B:C", "1:B", "--actor")
        ],
        ("restart x", Flaw.OTHER, "ID must be 0 to 2147483647, not 'x'"),
        ("restart", Flaw.NO_ARGUMENT, "restart needs an ID"),
        ("why", Flaw.NO_ARGUMENT, "why needs an ID"),
        ("why 1 2", Flaw.OTHER, "too many arguments for why: '2'"),
        ("restart 1 2", Flaw.OTHER, "too many arguments for restart: '2'"),
        ("all 1", Flaw.OTHER, "too many arguments for all: '1'"),
        ("heartbeat 9", Flaw.OTHER, "MS must be 10 to 86400000"),
        ("heartbeat 86400001", Flaw.OTHER, "MS must be 10 to 86400000"),
        ("heartbeat soon", Flaw.OTHER, "MS must be 10 to 86400000"),
        ("sleep -1", Flaw.OTHER, "MS must be 0 to 9999999999, not '-1'"),
        ("ping 'a", Flaw.OTHER, "no closing quote: '"),
        ("ping a\\", Flaw.OTHER, "nothing after the last backslash"),
    ],
)
def test_mistakes(line: str, flaw: Flaw, why: str) -> None:
    mistake = parse(line)
    assert isinstance(mistake, Mistake)
    assert (mistake.flaw, mistake.why) == (flaw, why)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("exec one add 4", Execute("one", "add", ("4",))),
        ("exec 007 time", Execute("007", "time")),
        ("exec boss/cell-1 time", Execute("boss/cell-1", "time")),
        ("ping a.b", Ping("a.b")),
        ("create x", Create("x")),
        ("create x -1", Create("x", -1)),
        ("create x controller", Create("x", -1)),
        ("create x boss/cell --actor a:B 1", Create("x", "boss/cell", "a:B", ("1",))),
        ("help one", Help(id="one")),
        ("help exec", Help("exec")),
        ("help a/b/c", Help("a/b/c")),
        ("restart one", Restart("one")),
        ("why one/cell", Why("one/cell")),
        ("heartbeat 10", Heartbeat(10)),
    ],
)
def test_commands_in_a_tree_of_names(line: str, command: Command) -> None:
    assert parse(line, named=True) == command


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("ping -1", "ID must be the name of an actor, not '-1'"),
        ("ping a/b/c", "ID must be the name of an actor, not 'a/b/c'"),
        ("exec controller rows", "ID must be the name of a node, not 'controller'"),
        ("create a/b", "ID must be a name without a slash, not 'a/b'"),
        ("create a 'b c'", "PARENT must be the name of an actor, not 'b c'"),
    ],
)
def test_mistakes_in_a_tree_of_names(line: str, why: str) -> None:
    mistake = parse(line, named=True)
    assert isinstance(mistake, Mistake)
    assert mistake.why == why


@given(
    st.text() | st.builds(" ".join, st.lists(st.sampled_from([*WORDS.values(), "1", "-1", "'"])))
)
@settings(max_examples=500)
def test_parsing_never_raises(line: str) -> None:
    parse(line)
    parse(line, named=True)


@given(
    st.integers(0, 10**10 - 1),
    st.text(alphabet="atx_.-19'\"\\# ", min_size=1),
)
def test_the_plain_path_gives_what_the_long_one_would(id: int, verb: str) -> None:
    assert parse(f"exec {id} {verb}") == parse(f"'exec' {id} {verb}")
