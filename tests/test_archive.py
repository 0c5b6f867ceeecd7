"""A tree comes back from its state file: in virtual time, with files of its own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from actors import ActorDeadError
from actors.state_file import read_state
from actors.virtual import VirtualSystem, open_virtual_system
from tests.kept_actors import Tally


async def shape(system: VirtualSystem) -> list[tuple[str, str, str]]:
    rows = await system.tree()
    return [(row.name, row.parent, row.state) for row in rows if row.name != "_archive"]


def names(path: Path) -> list[tuple[str, str]]:
    return [(each.place.name, each.place.parent) for each in read_state(path).held]


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


async def test_a_tree_comes_back_with_names_places_and_state(
    path: Path, autojump_clock: MockClock
) -> None:
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
