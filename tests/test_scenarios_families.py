"""IPv6, IPv4 seen through IPv6, both at once; announced ports."""

from tests.scenario import (
    FULLMESH,
    SIGNAL,
    SUBFLOW,
    C,
    Check,
    S,
    Scenario,
    announced,
    at_least,
    counter,
    events,
    joins,
    no_fallback,
    paths_lost,
    removed,
    removed_about,
    with_ports,
)
from tests.scenario_play import MARKS, scenarios, verdict
from tests.scenario_run import Outcome
from tests.scenario_steps import add, delete_first, flush, limits, refused_connect

pytestmark = MARKS
V6 = "dead:beef:1::1"
MAPPED = "::ffff:10.0.1.1"
NO_SITE = "a transport's endpoint takes no mapped address"
ONE = (limits(S, 0, 1), limits(C, 0, 1))
ONE_ANNOUNCED = (limits(S, 0, 1), limits(C, 1, 1))

IPV6 = [
    Scenario(
        47,
        "an IPv6 endpoint brings a subflow",
        (*ONE, add(C, "dead:beef:3::2", SUBFLOW, device="eth3")),
        joins(1),
        connect=V6,
    ),
    Scenario(
        48,
        "an announced IPv6 address is echoed though it is not used",
        (add(S, "dead:beef:2::1", SIGNAL),),
        joins(0) + announced(1),
        connect=V6,
    ),
    Scenario(
        49,
        "an announced IPv6 address is joined",
        (*ONE_ANNOUNCED, add(S, "dead:beef:2::1", SIGNAL)),
        joins(1) + announced(1),
        connect=V6,
    ),
    Scenario(
        50,
        "a subflow ends with the IPv6 announcement it came of",
        (*ONE_ANNOUNCED, add(S, "dead:beef:2::1", SIGNAL)),
        joins(1) + announced(1) + removed(1, 1, by=S) + paths_lost(1),
        before=joins(1) + announced(1),
        during=(delete_first(S, 1),),
        connect=V6,
    ),
    Scenario(
        51,
        "both ends take back an IPv6 endpoint each",
        (
            limits(S, 0, 2),
            add(S, "dead:beef:2::1", SIGNAL),
            limits(C, 1, 2),
            add(C, "dead:beef:3::2", SUBFLOW, device="eth3"),
        ),
        joins(2) + announced(1) + removed(1, 1) + paths_lost(2),
        before=joins(2) + announced(1),
        during=(delete_first(S, 1), delete_first(C, 1)),
        connect=V6,
    ),
]
IPV4_MAPPED = [
    Scenario(
        52,
        "a mapped endpoint brings a subflow to a mapped connection",
        (*ONE, add(C, "::ffff:10.0.3.2", SUBFLOW)),
        joins(1),
        connect=MAPPED,
        link=NO_SITE,
    ),
    Scenario(
        53,
        "a mapped address is announced and joined by a mapped connection",
        (*ONE_ANNOUNCED, add(S, "::ffff:10.0.2.1", SIGNAL)),
        joins(1) + announced(1),
        connect=MAPPED,
        link=NO_SITE,
    ),
    Scenario(
        54,
        "an IPv4 endpoint brings a subflow to a mapped connection",
        (*ONE, add(C, "10.0.3.2", SUBFLOW)),
        joins(1),
        connect=MAPPED,
        link=NO_SITE,
    ),
    Scenario(
        55,
        "an IPv4 address is announced and joined by a mapped connection",
        (*ONE_ANNOUNCED, add(S, "10.0.2.1", SIGNAL)),
        joins(1) + announced(1),
        connect=MAPPED,
        link=NO_SITE,
    ),
    Scenario(
        56,
        "a mapped endpoint brings a subflow to an IPv4 connection",
        (*ONE, add(C, "::ffff:10.0.3.2", SUBFLOW)),
        joins(1),
    ),
    Scenario(
        57,
        "a mapped address is announced and joined by an IPv4 connection",
        (*ONE_ANNOUNCED, add(S, "::ffff:10.0.2.1", SIGNAL)),
        joins(1) + announced(1),
    ),
    Scenario(
        58,
        "an IPv6 endpoint brings no subflow to an IPv4 connection",
        (*ONE, add(C, "dead:beef:2::2", SUBFLOW)),
        joins(0),
    ),
    Scenario(
        59,
        "an IPv6 endpoint that ends like an IPv4 one brings no subflow to an IPv4 connection",
        (*ONE, add(C, "dead:beef:2::10.0.3.2", SUBFLOW)),
        joins(0),
    ),
    Scenario(
        60,
        "an IPv4 endpoint brings no subflow to an IPv6 connection",
        (*ONE, add(C, "10.0.3.2", SUBFLOW)),
        joins(0),
        connect=V6,
    ),
]
MIXED = [
    Scenario(
        61,
        "an IPv4 connection does not join an IPv6 address",
        (*ONE_ANNOUNCED, add(S, "dead:beef:2::1", SIGNAL)),
        joins(0),
    ),
    Scenario(
        62,
        "an IPv6 connection has an IPv4 subflow beside",
        (*ONE_ANNOUNCED, add(S, "10.0.1.1", SIGNAL)),
        joins(1),
        connect="dead:beef:2::1",
    ),
    Scenario(
        63,
        "a full mesh does not cross the families",
        (
            limits(S, 0, 4),
            limits(C, 1, 4),
            add(C, "dead:beef:2::2", SUBFLOW | FULLMESH),
            add(S, "10.0.1.1", SIGNAL),
        ),
        (  # an IPv4 subflow from the routing tables up to Linux 6.18, none after
            *(counter(S, name, 0, 1) for name in ("MPJoinSynRx", "MPJoinAckRx")),
            *no_fallback(),
        ),
        connect="dead:beef:2::1",
    ),
    Scenario(
        64,
        "a full mesh has every pair of each family",
        (
            limits(S, 0, 4),
            limits(C, 2, 4),
            add(S, "10.0.2.1", SIGNAL),
            add(S, "dead:beef:2::1", SIGNAL),
        ),
        joins(4),
        before=announced(2),
        during=(add(C, "dead:beef:3::2", SUBFLOW | FULLMESH),),
        connect=V6,
    ),
]
PORTS = [
    Scenario(
        73,
        "an address is joined at the port it was announced with",
        (*ONE_ANNOUNCED, add(S, "10.0.2.1", SIGNAL, port=10_100)),
        joins(1) + announced(1) + with_ports(1),
    ),
    Scenario(
        74,
        "an announced port and an own endpoint are both used",
        (
            add(S, "10.0.2.1", SIGNAL, port=10_100),
            limits(S, 0, 2),
            limits(C, 1, 2),
            add(C, "10.0.3.2", SUBFLOW),
        ),
        joins(2) + announced(1) + with_ports(1),
    ),
    Scenario(
        75,
        "an announced port is listened at as long as it is announced",
        (*ONE_ANNOUNCED, add(S, "10.0.2.1", SIGNAL, port=10_100)),
        joins(1)
        + announced(1)
        + with_ports(1)
        + removed(1, 1, by=S)
        + paths_lost(1)
        + events(S, ListenerCreated=2, ListenerClosed=1)
        + (
            Check(S, "event", "ListenerCreated 10.0.2.1:10100", 1, 1),
            Check(S, "event", "ListenerClosed 10.0.2.1:10100", 1, 1),
        ),
        before=joins(1) + announced(1),
        during=(delete_first(S, 1),),
    ),
    Scenario(
        76,
        "an announced port and an own endpoint are both taken back",
        (
            limits(S, 0, 2),
            add(S, "10.0.2.1", SIGNAL, port=10_100),
            limits(C, 1, 2),
            add(C, "10.0.3.2", SUBFLOW),
        ),
        joins(2) + announced(1) + with_ports(1) + removed(1, 1) + paths_lost(2),
        before=joins(2) + announced(1),
        during=(delete_first(S, 1), delete_first(C, 1)),
    ),
    Scenario(
        77,
        "a flush takes an announced port back while the peer deletes its endpoints",
        (
            limits(S, 0, 3),
            add(S, "10.0.2.1", SIGNAL, port=10_100),
            limits(C, 1, 3),
            add(C, "10.0.3.2", SUBFLOW),
            add(C, "10.0.4.2", SUBFLOW),
        ),
        joins(3) + announced(1) + removed_about(1, 3, by=S) + paths_lost(3),
        before=joins(3) + announced(1),
        during=(flush(S), delete_first(C, 2)),
    ),
    Scenario(
        78,
        "two addresses may be announced with one port",
        (
            limits(S, 2, 2),
            add(S, "10.0.2.1", SIGNAL, port=10_100),
            add(S, "10.0.3.1", SIGNAL, port=10_100),
            limits(C, 2, 2),
        ),
        joins(2) + announced(2) + with_ports(2),
    ),
    Scenario(
        79,
        "two addresses may be announced with a port each",
        (
            limits(S, 2, 2),
            add(S, "10.0.2.1", SIGNAL, port=10_100),
            add(S, "10.0.3.1", SIGNAL, port=10_101),
            limits(C, 2, 2),
        ),
        joins(2) + announced(2) + with_ports(2),
    ),
    Scenario(
        80,
        "an announced port takes joins and no new connection",
        (add(S, "10.0.2.1", SIGNAL, port=10_100),),
        (at_least(S, "MPCapableEndpAttempt", 1), counter(S, "MPCapableACKRX", 0)),
        during=(refused_connect("10.0.2.1", 10_100),),
        traffic="none",
    ),
]


@scenarios(IPV6)
def test_ipv6(scenario: Scenario, outcome: Outcome) -> None:
    verdict(outcome)


@scenarios(IPV4_MAPPED)
def test_ipv4_through_ipv6(scenario: Scenario, outcome: Outcome) -> None:
    verdict(outcome)


@scenarios(MIXED)
def test_both_families(scenario: Scenario, outcome: Outcome) -> None:
    verdict(outcome)


@scenarios(PORTS)
def test_announced_ports(scenario: Scenario, outcome: Outcome) -> None:
    verdict(outcome)
