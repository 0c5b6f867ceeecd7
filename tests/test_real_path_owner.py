"""Who manages the paths of a network namespace, once a controller that took that over is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from actors.testing import lab
from actors.testing.lab import Lab
from runtime.hosts.joined_node import UNMANAGED
from runtime.multipath.path_owner import owned_by_us, path_owner, put_back
from runtime.processes.run_folder import open_run_folder, owner_path
from tests import mptcp
from tests.real import GONE_S, START_S, freeze, gone, open_console, run_folders, until
from tests.test_real_join import NODE, joining, listening_port

WHY_NOT = mptcp.missing() or lab.missing()
pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]
OPTIONS = ("--transport", "mptcp", "--listen", "127.0.0.1", "--insecure")
USERSPACE = (*OPTIONS, "--path-manager", "userspace")


@pytest.fixture(autouse=True)
def alone(regrow_lab: Lab) -> None:
    """This process, and all that it starts, are on a host of their own."""
    regrow_lab.enter(regrow_lab.host("alone"))


async def test_a_killed_controller_leaves_the_paths_to_whom_they_were() -> None:
    async with open_console(*USERSPACE) as console:
        await console.create(1)
        assert path_owner() == "userspace"
        await freeze(console.zygote)  # its nodes will wake it
        console.signal(signal.SIGKILL)
        await until(lambda: path_owner() == "kernel", GONE_S)
        await console.nothing_left(GONE_S)


async def test_what_is_set_by_somebody_else_stays_when_a_controller_is_killed() -> None:
    with owned_by_us():
        async with open_console(*USERSPACE) as console:
            await console.create(1)
            console.signal(signal.SIGKILL)
            await console.nothing_left(GONE_S)
            assert path_owner() == "userspace"
    assert path_owner() == "kernel"


async def test_what_a_killed_zygote_could_not_put_back_the_next_start_does() -> None:
    async with open_console(*USERSPACE) as console:
        node = await console.create(1)
        zygote = console.zygote
        await freeze(console.pid)  # else it would have another zygote
        os.kill(zygote, signal.SIGKILL)
        await gone([zygote])
        console.signal(signal.SIGKILL)
        await gone([node])
        assert path_owner() == "userspace"
        (folder,) = run_folders(console.home)
        with open_run_folder(os.path.dirname(folder)):
            assert path_owner() == "kernel"


@pytest.mark.parametrize(
    "note", ["", "0:1 kernel", "here", "here nobody", "here kernel more", None], ids=repr
)
def test_nothing_is_put_back_by_a_note_that_is_not_of_here(
    note: str | None, tmp_path: Path
) -> None:
    path = owner_path(str(tmp_path))
    if note is not None:
        found = os.stat("/proc/thread-self/ns/net")
        Path(path).write_text(note.replace("here", f"{found.st_dev}:{found.st_ino}"))
    with owned_by_us():
        put_back(path)
        assert path_owner() == "userspace"


def test_what_is_to_be_put_back_is_noted_as_long_as_it_is(tmp_path: Path) -> None:
    path = owner_path(str(tmp_path))
    with owned_by_us(path):
        with owned_by_us(f"{path}2"):
            assert not os.path.exists(f"{path}2")
        put_back(path)
        assert path_owner() == "kernel"
    assert not os.path.exists(path)


@pytest.mark.parametrize("owner", ["kernel", "userspace"])
async def test_a_node_that_joins_where_its_kernel_manages_no_paths_says_so(owner: str) -> None:
    async with open_console(*OPTIONS, "--path-manager", owner) as console:
        await until(lambda: listening_port(console.pid) > 0, START_S)
        address = f"127.0.0.1:{listening_port(console.pid)}"
        options = ("--insecure", "--transport", "mptcp")
        with joining(console.home, address, *options, actor=NODE) as process:
            assert process.stderr is not None
            said = [process.stderr.readline()]
            if owner == "userspace":
                assert said == [f"{UNMANAGED}\n"]
                said = [process.stderr.readline()]
            assert said == [f"regrow: joined {address} as 1\n"]
