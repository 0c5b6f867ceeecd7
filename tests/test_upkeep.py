"""What is done to a connection whose paths are ours to manage."""

from collections.abc import Sequence

import pytest

from runtime.multipath.endpoint import Endpoint, Flags, Limits
from runtime.multipath.event import (
    Announced,
    Closed,
    Created,
    Established,
    Event,
    Removed,
    SubflowClosed,
    SubflowEstablished,
)
from runtime.multipath.statistics import SocketAddress, TcpState
from runtime.multipath.steward import address_id
from runtime.multipath.upkeep import (
    ANY,
    Action,
    Close,
    Offer,
    Open,
    Rank,
    Upkeep,
    Withdraw,
)
from tests.test_path_guard import link, path

T = 7
HERE, THERE = SocketAddress("10.0.1.2", 1000), SocketAddress("10.0.1.1", 443)
LIMITS = Limits(2, 4)
SUB = Endpoint("10.0.2.2", Flags.SUBFLOW, id=2)
SUB3 = Endpoint("10.0.3.2", Flags.SUBFLOW, id=3)
BACKUP = Endpoint("10.0.2.2", Flags.SUBFLOW | Flags.BACKUP, id=2)
MESH = Endpoint("10.0.3.2", Flags.SUBFLOW | Flags.FULLMESH, id=3)
SIGNAL = Endpoint("10.0.2.1", Flags.SIGNAL, id=8)
SIGNAL6 = Endpoint("2001:db8::1", Flags.SIGNAL, id=9)
SUB6 = Endpoint("2001:db8::2", Flags.SUBFLOW, id=6)
OFFER = SocketAddress("10.0.4.1", 443)
DOWN2 = (SocketAddress("10.0.2.2", 2000), THERE)


def begun(*, server_side: bool = False, deny: bool = False) -> list[Event]:
    here, there = (THERE, HERE) if server_side else (HERE, THERE)
    return [kind(T, here, there, server_side, deny) for kind in (Created, Established)]


def joined(local: SocketAddress, remote: SocketAddress, id: int = 2) -> SubflowEstablished:
    return SubflowEstablished(T, id, 0, local, remote, False, 0, 0, -1, 0, 0)


def closed(local: SocketAddress, remote: SocketAddress) -> SubflowClosed:
    return SubflowClosed(T, 2, 0, local, remote, False, 0, 0, -1, 0, 0)


def announced(id: int = 5, address: SocketAddress = OFFER) -> Announced:
    return Announced(T, id, SocketAddress(address.host, 0))


