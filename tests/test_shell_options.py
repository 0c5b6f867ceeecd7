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
    assert "regrow" in capsys.readouterr().err


def test_a_missing_root_is_all_that_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_options(["run"])
    assert "required: MODULE:CLASS\n" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--deadline", "--start-deadline"])
def test_what_is_no_time_is_told_so(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_options([option, "soon"])
    said = capsys.readouterr().err
    assert f"argument {option}: must be a number of seconds, not 'soon'\n" in said
