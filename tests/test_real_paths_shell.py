"""The shell's ``paths`` and ``links`` on a host of its own: endpoints, limits, notices."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import pytest

from actors.testing import lab
from actors.testing.lab import Host
from runtime.multipath.path_owner import path_owner
from tests import mptcp

WHY_NOT = mptcp.missing() or lab.missing()
pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]


@pytest.fixture
def host(home: str) -> Iterator[Host]:
    with lab.open_pair(2) as (server, _):
        yield server


def talk(host: Host, *lines: str, options: tuple[str, ...] = ()) -> list[str]:
    """What the shell answers."""
    listen = ("--listen", "10.0.1.1")
    argv = (sys.executable, "-m", "shell", "--transport", "mptcp", *listen, *options)
    return host.run(*argv, stdin="\n".join((*lines, ""))).splitlines()


@pytest.mark.parametrize("owner", ["kernel", "userspace"])
def test_a_path_is_added_used_and_lost(host: Host, owner: str) -> None:
    said = talk(
        host,
        "paths limits 2 4",
        "paths add 10.0.2.1 subflow id 7",
        "paths",
        "create 1",
        "sleep 1500",
        "links 1",
        "paths remove 7",
        "sleep 1000",
        "paths",
        options=("--path-manager", owner),
    )
    with host.inside():
        assert path_owner() == "kernel"  # again
    assert said[:5] == ["Ok", "Ok", "limits 2 4", "10.0.2.1 subflow id 7", ""]
    assert re.fullmatch(r"Ok: \d+", said[5])
    assert said[6] == "Ok"
    assert any(re.match(r"  path 10\.0\.2\.1:\d+ -> 10\.0\.1\.1:\d+ established", x) for x in said)
    assert "Link: node 1 lost path 10.0.2.1 -> 10.0.1.1" in said
    assert said[-3:] == ["limits 2 4", "", "Ok"]


def test_a_backup_is_told_and_flushed(host: Host) -> None:
    assert talk(
        host,
        "paths add 10.0.2.1 dev eth2 signal id 3",
        "paths backup 3 on",
        "paths",
        "paths backup 3 off",
        "paths",
        "paths flush",
        "paths",
        "paths remove 3",
        "paths backup 3 on",
        "paths add 10.0.2.1 dev eth9",
        "paths add 10.0.2.1 id 4",
        "paths add 10.0.2.1 id 5",
        "paths add nowhere",
    ) == [
        *("Ok", "Ok", "limits 0 2", "10.0.2.1 dev eth2 signal backup id 3", ""),
        *("Ok", "limits 0 2", "10.0.2.1 dev eth2 signal id 3", "", "Ok", "limits 0 2", ""),
        "Error: paths remove 3: no endpoint 3",
        "Error: paths backup 3 on: no endpoint 3",
        "Error: paths add 10.0.2.1 dev eth9: no network device eth9",
        "Ok",
        "Error: paths add 10.0.2.1 id 5: add endpoint 10.0.2.1: too many addresses or duplicate one"
        " (File exists)",
        "Error: ADDRESS must be a numeric address, not 'nowhere'",
        "Ok",
    ]


def test_a_kernel_without_mptcp_has_links_but_no_paths_of_its_own(host: Host) -> None:
    host.sysctl("net.mptcp.enabled", 0)
    answers = talk(host, "create 1", "exec 1 time", "links")
    said = [line for line in answers if not line.startswith("Link: ")]  # those come any time
    assert said[1] == "Ok:1: 0"
    assert re.fullmatch(r"-1 mptcp links \d paths 0 plain \d sent \d+ received \d+", said[2])
    assert said[4] == "plain TCP: this kernel has no Multipath TCP (Protocol not available)"


def test_all_addresses_of_a_process_have_one_port(host: Host) -> None:
    said = talk(host, "create 1", "links 1", options=("--listen", "10.0.2.1"))
    (head,) = [line for line in said if line.startswith("1 mptcp links")]
    found = re.search(r"mptcp://10\.0\.1\.1:(\d+),10\.0\.2\.1:(\d+)\?key=", head)
    assert found is not None
    assert found[1] == found[2]
