"""The command line."""

import pytest

from shell.options import Options, parse_options


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], Options()),
        (["--dialect", "v34"], Options(dialect="v34", topology="tree")),
        (["--dialect", "v45"], Options(dialect="v45", topology="bst")),
        (["--dialect", "v45", "--topology", "list"], Options(dialect="v45", topology="list")),
        (["--dialect=json", "--topology=bst"], Options(dialect="json", topology="bst")),
        (["--script", "f"], Options(script="f")),
        (["--restart", "permanent"], Options(restart="permanent")),
        (
            ["--strategy", "one_for_all", "--intensity", "5/10"],
            Options(strategy="one_for_all", intensity=(5, 10.0)),
        ),
        (["--intensity", "0/0.5"], Options(intensity=(0, 0.5))),
        (["run", "a.b:C"], Options(root="a.b:C")),
        (["run", "a:C", "3", "x"], Options(root="a:C", arguments=("3", "x"))),
        (["run", "a:C", "-3", "--", "-x"], Options(root="a:C", arguments=("-3", "-x"))),
        (
            ["run", "--no-shell", "a:C", "3", "--restart", "permanent", "4"],
            Options(root="a:C", arguments=("3", "4"), shell=False, restart="permanent"),
        ),
        (
            ["run", "a:C", "--dialect", "v45", "--script", "f"],
            Options(root="a:C", dialect="v45", script="f"),
        ),
        (
            ["--transport", "mptcp", "--path-manager", "userspace", "--tos", "0x48"],
            Options(transport="mptcp", path_manager="userspace", tos=72),
        ),
        (["--unordered", "--quiet-nodes"], Options(unordered=True, quiet_nodes=True)),
        (
            ["--deadline", "0.5", "--start-deadline", "9"],
            Options(deadline_s=0.5, start_deadline_s=9),
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options(arguments: list[str], options: Options) -> None:
    assert parse_options(arguments) == options


@pytest.mark.parametrize(
    "arguments",
    [
        ["--dialect", "v99"],
        ["--deadline", "0"],
        ["--deadline", "nan"],
        ["--topo", "bst"],
        ["x"],
        ["--restart", "always"],
        ["--strategy", "all"],
        *[
            ["--intensity", text]
            for text in ("5", "5/", "/5", "5/0", "-1/5", "5/x", "5/inf", "a/5")
        ],
        ["--no-shell"],
        ["--quiet-nodes", "run", "a:C"],
        ["run"],
        ["run", "a"],
        ["run", "a:C", "--topology", "bst"],
        ["run", "a:C", "--no-shell", "--script", "f"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_options(arguments)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("regrow")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "regrow run: MODULE:CLASS is missing (see regrow run --help)"),
        (["--dialect", "v99"], "regrow: --dialect: invalid choice: 'v99' (choose from "),
        (["--script"], "regrow: --script: expected one argument"),
        (
            ["--topo", "bst"],
            "regrow: unrecognized: --topo bst; did you mean --topology? (see regrow --help)",
        ),
        (["joi"], "regrow: unrecognized: joi; did you mean regrow join? (see regrow --help)"),
        (["rum"], "regrow: unrecognized: rum; did you mean regrow run? (see regrow --help)"),
        (["x"], "regrow: unrecognized: x (see regrow --help)"),
        (
            ["--quiet-nodes", "run", "a:C"],
            "regrow: unrecognized: run a:C; run stands first: regrow run (see regrow --help)",
        ),
        (
            ["--listen", "1.2.3.4"],
            "regrow: --listen 1.2.3.4 is for a network: not with --transport",
        ),
        (
            ["--listen", "1.2.3.4", "--listen", "[::1]:5"],
            "regrow: --listen 1.2.3.4 --listen [::1]:5 is for a network: not with --transport ipc",
        ),
        (
            ["--join-file", "f"],
            "regrow: --join-file f is for a network: not with --transport ipc\n",
        ),
        (["--insecure"], "regrow: --insecure is for a network: not with --transport ipc\n"),
        (
            ["--path-manager", "userspace", "--transport", "tcp"],
            "regrow: --path-manager userspace is for mptcp: not with --transport tcp\n",
        ),
        (
            ["--transport", "tcp", "--insecure", "--keys", "k"],
            "regrow: --insecure means that there are no keys: not with --keys k\n",
        ),
        (
            ["--transport", "tcp", "--listen", "here"],
            "regrow: --listen here: not a numeric address, with or without a port: 'here'; as in ",
        ),
        (
            ["--transport", "tcp", "--insecure", "--listen", "::1", "--listen", "192.0.2.1"],
            "regrow: --listen ::1: not a numeric address",
        ),
        (
            ["--transport", "tcp", "--insecure", "--listen", "[::1]", "--listen", "192.0.2.1:5"],
            "regrow: --listen 192.0.2.1:5: 192.0.2.1:5 is no loopback address: without keys ",
        ),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_in_one_line_that_names_the_option_and_its_value(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse_options(arguments)
    told = capsys.readouterr().err
    assert told.startswith(said)
    assert told.index("\n") == len(told) - 1


@pytest.mark.parametrize("option", ["--deadline", "--start-deadline"])
def test_what_is_no_time_is_told_so(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_options([option, "soon"])
    said = capsys.readouterr().err
    assert said == f"regrow: {option}: must be a number of seconds, not 'soon'\n"
