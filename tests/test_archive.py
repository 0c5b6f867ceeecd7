"""A tree comes back from its state file: in virtual time, with files of its own."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
import trio

from actors import ActorDeadError, StateError, open_system
from actors.archive.state_file import claim_state, read_state
from actors.archive.stored import seal, unseal
from actors.testing.virtual import VirtualSystem, open_virtual_system
from tests.kept_actors import Family, Lingering, Pair, Reader, Tally, Unfit

pytestmark = pytest.mark.regrow(deadline_s=2000)


async def shape(system: VirtualSystem) -> list[tuple[str, str, str]]:
    rows = await system.tree()
    return [(row.name, row.parent, row.state) for row in rows if row.name != "_archive"]


def names(path: Path) -> list[tuple[str, str]]:
    return [(each.place.name, each.place.parent) for each in read_state(path).held]


def content(path: Path) -> bytes:
    return path.read_bytes()


def replace(path: Path, content: bytes) -> None:
    """Take the file away, and put another one there."""
    path.rename(path.with_name("away"))
    path.write_bytes(content)


def crash_copy(path: Path, to: str) -> Path:
    """The file as a kill here and now would leave it."""
    copy = path.with_name(to)
    for end in ("", "-wal"):
        if os.path.exists(f"{path}{end}"):
            shutil.copy(f"{path}{end}", f"{copy}{end}")
    return copy


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tree.state"


async def test_a_tree_comes_back_with_names_places_and_state(path: Path) -> None:
    async with open_virtual_system(state=path) as system:
        top = await system.spawn(Tally, 5, name="top", restart="permanent")
        low = await top.ask(Tally.bear, "low")
        await low.ask(Tally.add, 7)
        await system.spawn(Tally, 1, name="other", restart="permanent")
        await trio.sleep(2)
        before = await shape(system)
        crashed = crash_copy(path, "crashed")
        await low.ask(Tally.add, 100)
    for file, value in ((crashed, 7), (path, 107)):
        async with open_virtual_system(state=file, resume=True) as system:
            assert await shape(system) == before
            again = await system.lookup("low", Tally)
            assert await again.ask(Tally.add, 0) == value
            assert again.incarnation > low.incarnation
            assert (again.system, again.name) == (low.system, low.name)
            assert await low.following().ask(Tally.add, 0) == value
            with pytest.raises(ActorDeadError):
                await low.ask(Tally.add, 1)
            with pytest.raises(ActorDeadError):
                await low.tell(Tally.add, 1)
            assert await (await system.lookup("top", Tally)).ask(Tally.add, 0) == 5


async def test_a_supervisor_finds_its_children_and_their_state(path: Path) -> None:
    async with open_virtual_system(state=path) as system:
        family = await system.spawn(Family, name="family", restart="permanent")
        await (await system.lookup("two", Tally)).ask(Tally.add, 40)
        three = await family.ask(Family.bear, "three")
        await three.ask(Tally.add, 3)
        before = await shape(system)
    async with open_virtual_system(state=path, resume=True) as system:
        assert await shape(system) == before
        for name, value in (("one", 1), ("two", 42), ("three", 3)):
            assert await (await system.lookup(name, Tally)).ask(Tally.add, 0) == value


async def test_children_come_back_with_new_refs_and_their_old_state(path: Path) -> None:
    async with open_virtual_system(state=path) as system:
        await system.spawn(Pair, name="pair", restart="permanent")
        await (await system.lookup("tally", Tally)).ask(Tally.add, 9)
        assert await (await system.lookup("reader", Reader)).ask(Reader.read) == 9
        await (await system.lookup("pair/cell", Tally)).ask(Tally.add, 4)
    async with open_virtual_system(state=path, resume=True) as system:
        reader = await system.lookup("reader", Reader)
        assert await reader.ask(Reader.last) == 9
        await (await system.lookup("tally", Tally)).ask(Tally.add, 1)
        assert await reader.ask(Reader.read) == 10
        assert await (await system.lookup("pair/cell", Tally)).ask(Tally.add, 0) == 4


async def test_a_temporary_parent_stays_dead_until_it_is_spawned_again(path: Path) -> None:
    async with open_virtual_system(state=path) as system:
        await system.spawn(Family, name="family")
        await (await system.lookup("one", Tally)).ask(Tally.add, 10)
    assert names(path) == [("family", "controller"), ("one", "family"), ("two", "family")]
    async with open_virtual_system(state=path, resume=True) as system:
        assert await shape(system) == [
            ("family", "controller", "dead"),
            ("one", "family", "ok"),
            ("two", "family", "ok"),
        ]
        one = await system.lookup("one", Tally)
        await system.spawn(Family, name="family")
        assert await one.ask(Tally.add, 0) == 11  # it was taken back, and has lived all the time
        assert {state for _, _, state in await shape(system)} == {"ok"}


async def test_who_would_not_live_again_is_not_kept(path: Path) -> None:
    async with open_virtual_system(state=path) as system:
        await system.spawn(Tally, name="temporary")
        unnamed = await system.spawn(Tally, restart="permanent")
        await unnamed.ask(Tally.bear, "below-unnamed")
        await system.spawn(Tally, name="transient", restart="transient")
        kept = await system.spawn(Tally, name="kept", restart="permanent")
        await kept.ask(Tally.bear, "below", "temporary")
        ended = await system.spawn(Tally, name="ended", restart="transient")
        await ended.ask(Tally.leave)
        await ended.wait()
    assert names(path) == [("transient", "controller"), ("kept", "controller")]


async def test_what_is_stopped_or_finished_leaves_the_file_with_the_next_beat(path: Path) -> None:
    async with open_virtual_system(state=path) as system:
        top = await system.spawn(Tally, name="top", restart="permanent")
        await top.ask(Tally.bear, "below")
        other = await system.spawn(Tally, name="other", restart="transient")
        await trio.sleep(0.5)
        assert names(path) == [("top", "controller"), ("below", "top"), ("other", "controller")]
        await top.stop()
        await trio.sleep(0.3)
        assert names(path) == [("other", "controller")]
        await other.tell(Tally.leave)
        await trio.sleep(0.5)
        assert names(path) == []
        await system.spawn(Tally, name="top", restart="permanent")
        await trio.sleep(0.3)
        (held,) = read_state(path).held
        assert held.kept == b""  # nothing is left of the one that was stopped


async def test_a_place_keeps_its_turn_although_it_is_kept_later(path: Path) -> None:
    async with open_virtual_system(state=path) as system:
        first = await system.spawn(Tally, name="first")  # not kept yet
        await system.spawn(Tally, name="second", restart="permanent")
        await trio.sleep(0.5)
        await first.ask(Tally.bear, "third")
    assert [name for name, _ in names(path)] == ["first", "second", "third"]
    async with open_virtual_system(state=path, resume=True) as system:
        await (await system.lookup("second", Tally)).stop()
        await system.spawn(Tally, name="second", restart="permanent")
    assert [name for name, _ in names(path)] == ["first", "third", "second"]


async def test_who_cannot_come_back_is_given_up_and_the_rest_comes_back(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_virtual_system(state=path) as system:
        unfit = await system.spawn(Unfit, 3, name="unfit", restart="permanent")
        await unfit.ask(Unfit.bear, "below")
        await system.spawn(Tally, 2, name="fit", restart="permanent")
    monkeypatch.setattr(Unfit, "fits", False)
    async with open_virtual_system(state=path, resume=True) as system:
        assert await shape(system) == [
            ("unfit", "controller", "given up"),
            ("below", "unfit", "ok"),
            ("fit", "controller", "ok"),
        ]
        assert "unfit given up: it did not come back: ValueError: not again" in caplog.text
        await trio.sleep(30)
    monkeypatch.setattr(Unfit, "fits", True)
    async with open_virtual_system(state=path, resume=True) as system:  # it was not forgotten
        assert await (await system.lookup("unfit", Unfit)).ask(Unfit.add, 0) == 3


async def test_a_class_that_is_no_more_is_given_up(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_virtual_system(state=path) as system:
        await system.spawn(Unfit, name="lost", restart="permanent")
        await system.spawn(Tally, name="found", restart="permanent")
    rewrite(path, "Unfit", "Unfid")
    async with open_virtual_system(state=path, resume=True) as system:
        assert [state for _, _, state in await shape(system)] == ["given up", "ok"]
        assert "lost given up: it did not come back" in caplog.text


async def test_an_age_counts_the_time_without_a_controller(path: Path) -> None:
    async with open_virtual_system(state=path) as system:
        await system.spawn(Tally, name="old", restart="permanent")
    await trio.sleep(1000)
    async with open_virtual_system(state=path, resume=True) as system:
        assert 1000 <= await (await system.lookup("old", Tally)).ask(Tally.age) < 1002


async def test_no_incarnation_is_given_out_twice(path: Path) -> None:
    async with open_virtual_system(state=path) as system:
        await system.spawn(Tally, name="kept", restart="permanent")
        await trio.sleep(0.3)
        crashed = crash_copy(path, "crashed")
        last = await system.spawn(Tally, name="after")  # the copy does not know of it
    async with open_virtual_system(state=crashed, resume=True) as system:
        rows = await system.tree()
        assert min(row.incarnation for row in rows) > last.incarnation
        with pytest.raises(ActorDeadError):
            await last.ask(Tally.add, 1)


async def test_the_archive_is_nobodys_sibling_and_loses_nothing_by_its_death(path: Path) -> None:
    async with open_virtual_system(state=path, strategy="one_for_all") as system:
        tally = await system.spawn(Tally, name="tally", restart="permanent")
        for round in range(20):  # more than anybody's budget
            await tally.ask(Tally.add, 1)
            archive = system.nodes.records["_archive"].address
            system.kill(archive)
            await trio.sleep(0.6)
            assert system.nodes.records["_archive"].address != archive
            assert await tally.ask(Tally.add, 0) == round + 1  # the same incarnation
        await trio.sleep(2)
        system.kill(tally)
        await trio.sleep(2)
        crashed = crash_copy(path, "crashed")
    async with open_virtual_system(state=crashed, resume=True) as system:
        assert await (await system.lookup("tally", Tally)).ask(Tally.add, 0) == 20


async def test_while_nobody_can_write_the_tree_goes_on_and_it_is_said_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_virtual_system(state=path) as system:
        tally = await system.spawn(Tally, name="tally", restart="permanent")
        await trio.sleep(0.5)
        base = sqlite3.connect(path, isolation_level=None)
        base.execute("BEGIN IMMEDIATE")
        for _ in range(5):
            await tally.ask(Tally.add, 1)
            await trio.sleep(2)
        assert caplog.text.count("the state is not kept for now") == 1
        assert f"state file {path}: database is locked" in caplog.text
        base.execute("ROLLBACK")
        base.close()
        await trio.sleep(0.5)
        assert caplog.text.count("the state is kept again") == 1
        crashed = crash_copy(path, "crashed")
    async with open_virtual_system(state=crashed, resume=True) as system:
        assert await (await system.lookup("tally", Tally)).ask(Tally.add, 0) == 5


async def test_a_frozen_archive_holds_nobody_up(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_virtual_system(state=path) as system:
        tally = await system.spawn(Tally, name="tally", restart="permanent")
        await trio.sleep(0.5)
        archive = system.nodes.records["_archive"].address
        system.freeze(archive)
        for _ in range(5):
            await tally.ask(Tally.add, 1)
            await trio.sleep(2)
        assert caplog.text.count("the state is not kept for now") == 1
        system.thaw(archive)
        await trio.sleep(2)
        assert caplog.text.count("the state is kept again") == 1
    async with open_virtual_system(state=path, resume=True) as system:
        assert await (await system.lookup("tally", Tally)).ask(Tally.add, 0) == 5


async def test_a_file_that_somebody_has_taken_away_is_missed(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_virtual_system(state=path) as system:
        await trio.sleep(1)
        replace(path, b"mine")
        await system.spawn(Tally, name="tally", restart="permanent")
        await trio.sleep(1)
        assert "somebody has put another file there" in caplog.text
    assert content(path) == b"mine"


async def test_a_system_has_its_file_alone(path: Path) -> None:
    async with open_virtual_system(state=path):
        for resume in (False, True):
            with (
                pytest.raises(StateError, match="another system uses it"),
                claim_state(path, resume),
            ):
                pass


async def test_a_tree_is_never_overwritten(path: Path) -> None:
    async with open_virtual_system(state=path) as system:
        await system.spawn(Tally, name="tally", restart="permanent")
    before = content(path)
    with pytest.raises(StateError, match=r"it holds a tree of 1: resume it \(--resume\)"):
        async with open_virtual_system(state=path):
            pass
    assert content(path) == before


async def test_an_empty_tree_may_be_begun_again_and_resumed(path: Path) -> None:
    ids = set()
    for resume in (False, False, True):
        async with open_virtual_system(state=path, resume=resume) as system:
            assert await shape(system) == []
            ids.add(system.exchange.address.system)
    assert len(ids) == 1


async def test_nothing_is_resumed_from_nothing(path: Path) -> None:
    with pytest.raises(StateError, match="there is no such file"):
        async with open_virtual_system(state=path, resume=True):
            pass
    assert os.listdir(path.parent) == []
    with pytest.raises(ValueError, match="resume=True takes a state"):
        open_system(resume=True)
    with pytest.raises(TypeError, match="state must be a path, not 3"):
        open_system(state=3)  # type: ignore[arg-type]


async def test_a_resumption_that_is_given_up_leaves_the_file_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_virtual_system(state=path) as system:
        await system.spawn(Tally, 7, name="first", restart="permanent")
        slow = await system.spawn(Unfit, 8, name="slow", restart="permanent")
        await slow.ask(Unfit.bear, "below")
    held = read_state(path).held

    async def never(self: Unfit) -> None:
        await trio.sleep_forever()

    with monkeypatch.context() as patched:
        patched.setattr(Unfit, "on_start", never)
        with trio.move_on_after(5) as patience:
            async with open_virtual_system(state=path, resume=True):
                raise AssertionError("it should not have come up")
        assert patience.cancelled_caught
    after = read_state(path).held
    assert [each.place.name for each in after] == [each.place.name for each in held]
    assert [each.kept != b"" for each in after] == [True, True, True]
    async with open_virtual_system(state=path, resume=True) as system:
        assert await (await system.lookup("slow", Tally)).ask(Tally.add, 0) == 8


def rewrite(path: Path, was: str, now: str) -> None:
    """Replace text in the rows, and seal them again."""
    base = sqlite3.connect(path)
    for name, body in base.execute("SELECT name, body FROM place").fetchall():
        changed = seal(unseal(body).replace(was.encode(), now.encode()))
        base.execute("UPDATE place SET body = ? WHERE name = ?", (changed, name))
    base.commit()
    base.close()


async def test_nothing_comes_back_from_half_a_stop(path: Path) -> None:
    async with open_virtual_system(state=path) as system:
        top = await system.spawn(Lingering, name="top", restart="permanent")
        await top.ask(Lingering.bear, "quick")
        await trio.sleep(0.5)
        seen = set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(top.stop)
            for _ in range(60):
                await trio.sleep(0.05)
                seen.add(tuple(name for name, _ in names(path)))
    assert seen == {("top", "quick"), ()}
