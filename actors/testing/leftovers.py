"""What a test has left behind in the world: processes, run folders, ZMQ contexts, descriptors.

    with nothing_left():
        ...  # whatever runs in here must have ended and been closed at its end

Invariants
----------
* Processes are found by a mark in their environment, whoever has adopted them; so what was started
  before the block, or beside it, is not counted.
* Run folders lie in a folder of the block's own, which is removed at its end, as what is left of
  the processes is killed: the next test begins in a clean world.
* What is left is waited for half a second, and no longer.
"""

from __future__ import annotations

import gc
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from runtime.processes import procfs

MARK: Final = "REGROW_TEST"
PATIENCE_S: Final = 0.5


def alive(pid: int) -> bool:
    """Whether it is there, and no zombie that somebody is slow to reap."""
    stat = procfs.stat(pid)
    return stat is not None and not stat.ended


def marked(variable: str, value: str) -> list[int]:
    """Every living process that has this in its environment."""
    name, mark = os.fsencode(variable), os.fsencode(value)
    found = [pid for pid in procfs.pids() if procfs.environ(pid).get(name) == mark]
    return [pid for pid in found if alive(pid)]


def begun() -> list[int]:
    """Every living process that was begun in the innermost `nothing_left`, by whomever."""
    return marked(MARK, os.environ[MARK])


def descriptors() -> dict[int, str]:
    """What this process has open, by number."""
    seen = {fd: procfs.open_file(os.getpid(), fd) for fd in map(int, os.listdir("/proc/self/fd"))}
    return {fd: name for fd, name in seen.items() if name}


def contexts() -> set[int]:
    """The background threads of ZMQ contexts in this process."""
    threads = map(int, os.listdir("/proc/self/task"))
    return {thread for thread in threads if procfs.name(thread).startswith("ZMQbg/")}


class LeftBehindError(AssertionError):
    """A test has left something behind; the message names it."""


@contextmanager
def nothing_left(*, check: bool = True) -> Iterator[None]:
    """Nothing that was begun in the block outlives it.

    Meanwhile run folders are made in a folder of its own (``XDG_RUNTIME_DIR``).

    Raises:
        LeftBehindError: something did. Of a block that raised, it is a note on that.
    """
    mark = secrets.token_hex(8)
    home = tempfile.mkdtemp(prefix="rg-", dir="/tmp")  # a short path: sockets lie under it
    before, threads = descriptors(), contexts()

    def left() -> list[str]:
        return _left(mark, home, before, threads)

    try:
        try:
            with _environment({MARK: mark, "XDG_RUNTIME_DIR": home}):
                yield
        except BaseException as raised:
            if check and (found := _patiently(left)):
                raised.add_note(_message(found))
            raise
        if check and (found := _patiently(left)):
            raise LeftBehindError(_message(found))
    finally:
        for pid in marked(MARK, mark):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(home, ignore_errors=True)


def _message(found: list[str]) -> str:
    return "the test has left behind:\n" + "\n".join(f"  {each}" for each in found)


def _patiently(left: Callable[[], list[str]]) -> list[str]:
    found = left()
    if found:
        gc.collect()  # what only a cycle keeps open
        found = left()
    until = time.monotonic() + PATIENCE_S
    while found and time.monotonic() < until:
        time.sleep(0.02)
        found = left()
    return found


def _left(mark: str, home: str, before: dict[int, str], threads: set[int]) -> list[str]:
    lines = [f"process {pid}: {_command(pid)}" for pid in marked(MARK, mark)]
    with suppress(FileNotFoundError):
        lines += [f"run folder {home}/regrow/{name}" for name in os.listdir(f"{home}/regrow")]
    if contexts() - threads:
        lines.append("a ZMQ context that was not closed")
    now = descriptors()
    lines += [f"file descriptor {fd}: {name}" for fd, name in now.items() if before.get(fd) != name]
    return lines


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().rstrip(b"\0").split(b"\0")
    except OSError:
        return "gone meanwhile"
    return os.fsdecode(b" ".join(words))[:200]


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
