"""A memory cgroup of its own for one process, of whichever version this machine has.

It is made under the cgroup that the tests run in: where that may not be, there is none.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LIMIT_BYTES = 48 * 1024 * 1024
V1 = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
V2 = ("memory.max", "memory.swap.max")


def own_cgroup() -> tuple[Path, tuple[str, ...]] | None:
    """The folder of the cgroup that accounts for our memory, and the files of its limits."""
    hierarchies = {}
    with open("/proc/self/cgroup") as lines:
        for line in lines:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            hierarchies[controllers] = path
    with open("/proc/self/mounts") as mounts:
        for mount in mounts:
            _, where, kind, options, *_ = mount.split()
            if kind == "cgroup" and "memory" in options.split(",") and "memory" in hierarchies:
                return Path(where + hierarchies["memory"]), V1
            if kind == "cgroup2" and "memory" not in hierarchies:
                return Path(where + hierarchies[""]), V2
    return None


def why_not() -> str:
    """Why there can be no limit of memory here, "" if there can."""
    try:
        with limited():
            return ""
    except OSError as error:
        return f"no memory cgroup can be made here: {error}"


@contextmanager
def limited(*pids: int, limit_bytes: int = LIMIT_BYTES) -> Iterator[None]:
    """What these processes allocate from now on is limited, each for itself.

    Raises:
        OSError: it cannot be done here.
    """
    found = own_cgroup()
    if found is None:
        raise OSError("no cgroup accounts for memory")
    own, limits = found
    made = []
    try:
        for number, pid in enumerate(pids or (0,)):
            group = own / f"matrix-{os.getpid()}-{number}"
            group.mkdir()
            made.append(group)
            for name in limits:
                if (group / name).exists() or name == limits[0]:
                    value = 0 if name == V2[1] else limit_bytes
                    (group / name).write_text(str(value))
            if pid:
                (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        for group in made:
            with suppress(OSError):  # who lives still goes back to where it came from
                for left in (group / "cgroup.procs").read_text().split():
                    (own / "cgroup.procs").write_text(left)
            group.rmdir()
