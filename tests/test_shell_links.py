"""``links`` and ``paths``: their words, their turns, their notices."""

from __future__ import annotations

import json

import pytest
from trio.testing import MockClock

from actors.path_manager import PathEndpoint, PathNotice, PathTable
from runtime.errors import RemoteError
from runtime.multipath.link_report import LinkReport, StreamReport
from runtime.multipath.statistics import (
    FullInfo,
    MptcpInfo,
    SocketAddress,
    Subflow,
    SubflowAddresses,
    TcpInfo,
)
from shell.commands import Flaw, Mistake, Paths, ShowLink, ShowLinks
from shell.grammar import parse
from shell.linkage import LinkView, introduced
from shell.paths import (
    AddPath,
    BackUpPath,
    FlushPaths,
    LimitPaths,
    RemovePath,
    ShowPaths,
)
from tests.conversation import converse
from tests.fake_tree import FakeTree

TAKES = "paths takes add ADDRESS, remove ID, flush, limits [N M] or backup ID on|off, not "


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("links", ShowLinks()),
        ("links 7", ShowLink(7)),
        ("links -1", ShowLinks(root_only=True)),
        ("paths", Paths(ShowPaths())),
        ("paths limits", Paths(ShowPaths(limits_only=True))),
        ("paths limits 2 8", Paths(LimitPaths(2, 8))),
        ("paths flush", Paths(FlushPaths())),
        ("paths remove 3", Paths(RemovePath(3))),
        ("paths backup 3 on", Paths(BackUpPath(3, on=True))),
        ("paths backup 3 off", Paths(BackUpPath(3, on=False))),
        ("paths add 10.0.2.1", Paths(AddPath(PathEndpoint(0, "10.0.2.1")))),
        (
            "paths add ::1 dev eth1 subflow signal backup fullmesh port 9 id 7",
            Paths(AddPath(PathEndpoint(7, "::1", True, True, True, True, 9, "eth1"))),
        ),
    ],
)
def test_this_line_is_a_command(line: str, command: object) -> None:
    assert parse(line) == command


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("links x", "ID must be 0 to 2147483647, not 'x'"),
        ("links 1 2", "too many arguments for links: '2'"),
        ("paths add", TAKES + "'add'"),
        ("paths adieu 1", TAKES + "'adieu 1'"),
        ("paths limits 1", TAKES + "'limits 1'"),
        ("paths limits 9 0", "N must be 0 to 8, not '9'"),
        ("paths limits 0 -1", "M must be 0 to 8, not '-1'"),
        ("paths remove 0", "ID must be 1 to 255, not '0'"),
        ("paths backup 3 maybe", TAKES + "'backup 3 maybe'"),
        ("paths add ::1 port", "paths add needs a value behind port"),
        ("paths add ::1 port 0", "port must be 1 to 65535, not '0'"),
        ("paths add ::1 id 256", "id must be 1 to 255, not '256'"),
        ("paths add ::1 signal signal", "paths add was given signal twice"),
        ("paths add ::1 dev a dev b", "paths add was given dev twice"),
        ("paths add ::1 loud", "paths add does not know 'loud'"),
        ("paths add nowhere", "ADDRESS must be a numeric address, not 'nowhere'"),
        ("paths add 10.0.2", "ADDRESS must be a numeric address, not '10.0.2'"),
    ],
)
def test_this_line_is_a_mistake(line: str, why: str) -> None:
    assert parse(line) == Mistake(why, Flaw.OTHER, line.split()[0])


def path(local: str, remote: str, state: int = 1) -> Subflow:
    ends = SubflowAddresses(SocketAddress(local, 1000), SocketAddress(remote, 2000))
    tcp = TcpInfo(
        **dict.fromkeys(TcpInfo.__struct_fields__, 0)
        | {"state": state, "rtt": 1250, "snd_cwnd": 10, "bytes_sent": 700, "bytes_received": 80}
    )
    return Subflow(1, ends, tcp)


def full(*paths: Subflow) -> FullInfo:
    info = MptcpInfo(**dict.fromkeys(MptcpInfo.__struct_fields__, 0))
    return FullInfo(info, len(paths), paths)


TWO = full(path("10.0.1.1", "10.0.1.2"), path("10.0.2.1", "10.0.2.2"), path("::1", "::2", 7))
MANY = LinkReport(
    "7",
    "mptcp",
    "mptcp://10.0.1.1:5?n=7",
    (
        StreamReport(True, "controller", "10.0.1.1:1000", "10.0.1.2:2000", 600, 90, TWO),
        StreamReport(False, "", "10.0.1.1:5", "10.0.1.2:3", 9, 60, None, "plain TCP: it fell back"),
        StreamReport(True, "8", note="not connected: Connection refused"),
    ),
)
LOCAL = LinkReport("controller", "ipc", "ipc:///x", (StreamReport(True, "7"),))


