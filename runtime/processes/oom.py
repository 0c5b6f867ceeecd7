"""Evidence of the kernel's out-of-memory killer, which leaves nothing but a SIGKILL.

Two witnesses, neither of which need be there. The memory cgroup of a process counts who was
killed in it for memory: ``memory.events`` in version 2, ``memory.oom_control`` in version 1. The
kernel's log names the process, to those who may read it.

Invariants
----------
* Looking never waits and never raises; what cannot be learned is "".
* A count that rose once explains one death, and only of one that lived when it rose.
* The cgroup is the one in which a process began. Of one that was moved the log alone can tell.

Source: Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst; ``dev-kmsg``.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import Final

import msgspec

COUNTERS: Final = {"cgroup": "memory.oom_control", "cgroup2": "memory.events"}
_LINE: Final = re.compile(rb"[^;]*;([^\n]*out of memory[^\n]*)", re.IGNORECASE)
_RECORD_BYTES: Final = 8192
_MAX_RECORDS: Final = 20_000


class Mark(msgspec.Struct, frozen=True):
    """How often the killer had come to a cgroup; ``path`` "" where nobody counts."""

    path: str = ""
    kills: int = 0


def counter_of(pid: int) -> str:
    """The file that counts in the memory cgroup of that process, "" if there is none."""
    try:
        with open(f"/proc/{pid}/cgroup") as groups, open("/proc/self/mountinfo") as mounts:
            return find_counter(groups.read(), mounts.read())
    except OSError:
        return ""


def find_counter(groups: str, mounts: str) -> str:
    """The same, of the texts of ``/proc/PID/cgroup`` and ``/proc/PID/mountinfo``."""
    within: dict[str, str] = {}  # by kind of file system
    for line in groups.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(","):
            within["cgroup"] = path
        elif number == "0" and not controllers:
            within["cgroup2"] = path
    kind = "cgroup" if "cgroup" in within else "cgroup2"
    for line in mounts.splitlines():
        fields, _, source = line.partition(" - ")
        its_kind, _, options = source.partition(" ")
        if its_kind != kind or kind not in within:
            continue
        if kind == "cgroup" and "memory" not in options.split()[-1].split(","):
            continue
        root, point = fields.split()[3:5]
        path = os.path.relpath(within[kind], root)
        if not path.startswith(".."):
            return os.path.join(os.path.normpath(os.path.join(point, path)), COUNTERS[kind])
    return ""


def kills_in(path: str) -> int:
    """How often the killer has come, by that file; -1 if it does not say."""
    with suppress(OSError, ValueError), open(path) as file:
        for line in file:
            key, _, value = line.partition(" ")
            if key == "oom_kill":
                return int(value)
    return -1


class OomWatch:
    """The killer's traces, from now on. To be closed."""

    def __init__(self) -> None:
        self._explained: dict[str, int] = {}  # by counter
        self._log = -1
        with suppress(OSError):
            self._log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._log, 0, os.SEEK_END)
        self._lines: dict[int, str] = {}  # by pid

    def mark(self, pid: int) -> Mark:
        """To be taken when it begins."""
        path = counter_of(pid)
        kills = kills_in(path) if path else -1
        return Mark(path, kills) if kills >= 0 else Mark()

    def evidence(self, pid: int, mark: Mark) -> str:
        """Why its SIGKILL may have been the killer's, once it is dead; "" if nothing says so."""
        found = [self._counted(mark), self._told(pid)]
        return "; ".join(filter(None, found))

    def _counted(self, mark: Mark) -> str:
        before = max(mark.kills, self._explained.get(mark.path, 0))
        now = kills_in(mark.path) if mark.path else -1
        if now <= before:
            return ""
        self._explained[mark.path] = before + 1
        return f"{mark.path}: oom_kill rose from {before} to {now} while it lived"

    def _told(self, pid: int) -> str:
        """The kernel's own words."""
        for _ in range(_MAX_RECORDS if self._log >= 0 else 0):
            try:
                record = os.read(self._log, _RECORD_BYTES)
            except BrokenPipeError:
                continue  # what was to be read next has been overwritten
            except OSError:
                break
            said = _LINE.match(record)
            victim = re.search(rb"Killed process (\d+) ", record)
            if said is not None and victim is not None:
                self._lines[int(victim[1])] = said[1].decode(errors="replace")
        return self._lines.pop(pid, "")

    def close(self) -> None:
        if self._log >= 0:
            os.close(self._log)
            self._log = -1
