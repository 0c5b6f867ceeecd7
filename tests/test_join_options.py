"""The command line of ``regrow join``: what is wrong with it, and what stands in its way."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from runtime.network.join_file import Pass, write_pass
from runtime.network.key_file import keep_keys
from shell.joining import join_system


@pytest.fixture(autouse=True)
def path_of_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "ADDRESS:PORT is missing (see regrow join --help)"),
        (["1.2.3.4"], "say the controller's port: 1.2.3.4:PORT, or [ADDRESS]:PORT"),
        (["1.2.3.4:5"], "say --key FILE, or --insecure for a system that has no keys"),
        (["here:5"], "ADDRESS:PORT: not a numeric address, with or without a port: 'here:5'; as "),
        (
            ["1.2.3.4:5", "--insecure"],
            "--insecure: 1.2.3.4:5 is no loopback address: without keys nothing listens there",
        ),
        (
            ["1.2.3.4:5", "--key", "f", "--listen", "1.2.3.4:6"],
            "a node takes any port: --listen 1.2.3.4, not 1.2.3.4:6",
        ),
        (
            ["1.2.3.4:5", "--kye", "f"],
            "unrecognized: --kye f; did you mean --key? (see regrow join ",
        ),
        (["1.2.3.4:5", "--lost-after", "x"], "--lost-after: must be a number of seconds, not 'x'"),
    ],
    ids=str,
)
def test_wrong_usage_is_one_line_and_status_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        join_system(words)
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith(f"regrow join: {said}")
    assert told.index("\n") == len(told) - 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--key", "none"], "--key none: No such file or directory"),
        (
            ["--key", "keys"],
            "--key keys: these are the controller's own keys (--keys), which stay with it: --key"
            " takes the file that it writes with --join-file",
        ),
        (
            ["--key", "other"],
            "--key other: line 1 is not controller = KEY or member = KEY, once each",
        ),
        (
            ["--key", "wide"],
            "--key wide: the keys in wide are not read: its mode is 0644, must be 0600",
        ),
        (["--key", "join", "--actor", "no.such:Actor"], "there is no module 'no'"),
        (["--key", "join", "--actor", "builtins:dict"], "builtins:dict is no class of actors"),
        (["--key", "join", "5"], "ComputeNode takes no arguments, but was given '5'"),
    ],
    ids=str,
)
def test_what_stands_in_its_way_is_one_line_and_status_1(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_pass("join", Pass(b"c" * 32, b"m" * 32))
    keep_keys("keys")
    Path("other").write_text("who am I\n")
    Path("other").chmod(0o600)
    Path("wide").touch(0o644)
    Path("wide").chmod(0o644)
    assert join_system(["127.0.0.1:1", *words]) == 1
    assert capsys.readouterr().err == f"regrow: {said}\n"
