"""An endpoint becomes a backup by its id, whether it is in use or the guard has taken it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from runtime.multipath.endpoint import Endpoint, Flags
from runtime.multipath.path_manager import PathManager

USED = Endpoint("10.0.1.1", Flags.SUBFLOW | Flags.FULLMESH, id=1)
TAKEN = Endpoint("10.0.2.1", Flags.SIGNAL, id=2)


class Kernel:
    """What a path manager asks of `Paths` here."""

    def __init__(self) -> None:
        self.flags: list[tuple[int, Flags]] = []

    async def all(self) -> list[Endpoint]:
        return [USED]

    async def set_flags(self, id: int, flags: Flags) -> None:
        self.flags.append((id, flags))


def manager_of(kernel: Kernel) -> PathManager:
    paths: Any = kernel
    news: Any = SimpleNamespace(devices=None)
    manager = PathManager(paths, None, news, lambda _: None, None)
    manager._taken[TAKEN.address] = TAKEN
    return manager


async def test_of_one_in_use_the_kernel_is_told_and_its_other_flags_stay() -> None:
    manager = manager_of(kernel := Kernel())
    await manager.set_backup(1, on=True)
    await manager.set_backup(1, on=False)
    assert kernel.flags == [(1, Flags.FULLMESH | Flags.BACKUP), (1, Flags.FULLMESH)]


async def test_one_that_is_out_of_use_comes_back_as_a_backup() -> None:
    manager = manager_of(kernel := Kernel())
    for on, flags in ((True, Flags.SIGNAL | Flags.BACKUP), (False, Flags.SIGNAL)):
        await manager.set_backup(2, on)
        assert [each.flags for each in await manager.endpoints() if each.id == 2] == [flags]
    assert kernel.flags == []


async def test_one_that_there_is_not_is_told_as_a_remove_would() -> None:
    manager = manager_of(kernel := Kernel())
    for change in (manager.remove(3), manager.set_backup(3, on=True)):
        with pytest.raises(LookupError, match=r"^no endpoint 3$"):
            await change
    assert kernel.flags == []