CASES: dict[str, tuple[list[Event], Sequence[Endpoint], Limits, list[Action]]] = {
    "nothing without endpoints": (begun(), [], LIMITS, []),
    "nothing before it is established": (begun()[:1], [SUB], LIMITS, []),
    "nothing after it has closed": ([*begun(), Closed(T)], [SUB], LIMITS, []),
    "a subflow from each endpoint": (
        begun(),
        [SUB, SUB3],
        LIMITS,
        [Open(T, SUB, THERE), Open(T, SUB3, THERE)],
    ),
    "no more than the limit": (begun(), [SUB, SUB3], Limits(0, 1), [Open(T, SUB, THERE)]),
    "none at all": (begun(), [SUB, SUB3], Limits(0, 0), []),
    "none to a peer that takes none there": (begun(deny=True), [SUB], LIMITS, []),
    "none of another family": (begun(), [SUB6], LIMITS, []),
    "none from the address that there is": (
        begun(),
        [Endpoint("10.0.1.2", Flags.SUBFLOW, id=1)],
        LIMITS,
        [],
    ),
    "none back to who called": (begun(server_side=True), [SUB], LIMITS, []),
    "an announcement, one at a time": (
        begun(server_side=True),
        [SIGNAL, SIGNAL6],
        LIMITS,
        [Offer(T, SIGNAL)],
    ),
    "an offer is answered from wherever": (
        [*begun(), announced()],
        [],
        LIMITS,
        [Open(T, ANY, OFFER)],
    ),
    "an offer is not answered beyond the limit": ([*begun(), announced()], [], Limits(0, 4), []),
    "nor with too many subflows": ([*begun(), announced()], [], Limits(2, 0), []),
    "an offer is answered from every endpoint of a mesh": (
        [*begun(), announced()],
        [MESH],
        LIMITS,
        [Open(T, MESH, THERE), Open(T, MESH, OFFER)],
    ),
    "an offer that was taken back": ([*begun(), announced(), Removed(T, 5)], [], LIMITS, []),
    "an offer of where we are already": ([*begun(), announced(address=THERE)], [], LIMITS, []),
    "an offer to the one who was called": (
        [*begun(server_side=True), announced()],
        [],
        LIMITS,
        [],
    ),
    "an offer of a port to the one who was called": (
        [*begun(server_side=True), Announced(T, 5, SocketAddress("10.0.4.2", 99))],
        [],
        LIMITS,
        [Open(T, ANY, SocketAddress("10.0.4.2", 99))],
    ),
    "two offers, one may be answered": (
        [*begun(), announced(5), announced(6, SocketAddress("10.0.5.1", 443))],
        [],
        Limits(1, 4),
        [Open(T, ANY, OFFER)],
    ),
    "the initial address is a backup": (
        begun(),
        [Endpoint("10.0.1.2", Flags.SUBFLOW | Flags.BACKUP, id=1)],
        LIMITS,
        [Rank(T, HERE, THERE, backup=True)],
    ),
    "the peer opens too much": (
        [*begun(server_side=True), joined(THERE, SocketAddress("10.0.2.2", 5))],
        [],
        Limits(0, 0),
        [Close(T, THERE, SocketAddress("10.0.2.2", 5))],
    ),
    "an address of ours is mapped": (
        [
            kind(T, SocketAddress("::ffff:10.0.2.2", 1), THERE, False, False)
            for kind in (Created, Established)
        ],
        [SUB],
        LIMITS,
        [],
    ),
}


@pytest.mark.parametrize(("events", "endpoints", "limits", "actions"), CASES.values(), ids=CASES)
def test_what_is_due(
    events: list[Event], endpoints: Sequence[Endpoint], limits: Limits, actions: list[Action]
) -> None:
    upkeep = Upkeep()
    for each in events:
        upkeep.note(each)
    assert upkeep.due(endpoints, limits) == actions
    assert [one for one in upkeep.due(endpoints, limits) if not isinstance(one, Offer)] == []


@pytest.fixture
def upkeep() -> Upkeep:
    """With one connection that we have opened."""
    upkeep = Upkeep()
    for each in begun():
        upkeep.note(each)
    return upkeep


def test_announcements_follow_one_another(upkeep: Upkeep) -> None:
    assert upkeep.due([SIGNAL, SIGNAL6], LIMITS) == [Offer(T, SIGNAL)]
    assert upkeep.due([SIGNAL, SIGNAL6], LIMITS) == [Offer(T, SIGNAL6)]
    assert upkeep.due([SIGNAL, SIGNAL6], LIMITS) == []
    assert upkeep.due([SIGNAL6], LIMITS) == [Withdraw(T, "10.0.2.1")]
    assert upkeep.due([SIGNAL6, SIGNAL], LIMITS) == [Offer(T, SIGNAL)]


def test_an_endpoint_that_is_gone_is_withdrawn_closed_and_used_again(upkeep: Upkeep) -> None:
    assert upkeep.due([SUB], LIMITS) == [Open(T, SUB, THERE)]
    upkeep.note(joined(*DOWN2))
    assert upkeep.due([SUB], LIMITS) == []
    assert upkeep.due([], LIMITS) == [Withdraw(T, "10.0.2.2"), Close(T, *DOWN2)]
    upkeep.note(closed(*DOWN2))
    assert upkeep.due([], LIMITS) == []
    assert upkeep.due([SUB], LIMITS) == [Open(T, SUB, THERE)]


