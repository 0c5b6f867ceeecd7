"""Connections whose paths are managed one by one; endpoints that go and come again."""

from tests.scenario import (
    BACKUP,
    IMPLICIT,
    NONE,
    SIGNAL,
    SUBFLOW,
    C,
    Check,
    Checks,
    S,
    Scenario,
    Step,
    announced,
    counter,
    events,
    info,
    joins,
    living,
    no_resets,
    paths_lost,
    prio,
    removed,
)
from tests.scenario_play import MARKS, scenarios, verdict
from tests.scenario_run import Outcome
from tests.scenario_steps import (
    add,
    addresses_are,
    announce,
    create_subflow,
    delete,
    delete_first,
    destroy_subflow,
    endpoint_is,
    flush,
    limits,
    no_rules,
    refused_add,
    rules,
    set_all,
    sleep,
    sysctl,
    take_back,
    until,
    userspace,
)

pytestmark = MARKS


def subflows(further: int, total: int) -> Checks:
    """By the count of both ends."""
    return info("subflows", further, further) + info("subflows_total", total, total)


def addresses(announced: int, accepted: int) -> Checks:
    """By the count of the server, and of the client."""
    return (
        Check(S, "info", "add_addr_signal", announced, announced),
        Check(C, "info", "add_addr_accepted", accepted, accepted),
    )


NOBODY_LISTENS = frozenset({S, C})
OWNERS = [
    Scenario(
        109,
        "a server managed by its owner announces no endpoint by itself",
        (userspace(S), limits(S, 0, 2), limits(C, 0, 2), add(S, "10.0.2.1", SIGNAL)),
        joins(0) + announced(0),
        deaf=NOBODY_LISTENS,
        attempts=3,
    ),
    Scenario(
        110,
        "a client managed by an owner who does not listen echoes no announcement",
        (userspace(C), limits(S, 0, 2), limits(C, 0, 2), add(S, "10.0.2.1", SIGNAL)),
        joins(0) + announced(1, 0),
        deaf=NOBODY_LISTENS,
        attempts=3,
    ),
    Scenario(
        111,
        "a server managed by an owner who does not listen rejects subflows",
        (userspace(S), limits(S, 1, 1), limits(C, 1, 1), add(C, "10.0.3.2", SUBFLOW)),
        joins(1, 1, 0, rejected=1),
        deaf=NOBODY_LISTENS,
        attempts=3,
    ),
    Scenario(
        112,
        "a client managed by its owner opens no subflow by itself",
        (userspace(C), limits(S, 1, 1), limits(C, 1, 1), add(C, "10.0.3.2", SUBFLOW)),
        joins(0),
        deaf=NOBODY_LISTENS,
        attempts=3,
    ),
    Scenario(
        113,
        "a server managed by its owner changes no priority by itself",
        (userspace(S), limits(S, 1, 1), limits(C, 1, 1), add(C, "10.0.3.2", SUBFLOW)),
        joins(1, 1, 0, rejected=1) + prio(0, 0, 0, 0),
        before=joins(1, 1, 0, rejected=1),
        during=(set_all(BACKUP),),
        deaf=NOBODY_LISTENS,
        attempts=3,
    ),
    Scenario(
        114,
        "ends managed by their owners take no address back by themselves",
        (
            userspace(S),
            userspace(C),
            limits(S, 0, 1),
            limits(C, 0, 1),
            add(C, "10.0.3.2", SUBFLOW),
        ),
        joins(0) + removed(0, 0),
        during=(delete_first(C, 1),),
        deaf=NOBODY_LISTENS,
        attempts=3,
    ),
    Scenario(
        115,
        "an owner announces addresses, closes a subflow and takes an address back",
        (userspace(S), limits(C, 2, 2)),
        joins(2) + announced(2) + removed(1, 1, by=S) + subflows(0, 1) + paths_lost(2),
        during=(
            announce(S, "10.0.2.1", 10),
            until(joins(1)),
            announce(S, "10.0.3.1", 20),
            until(joins(2), announced(2), subflows(2, 3), addresses(2, 2)),
            addresses_are(S, (10, "10.0.2.1", SIGNAL), (20, "10.0.3.1", SIGNAL)),
            destroy_subflow(S, "10.0.2.1"),
            addresses_are(S, (20, "10.0.3.1", SIGNAL)),
            take_back(S, 20),
            addresses_are(S),
        ),
    ),
    Scenario(
        116,
        "an owner opens a subflow and closes it, and is told of one that cannot be",
        (userspace(C), limits(S, 0, 1)),
        joins(1, bind_errors=1) + removed(0, 1) + subflows(0, 1) + paths_lost(1),
        during=(
            create_subflow(C, "10.0.3.2", 20),
            until(joins(1), subflows(1, 2)),
            addresses_are(C, (20, "10.0.3.2", SUBFLOW)),
            destroy_subflow(C, "10.0.3.2"),
            addresses_are(C),
            until(removed(0, 1), subflows(0, 1)),
            create_subflow(C, "10.0.12.2", 10, fails=True),
        ),
    ),
    Scenario(
        117,
        "an owner opens a subflow of id 0",
        (userspace(C), limits(S, 0, 1)),
        joins(1) + subflows(1, 2),
        during=(
            until(subflows(0, 1)),
            create_subflow(C, "10.0.3.2", 0),
            addresses_are(C, (0, "10.0.3.2", SUBFLOW)),
        ),
    ),
    Scenario(
        118,
        "an owner closes the initial subflow and the connection goes on",
        (userspace(C), limits(S, 0, 1)),
        joins(1) + removed(0, 1) + no_resets(C) + subflows(1, 1) + paths_lost(1),
        during=(
            create_subflow(C, "10.0.3.2", 20),
            until(joins(1), subflows(1, 2)),
            destroy_subflow(C, "10.0.1.2"),
        ),
    ),
    Scenario(
        119,
        "an owner takes the initial address back and the connection goes on",
        (userspace(S), limits(C, 1, 1)),
        joins(1)
        + announced(1)
        + removed(1, 0, by=S)
        + no_resets(C)
        + subflows(1, 1)
        + paths_lost(1),
        during=(
            announce(S, "10.0.2.1", 10),
            until(joins(1), announced(1), subflows(1, 2), addresses(1, 1)),
            take_back(S, 0),
        ),
    ),
]


