"""State files: what is refused and left as it was, and what a killed writer leaves behind."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.archive.state_base import APPLICATION_ID, Writer
from actors.archive.state_file import BLOCK, claim_state, foreign, read_state
from actors.archive.stored import Changes, Row, Stored, seal, unseal
from runtime.address import CONTROLLER
from runtime.errors import StateError
from runtime.traffic.registrar import Spec

SPEC = Spec(entry="tests.kept_actors:Tally", parent=CONTROLLER, restart="permanent")
KEPT = b"snapshot " * 500


def row(position: int, name: str, parent: str = CONTROLLER, args: bytes = b"") -> Row:
    spec = Spec(entry=SPEC.entry, parent=parent, name=name, restart="permanent")
    return Row(position, Stored(name, parent, position + 10, True, spec, args))


def with_tree(path: Path, count: int = 30) -> Path:
    """A file that holds a tree: a chain."""
    with claim_state(path, False) as claim:
        writer = Writer(claim.path, claim.opening)
        rows = [row(n, f"n{n}", f"n{n - 1}" if n else CONTROLLER) for n in range(count)]
        kept = tuple((each.place.name, KEPT) for each in rows)
        writer.write(Changes(claim.mark, tuple(rows), kept))
        writer.close()
    return path


def names(path: Path) -> list[str]:
    return [each.place.name for each in read_state(path).held]


def files(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in sorted(folder.iterdir()) if each.is_file()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a state%20.file?x#"


def test_a_new_file_holds_no_tree_and_is_its_owners_alone(path: Path) -> None:
    with claim_state(path, False) as claim:
        assert (claim.opening, claim.last, claim.mark, claim.held) == (1, 1, BLOCK, ())
        assert len(claim.system) == 16
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert list(files(path.parent)) == [path.name]
    with claim_state(os.fsencode(path), True) as again:
        assert again.system == claim.system
        assert (again.opening, again.last, again.mark) == (2, BLOCK, 2 * BLOCK)


def test_rows_come_back_as_they_were_written(path: Path) -> None:
    with claim_state(path, False) as claim:
        writer = Writer(claim.path, claim.opening)
        writer.write(Changes(claim.mark, (row(1, "a"), row(2, "b", "a", b"args")), (("b", KEPT),)))
        writer.write(Changes(claim.mark, (row(3, "c"),), gone=("nobody",)))
        writer.write(Changes(claim.mark, (row(4, "a"), row(5, "b", "a")), (("c", b"c"),)))
        writer.write(Changes(claim.mark, gone=("c",)))
        writer.close()
    held = read_state(path).held
    assert [Row(each.position, each.place) for each in held] == [row(4, "a"), row(5, "b", "a")]
    assert [each.kept for each in held] == [b"", KEPT]


def test_the_mark_only_grows(path: Path) -> None:
    with claim_state(path, False) as claim:
        writer = Writer(claim.path, claim.opening)
        for mark in (claim.mark + 5, claim.mark):
            writer.write(Changes(mark))
            assert read_state(path).owner.mark == claim.mark + 5
        writer.close()


def test_a_batch_is_written_whole_or_not_at_all(path: Path) -> None:
    with_tree(path, 3)
    with claim_state(path, True) as claim:
        writer = Writer(claim.path, claim.opening)
        bad = Changes(claim.mark, (row(9, "new"),), (("new", None),))  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            writer.write(bad)
        assert names(path) == ["n0", "n1", "n2"]
        writer.write(Changes(claim.mark, gone=("n2",)))
        writer.close()
    assert names(path) == ["n0", "n1"]


def test_who_writes_for_an_earlier_opening_is_refused(path: Path) -> None:
    with claim_state(path, False) as first:
        late = Writer(first.path, first.opening)
    with claim_state(path, True):
        with pytest.raises(StateError, match="another system has taken it over"):
            late.write(Changes(first.mark, (row(1, "late"),)))
        late.close()
    assert names(path) == []


def test_what_an_earlier_archive_wrote_at_the_last_moment_counts(path: Path) -> None:
    with claim_state(path, False) as first:
        late = Writer(first.path, first.opening)
    late.write(Changes(first.mark, (row(1, "late"),)))
    with claim_state(path, True) as second:
        assert [each.place.name for each in second.held] == ["late"]
    late.close()


def test_a_file_is_one_systems_at_a_time(path: Path) -> None:
    with (
        claim_state(path, False),
        pytest.raises(StateError, match="another system uses it"),
        claim_state(path, False),
    ):
        pass
    with claim_state(path, False):
        pass


# -- what a killed writer leaves


def killed(path: Path, to: Path) -> Path:
    """What a kill in the middle of the writer's work would leave, elsewhere."""
    with claim_state(path, path.exists()) as claim:
        writer = Writer(claim.path, claim.opening)
        for number in range(20):
            changes = Changes(claim.mark, (row(100 + number, f"w{number}"),))
            writer.write(changes)
        for end in ("", "-wal"):
            shutil.copy(f"{path}{end}", f"{to}{end}")
        writer.close()
    return to


def test_the_log_of_a_killed_writer_is_recovered(path: Path) -> None:
    copy = killed(with_tree(path, 2), path.with_name("copy"))
    assert os.path.getsize(f"{copy}-wal") > 0
    before = copy.read_bytes(), Path(f"{copy}-wal").read_bytes()
    assert len(names(copy)) == 22
    with pytest.raises(StateError, match="it holds a tree of 22"), claim_state(copy, False):
        pass
    assert (copy.read_bytes(), Path(f"{copy}-wal").read_bytes()) == before
    with claim_state(copy, True) as claim:
        assert len(claim.held) == 22