def test_an_endpoint_that_has_failed_is_not_tried_again_until_it_comes_back(
    upkeep: Upkeep,
) -> None:
    assert upkeep.due([SUB], LIMITS) == [Open(T, SUB, THERE)]
    upkeep.note(closed(SocketAddress("10.0.2.2", 99), THERE))
    assert upkeep.due([SUB], LIMITS) == []
    assert upkeep.due([], LIMITS) == []
    assert upkeep.due([SUB], LIMITS) == [Open(T, SUB, THERE)]


@pytest.mark.parametrize("how", ["refused", "closed"])
def test_what_came_to_nothing_leaves_room_for_another(upkeep: Upkeep, how: str) -> None:
    (begun,) = upkeep.due([SUB, SUB3], Limits(0, 1))
    if how == "refused":
        upkeep.fail(begun)
    else:
        upkeep.note(closed(SocketAddress("10.0.2.2", 99), THERE))
    assert upkeep.due([SUB, SUB3], Limits(0, 1)) == [Open(T, SUB3, THERE)]


def test_a_backup_is_told_when_it_becomes_one_and_not_when_it_began_as_one(
    upkeep: Upkeep,
) -> None:
    assert upkeep.due([BACKUP], LIMITS) == [Open(T, BACKUP, THERE)]
    upkeep.note(joined(*DOWN2))
    assert upkeep.due([BACKUP], LIMITS) == []
    assert upkeep.due([SUB], LIMITS) == [Rank(T, *DOWN2, backup=False)]
    assert upkeep.due([BACKUP], LIMITS) == [Rank(T, *DOWN2, backup=True)]
    assert upkeep.due([BACKUP], LIMITS) == []


def test_the_initial_address_is_dropped_once_there_is_another(upkeep: Upkeep) -> None:
    upkeep.drop("10.0.1.2")
    assert upkeep.due([SUB], LIMITS) == [Open(T, SUB, THERE)]
    upkeep.note(joined(*DOWN2))
    assert upkeep.due([SUB], LIMITS) == [
        Withdraw(T, "10.0.1.2", initial=True),
        Close(T, HERE, THERE),
    ]
    again = Endpoint("10.0.1.2", Flags.SUBFLOW, id=4)
    assert upkeep.due([SUB], LIMITS) == []
    assert upkeep.due([SUB, again], LIMITS) == [Open(T, again, THERE)]


def test_an_address_that_is_dropped_and_comes_back_at_once_stays(upkeep: Upkeep) -> None:
    upkeep.drop("10.0.1.2")
    again = Endpoint("10.0.1.2", Flags.SUBFLOW, id=4)
    assert upkeep.due([again], LIMITS) == []
    upkeep.note(joined(*DOWN2))
    assert upkeep.due([again], LIMITS) == []


def test_the_last_subflow_stays_whatever_is_removed(upkeep: Upkeep) -> None:
    upkeep.due([SUB], LIMITS)
    upkeep.note(joined(*DOWN2))
    upkeep.note(closed(HERE, THERE))
    assert upkeep.due([], LIMITS) == []
    other = (SocketAddress("10.0.3.2", 5), THERE)
    assert upkeep.due([SUB3], LIMITS) == [Open(T, SUB3, THERE)]
    upkeep.note(joined(*other, id=3))
    assert upkeep.due([SUB3], LIMITS) == [Withdraw(T, "10.0.2.2"), Close(T, *DOWN2)]


