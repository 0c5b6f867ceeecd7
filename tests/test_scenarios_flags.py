"""Backup and full-mesh flags, SYN cookies, checksums, joins to the initial address."""

from tests.scenario import (
    BACKUP,
    FULLMESH,
    NONE,
    SIGNAL,
    SUBFLOW,
    C,
    S,
    Scenario,
    Step,
    announced,
    checksums,
    joins,
    prio,
    removed,
)
from tests.scenario_play import MARKS, scenarios, verdict
from tests.scenario_run import Outcome
from tests.scenario_steps import add, ip, limits, set_all, sysctl, until

pytestmark = MARKS
ONE = (limits(S, 0, 1), limits(C, 0, 1))
ONE_ANNOUNCED = (limits(S, 0, 1), limits(C, 1, 1))

BACKUPS = [
    Scenario(
        65,
        "a backup subflow ceases to be one",
        (*ONE, add(C, "10.0.3.2", SUBFLOW | BACKUP)),
        joins(1) + prio(0, 1, 1, 0),
        before=joins(1),
        during=(set_all(NONE),),
    ),
    Scenario(
        66,
        "a backup that the server announced ceases to be one",
        (*ONE_ANNOUNCED, add(S, "10.0.2.1", SIGNAL | BACKUP)),
        joins(1) + announced(1) + prio(1, 0, 0, 1),
        before=joins(1) + announced(1),
        during=(set_all(NONE),),
    ),
    Scenario(
        67,
        "an announced subflow becomes a backup at both ends",
        (*ONE_ANNOUNCED, add(S, "10.0.2.1", SIGNAL)),
        joins(1) + announced(1) + prio(1, 1, 0, 0),
        before=joins(1) + announced(1),
        during=(set_all(BACKUP),),
    ),
    Scenario(
        68,
        "a backup announced with a port ceases to be one",
        (*ONE_ANNOUNCED, add(S, "10.0.2.1", SIGNAL | BACKUP, port=10_100)),
        joins(1) + announced(1) + prio(1, 0, 0, 1),
        before=joins(1) + announced(1),
        during=(set_all(NONE),),
    ),
    Scenario(
        69,
        "the initial subflow of the client is a backup if its endpoint is",
        (add(C, "10.0.1.2", SUBFLOW | BACKUP),),
        joins(0) + prio(0, 1, 0, 0),
    ),
    Scenario(
        70,
        "the initial subflow is a backup to both ends, and only that one",
        (
            limits(S, 0, 2),
            limits(C, 1, 2),
            add(S, "10.0.1.1", SIGNAL | BACKUP),
            add(C, "10.0.1.2", SUBFLOW | BACKUP),
            add(C, "10.0.2.2", SUBFLOW),
            add(S, "10.0.2.1", SIGNAL),
            ip(C, "route add 10.0.2.1 via 10.0.1.1 dev eth1"),
        ),
        joins(2) + prio(1, 1, 1, 1),
    ),
    Scenario(
        71,
        "the initial subflow becomes a backup with its endpoint",
        (add(C, "10.0.1.2", SUBFLOW),),
        joins(0) + prio(0, 1, 0, 0),
        during=(set_all(BACKUP),),
    ),
    Scenario(
        72,
        "the initial subflow becomes a backup with the endpoints of both ends",
        (add(S, "10.0.1.1", SUBFLOW), add(C, "10.0.1.2", SUBFLOW)),
        joins(0) + prio(1, 1, 0, 0),
        during=(set_all(BACKUP),),
    ),
]
COOKIES: Step = sysctl("net.ipv4.tcp_syncookies", 2, 2)
SYN_COOKIES = [
    Scenario(
        81,
        "a subflow joins with SYN cookies",
        (COOKIES, *ONE, add(C, "10.0.3.2", SUBFLOW)),
        joins(1),
    ),
    Scenario(
        82,
        "two subflows join with SYN cookies",
        (
            COOKIES,
            limits(S, 0, 2),
            limits(C, 0, 2),
            add(C, "10.0.3.2", SUBFLOW),
            add(C, "10.0.2.2", SUBFLOW),
        ),
        joins(2),
    ),
    Scenario(
        83,
        "a server limited to one rejects the second subflow with SYN cookies too",
        (
            COOKIES,
            limits(S, 0, 1),
            limits(C, 0, 2),
            add(C, "10.0.3.2", SUBFLOW),
            add(C, "10.0.2.2", SUBFLOW),
        ),
        joins(2, 1, 1, rejected=1, cookies=True),
    ),
    Scenario(
        84,
        "an announced address is joined with SYN cookies",
        (COOKIES, *ONE_ANNOUNCED, add(S, "10.0.2.1", SIGNAL)),
        joins(1) + announced(1),
    ),
    Scenario(
        85,
        "an announced address and an own endpoint are both used with SYN cookies",
        (
            COOKIES,
            add(S, "10.0.2.1", SIGNAL),
            limits(S, 0, 2),
            limits(C, 1, 2),
            add(C, "10.0.3.2", SUBFLOW),
        ),
        joins(2) + announced(1),
    ),
    Scenario(
        86,
        "two own endpoints and an announced address are all used with SYN cookies",
        (
            COOKIES,
            limits(S, 0, 3),
            add(S, "10.0.2.1", SIGNAL),
            limits(C, 1, 3),
            add(C, "10.0.3.2", SUBFLOW),
            add(C, "10.0.4.2", SUBFLOW),
        ),
        joins(3) + announced(1),
    ),
]
CHECKSUMS = [
    Scenario(
        87 + row,
        f"data arrive whole where {said} asks for checksums",
        (sysctl("net.mptcp.checksum_enabled", server, client), *ONE),
        joins(0) + checksums(bool(server or client)),
    )
    for row, (said, server, client) in enumerate(
        [("nobody", 0, 0), ("either end", 1, 1), ("the client", 0, 1), ("the server", 1, 0)]
    )
]


