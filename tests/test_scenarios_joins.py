"""Which subflows come about: limits, single and several, failing ones, announced addresses."""

from tests.scenario import (
    SIGNAL,
    SUBFLOW,
    C,
    Check,
    S,
    Scenario,
    announced,
    announced_tx,
    joins,
    no_resets,
)
from tests.scenario_play import MARKS, scenarios, verdict
from tests.scenario_run import Outcome
from tests.scenario_steps import add, limits, rules, sysctl, until

pytestmark = MARKS
SUBFLOWS = [
    Scenario(1, "without endpoints nothing joins", checks=joins(0)),
    Scenario(
        2,
        "a client limited to none opens no subflow",
        (limits(S, 0, 0), limits(C, 0, 0), add(C, "10.0.3.2", SUBFLOW)),
        joins(0),
    ),
    Scenario(
        3,
        "a server limited to none rejects the subflow",
        (limits(S, 0, 0), limits(C, 0, 1), add(C, "10.0.3.2", SUBFLOW)),
        joins(1, 1, 0, rejected=1),
    ),
    Scenario(
        4,
        "an endpoint brings a subflow",
        (limits(S, 0, 1), limits(C, 0, 1), add(C, "10.0.3.2", SUBFLOW)),
        joins(1),
    ),
    Scenario(
        5,
        "two endpoints bring two subflows",
        (
            limits(S, 0, 2),
            limits(C, 0, 2),
            add(C, "10.0.3.2", SUBFLOW),
            add(C, "10.0.2.2", SUBFLOW),
        ),
        joins(2),
    ),
    Scenario(
        6,
        "a server limited to one rejects the second subflow",
        (
            limits(S, 0, 1),
            limits(C, 0, 2),
            add(C, "10.0.3.2", SUBFLOW),
            add(C, "10.0.2.2", SUBFLOW),
        ),
        joins(2, 2, 1, rejected=1),
    ),
    Scenario(
        7,
        "an endpoint bound to a device brings a subflow over it",
        (limits(S, 0, 1), limits(C, 0, 1), add(C, "10.0.3.2", SUBFLOW, device="eth3")),
        joins(1),
    ),
]
ERRORS = [
    Scenario(
        8,
        "the initial address is not used again, and one that is not ours cannot be bound",
        (
            limits(S, 0, 1),
            limits(C, 0, 1),
            add(C, "10.0.1.2", SUBFLOW),
            add(C, "10.0.12.2", SUBFLOW),
        ),
        joins(0, bind_errors=1),
    ),
    Scenario(
        9,
        "a refused subflow makes way for the next",
        (
            rules(S, "input ip saddr 10.0.3.2 meta l4proto tcp reject"),
            limits(S, 0, 2),
            limits(C, 0, 2),
            add(C, "10.0.3.2", SUBFLOW),
            add(C, "10.0.2.2", SUBFLOW),
        ),
        joins(1, tx=2),
    ),
    Scenario(
        10,
        "a subflow that is not answered does not hold up the next",
        (
            rules(S, "input ip saddr 10.0.3.2 meta l4proto tcp drop"),
            limits(S, 0, 2),
            limits(C, 0, 2),
            add(C, "10.0.3.2", SUBFLOW),
            add(C, "10.0.2.2", SUBFLOW),
        ),
        joins(1, tx=2),
    ),
    Scenario(
        11,
        "an endpoint whose subflow was refused is not tried again for a later one",
        (
            rules(S, "input ip saddr 10.0.3.2 meta l4proto tcp reject"),
            limits(S, 0, 1),
            limits(C, 0, 1),
            add(C, "10.0.3.2", SUBFLOW),
        ),
        joins(1, tx=2),
        during=(
            until(Check(C, "tcp counter", "AttemptFails", 1, 1)),
            add(C, "10.0.2.2", SUBFLOW),
        ),
    ),
]
SIGNALS = [
    Scenario(
        12,
        "an announced address is echoed though it is not used",
        (add(S, "10.0.2.1", SIGNAL),),
        joins(0) + announced_tx(1, 1) + announced(1),
    ),
    Scenario(
        13,
        "an announced address is joined",
        (limits(S, 0, 1), limits(C, 1, 1), add(S, "10.0.2.1", SIGNAL)),
        joins(1) + announced(1),
    ),
    Scenario(
        14,
        "an announced address and an own endpoint are both used",
        (
            add(S, "10.0.2.1", SIGNAL),
            limits(S, 0, 2),
            limits(C, 1, 2),
            add(C, "10.0.3.2", SUBFLOW),
        ),
        joins(2) + announced(1),
    ),
    Scenario(
        15,
        "one endpoint of the client may announce and open",
        (limits(S, 0, 2), limits(C, 0, 2), add(C, "10.0.3.2", SIGNAL | SUBFLOW)),
        joins(1) + announced(1, by=C) + announced(0, by=S) + no_resets(S) + no_resets(C),
    ),
    Scenario(
        16,
        "two own endpoints and an announced address are all used",
        (
            limits(S, 0, 3),
            add(S, "10.0.2.1", SIGNAL),
            limits(C, 1, 3),
            add(C, "10.0.3.2", SUBFLOW),
            add(C, "10.0.4.2", SUBFLOW),
        ),
        joins(3) + announced(1),
    ),
    Scenario(
        17,
        "three announced addresses are joined",
        (
            limits(S, 3, 3),
            add(S, "10.0.2.1", SIGNAL),
            add(S, "10.0.3.1", SIGNAL),
            add(S, "10.0.4.1", SIGNAL),
            limits(C, 3, 3),
        ),
        joins(3) + announced(3),
    ),
    Scenario(
        18,
        "announced addresses that nobody has do not keep the good one from being joined",
        (
            limits(S, 3, 3),
            add(S, "10.0.12.1", SIGNAL),
            add(S, "10.0.3.1", SIGNAL),
            add(S, "10.0.14.1", SIGNAL),
            limits(C, 3, 3),
        ),
        joins(1, tx=3) + announced(3),
    ),
    Scenario(
        19,
        "both ends may announce all they have at the same time",
        (
            sysctl("net.mptcp.add_addr_timeout", 1, None),
            limits(S, 4, 4),
            limits(C, 4, 4),
            *(add(S, f"10.0.{i}.1", SIGNAL) for i in range(1, 5)),
            *(add(C, f"10.0.{i}.2", SIGNAL) for i in range(1, 5)),
        ),
        joins(3) + announced(3),
    ),
]


@scenarios(SUBFLOWS)
def test_subflows(scenario: Scenario, outcome: Outcome) -> None:
    verdict(outcome)


@scenarios(ERRORS)
def test_subflows_that_fail(scenario: Scenario, outcome: Outcome) -> None:
    verdict(outcome)


@scenarios(SIGNALS)
def test_announced_addresses(scenario: Scenario, outcome: Outcome) -> None:
    verdict(outcome)