def test_where_the_peer_takes_its_initial_address_back_nobody_goes_until_it_is_offered(
    upkeep: Upkeep,
) -> None:
    upkeep.due([SUB], LIMITS)
    upkeep.note(joined(*DOWN2))
    upkeep.note(Removed(T, 0))
    assert upkeep.due([SUB, SUB3], LIMITS) == []
    upkeep.note(closed(HERE, THERE))
    upkeep.note(closed(*DOWN2))
    upkeep.note(announced(0, THERE))
    assert upkeep.due([SUB, SUB3], Limits(0, 4)) == [Open(T, ANY, THERE)]


def test_a_mesh_reaches_what_was_offered_to_others(upkeep: Upkeep) -> None:
    upkeep.note(announced())
    assert upkeep.due([], LIMITS) == [Open(T, ANY, OFFER)]
    upkeep.note(joined(SocketAddress("10.0.4.2", 5), OFFER, id=1))
    assert upkeep.due([MESH], LIMITS) == [Open(T, MESH, THERE), Open(T, MESH, OFFER)]


def test_what_the_peer_has_opened_within_the_limit_stays_when_that_is_lowered(
    upkeep: Upkeep,
) -> None:
    upkeep.note(joined(*DOWN2))
    assert upkeep.due([], Limits(0, 1)) == []
    assert upkeep.due([], Limits(0, 0)) == []


def test_one_of_two_endpoints_of_an_address_takes_no_subflow_with_it() -> None:
    upkeep = Upkeep()
    for each in begun(server_side=True):
        upkeep.note(each)
    ports = [Endpoint("10.0.2.1", Flags.SIGNAL, id, port=9000 + id) for id in (1, 2)]
    upkeep.due(ports, LIMITS)
    upkeep.due(ports, LIMITS)
    upkeep.note(joined(SocketAddress("10.0.2.1", 9001), SocketAddress("10.0.2.2", 5)))
    assert upkeep.due(ports[1:], LIMITS) == [Withdraw(T, "10.0.2.1", 9001)]
    assert upkeep.due(ports[1:], LIMITS) == []


def test_events_that_were_lost_are_made_good_by_looking(upkeep: Upkeep) -> None:
    assert upkeep.due([SUB, SUB3], LIMITS) == [Open(T, SUB, THERE), Open(T, SUB3, THERE)]
    seen = link(path("10.0.1.2", id=1), path("10.0.2.2", id=2), token=T)
    upkeep.see(seen, server_side=False)  # what was begun from 10.0.3.2 has come to nothing
    assert upkeep.due([SUB3], LIMITS) == [
        Withdraw(T, "10.0.2.2"),
        Close(T, SocketAddress("10.0.2.2", 1000), THERE),
    ]
    other = link(path("10.0.1.2", id=1), token=T + 1)
    upkeep.see(other, server_side=False)
    assert upkeep.due([SUB3], LIMITS) == [Open(T + 1, SUB3, THERE)]
    ended = link(path("10.0.1.2", id=1, state=TcpState.CLOSE), token=T + 2)
    upkeep.see(ended, server_side=False)
    assert upkeep.due([SUB3], LIMITS) == []


def test_events_of_connections_that_nobody_knows_are_no_matter() -> None:
    upkeep = Upkeep()
    for each in (joined(*DOWN2), closed(*DOWN2), announced(), Removed(T, 1), Closed(T)):
        upkeep.note(each)
    upkeep.fail(Open(T, SUB, THERE))
    assert upkeep.due([SUB], LIMITS) == []


@pytest.mark.parametrize(
    ("held", "id"),
    [
        ([], 2),
        ([Endpoint("10.0.2.2", id=5)], 5),
        ([Endpoint("10.0.9.9", id=2)], 1),
        ([Endpoint("10.0.9.9", id=2), Endpoint("10.0.9.8", id=1)], 3),
        ([Endpoint("10.0.2.2", id=5, port=99)], 2),
    ],
    ids=["its own", "that of the connection", "one that is free", "the next", "another port"],
)
def test_an_address_has_one_id_on_a_connection(held: list[Endpoint], id: int) -> None:
    assert address_id(SUB, held) == id
