"""The shell as a process: statuses, signals, pipes, and nothing shared changed."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

ROOT = Path(__file__).parent.parent
BOUND_S = 30

Shell = subprocess.Popen[bytes]


def start(*options: str, stdin: int = subprocess.PIPE, stdout: int = subprocess.PIPE) -> Shell:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.fake_shell", *options],
        cwd=ROOT,
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
    )


def end(shell: Shell, text: bytes | None = None) -> tuple[int, bytes, bytes]:
    out, err = shell.communicate(text, timeout=BOUND_S)
    return shell.returncode, out, err


def test_the_last_answer_comes_after_the_tree_is_closed() -> None:
    assert end(start(), b"create 1\nexit\n") == (0, b"Ok: 101\nOk\n", b"open\nclosed\n")


def test_errors_matter_to_the_status_of_a_script_only(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_bytes(b"create 1\njump")
    answers = b"Ok: 101\nError: Unknown command\nOk\n"
    assert end(start("--script", str(script)))[:2] == (1, answers)
    assert end(start(), script.read_bytes())[:2] == (0, answers)
    script.write_bytes(b"create 1\n")
    assert end(start("--script", str(script)))[:2] == (0, b"Ok: 101\nOk\n")


@pytest.mark.parametrize("kind", ["file", "null"])
def test_files_that_epoll_refuses_are_read_and_written(kind: str, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(b"jump\n" * 20_000)
    with open(source if kind == "file" else os.devnull, "rb") as lines, target.open("wb") as out:
        assert end(start(stdin=lines.fileno(), stdout=out.fileno()))[0] == 0
    expected = b"Error: Unknown command\n" * 20_000 if kind == "file" else b""
    assert target.read_bytes() == expected + b"Ok\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_after_a_signal_nothing_is_waited_for_but_the_tree(number: int) -> None:
    shell = start()
    assert shell.stdin is not None
    assert shell.stdout is not None
    shell.stdin.write(b"jump\ncreate 9\n")
    shell.stdin.flush()
    assert shell.stdout.readline() == b"Error: Unknown command\n"
    shell.send_signal(number)
    assert end(shell) == (128 + number, b"", b"open\nclosed\n")


def test_a_closed_stdout_is_the_end_of_input() -> None:
    shell = start()
    assert shell.stdin is not None
    assert shell.stdout is not None
    shell.stdout.close()
    shell.stdin.write(b"jump\n")
    shell.stdin.flush()
    assert shell.wait(BOUND_S) == 0
    assert shell.stderr is not None
    assert shell.stderr.read() == b"open\nclosed\n"
    shell.stdin.close()
    shell.stderr.close()


def test_a_signal_ends_a_shell_whose_output_nobody_reads() -> None:
    read, write = os.pipe()
    shell = start(stdout=write)
    assert shell.stdin is not None
    assert shell.stderr is not None
    assert shell.stderr.readline() == b"open\n"
    # More than one pipe takes, less than another: so this write does not block.
    shell.stdin.write(b"jump\n" * 10_000)
    shell.stdin.flush()
    while int.from_bytes(fcntl.ioctl(read, termios.FIONREAD, bytes(4)), sys.byteorder) < 30_000:
        assert shell.poll() is None
    shell.send_signal(signal.SIGTERM)
    assert end(shell)[0] == 128 + signal.SIGTERM
    os.close(read)
    os.close(write)


def test_a_tree_that_does_not_open_is_one_line_on_stderr() -> None:
    shell = start("--quiet-nodes")
    assert end(shell) == (1, b"", b"regrow: no room for a tree\n")


def test_a_terminal_gets_answers_as_they_come_and_keeps_its_flags() -> None:
    controller, terminal = pty.openpty()
    before = fcntl.fcntl(terminal, fcntl.F_GETFL)
    shell = start(stdin=terminal)
    assert shell.stdout is not None
    os.write(controller, b"create 9\njump\n")
    assert shell.stdout.readline() == b"Error: Unknown command\n"
    assert fcntl.fcntl(terminal, fcntl.F_GETFL) == before
    shell.send_signal(signal.SIGINT)
    assert end(shell)[0] == 130
    os.close(controller)
    os.close(terminal)


def test_ten_thousand_lines_keep_their_order_through_pipes() -> None:
    lines = b"".join(b"exec 1 time # %d\njump\n" % n for n in range(10_000))
    status, out, _ = end(start(), b"create 1\n" + lines)
    assert status == 0
    answers = out.split(b"\n")
    assert len(answers) == 20_003
    assert all(answer.startswith(b"Ok:1: ") for answer in answers[1:-2:2])
    assert set(answers[2:-2:2]) == {b"Error: Unknown command"}
