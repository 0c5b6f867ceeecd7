"""What /proc says, of ourselves and of processes that are not there."""

import mmap
import os
import signal
import subprocess
from pathlib import Path

import pytest
import trio
import trio.testing

from runtime.processes import pidfd, procfs

pytestmark = pytest.mark.real

GONE = 2**22 + 1  # beyond the kernel's largest pid


def test_a_process_that_is_gone_is_an_empty_answer() -> None:
    assert procfs.stat(GONE) is None
    assert procfs.children(GONE) == []
    assert procfs.descendants(GONE) == []
    assert procfs.environ(GONE) == {}
    assert procfs.mapped_files(GONE) == set()
    assert procfs.open_file(GONE, 1) == ""
    assert procfs.pss_bytes(GONE) == 0
    assert procfs.queued_s(GONE) == 0
    assert procfs.thread_count(GONE) == 0


def test_we_see_ourselves(tmp_path: Path) -> None:
    stat = procfs.stat(os.getpid())
    assert stat is not None
    assert (stat.state, stat.ppid, stat.session) == ("R", os.getppid(), os.getsid(0))
    assert not stat.frozen
    assert os.getpid() in procfs.pids()
    assert procfs.pss_bytes(os.getpid()) > 1_000_000
    assert procfs.queued_s(os.getpid()) > 0
    path = tmp_path / "a file"
    path.write_bytes(bytes(4096))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 4096):
        assert str(path) in procfs.mapped_files(os.getpid())
        assert procfs.open_file(os.getpid(), file.fileno()) == str(path)


def test_a_name_full_of_brackets_does_not_confuse(tmp_path: Path) -> None:
    odd = tmp_path / "a) R 1 (b"
    odd.symlink_to("/bin/sleep")
    with subprocess.Popen([str(odd), "60"]) as process:
        stat = procfs.stat(process.pid)
        assert stat is not None
        assert stat.ppid == os.getpid()
        process.kill()


def test_children_are_found_with_theirs_and_with_their_environment() -> None:
    script = "sleep 60 & echo $!; wait"
    with subprocess.Popen(
        ["sh", "-c", script], env={"MARK": "a=b", "PATH": os.environ["PATH"]}, stdout=-1
    ) as process:
        assert process.stdout is not None
        grandchild = int(process.stdout.readline())
        assert process.pid in procfs.children(os.getpid())
        found = procfs.descendants(os.getpid())
        assert found.index(process.pid) < found.index(grandchild)
        assert procfs.environ(process.pid)[b"MARK"] == b"a=b"
        os.kill(grandchild, signal.SIGKILL)
        process.kill()


def start(args: list[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(args)


def see_stopped(child: int) -> None:
    os.waitid(os.P_PID, child, os.WSTOPPED)


async def test_a_stopped_process_is_frozen_and_a_killed_one_a_zombie_until_reaped() -> None:
    with start(["sleep", "60"]) as process:
        held = pidfd.open_pidfd(process.pid)
        try:
            with trio.fail_after(5):
                assert pidfd.send_signal(held, signal.SIGSTOP)
                see_stopped(process.pid)
                stat = procfs.stat(process.pid)
                assert stat is not None
                assert stat.frozen
                assert not stat.ended
                assert not pidfd.has_exited(held)
                assert pidfd.send_signal(held)
                await pidfd.wait_exited(held)
            assert pidfd.has_exited(held)
            stat = procfs.stat(process.pid)
            assert stat is not None
            assert stat.state == "Z"
            assert stat.ended
            assert pidfd.exit_status(held) is None
            see_ended(process.pid)
            assert not pidfd.send_signal(held)
            # None before Linux 6.15.
            assert pidfd.exit_status(held) in (signal.SIGKILL, None)
            assert await pidfd.wait_status(held) in (signal.SIGKILL, None)
        finally:
            pidfd.close_pidfd(held)


def see_ended(child: int) -> None:
    os.waitpid(child, 0)


async def test_closing_a_pidfd_wakes_who_waits_on_it() -> None:
    held = pidfd.open_pidfd(os.getpid())
    woken: list[str] = []

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await pidfd.wait_exited(held)
        woken.append("yes")

    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            pidfd.close_pidfd(held)
    assert woken == ["yes"]
