"""The state file: what a tree needs to come back after its controller.

It holds the system's id, the mark up to which incarnations may have been given out, and for each
place that is to come back who it was, with which arguments, and its last snapshot.

Invariants
----------
* A file that is torn, foreign or in use is refused with `StateError`, which names it and says
  why. It is only read until it has been found good, and stays byte for byte as it was. The log
  (``-wal``) that a killed writer leaves behind is a part of the file.
* One system has it at a time: the controller holds its flock, which goes with the process.
* A file is made under another name and linked into place: no half-made one is ever found, and
  none is ever overwritten.
* It is its owner's alone to read: arguments and snapshots may be private.

Blocking, and meant for before a system runs. The file belongs on a local disk: SQLite's log and
flock both ask for one.

Source: SQLite's "Database File Format", 1.3 (the header).
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Final, TypeAlias

import msgspec

from actors.archive.state_base import APPLICATION_ID, VERSION, fill, found, refusal, taken_over
from actors.archive.stored import Content, Held, Owner
from runtime.address import CONTROLLER_INCARNATION

StatePath = str | bytes | os.PathLike[str]
MAGIC: Final = b"SQLite format 3\0"
HEADER_BYTES: Final = 100
BLOCK: Final = 1 << 24
"""So many incarnations are reserved ahead; the next block is, when half of one is used. That is
more than can be started in a day in which the disk refuses to write."""


class Claim(msgspec.Struct, frozen=True):
    """A file that this system has for itself.

    ``last``: the last incarnation that may have been given out before; ``mark``: the one up to
    which they are reserved now. ``held``: in order of creation.
    """

    path: bytes
    system: str
    opening: int
    last: int
    mark: int
    held: tuple[Held, ...] = ()


@contextmanager
def claim_state(path: StatePath, resume: bool) -> Iterator[Claim]:
    """The file is this system's alone until the end of the block; a new one is made if need be.

    Raises:
        StateError: it cannot be had; or it holds a tree, and this is no resumption; or this is
            one, and there is no file.
    """
    where = os.path.abspath(os.fsencode(path))
    if not os.path.lexists(where):
        if resume:
            raise refusal(where, "there is no such file, so there is nothing to resume")
        _create(where)
    fd = _open_ours(where)
    try:
        _lock(where, fd)
        _check_use(where, found(where), resume)
        content, owner = taken_over(where, BLOCK)
        last = max(content.owner.mark, CONTROLLER_INCARNATION)
        yield Claim(where, owner.system, owner.opening, last, owner.mark, content.held)
    finally:
        os.close(fd)


def read_state(path: StatePath) -> Content:
    """What is in the file, without any claim to it.

    Raises:
        StateError: it is torn, foreign or not to be read.
    """
    where = os.path.abspath(os.fsencode(path))
    os.close(_open_ours(where))
    return found(where)


def _check_use(path: bytes, content: Content, resume: bool) -> None:
    if content.held and not resume:
        why = f"it holds a tree of {len(content.held)}: resume it (--resume), or name another file"
        raise refusal(path, why)


def _open_ours(path: bytes) -> int:
    """A descriptor of a file that begins as one of ours does."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise refusal(path, error.strerror) from error
    try:
        regular = stat.S_ISREG(os.fstat(fd).st_mode)
        why = foreign(os.pread(fd, HEADER_BYTES, 0)) if regular else "it is no regular file"
        if why:
            raise refusal(path, why)
    except BaseException:
        os.close(fd)
        raise
    return fd


def foreign(header: bytes) -> str:
    """Why a file that begins with these 100 bytes is none of ours; empty if it is."""
    if not header:
        return "it is empty"
    if not header.startswith(MAGIC[: len(header)]):
        return "it is no SQLite database"
    if len(header) < HEADER_BYTES:
        return f"it is torn: it ends after {len(header)} bytes"
    application, version = (int.from_bytes(header[at : at + 4], "big") for at in (68, 60))
    if application != APPLICATION_ID:
        return f"it is another application's database ({application:#x})"
    if version != VERSION:
        return f"its format is {version}, and this program knows {VERSION}"
    return ""


def _lock(path: bytes, fd: int) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise refusal(path, "another system uses it") from error
    except OSError as error:
        raise refusal(path, f"it cannot be locked: {error.strerror}") from error


def _create(path: bytes) -> None:
    """There is a file without any place, complete from the first."""
    fresh = path + b"." + secrets.token_hex(4).encode()
    try:
        os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        try:
            fill(fresh, Owner(secrets.token_hex(8), 0, 0), named=path)
            os.link(fresh, path)
        finally:
            os.unlink(fresh)
    except OSError as error:
        raise refusal(path, f"it cannot be made: {error.strerror}") from error


ClaimState: TypeAlias = "Callable[[], AbstractContextManager[Claim | None]]"


def claiming(state: StatePath | None, resume: bool) -> ClaimState:
    """How an opening gets its state file.

    Raises:
        ValueError: to resume, it takes one.
        TypeError: it is no path.
    """
    if state is not None:
        if not isinstance(state, str | bytes | os.PathLike):
            raise TypeError(f"state must be a path, not {state!r}")
        return partial(claim_state, state, resume)
    if resume:
        raise ValueError("resume=True takes a state to resume from: state=PATH")
    return nullcontext
