"""What ``/proc`` says about a process.

Invariants
----------
* A process that is gone, or is not ours to look at, is an empty answer, never an exception.
* Nothing is cached: an answer was true when it was read.
* What is read by number may be another process by the time it is used, unless the caller
  is the parent that has not reaped it, or holds its pidfd.

Source: ``proc(5)``.
"""

import contextlib
import os
from typing import Final

import msgspec

_GONE: Final = (FileNotFoundError, ProcessLookupError, PermissionError, NotADirectoryError)


class ProcessStat(msgspec.Struct, frozen=True):
    """``state`` is the kernel's letter: R, S, D, T (stopped), t (traced), Z (zombie), X (dead)."""

    state: str
    ppid: int
    session: int
    cpu_ticks: int

    @property
    def frozen(self) -> bool:
        """Whether it was stopped: by a signal, or by a debugger."""
        return self.state in ("T", "t")

    @property
    def ended(self) -> bool:
        """Whether it runs no more, though nobody may have reaped it yet."""
        return self.state in ("Z", "X")


def stat(pid: int) -> ProcessStat | None:
    """The line of ``/proc/PID/stat``, None if there is no such process."""
    # The name, field 2, may hold blanks and brackets: the last bracket ends it.
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    if len(fields) < 13:
        return None
    return ProcessStat(
        state=fields[0].decode(),
        ppid=int(fields[1]),
        session=int(fields[3]),
        cpu_ticks=int(fields[11]) + int(fields[12]),
    )


def name(pid: int) -> str:
    """What ``ps`` calls it, "" if there is no such process. A thread has a name of its own."""
    return _read(f"/proc/{pid}/comm").decode(errors="replace").rstrip("\n")


def children(pid: int) -> list[int]:
    """Its children, those of every thread, zombies included.

    One that is born or dies meanwhile may be missed: look again after each death.
    """
    found: list[int] = []
    for task in _list(f"/proc/{pid}/task"):
        found += map(int, _read(f"/proc/{pid}/task/{task}/children").split())
    return found


def descendants(pid: int) -> list[int]:
    """Its children and theirs, parents first."""
    found = children(pid)
    for child in found:  # grows meanwhile
        found += children(child)
    return found


def environ(pid: int) -> dict[bytes, bytes]:
    """The environment it was exec'ed with."""
    pairs = (entry.partition(b"=") for entry in _read(f"/proc/{pid}/environ").split(b"\0"))
    return {name: value for name, _, value in pairs if name}


def mapped_files(pid: int) -> set[str]:
    """The files that it has mapped to write to; a deleted one ends in " (deleted)"."""
    lines = (line.split(None, 5) for line in _read(f"/proc/{pid}/maps").splitlines())
    return {
        os.fsdecode(line[5])
        for line in lines
        if len(line) == 6 and line[5].startswith(b"/") and line[1].startswith(b"rw-s")
    }


def open_file(pid: int, fd: int) -> str:
    """What that descriptor of it is open on, "" if nothing."""
    try:
        return os.readlink(f"/proc/{pid}/fd/{fd}")
    except OSError:
        return ""


def pss_bytes(pid: int) -> int:
    """Its memory, shared pages counted in proportion; 0 if not known."""
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def queued_s(pid: int) -> float:
    """How long its main thread has been ready and waited for a core, ever; 0 if not known."""
    fields = _read(f"/proc/{pid}/schedstat").split()
    return int(fields[1]) / 1e9 if fields else 0.0


def pids() -> list[int]:
    """Every process there is."""
    return [int(name) for name in _list("/proc") if name.isdigit()]


def thread_count(pid: int) -> int:
    return len(_list(f"/proc/{pid}/task"))


def _read(path: str) -> bytes:
    with contextlib.suppress(*_GONE), open(path, "rb", buffering=0) as file:
        return file.readall()
    return b""


def _list(path: str) -> list[str]:
    with contextlib.suppress(*_GONE):
        return os.listdir(path)
    return []