def allow_join_id0(server: int, client: int) -> Step:
    return sysctl("net.mptcp.allow_join_initial_addr_port", server, client)


INITIAL = [
    Scenario(
        91,
        "a server that allows it is joined at its initial address",
        (allow_join_id0(1, 0), limits(S, 1, 1), limits(C, 1, 1), add(C, "10.0.3.2", SUBFLOW)),
        joins(1),
    ),
    Scenario(
        92,
        "a server that forbids it is not joined at its initial address",
        (allow_join_id0(0, 1), limits(S, 1, 1), limits(C, 1, 1), add(C, "10.0.3.2", SUBFLOW)),
        joins(0),
    ),
    Scenario(
        93,
        "an announced address is joined whatever the client allows",
        (allow_join_id0(1, 0), limits(S, 1, 1), limits(C, 1, 1), add(S, "10.0.2.1", SIGNAL)),
        joins(1) + announced(1),
    ),
    Scenario(
        94,
        "an announced address is joined whatever the server allows",
        (allow_join_id0(0, 1), limits(S, 1, 1), limits(C, 1, 1), add(S, "10.0.2.1", SIGNAL)),
        joins(1) + announced(1),
    ),
    Scenario(
        95,
        "both kinds of subflow come about where the server allows it",
        (
            allow_join_id0(1, 0),
            limits(S, 2, 2),
            limits(C, 2, 2),
            add(S, "10.0.2.1", SIGNAL),
            add(C, "10.0.3.2", SUBFLOW),
        ),
        joins(2),
    ),
    Scenario(
        96,
        "only the announced address is joined where the server forbids the other",
        (
            allow_join_id0(0, 1),
            limits(S, 2, 2),
            limits(C, 2, 2),
            add(S, "10.0.2.1", SIGNAL),
            add(C, "10.0.3.2", SUBFLOW),
        ),
        joins(1),
    ),
]
MESHES = [
    Scenario(
        97,
        "two full-mesh endpoints join an address that is announced late",
        (
            limits(S, 0, 4),
            limits(C, 1, 4),
            add(C, "10.0.2.2", SUBFLOW | FULLMESH),
            add(C, "10.0.3.2", SUBFLOW | FULLMESH),
        ),
        joins(4) + announced(1),
        before=joins(2),
        during=(add(S, "10.0.2.1", SIGNAL),),
    ),
    Scenario(
        98,
        "a full-mesh endpoint that is added joins every address",
        (
            limits(S, 1, 3),
            limits(C, 1, 3),
            add(S, "10.0.2.1", SIGNAL),
            add(C, "10.0.1.2", SUBFLOW | FULLMESH),
        ),
        joins(3) + announced(1),
        before=joins(1) + announced(1),
        during=(add(C, "10.0.3.2", SUBFLOW | FULLMESH),),
    ),
    Scenario(
        99,
        "two full-mesh endpoints that are added join every address",
        (limits(S, 2, 5), limits(C, 1, 5), add(S, "10.0.2.1", SIGNAL)),
        joins(5) + announced(1),
        before=joins(1) + announced(1),
        during=(
            add(C, "10.0.3.2", SUBFLOW | FULLMESH),
            until(joins(3)),
            add(C, "10.0.4.2", SUBFLOW | FULLMESH),
        ),
    ),
    Scenario(
        100,
        "a full mesh stops at the limit",
        (limits(S, 2, 4), limits(C, 1, 4), add(S, "10.0.2.1", SIGNAL)),
        joins(4) + announced(1),
        before=joins(1) + announced(1),
        during=(
            add(C, "10.0.3.2", SUBFLOW | FULLMESH),
            until(joins(3)),
            add(C, "10.0.4.2", SUBFLOW | FULLMESH),
        ),
    ),
    Scenario(
        101,
        "an endpoint that becomes full-mesh is joined anew",
        (limits(S, 4, 4), add(S, "10.0.2.1", SUBFLOW), limits(C, 4, 4)),
        joins(2) + removed(0, 1),
        during=(add(C, "10.0.3.2", SUBFLOW), until(joins(1)), set_all(FULLMESH)),
    ),
    Scenario(
        102,
        "an endpoint that ceases to be full-mesh is joined anew",
        (limits(S, 4, 4), add(S, "10.0.2.1", SUBFLOW | FULLMESH), limits(C, 4, 4)),
        joins(2) + removed(0, 1),
        during=(add(C, "10.0.3.2", SUBFLOW | FULLMESH), until(joins(1)), set_all(NONE)),
    ),
    Scenario(
        103,
        "an endpoint becomes a full-mesh backup in one go",
        (limits(S, 4, 4), add(S, "10.0.2.1", SUBFLOW), limits(C, 4, 4)),
        joins(2) + prio(0, 1, 1, 0) + removed(0, 1),
        during=(add(C, "10.0.3.2", SUBFLOW), until(joins(1)), set_all(BACKUP | FULLMESH)),
    ),
    Scenario(
        104,
        "a full-mesh backup becomes neither in one go",
        (
            limits(S, 4, 4),
            limits(C, 4, 4),
            add(C, "10.0.2.2", SUBFLOW | BACKUP | FULLMESH),
        ),
        joins(2) + prio(0, 1, 1, 0) + removed(0, 1),
        before=joins(1),
        during=(set_all(NONE),),
    ),
]


@scenarios(BACKUPS)
def test_backups(scenario: Scenario, outcome: Outcome) -> None:
    verdict(outcome)


@scenarios(SYN_COOKIES)
def test_syn_cookies(scenario: Scenario, outcome: Outcome) -> None:
    verdict(outcome)


@scenarios(CHECKSUMS)
def test_checksums(scenario: Scenario, outcome: Outcome) -> None:
    verdict(outcome)


@scenarios(INITIAL)
def test_joins_to_the_initial_address(scenario: Scenario, outcome: Outcome) -> None:
    verdict(outcome)


@scenarios(MESHES)
def test_full_meshes(scenario: Scenario, outcome: Outcome) -> None:
    verdict(outcome)