def tree() -> FakeTree:
    tree = FakeTree()
    tree.reports = {-1: LOCAL, 7: MANY}
    return tree


async def test_links_of_all_are_a_line_each(autojump_clock: MockClock) -> None:
    assert await converse(tree(), ["create 7", "create 8", "links"]) == (
        "Ok: 101\nOk: 102\n-1 ipc links 1\n"
        "7 mptcp links 3 paths 2 plain 1 sent 609 received 150\n8 unavailable\n\nOk\n"
    )


async def test_that_a_kernel_has_no_multipath_tcp_is_said_once(autojump_clock: MockClock) -> None:
    one = tree()
    note = "plain TCP: this kernel has no Multipath TCP (Protocol not available)"
    streams = tuple(StreamReport(True, name, "a:1", "b:2", 1, 2, None, note) for name in "xy")
    one.reports[-1] = LinkReport("controller", "mptcp", "", streams)
    assert await converse(one, ["links"]) == (
        f"-1 mptcp links 2 paths 0 plain 2 sent 2 received 4\n{note}\n\nOk\n"
    )


async def test_the_links_of_one_are_told_with_their_paths(autojump_clock: MockClock) -> None:
    assert await converse(tree(), ["create 7", "links 7", "links -1"]) == (
        "Ok: 101\n"
        "7 mptcp links 3 paths 2 plain 1 sent 609 received 150 mptcp://10.0.1.1:5?n=7\n"
        "-> -1 10.0.1.1:1000 10.0.1.2:2000 sent 600 received 90\n"
        "  path 10.0.1.1:1000 -> 10.0.1.2:2000 established rtt 1.2 ms cwnd 10"
        " sent 700 received 80\n"
        "  path 10.0.2.1:1000 -> 10.0.2.2:2000 established rtt 1.2 ms cwnd 10"
        " sent 700 received 80\n"
        "<- 10.0.1.1:5 10.0.1.2:3 sent 9 received 60 plain TCP: it fell back\n"
        "-> 8 not connected: Connection refused\n"
        "\n"
        "-1 ipc links 1 ipc:///x\n-> 7\n\nOk\n"
    )


def test_who_has_called_is_known_from_those_who_did() -> None:
    here = LinkReport("7", "mptcp", "", (
        StreamReport(False, "", "10.0.1.1:5", "10.0.1.2:3"),
        StreamReport(False, "", "10.0.1.1:5", "10.0.1.9:9"),
        StreamReport(True, "8", "10.0.1.1:4", "10.0.1.2:6"),
        StreamReport(True, "9", note="not connected: Connection refused"),
    ))  # fmt: skip
    caller = LinkReport("8", "mptcp", "", (
        StreamReport(True, "7", "10.0.1.2:3", "10.0.1.1:5"),
        StreamReport(False, "", "10.0.1.9:9", "10.0.1.1:5"),
    ))  # fmt: skip
    told = introduced(here, [LOCAL, here, caller])
    assert [each.peer for each in told.streams] == ["8", "", "8", "9"]
    assert [each.peer for each in introduced(here, []).streams] == ["", "", "8", "9"]
    assert "\n<- 8 10.0.1.1:5 10.0.1.2:3\n<- 10.0.1.1:5 " in LinkView(7, told).text()


async def test_links_as_json(autojump_clock: MockClock) -> None:
    text = await converse(tree(), ["create 7", "create 8", "links", "links 7"], dialect="json")
    all_of_them, one = (json.loads(line) for line in text.splitlines()[2:4])
    assert all_of_them["result"] == [
        {"id": -1, "available": True, "transport": "ipc", "links": 1},
        {
            "id": 7,
            "available": True,
            "transport": "mptcp",
            "links": 3,
            "paths": 2,
            "plain": 1,
            "sent": 609,
            "received": 150,
        },
        {"id": 8, "available": False},
    ]
    assert one["command"] == "links"
    assert one["result"]["streams"][0]["full"]["subflows"][0]["tcp"]["rtt"] == 1250


async def test_links_of_nobody_and_of_the_dead(autojump_clock: MockClock) -> None:
    lines = ["links 9", "create 8", "links 8", "create 7", "kill 7", "links 7", "links"]
    assert await converse(tree(), lines) == (
        "Error: Not found\nOk: 101\nError: Node is unavailable\nOk: 102\nOk\n"
        "Error: Node is unavailable\n-1 ipc links 1\n8 unavailable\n\nOk\n"
    )


