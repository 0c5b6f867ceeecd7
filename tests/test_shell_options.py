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
    [["--dialect", "v99"], ["--deadline", "0"], ["--deadline", "nan"], ["--topo", "bst"], ["x"]],
    ids=" ".join,
)
def test_wrong_usage_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_options(arguments)
    assert caught.value.code == 2
    assert "regrow: error" in capsys.readouterr().err