def no_rm_addr(address: str) -> str:
    """Drops RM_ADDR from that address, where it follows an acknowledgement of 8 bytes."""
    return (
        f"output ip saddr {address} meta l4proto tcp @nh,256,4 0xc @nh,424,8 0xc @nh,528,4 0x4 drop"
    )


def now(further: int, open: int, *more: Checks) -> Step:
    return until(info("subflows", further, further), living(open, open), *more)


AGAIN: tuple[Step, ...] = (
    delete(C, 1, "10.0.1.2"),
    sleep(0.5),
    now(2, 2),
    add(C, "10.0.1.2", SUBFLOW, id=1, device="eth1"),
    now(3, 3),
)
ENDPOINTS = [
    Scenario(
        120,
        "an implicit endpoint keeps its id and may become an explicit one",
        (limits(S, 2, 2), limits(C, 2, 2), add(S, "10.0.2.1", SIGNAL)),
        joins(1) + announced(1) + info("subflows", 1, 1) + addresses(1, 1),
        before=joins(1) + announced(1),
        during=(
            endpoint_is(C, 1, "10.0.2.2", IMPLICIT),
            refused_add(C, "10.0.2.2", NONE, id=33),
            endpoint_is(C, 1, "10.0.2.2", IMPLICIT),
            add(C, "10.0.2.2", SIGNAL),
            endpoint_is(C, 1, "10.0.2.2", SIGNAL),
        ),
    ),
    Scenario(
        121,
        "endpoints of the client are deleted and added again, the initial one three times",
        (
            rules(C, "output ip saddr 10.0.3.2 meta l4proto tcp reject"),
            limits(S, 0, 3),
            limits(C, 0, 3),
            add(C, "10.0.1.2", SUBFLOW, id=1, device="eth1"),
            add(C, "10.0.2.2", SUBFLOW, id=2, device="eth2"),
        ),
        joins(6, tx=7)
        + removed(4, 4)
        + events(
            S,
            ListenerCreated=1,
            Created=1,
            Established=1,
            Announced=0,
            Removed=4,
            SubflowEstablished=6,
            SubflowClosed=4,
        )
        + events(
            C,
            Created=1,
            Established=1,
            Announced=0,
            Removed=0,
            SubflowEstablished=6,
            SubflowClosed=5,  # one was closed before it was established
        ),
        during=(
            endpoint_is(C, 2, "10.0.2.2", SUBFLOW),
            now(1, 2),
            delete(C, 2, "10.0.2.2"),
            sleep(0.5),
            now(0, 1),
            add(C, "10.0.2.2", SUBFLOW, id=2, device="eth2"),
            now(1, 2),
            add(C, "10.0.3.2", SUBFLOW, id=3),
            until(Check(C, "tcp counter", "AttemptFails", 1, 1)),
            now(1, 2),
            no_rules(C),
            delete(C, 3, "10.0.3.2"),
            add(C, "10.0.3.2", SUBFLOW, id=3),
            now(2, 3),
            rules(C, no_rm_addr("10.0.1.2")),
            *AGAIN * 3,
            no_rules(C),
        ),
    ),
    Scenario(
        122,
        "announcements of the server are taken back and made again, the initial one too",
        (
            sysctl("net.mptcp.add_addr_timeout", 0, None),
            limits(S, 0, 3),
            limits(C, 3, 3),
            add(S, "10.0.2.1", SIGNAL, id=1),
            add(S, "224.0.0.1", SIGNAL, id=2),
            add(S, "10.0.1.1", SIGNAL, id=42),
        ),
        joins(5, connect_errors=1)
        + announced(6)
        + removed(4, 3, by=S)
        + events(
            S,
            ListenerCreated=1,
            Created=1,
            Established=1,
            Announced=0,
            Removed=0,
            SubflowEstablished=5,
            SubflowClosed=3,
        )
        + events(
            C,
            Created=1,
            Established=1,
            Announced=6,
            Removed=4,
            SubflowEstablished=5,
            SubflowClosed=3,
        ),
        during=(
            endpoint_is(S, 1, "10.0.2.1", SIGNAL),
            now(1, 2, addresses(2, 1)),
            delete(S, 1, "10.0.2.1"),
            delete(S, 2, "224.0.0.1"),
            sleep(0.5),
            now(0, 1, addresses(0, 0)),
            add(S, "10.0.2.1", SIGNAL, id=1),
            now(1, 2, addresses(1, 1)),  # the client drops one that comes too soon after another
            add(S, "10.0.3.1", SIGNAL, id=2),
            now(2, 3, addresses(2, 2)),
            rules(S, no_rm_addr("10.0.1.1")),
            delete(S, 42, "10.0.1.1"),
            sleep(0.5),
            now(2, 2, addresses(2, 2)),
            no_rules(S),
            add(S, "10.0.1.1", SIGNAL, id=99),
            now(3, 3, addresses(3, 2)),
            delete(S, 99, "10.0.1.1"),
            sleep(0.5),
            now(2, 2, addresses(2, 2)),
            add(S, "10.0.1.1", SIGNAL, id=88),
            now(3, 3, addresses(3, 2)),
        ),
    ),
    Scenario(
        123,
        "endpoints that led nowhere are flushed and others made in their place",
        (
            rules(C, "output ip saddr 10.0.3.2 meta l4proto tcp reject"),
            limits(S, 0, 2),
            limits(C, 1, 2),
            add(S, "224.0.0.1", SIGNAL, id=2),
            add(C, "10.0.3.2", SUBFLOW, id=3),
        ),
        joins(2, tx=3, connect_errors=1) + announced(2) + removed(1, 0, by=S),
        during=(
            until(Check(C, "tcp counter", "AttemptFails", 1, 1)),
            now(0, 1),
            flush(C),
            flush(S),
            until(counter(C, "RmAddr", 1)),
            no_rules(C),
            add(C, "10.0.3.2", SUBFLOW, id=3),
            now(1, 2),
            add(S, "10.0.3.1", SIGNAL, id=2),
            now(2, 3),
        ),
    ),
]


@scenarios(OWNERS)
def test_owners(scenario: Scenario, outcome: Outcome) -> None:
    verdict(outcome)


@scenarios(ENDPOINTS)
def test_endpoints_that_come_again(scenario: Scenario, outcome: Outcome) -> None:
    verdict(outcome)