def test_a_log_that_is_cut_anywhere_leads_to_one_of_the_states_on_the_way(path: Path) -> None:
    copy = killed(with_tree(path, 2), path.with_name("copy"))
    log = Path(f"{copy}-wal").read_bytes()
    whole = [f"w{number}" for number in range(20)]
    lengths = set()
    for cut in range(0, len(log), 997):
        torn = path.with_name(f"torn-{cut}")
        shutil.copy(copy, torn)
        Path(f"{torn}-wal").write_bytes(log[:cut])
        found = names(torn)[2:]
        assert found == whole[: len(found)]
        lengths.add(len(found))
    assert len(lengths) > 10


# -- what is refused


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def without_its_header(path: Path) -> None:
    os.truncate(path, 50)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def text(path: Path) -> None:
    path.write_text("my letters\n" * 1000)


def garbage_behind_the_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100] + os.urandom(path.stat().st_size - 100))


def another_applications(path: Path) -> None:
    path.unlink()
    base = sqlite3.connect(path)
    base.execute("CREATE TABLE mail (body TEXT)")
    base.commit()
    base.close()


def a_later_version(path: Path) -> None:
    execute(path, "PRAGMA user_version = 2")


def without_a_table(path: Path) -> None:
    execute(path, "DROP TABLE place")


def without_an_owner(path: Path) -> None:
    execute(path, "DELETE FROM owner")


def with_other_columns(path: Path) -> None:
    execute(path, "ALTER TABLE place RENAME COLUMN kept TO keep")


def with_a_wrong_checksum(path: Path) -> None:
    execute(path, "UPDATE place SET kept = x'000000007777' WHERE name = 'n3'")


def with_a_row_that_is_none(path: Path) -> None:
    sealed = seal(b"\xc0").hex()
    execute(path, f"UPDATE place SET body = x'{sealed}' WHERE name = 'n3'")


def with_text_for_bytes(path: Path) -> None:
    execute(path, "UPDATE place SET body = 'text' WHERE name = 'n3'")


def without_a_parent(path: Path) -> None:
    execute(path, "DELETE FROM place WHERE name = 'n3'")


def with_rows_changed_over(path: Path) -> None:
    execute(
        path,
        "UPDATE place SET name = 'x' WHERE name = 'n3'",
        "UPDATE place SET name = 'n3' WHERE name = 'n4'",
    )


def execute(path: Path, *statements: str) -> None:
    base = sqlite3.connect(path)
    for statement in statements:
        base.execute(statement)
    base.commit()
    base.close()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (truncated, "it is torn: "),
        (without_its_header, "it is torn: it ends after 50 bytes"),
        (emptied, "it is empty"),
        (text, "it is no SQLite database"),
        (garbage_behind_the_header, "it is torn: "),
        (another_applications, r"it is another application's database \(0x0\)"),
        (a_later_version, "its format is 2, and this program knows 1"),
        (without_a_table, "it is torn: no such table: place"),
        (without_an_owner, "it is torn: a checksum does not fit"),
        (with_other_columns, "it is torn: no such column: kept"),
        (with_a_wrong_checksum, "it is torn: a checksum does not fit"),
        (with_a_row_that_is_none, "it is torn: Expected `array`, got"),
        (with_text_for_bytes, "it is torn: "),
        (without_a_parent, "it is torn: n4 stands before its parent n3"),
        (with_rows_changed_over, "it is torn: the row of x is that of n3"),
    ],
)
@pytest.mark.parametrize("resume", [False, True], ids=["fresh", "resume"])
def test_a_torn_or_foreign_file_is_refused_and_left_as_it_was(
    path: Path, spoil: Callable[[Path], None], why: str, resume: bool
) -> None:
    with_tree(path)
    spoil(path)
    before = files(path.parent)
    with pytest.raises(StateError, match=why) as raised, claim_state(path, resume):
        pass
    assert str(raised.value).startswith(f"state file {path}: ")
    assert files(path.parent) == before


def test_a_flipped_byte_is_noticed_or_changes_nothing(path: Path) -> None:
    with_tree(path)
    good = path.read_bytes()
    held = read_state(path).held
    noticed = 0
    for at in range(0, len(good), 239):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1 :])
        try:
            assert read_state(path).held == held
        except StateError:
            noticed += 1
    assert noticed > len(good) / 239 / 2


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    for name, why in (
        ("pipe", "it is no regular file"),
        (".", "it is no regular file"),
        ("link", os.strerror(errno.ENOENT)),
        ("none/none", "it cannot be made: " + os.strerror(errno.ENOENT)),
    ):
        with pytest.raises(StateError, match=why), claim_state(tmp_path / name, False):
            pass
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]


def test_without_permission_it_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_tree(path)

    def no(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", no)
    with pytest.raises(StateError, match="Permission denied"), claim_state(path, True):
        pass


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (b"", "it is empty"),
        (b"SQLite", "it is torn: it ends after 6 bytes"),
        (b"#!/bin/sh\n", "it is no SQLite database"),
        (b"SQLite format 3\0" + bytes(83), "it is torn: it ends after 99 bytes"),
        (b"SQLite format 3\0" + bytes(84), "it is another application's database (0x0)"),
        (
            b"SQLite format 3\0" + bytes(52) + APPLICATION_ID.to_bytes(4, "big") + bytes(28),
            "its format is 0, and this program knows 1",
        ),
    ],
)
def test_headers(header: bytes, why: str) -> None:
    assert foreign(header) == why


def test_a_seal_holds() -> None:
    assert unseal(seal(b"body")) == b"body"
    for sealed in (b"", b"abc", seal(b"body")[:-1], b"x" + seal(b"body")):
        with pytest.raises(ValueError, match="a checksum does not fit"):
            unseal(sealed)
