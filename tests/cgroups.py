"""A memory cgroup of one's own, for the tests of what the out-of-memory killer does."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from runtime.oom import counter_of

_LIMITS = {
    "memory.oom_control": {"memory.limit_in_bytes": "{}", "memory.memsw.limit_in_bytes": "{}"},
    "memory.events": {"memory.max": "{}", "memory.swap.max": "0"},
}


@contextmanager
def memory_cgroup(limit_bytes: int) -> Iterator[str]:
    """Its folder, beneath the cgroup of this process; a process enters by `enter`.

    Skips the test where there is none to be had.
    """
    counter = counter_of(os.getpid())
    folder, kind = os.path.split(counter)
    if not counter:
        pytest.skip("this machine has no memory cgroups")
    group = f"{folder}/regrow-test-{os.getpid()}"
    try:
        os.mkdir(group)
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made in {folder}: {error}")
    try:
        for name, text in _LIMITS[kind].items():
            if name.split(".")[1] not in ("limit_in_bytes", "max") and not os.path.exists(
                f"{group}/{name}"
            ):
                continue  # a machine without swap accounting
            try:
                with open(f"{group}/{name}", "w") as file:
                    file.write(text.format(limit_bytes))
            except OSError as error:
                pytest.skip(f"{name} cannot be set in {group}: {error}")
        yield group
    finally:
        _remove(group)


def _remove(group: str) -> None:
    until = time.monotonic() + 5.0
    while os.path.isdir(group):
        try:
            os.rmdir(group)
        except OSError:  # somebody who was killed is still on the way out
            if time.monotonic() > until:
                raise
            time.sleep(0.01)


def enter(group: str) -> None:
    """This process, and what it starts from now on, is in that cgroup."""
    with open(f"{group}/cgroup.procs", "w") as file:
        file.write(str(os.getpid()))
