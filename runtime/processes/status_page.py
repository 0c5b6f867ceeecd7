"""What a node is doing, where others can read it though the node does not answer.

One page of a file, mapped shared: written by the node, read by its guardian, there
still after ``kill -9``. Its name among a process's mapped files also marks a node's strays.

Invariants
----------
* A write is one ``pack_into`` of one record, 0.15 us with its bookkeeping; it never
  waits and makes no system call.
* A reader never sees a torn record. A record carries its number in front and behind; it is whole
  if the number behind, read first, equals the one in front, read last. Two slots take
  turns, so that a writer killed in the middle leaves the record before.
* Instants are those of CLOCK_MONOTONIC, which all processes of one boot share.

The order of stores is the program's on x86; where it is not, the copies of whole words between
two looks make a torn record unlikely, and the second look at a later one finds it.
"""

import mmap
import os
import struct
from types import TracebackType
from typing import Final, Self

import msgspec

PAGE_BYTES: Final = 4096
HANDLER_BYTES: Final = 64
_MAGIC: Final = 0x7265_6772_6F77_0001
_HEAD: Final = struct.Struct("=QQQ")  # magic, incarnation, pid
_TICKS: Final = struct.Struct("=Q")
_RECORD: Final = struct.Struct(f"@QQd{HANDLER_BYTES}sQ")  # number, handled, since, handler, number
_TICKS_AT: Final = 64
_LEFT_AT: Final = 72
_SLOTS_AT: Final = (128, 256)
_LOOKS: Final = 5000  # 10 ms; a writer in a tight loop spoils most of them


class Status(msgspec.Struct, frozen=True):
    """One look at a page. ``handler`` is "" when none runs; then ``since`` is when that began.

    ``ticks``: turns of the loop, as far as the node counts them. ``left``: it has said its last
    word, and why it ends.
    """

    incarnation: int
    pid: int
    ticks: int
    handled: int
    handler: str
    since: float
    left: bool = False


class StatusPage:
    """The writer's side; one in each node."""

    def __init__(self, path: str, incarnation: int) -> None:
        """Make the page at ``path``, which must not exist yet."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            os.ftruncate(fd, PAGE_BYTES)
            self._page = mmap.mmap(fd, PAGE_BYTES)
        finally:
            os.close(fd)
        self._pack = _RECORD.pack_into
        self._pack_ticks = _TICKS.pack_into
        self._number = self._handled = self._ticks = 0
        self.pause()
        _HEAD.pack_into(self._page, 0, _MAGIC, incarnation, os.getpid())

    def begin(self, handler: bytes, now: float) -> None:
        """That handler runs since ``now``. Longer names are cut at 64 bytes."""
        self._number = n = self._number + 1
        self._pack(self._page, 256 if n & 1 else 128, n, self._handled, now, handler, n)

    def end(self, now: float = 0.0) -> None:
        """It has ended: one more message is handled, and none runs."""
        self._handled = handled = self._handled + 1
        self._number = n = self._number + 1
        self._pack(self._page, 256 if n & 1 else 128, n, handled, now, b"", n)

    def pause(self, now: float = 0.0) -> None:
        """It is suspended: none runs, and nothing more is handled."""
        self._number = n = self._number + 1
        self._pack(self._page, 256 if n & 1 else 128, n, self._handled, now, b"", n)

    def tick(self) -> None:
        """The loop has turned once more."""
        self._ticks = n = self._ticks + 1
        self._pack_ticks(self._page, _TICKS_AT, n)

    def leave(self) -> None:
        """It is about to end by itself, and has said why."""
        self._pack_ticks(self._page, _LEFT_AT, 1)

    def close(self) -> None:
        """Write no more. The file stays, for the certificate."""
        self._page.close()


class StatusReader:
    """The reader's side: keeps the page mapped, so a look costs no system call."""

    def __init__(self, path: str) -> None:
        """`FileNotFoundError` if there is no page (yet); `ValueError` if it is none of ours."""
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_size < PAGE_BYTES:
                raise FileNotFoundError(f"{path} is not yet written")
            self._page = mmap.mmap(fd, PAGE_BYTES, prot=mmap.PROT_READ)
        finally:
            os.close(fd)
        magic, self._incarnation, self._pid = _HEAD.unpack_from(self._page)
        if magic != _MAGIC:
            self._page.close()
            if magic == 0:
                raise FileNotFoundError(f"{path} is not yet written")
            raise ValueError(f"{path} is no status page")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def read(self) -> Status:
        """The newest whole record. `ValueError` if somebody else has overwritten the page."""
        for _ in range(_LOOKS):
            whole = [record for at in _SLOTS_AT if (record := self._read_slot(at))]
            if whole:
                break
        else:
            raise ValueError(f"the status page of {self._incarnation} holds no whole record")
        _, handled, since, handler = max(whole)
        return Status(
            incarnation=self._incarnation,
            pid=self._pid,
            ticks=_TICKS.unpack_from(self._page, _TICKS_AT)[0],
            handled=handled,
            handler=handler.rstrip(b"\0").decode(errors="replace"),
            since=since,
            left=bool(_TICKS.unpack_from(self._page, _LEFT_AT)[0]),
        )

    def _read_slot(self, at: int) -> tuple[int, int, float, bytes] | None:
        (behind,) = _TICKS.unpack_from(self._page, at + _RECORD.size - 8)
        record = bytes(self._page[at : at + _RECORD.size])
        (front,) = _TICKS.unpack_from(self._page, at)
        if not front or front != behind:
            return None
        number, handled, since, handler, _ = _RECORD.unpack(record)
        return number, handled, since, handler

    def close(self) -> None:
        self._page.close()


def read_status(path: str) -> Status | None:
    """One look at the page of a node, None if there is none."""
    try:
        with StatusReader(path) as reader:
            return reader.read()
    except FileNotFoundError:
        return None


def age_s(status: Status, now: float) -> float:
    """Seconds that the running handler has been running by ``now``; 0.0 if none runs."""
    return max(0.0, now - status.since) if status.handler else 0.0
