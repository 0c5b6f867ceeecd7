"""The state file's SQLite: its tables, and one transaction for each batch of changes.

Invariants
----------
* At every instant the file is one of the states that it was given, whole.
* What SQLite or the disk complains of is a `StateError`, with the path; nothing was written then.
* Each opening has a number. Who writes for an earlier one, because it has outlived its
  controller by a moment, is refused.

Blocking: 0.2 ms a transaction on a warm disk; ``synchronous`` is NORMAL, so that a loss of power
may cost the last transactions, but never the file.

Source: SQLite's "Write-Ahead Logging", "PRAGMA Statements", "Result and Error Codes".
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final
from urllib.parse import quote

import msgspec

from actors.archive.stored import Changes, Content, Owner, check_order, read_held, read_owner, seal
from runtime.errors import StateError

APPLICATION_ID: Final = 0x52475257  # RGRW
VERSION: Final = 1
OTHERS_S: Final = 5.0
"""How long an opening waits for the last transaction of an archive that outlives its controller."""

SCHEMA: Final = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
CREATE TABLE owner (body BLOB NOT NULL);
CREATE TABLE place (
    name TEXT PRIMARY KEY, position INTEGER NOT NULL, body BLOB NOT NULL, kept BLOB NOT NULL
);
"""
_encode = msgspec.msgpack.encode


def refusal(path: bytes, why: object) -> StateError:
    return StateError(f"state file {os.fsdecode(path)}: {why}")


def found(path: bytes) -> Content:
    """What is in a file that is not to change by that.

    Raises:
        StateError: it is torn, or cannot be read.
    """
    with _connected(path, _reading(path), OTHERS_S) as base, _transaction(base, "DEFERRED"):
        (verdict,) = base.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise refusal(path, f"it is torn: {verdict}")
        return _load(path, base)


def taken_over(path: bytes, block: int) -> tuple[Content, Owner]:
    """What is in the file now that nobody else writes to it, and whose it is from now on.

    The next ``block`` incarnations are reserved.

    Raises:
        StateError: it cannot be written.
    """
    with _connected(path, "mode=rw", OTHERS_S) as base, _transaction(base):
        content = _load(path, base)
        was = content.owner
        owner = Owner(was.system, was.opening + 1, was.mark + block)
        _store(base, owner)
    return content, owner


def fill(path: bytes, owner: Owner, named: bytes) -> None:
    """An empty file becomes one without any place. ``named``: what errors call it."""
    with _connected(path, "mode=rw", named=named) as base:
        base.executescript(SCHEMA)
        _store(base, owner)
        (mode,) = base.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise refusal(named, "SQLite can keep no write-ahead log there")


class Writer:
    """Writes to a file, on behalf of the opening with this number.

    Raises:
        StateError: it is not there, or not to be had. From `write` too: also when somebody has
            put another file there, or opened this one again.
    """

    def __init__(self, path: bytes, opening: int) -> None:
        self._path = path
        self._opening = opening
        with _told(path):
            self._identity = _identity(path)
            self._base = _connect(path, "mode=rw", OTHERS_S)
            self._base.execute("PRAGMA busy_timeout = 0")  # each beat tries again

    def write(self, changes: Changes) -> None:
        """The file holds the changes, all of them."""
        path, base = self._path, self._base
        with _told(path):
            if _identity(path) != self._identity:
                raise refusal(path, "somebody has put another file there")
            with _transaction(base):
                owner = _owner(base)
                if owner.opening != self._opening:
                    raise refusal(path, "another system has taken it over")
                if changes.mark > owner.mark:
                    _store(base, msgspec.structs.replace(owner, mark=changes.mark))
                _apply(base, changes)

    def close(self) -> None:
        """It is not held open any more."""
        self._base.close()


def _apply(base: sqlite3.Connection, changes: Changes) -> None:
    base.executemany("DELETE FROM place WHERE name = ?", ((name,) for name in changes.gone))
    base.executemany(
        "INSERT INTO place VALUES (?, ?, ?, ?) ON CONFLICT (name)"
        " DO UPDATE SET position = excluded.position, body = excluded.body",
        (
            (each.place.name, each.position, seal(_encode(each.place)), seal(b""))
            for each in changes.rows
        ),
    )
    base.executemany(
        "UPDATE place SET kept = ? WHERE name = ?",
        ((seal(kept), name) for name, kept in changes.kept),
    )


def _owner(base: sqlite3.Connection) -> Owner:
    row = base.execute("SELECT body FROM owner").fetchone()
    return read_owner(row[0] if row else b"")


def _store(base: sqlite3.Connection, owner: Owner) -> None:
    base.execute("DELETE FROM owner")
    base.execute("INSERT INTO owner VALUES (?)", (seal(_encode(owner)),))


def _load(path: bytes, base: sqlite3.Connection) -> Content:
    rows = base.execute("SELECT name, position, body, kept FROM place ORDER BY position")
    try:
        held = tuple(read_held(*row) for row in rows)
        check_order(held)
        return Content(_owner(base), held)
    except (TypeError, ValueError, RecursionError) as cause:  # msgspec's errors are ValueErrors
        raise refusal(path, f"it is torn: {cause}") from cause


# -- connections


def _reading(path: bytes) -> str:
    """How to open it for reading: without a log nothing need be put beside it."""
    try:
        logged = os.stat(path + b"-wal").st_size > 0
    except FileNotFoundError:
        logged = False
    return "mode=ro" if logged else "mode=ro&immutable=1"


def _connect(path: bytes, how: str, wait_s: float) -> sqlite3.Connection:
    base = sqlite3.connect(
        f"file:{quote(path)}?{how}", uri=True, timeout=wait_s, isolation_level=None
    )
    try:
        base.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        base.close()
        raise
    return base


@contextmanager
def _connected(
    path: bytes, how: str, wait_s: float = 0.0, named: bytes = b""
) -> Iterator[sqlite3.Connection]:
    with _told(named or path), closing(_connect(path, how, wait_s)) as base:
        yield base


@contextmanager
def _transaction(base: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    base.execute(f"BEGIN {kind}")
    try:
        yield
        base.execute("COMMIT")
    except BaseException:
        if base.in_transaction:  # after some errors SQLite has rolled back by itself
            base.execute("ROLLBACK")
        raise


@contextmanager
def _told(path: bytes) -> Iterator[None]:
    """What goes wrong with the file inside is a `StateError`."""
    try:
        yield
    except sqlite3.Error as error:
        torn = "it is torn: " * (getattr(error, "sqlite_errorname", "") in _TORN)
        raise refusal(path, f"{torn}{error}") from error
    except OSError as error:
        raise refusal(path, error.strerror) from error


_TORN: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR")
"""The last is a missing table or column."""


def _identity(path: bytes) -> tuple[int, int]:
    stat = os.stat(path)
    return stat.st_dev, stat.st_ino
