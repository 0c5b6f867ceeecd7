"""Endpoints that go and come while a connection is open."""

from tests.scenario import (
    BACKUP,
    SIGNAL,
    SUBFLOW,
    C,
    Checks,
    S,
    Scenario,
    announced,
    counter,
    joins,
    no_resets,
    paths_lost,
    removed,
    removed_about,
)
from tests.scenario_play import MARKS, scenarios, verdict
from tests.scenario_run import Outcome
from tests.scenario_steps import add, delete, delete_first, flush, limits

pytestmark = MARKS


def open_now(count: int) -> Checks:
    """Connections at either end."""
    return counter(S, "MPCurrEstab", count), counter(C, "MPCurrEstab", count)


REMOVALS = [
    Scenario(
        29,
        "a subflow ends with its endpoint",
        (limits(S, 0, 1), limits(C, 0, 1), add(C, "10.0.3.2", SUBFLOW | BACKUP)),
        (*joins(1), counter(C, "RmAddrTx", 1), *removed(1, 1), *no_resets(), *paths_lost(1)),
        before=joins(1),
        during=(delete_first(C, 1),),
    ),
    Scenario(
        30,
        "two subflows end with their endpoints",
        (
            limits(S, 0, 2),
            limits(C, 0, 2),
            add(C, "10.0.2.2", SUBFLOW | BACKUP),
            add(C, "10.0.3.2", SUBFLOW | BACKUP),
        ),
        joins(2) + removed(2, 2) + no_resets() + paths_lost(2),
        before=joins(2),
        during=(delete_first(C, 2),),
    ),
    Scenario(
        31,
        "a subflow ends with the announcement it came of",
        (limits(S, 0, 1), add(S, "10.0.2.1", SIGNAL | BACKUP), limits(C, 1, 1)),
        joins(1) + announced(1) + removed(1, 1, by=S) + no_resets() + paths_lost(1),
        before=joins(1) + announced(1),
        during=(delete_first(S, 1),),
    ),
    Scenario(
        32,
        "both ends take back an endpoint each",
        (
            limits(S, 0, 2),
            add(S, "10.0.2.1", SIGNAL | BACKUP),
            limits(C, 1, 2),
            add(C, "10.0.3.2", SUBFLOW | BACKUP),
        ),
        joins(2) + announced(1) + removed(1, 1) + no_resets() + paths_lost(2),
        before=joins(2) + announced(1),
        during=(delete_first(S, 1), delete_first(C, 1)),
    ),
    Scenario(
        33,
        "the client takes back two endpoints and the server one",
        (
            limits(S, 0, 3),
            add(S, "10.0.2.1", SIGNAL | BACKUP),
            limits(C, 1, 3),
            add(C, "10.0.3.2", SUBFLOW | BACKUP),
            add(C, "10.0.4.2", SUBFLOW | BACKUP),
        ),
        joins(3) + announced(1) + removed(2, 2) + no_resets() + paths_lost(3),
        before=joins(3) + announced(1),
        during=(delete_first(S, 1), delete_first(C, 2)),
    ),
    Scenario(
        34,
        "three announcements are taken back one by one",
        (
            limits(S, 3, 3),
            add(S, "10.0.2.1", SIGNAL | BACKUP, id=250),
            add(S, "10.0.3.1", SIGNAL | BACKUP),
            add(S, "10.0.4.1", SIGNAL | BACKUP),
            limits(C, 3, 3),
        ),
        joins(3) + announced(3) + removed(3, 3, by=S) + no_resets() + paths_lost(3),
        before=joins(3) + announced(3),
        during=(delete_first(S, 3),),
    ),
    Scenario(
        35,
        "announcements that led nowhere are taken back too",
        (
            limits(S, 3, 3),
            add(S, "10.0.12.1", SIGNAL | BACKUP),
            add(S, "224.0.0.1", SIGNAL | BACKUP),
            add(S, "10.0.3.1", SIGNAL | BACKUP),
            limits(C, 2, 2),
        ),
        joins(1, tx=2, connect_errors=1)
        + announced(3)
        + removed(3, 1, by=S)
        + no_resets()
        + paths_lost(1),
        before=joins(1, tx=2, connect_errors=1) + announced(3),
        during=(delete_first(S, 3),),
    ),
    Scenario(
        36,
        "both ends flush their endpoints",
        (
            limits(S, 0, 3),
            add(S, "10.0.2.1", SIGNAL | BACKUP),
            limits(C, 1, 3),
            add(C, "10.0.3.2", SUBFLOW | BACKUP),
            add(C, "10.0.4.2", SUBFLOW | BACKUP),
        ),
        joins(3) + announced(1) + removed_about(1, 3, by=S) + no_resets() + paths_lost(3),
        before=joins(3) + announced(1),
        during=(flush(S), flush(C)),
    ),
    Scenario(
        37,
        "a flush of subflow endpoints announces nothing",
        (
            limits(S, 3, 3),
            limits(C, 3, 3),
            add(C, "10.0.2.2", SUBFLOW | BACKUP, id=150),
            add(C, "10.0.3.2", SUBFLOW | BACKUP),
            add(C, "10.0.4.2", SUBFLOW | BACKUP),
        ),
        (
            *joins(3),
            counter(C, "RmAddrTx", 0),
            *removed_about(0, 3, by=C),
            *no_resets(),
            *paths_lost(3),
        ),
        before=joins(3),
        during=(flush(S), flush(C)),
    ),
    Scenario(
        38,
        "a flush takes all announcements back",
        (
            limits(S, 3, 3),
            add(S, "10.0.2.1", SIGNAL | BACKUP, id=250),
            add(S, "10.0.3.1", SIGNAL | BACKUP),
            add(S, "10.0.4.1", SIGNAL | BACKUP),
            limits(C, 3, 3),
        ),
        joins(3) + announced(3) + removed_about(3, 3, by=S) + no_resets() + paths_lost(3),
        before=joins(3) + announced(3),
        during=(flush(S), flush(C)),
    ),
    Scenario(
        39,
        "a flush takes back announcements that led nowhere",
        (
            limits(S, 3, 3),
            add(S, "10.0.12.1", SIGNAL | BACKUP),
            add(S, "10.0.3.1", SIGNAL | BACKUP),
            add(S, "10.0.14.1", SIGNAL | BACKUP),
            limits(C, 3, 3),
        ),
        joins(1, tx=3) + announced(3) + removed(3, 1, by=S) + no_resets() + paths_lost(1),
        before=joins(1, tx=3) + announced(3),
        during=(flush(S),),
    ),
    Scenario(
        40,
        "the client takes its initial address back",
        (limits(S, 0, 1), limits(C, 0, 1), add(C, "10.0.3.2", SUBFLOW)),
        joins(1) + removed(1, 1) + no_resets() + paths_lost(1),
        before=joins(1),
        during=(delete(C, 0, "10.0.1.2"),),
    ),
    Scenario(
        41,
        "the server takes its initial address back",
        (limits(S, 0, 1), add(S, "10.0.2.1", SIGNAL), limits(C, 1, 1)),
        joins(1) + announced(1) + removed(1, 1, by=S) + no_resets(C) + paths_lost(1),
        before=joins(1) + announced(1),
        during=(delete(S, 0, "10.0.1.1"),),
    ),
]
ADDITIONS = [
    Scenario(
        42,
        "an endpoint that is added brings a subflow to an open connection",
        (limits(S, 0, 1), limits(C, 0, 1)),
        joins(1) + open_now(1),
        during=(add(C, "10.0.3.2", SUBFLOW),),
        after=open_now(0),
    ),
    Scenario(
        43,
        "an address that is announced late is joined",
        (limits(S, 0, 1), limits(C, 1, 1)),
        joins(1) + announced(1) + open_now(1),
        during=(add(S, "10.0.2.1", SIGNAL),),
        after=open_now(0),
    ),
    Scenario(
        44,
        "two endpoints that are added bring two subflows",
        (limits(S, 0, 2), limits(C, 0, 2)),
        joins(2) + open_now(1),
        during=(add(C, "10.0.3.2", SUBFLOW), add(C, "10.0.4.2", SUBFLOW)),
        after=open_now(0),
    ),
    Scenario(
        45,
        "two IPv6 endpoints that are added bring two subflows",
        (limits(S, 0, 2), limits(C, 0, 2)),
        joins(2) + open_now(1),
        during=(add(C, "dead:beef:3::2", SUBFLOW), add(C, "dead:beef:4::2", SUBFLOW)),
        connect="dead:beef:1::1",
        after=open_now(0),
    ),
    Scenario(
        46,
        "two IPv6 addresses that are announced late are joined",
        (limits(S, 0, 2), limits(C, 2, 2)),
        joins(2) + announced(2) + open_now(1),
        during=(add(S, "dead:beef:2::1", SIGNAL), add(S, "dead:beef:3::1", SIGNAL)),
        connect="dead:beef:1::1",
        after=open_now(0),
    ),
]


@scenarios(REMOVALS)
def test_removals(scenario: Scenario, outcome: Outcome) -> None:
    verdict(outcome)


@scenarios(ADDITIONS)
def test_additions(scenario: Scenario, outcome: Outcome) -> None:
    verdict(outcome)
