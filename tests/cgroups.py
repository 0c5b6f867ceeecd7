"""A memory cgroup of one's own, of whichever version the machine has, for what the killer does.

Each is made beneath the cgroup that the tests run in, and removed: nobody else's is touched.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count

from runtime.processes.oom import counter_of

_LIMITS: dict[str, dict[str, str | None]] = {
    "memory.oom_control": {"memory.limit_in_bytes": None, "memory.memsw.limit_in_bytes": None},
    "memory.events": {"memory.max": None, "memory.swap.max": "0"},
}
"""By the file that counts: what is set to the limit, or to a text; the second may be missing."""
_NUMBERS = count()
_EMPTY_S = 5.0


@contextmanager
def memory_cgroup(limit_bytes: int, *pids: int) -> Iterator[str]:
    """Its folder. These processes enter it now; others may by `enter`.

    Who is in it at the end and lives goes back to where the tests run.

    Raises:
        OSError: there can be none here.
    """
    counter = counter_of(os.getpid())
    if not counter:
        raise OSError("this machine has no memory cgroups")
    folder, kind = os.path.split(counter)
    group = f"{folder}/regrow-test-{os.getpid()}-{next(_NUMBERS)}"
    os.mkdir(group)
    try:
        for number, (name, text) in enumerate(_LIMITS[kind].items()):
            if number == 0 or os.path.exists(f"{group}/{name}"):
                _write(group, name, text or str(limit_bytes))
        for pid in pids:
            enter(group, pid)
        yield group
    finally:
        _remove(group, folder)


def _write(group: str, name: str, text: str) -> None:
    with open(f"{group}/{name}", "w") as file:
        file.write(text)


def _remove(group: str, above: str) -> None:
    until = time.monotonic() + _EMPTY_S
    while True:
        with open(f"{group}/cgroup.procs") as file:
            for pid in file.read().split():
                with suppress(ProcessLookupError):
                    enter(above, int(pid))
        try:
            return os.rmdir(group)
        except OSError:  # somebody who was killed is still on the way out
            if time.monotonic() > until:
                raise
            time.sleep(0.01)


def enter(group: str, pid: int = 0) -> None:
    """That process (this one, if 0), and what it starts from now on, is in that cgroup."""
    _write(group, "cgroup.procs", str(pid or os.getpid()))


def why_not() -> str:
    """Why there can be none here, "" if there can."""
    try:
        with memory_cgroup(1 << 30):
            return ""
    except OSError as error:
        return f"no memory cgroup can be made here: {error}"
