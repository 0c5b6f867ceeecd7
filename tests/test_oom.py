"""Where the out-of-memory killer is looked for, and when it is believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.processes.oom import Mark, OomWatch, counter_of, find_counter, kills_in

V1 = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:7 - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
V2 = "30 23 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
INSIDE = V1.replace("0:32 / /sys", "0:32 /docker/4f /sys")


@pytest.mark.parametrize(
    ("groups", "mounts", "path"),
    [
        ("8:memory:/\n0::/\n", V1, "/sys/fs/cgroup/memory/memory.oom_control"),
        ("8:memory:/a/b\n0::/\n", V1, "/sys/fs/cgroup/memory/a/b/memory.oom_control"),
        ("8:cpu,memory:/a:b\n", V1, "/sys/fs/cgroup/memory/a:b/memory.oom_control"),
        ("8:cpu:/a\n0::/c\n", V1, "/sys/fs/cgroup/unified/c/memory.events"),
        ("0::/user.slice/x\n", V2, "/sys/fs/cgroup/user.slice/x/memory.events"),
        ("8:memory:/docker/4f\n", INSIDE, "/sys/fs/cgroup/memory/memory.oom_control"),
        ("8:memory:/docker/4f/a\n", INSIDE, "/sys/fs/cgroup/memory/a/memory.oom_control"),
        ("8:memory:/other\n", INSIDE, ""),
        ("0::/\n", "", ""),
        ("", V2, ""),
    ],
    ids=[
        "v1", "v1 below", "v1 together", "hybrid", "v2", "container", "below it", "outside it",
        "no mounts", "no groups",
    ],
)  # fmt: skip
def test_the_counter_of_a_process_is_found(groups: str, mounts: str, path: str) -> None:
    assert find_counter(groups, mounts) == path


@pytest.mark.parametrize(
    ("text", "kills"),
    [
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", 3),
        ("low 0\nhigh 0\nmax 9\noom 5\noom_kill 4\noom_group_kill 0\n", 4),
        ("oom_kill_disable 0\nunder_oom 0\n", -1),
        ("oom_kill many\n", -1),
        ("", -1),
    ],
    ids=["v1", "v2", "an old kernel", "not a number", "empty"],
)
def test_kills_are_read(text: str, kills: int, tmp_path: Path) -> None:
    path = tmp_path / "counter"
    path.write_text(text)
    assert kills_in(str(path)) == kills
    assert kills_in(str(tmp_path / "nowhere")) == -1


def test_a_count_that_rose_explains_one_death(tmp_path: Path) -> None:
    path = tmp_path / "memory.events"

    def write(kills: int) -> None:
        path.write_text(f"oom_kill {kills}\n")

    watch = OomWatch()
    try:
        write(2)
        early = Mark(str(path), 2)
        assert watch.evidence(0, early) == ""
        write(3)
        said = f"{path}: oom_kill rose from 2 to 3 while it lived"
        assert watch.evidence(0, early) == said
        assert watch.evidence(0, early) == ""  # another one that lived then
        write(5)
        assert watch.evidence(0, Mark(str(path), 5)) == ""  # it had not begun
        assert "from 3 to 5" in watch.evidence(0, early)
        assert "from 4 to 5" in watch.evidence(0, early)
        assert watch.evidence(0, early) == ""
        path.unlink()
        assert watch.evidence(0, early) == ""
        assert watch.evidence(0, Mark()) == ""
    finally:
        watch.close()
        watch.close()


def test_one_that_is_gone_has_no_counter() -> None:
    assert counter_of(2**22 + 1) == ""