async def test_links_wait_for_what_comes_and_goes_before_them(autojump_clock: MockClock) -> None:
    one = tree()
    one.delays = {"create 7": 1.5}
    assert (await converse(one, ["create 7", "links", "links 7"])).count("7 mptcp") == 2


async def test_a_node_that_does_not_tell_is_unavailable_at_the_deadline(
    autojump_clock: MockClock,
) -> None:
    one = tree()
    one.delays = {"link": 100}
    assert await converse(one, ["create 7", "links 7"]) == (
        "Ok: 101\nError: Node is unavailable\nOk\n"
    )


async def test_paths_are_shown_in_the_words_that_add_them(autojump_clock: MockClock) -> None:
    one = FakeTree()
    one.table = PathTable(
        (
            PathEndpoint(1, "10.0.2.1", subflow=True, backup=True, device="eth2"),
            PathEndpoint(2, "::1", signal=True, fullmesh=True, port=9, lost=True),
        ),
        (1, 4),
        "no CAP_NET_ADMIN: paths are only observed",
    )
    assert await converse(one, ["paths", "paths limits"]) == (
        "limits 1 4\n10.0.2.1 dev eth2 subflow backup id 1\n"
        "::1 signal fullmesh port 9 id 2 lost\n"
        "no CAP_NET_ADMIN: paths are only observed\n\nlimits 1 4\n\nOk\n"
    )
    shown = json.loads((await converse(one, ["paths"], dialect="json")).splitlines()[0])
    assert shown["result"]["limits"] == [1, 4]
    assert shown["result"]["endpoints"][0]["address"] == "10.0.2.1"


async def test_changes_of_paths_happen_in_the_order_of_the_lines(autojump_clock: MockClock) -> None:
    one = FakeTree()
    one.delays = {"paths": 1}
    lines = ["paths add ::1", "paths limits 1 2", "paths remove 1", "paths"]
    assert await converse(one, lines) == "Ok\nOk\nOk\nlimits 0 2\n\nOk\n"
    kinds = [AddPath, LimitPaths, RemovePath, ShowPaths]
    assert list(map(type, one.asked)) == kinds


async def test_what_the_kernel_refuses_is_an_error(autojump_clock: MockClock) -> None:
    one = FakeTree()
    one.table = RemoteError("OSError", "[Errno 22] add endpoint ::1: Invalid argument", "")
    assert await converse(one, ["paths add ::1"]) == (
        "Error: paths add ::1: add endpoint ::1: Invalid argument\nOk\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        "paths",
        "paths limits",
        "paths limits 1 2",
        "paths add ::1 dev eth1 subflow backup port 9 id 7",
        "paths remove 3",
        "paths flush",
        "paths backup 3 on",
        "paths backup 3 off",
    ],
)
async def test_an_error_of_paths_says_of_what_and_nothing_of_python(
    autojump_clock: MockClock, line: str
) -> None:
    one = FakeTree()
    for error in (
        RemoteError("LookupError", "no endpoint 3"),
        RemoteError("OSError", "[Errno 1] no endpoint 3"),
    ):
        one.table = error
        assert await converse(one, [line]) == f"Error: {line}: no endpoint 3\nOk\n"
    one.table = RemoteError("FileExistsError", "[Errno 17] add ::1: duplicate one: -17 (It exists)")
    assert await converse(one, [line]) == f"Error: {line}: add ::1: duplicate one (It exists)\nOk\n"


NOTICES = [
    PathNotice("lost", "7", "10.0.2.1", "10.0.2.2"),
    PathNotice("regained", "7", "10.0.2.1", "10.0.2.2"),
    PathNotice("plain", "7"),
    PathNotice("trouble", local="delete endpoint 1: Operation not permitted"),
]


@pytest.mark.parametrize("dialect", ["spec", "v34", "v45", "json"])
async def test_what_becomes_of_paths_is_told(autojump_clock: MockClock, dialect: str) -> None:
    one = FakeTree()
    one.path_notices = [(0.1 * n, notice) for n, notice in enumerate(NOTICES)]
    text = await converse(one, ["sleep 1000"], dialect=dialect)
    told = [line for line in text.splitlines() if "ink" in line]
    if dialect == "v45":
        assert not told
    elif dialect == "json":
        assert [json.loads(line)["kind"] for line in told] == [each.kind for each in NOTICES]
    else:
        assert told == [
            "Link: node 7 lost path 10.0.2.1 -> 10.0.2.2",
            "Link: node 7 regained path 10.0.2.1 -> 10.0.2.2",
            "Link: node 7 is down to plain TCP",
            "Link: delete endpoint 1: Operation not permitted",
        ]
