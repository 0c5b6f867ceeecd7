"""Connections that are closed at once, and data that were altered on the way."""

from tests.scenario import (
    SUBFLOW,
    C,
    Check,
    Checks,
    S,
    Scenario,
    Side,
    Step,
    at_least,
    counter,
    joins,
    paths_lost,
)
from tests.scenario_play import MARKS, scenarios, verdict
from tests.scenario_run import Outcome
from tests.scenario_steps import (
    add,
    break_stream,
    host_shape,
    limits,
    rules,
    sysctl,
    transfer,
    until,
)

pytestmark = MARKS
NOT_WHOLE = "altered bytes are to arrive, and a transport ends a stream that has any"


def closed_fast(by: Side, peer: Side) -> Checks:
    return (
        counter(by, "MPFastcloseTx", 1),
        counter(peer, "MPFastcloseRx", 1),
        at_least(by, "MPRstTx", 1),
        at_least(peer, "MPRstRx", 1),
    )


def alter_one(device: str) -> Step:
    """One byte of the next packet with data that leaves the client by that device."""
    return rules(
        C,
        f"output oifname {device} meta l4proto tcp meta length 500-65535 "
        "numgen inc mod 99999 == 0 @th,1024,8 set 0xaa",
    )


CHECKSUMS: Step = sysctl("net.mptcp.checksum_enabled", 1, 1)
ENDS = [
    Scenario(
        105,
        "a client that closes at once resets the server",
        checks=(*joins(0), *closed_fast(C, S)),
        during=(break_stream(C),),
        attempts=3,
    ),
    Scenario(
        106,
        "a server that closes at once resets the client",
        checks=(*joins(0), *closed_fast(S, C)),
        during=(break_stream(S),),
    ),
]
ALTERED = [
    Scenario(
        107,
        "data altered on the only path end the use of MPTCP, and the stream goes on",
        (CHECKSUMS,),
        (
            counter(S, "MPJoinSynRx", 0),
            counter(C, "MPJoinSynTx", 0),
            at_least(S, "DataCsumErr", 1),
            counter(S, "MPFailTx", 1),
            counter(C, "MPFailRx", 1),
            counter(C, "InfiniteMapTx", 1),
            counter(S, "InfiniteMapRx", 1),
            counter(S, "MPRstTx", 0),
            counter(C, "MPRstRx", 0),
            counter(C, "MPFailTx", 1),
            counter(S, "MPFailRx", 0, 1),
            counter(S, "DssFallback", 1),
        ),
        during=(alter_one("eth1"),),
        altered=True,
        link=NOT_WHOLE,
        attempts=3,
    ),
    Scenario(
        108,
        "data altered on one of two paths are sent again on the other",
        (
            CHECKSUMS,
            host_shape(C, "eth1", "4mbit"),
            limits(S, 0, 1),
            limits(C, 0, 1),
            add(C, "10.0.2.2", SUBFLOW, device="eth2"),
        ),
        (
            *joins(1),
            *paths_lost(1),
            counter(S, "DataCsumErr", 1),
            counter(C, "DataCsumErr", 0),
            counter(S, "MPFailTx", 1),
            counter(C, "MPFailRx", 1),
            at_least(S, "MPRstTx", 1),
            at_least(C, "MPRstRx", 1),
            counter(C, "InfiniteMapTx", 0),
            counter(S, "InfiniteMapRx", 0),
        ),
        before=joins(1),
        during=(
            alter_one("eth2"),
            transfer(400_000),
            until(Check(S, "counter", "DataCsumErr", 1, 1)),
        ),
        attempts=3,
    ),
]


@scenarios(ENDS)
def test_fast_closes(scenario: Scenario, outcome: Outcome) -> None:
    verdict(outcome)


@scenarios(ALTERED)
def test_altered_data(scenario: Scenario, outcome: Outcome) -> None:
    verdict(outcome)
