"""What becomes of the data when links fail, and of announcements that get no echo."""

from tests.scenario import (
    BACKUP,
    SIGNAL,
    SUBFLOW,
    C,
    Check,
    Checks,
    S,
    Scenario,
    Step,
    announced,
    announced_tx,
    joins,
    paths_lost,
    stale,
)
from tests.scenario_play import MARKS, scenarios, verdict
from tests.scenario_run import Outcome
from tests.scenario_steps import (
    add,
    down,
    limits,
    rules,
    shape_all,
    sysctl,
    transfer,
    transfer_until,
)

pytestmark = MARKS

MANY = 4_000_000
BOTH_WAYS = "both ends are to send much over the one connection"
SIGNALLED: tuple[Step, ...] = (
    shape_all(),
    limits(S, 0, 3),
    add(S, "10.0.2.1", SIGNAL, device="eth2"),
    limits(C, 1, 3),
)
THREE: tuple[Step, ...] = (
    *SIGNALLED,
    add(C, "10.0.3.2", SUBFLOW, device="eth3"),
    add(C, "10.0.4.2", SUBFLOW, device="eth4"),
)
WITH_BACKUP: tuple[Step, ...] = (
    *SIGNALLED,
    add(C, "10.0.3.2", SUBFLOW | BACKUP, device="eth3"),
)


def backup_carried(least: int, most: int) -> Checks:
    """Bytes that have left the client by the backup's device."""
    return (Check(C, "sent", "eth3", least, most),)


FAILURES = [
    Scenario(
        20,
        "of four flows one loses its link and all bytes arrive",
        THREE,
        joins(3) + announced(1) + paths_lost(0) + stale(1, 1),
        before=joins(3),
        during=(
            transfer(2 * MANY, midway=down(S, "eth1")),
            transfer_until(MANY, 0, stale(1, 1)),
        ),
    ),
    Scenario(
        21,
        "of four flows one loses its link and all bytes arrive at both ends",
        THREE,
        joins(3) + announced(1) + paths_lost(0) + stale(1, 1),
        before=joins(3),
        during=(
            transfer(2 * MANY, 2 * MANY, midway=down(S, "eth1")),
            transfer_until(MANY, MANY, stale(1, 1)),
        ),
        link=BOTH_WAYS,
    ),
    Scenario(
        22,
        "a backup is not used while one path is left",
        WITH_BACKUP,
        joins(2) + announced(1) + paths_lost(0) + backup_carried(0, MANY // 10),
        before=joins(2),
        during=(transfer(2 * MANY, midway=down(S, "eth1")),),
    ),
    Scenario(
        23,
        "a backup is used when all other paths are lost",
        WITH_BACKUP,
        joins(2)
        + announced(1)
        + paths_lost(0)
        + stale(2, 2)
        + backup_carried(MANY * 6 // 10, MANY * 14 // 10),
        before=joins(2),
        during=(
            transfer(2 * MANY, midway=down(S, "eth1", "eth2")),
            transfer_until(MANY // 40, 0, stale(2, 2)),
        ),
    ),
    Scenario(
        24,
        "a backup is used both ways when all other paths are lost",
        WITH_BACKUP,
        joins(2)
        + announced(1)
        + paths_lost(0)
        + stale(1, 2)
        + backup_carried(MANY * 6 // 10, MANY * 14 // 10),
        before=joins(2),
        during=(
            transfer(2 * MANY, 2 * MANY, midway=down(S, "eth1", "eth2")),
            transfer_until(MANY // 40, MANY // 40, stale(1, 2)),
        ),
        link=BOTH_WAYS,
    ),
]

NO_ECHO: tuple[Step, ...] = (
    sysctl("net.mptcp.add_addr_timeout", 1, None),
    rules(C, "output tcp option mptcp subtype 3 drop"),
)
NO_ECHOES = ("EchoAdd",)
TIMEOUTS = [
    Scenario(
        25,
        "an announcement without an echo is sent four times",
        (*NO_ECHO, limits(S, 0, 1), limits(C, 1, 1), add(S, "10.0.2.1", SIGNAL)),
        joins(1) + announced_tx(4, 4) + announced(4, 0, most=4),
        lost=NO_ECHOES,
    ),
    Scenario(
        26,
        "an announcement of an IPv6 address without an echo is sent four times",
        (*NO_ECHO, limits(S, 0, 1), limits(C, 1, 1), add(S, "dead:beef:2::1", SIGNAL)),
        joins(1) + announced(4, 0, most=4),
        lost=NO_ECHOES,
        connect="dead:beef:1::1",
    ),
    Scenario(
        27,
        "two announcements without an echo are sent four times each",
        (
            *NO_ECHO,
            limits(S, 2, 2),
            add(S, "10.0.2.1", SIGNAL),
            add(S, "10.0.3.1", SIGNAL),
            limits(C, 2, 2),
        ),
        joins(2) + announced(8, 0, most=8),
        lost=NO_ECHOES,
    ),
    Scenario(
        28,
        "an announcement of an address that nobody has is repeated as any other",
        (
            *NO_ECHO,
            limits(S, 2, 2),
            add(S, "10.0.12.1", SIGNAL),
            add(S, "10.0.3.1", SIGNAL),
            limits(C, 2, 2),
        ),
        joins(1, tx=2) + announced(8, 0, most=8),
        lost=NO_ECHOES,
    ),
]


@scenarios(FAILURES)
def test_links_that_fail(scenario: Scenario, outcome: Outcome) -> None:
    verdict(outcome)


@scenarios(TIMEOUTS)
def test_announcements_without_an_echo(scenario: Scenario, outcome: Outcome) -> None:
    verdict(outcome)
