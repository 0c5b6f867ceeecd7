"""What a node is doing can be read by another process, at any instant, and after its end."""

import os
import signal
import struct
import time
from pathlib import Path

import pytest
import trio

from runtime.processes.marks import owner
from runtime.processes.procfs import mapped_files
from runtime.processes.run_folder import page_path
from runtime.processes.status_page import (
    PAGE_BYTES,
    Status,
    StatusPage,
    StatusReader,
    age_s,
    read_status,
)
from tests.zygote_colony import open_colony


def test_a_reader_sees_what_was_written(tmp_path: Path) -> None:
    path = f"{tmp_path}/7.page"
    page = StatusPage(path, 7)
    idle = Status(incarnation=7, pid=os.getpid(), ticks=0, handled=0, handler="", since=0.0)
    with StatusReader(path) as reader:
        assert reader.read() == idle
        page.tick()
        page.begin(b"add", 10.0)
        assert reader.read() == Status(7, os.getpid(), 1, 0, "add", 10.0)
        page.pause(10.5)
        assert reader.read() == Status(7, os.getpid(), 1, 0, "", 10.5)
        page.begin(b"add", 11.0)
        page.end(11.5)
        assert reader.read() == Status(7, os.getpid(), 1, 1, "", 11.5)
    page.close()
    assert os.stat(path).st_size == PAGE_BYTES
    assert read_status(path) == Status(7, os.getpid(), 1, 1, "", 11.5)


def test_a_long_name_is_cut_and_odd_bytes_are_no_error(tmp_path: Path) -> None:
    path = f"{tmp_path}/7.page"
    page = StatusPage(path, 7)
    page.begin(b"x" * 100, 0.0)
    found = read_status(path)
    assert found is not None
    assert found.handler == "x" * 64
    page.begin(b"\xff", 0.0)
    found = read_status(path)
    assert found is not None
    assert found.handler == "\N{REPLACEMENT CHARACTER}"
    page.close()


def test_a_page_that_is_not_there_yet_is_no_status(tmp_path: Path) -> None:
    path = tmp_path / "7.page"
    assert read_status(str(path)) is None
    path.touch()
    assert read_status(str(path)) is None
    path.write_bytes(bytes(PAGE_BYTES))
    assert read_status(str(path)) is None


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "7.page"
    path.write_bytes(b"x" * PAGE_BYTES)
    with pytest.raises(ValueError, match="is no status page"):
        read_status(str(path))


def test_a_page_is_made_once(tmp_path: Path) -> None:
    path = f"{tmp_path}/7.page"
    StatusPage(path, 7).close()
    with pytest.raises(FileExistsError):
        StatusPage(path, 8)
    found = read_status(path)
    assert found is not None
    assert found.incarnation == 7


def test_a_writer_that_was_killed_in_the_middle_leaves_the_record_before(tmp_path: Path) -> None:
    path = tmp_path / "7.page"
    page = StatusPage(str(path), 7)
    page.begin(b"before", 1.0)
    page.begin(b"after", 2.0)
    page.close()
    whole = path.read_bytes()
    at = whole.index(b"after")
    torn = bytearray(whole)
    number = struct.unpack_from("=Q", whole, at - 24)[0]
    struct.pack_into("=Q", torn, at - 24, number + 2)  # the next has begun here, and not ended
    path.write_bytes(torn)
    found = read_status(str(path))
    assert found is not None
    assert (found.handler, found.since) == ("before", 1.0)


def test_a_reader_is_not_taken_for_a_stray_of_the_node(tmp_path: Path) -> None:
    path = page_path(str(tmp_path), 7)
    StatusPage(path, 7).close()
    with StatusReader(path) as reader:
        assert reader.read().incarnation == 7
        assert path not in mapped_files(os.getpid())
        assert owner(os.getpid(), str(tmp_path), {}) is None


def test_a_running_handler_has_an_age() -> None:
    running = Status(7, 1, 0, 0, "add", time.monotonic() - 5.0)
    assert 5.0 <= age_s(running, time.monotonic()) < 6.0
    assert age_s(Status(7, 1, 0, 0, "", 0.0), 5.0) == 0.0


@pytest.mark.real
async def test_a_reader_never_sees_a_torn_record_and_reads_on_after_the_kill() -> None:
    async with open_colony() as colony:
        with trio.fail_after(5):
            node = await colony.fork("be_a_page")
            await colony.fifo.line()
            path = page_path(colony.folder, node.incarnation)
            assert path in mapped_files(node.pid)
            numbers = []
            with StatusReader(path) as reader:
                for _ in range(20_000):
                    status = reader.read()
                    numbers.append(status.since)
                    if status.handler:  # begin: n - 1 are handled
                        assert status.handler == str(int(status.since))
                        assert status.handled == int(status.since) - 1
                    else:
                        assert status.handled == int(status.since)
            assert numbers == sorted(numbers)
            assert numbers[-1] > numbers[0]
            os.kill(node.pid, signal.SIGKILL)
            await colony.exited(node.incarnation)
            last = read_status(path)
            assert last is not None
            assert last.pid == node.pid
            assert last.since >= numbers[-1]
