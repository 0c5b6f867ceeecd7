"""When a path is given up, and when it is tried again."""

from collections.abc import Sequence

import msgspec
import pytest

from runtime.multipath.layout import decode
from runtime.multipath.path_guard import Decision, Lose, PathGuard, Regain, Settings, plain
from runtime.multipath.statistics import (
    FullInfo,
    MptcpInfo,
    SocketAddress,
    Subflow,
    SubflowAddresses,
    TcpInfo,
    TcpState,
)

A, B, C = "10.0.1.2", "10.0.2.2", "10.0.3.2"
PEER = SocketAddress("10.0.1.1", 443)
SETTINGS = Settings(
    stale_s=1.0, look_s=10.0, hold_s=2.0, max_hold_s=10.0, connect_s=3.0, good_s=60.0
)
ONE_TIMEOUT = "no acknowledgement in 1 timeouts"


def path(
    address: str,
    *,
    unacked: int = 0,
    backoff: int = 0,
    acked: int = 0,
    rtt_s: float = 0.001,
    state: int = TcpState.ESTABLISHED,
    notsent: int = 0,
    window: int = 60_000,
    id: int = 0,
    rto_s: float = 0.2,
    heard_s: float | None = None,
) -> Subflow:
    if heard_s is None:
        heard_s = 60.0 if unacked or backoff else 0.0
    tcp = msgspec.structs.replace(
        decode(TcpInfo, b""),
        state=state,
        unacked=unacked,
        backoff=backoff,
        bytes_acked=acked,
        rtt=int(rtt_s * 1e6),
        rto=int(rto_s * 1e6),
        last_ack_recv=int(heard_s * 1e3),
        notsent_bytes=notsent,
        snd_wnd=window,
        snd_mss=1448,
    )
    addresses = SubflowAddresses(SocketAddress(address, 1000), PEER)
    return Subflow(id or int(address.split(".")[2]), addresses, tcp)


def link(*subflows: Subflow, token: int = 1) -> FullInfo:
    info = msgspec.structs.replace(decode(MptcpInfo, b""), token=token)
    return FullInfo(info, len(subflows), subflows)


def dead(address: str) -> Subflow:
    return path(address, unacked=1, backoff=1)


@pytest.fixture
def guard() -> PathGuard:
    return PathGuard(SETTINGS)


def test_sound_paths_are_left_alone(guard: PathGuard) -> None:
    for now in range(100):
        assert guard.judge(now, [link(path(A, unacked=3, acked=now), path(B))]) == []
    assert guard.lost == frozenset()


def test_a_path_whose_timer_backs_off_is_lost_at_once(guard: PathGuard) -> None:
    assert guard.judge(0, [link(dead(A), path(B))]) == [Lose(A, ONE_TIMEOUT)]
    assert guard.lost == {A}


def test_a_timer_that_backs_off_for_nothing_is_no_reason(guard: PathGuard) -> None:
    assert guard.judge(0, [link(path(A, backoff=3), path(B))]) == []


def test_a_peer_that_does_not_read_is_no_reason(guard: PathGuard) -> None:
    probing = path(A, backoff=3, notsent=1000, window=10)
    for now in range(100):
        assert guard.judge(now, [link(probing, path(B))]) == []


def test_a_path_on_which_nothing_can_leave_this_host_is_lost(guard: PathGuard) -> None:
    stuck = path(A, backoff=1, notsent=1000, window=60_000)
    assert guard.judge(0, [link(stuck, path(B))]) == [Lose(A, ONE_TIMEOUT)]


def test_a_path_without_acknowledgement_is_lost_when_it_is_stale(guard: PathGuard) -> None:
    sample = [link(path(A, unacked=1, acked=5), path(B))]
    assert guard.judge(10.0, sample) == []
    assert guard.judge(10.9, sample) == []
    assert guard.judge(11.0, sample) == [Lose(A, "no acknowledgement for 1.00 s")]


def test_an_idle_time_before_does_not_make_a_path_stale(guard: PathGuard) -> None:
    for now in range(10):
        assert guard.judge(now, [link(path(A), path(B))]) == []
    assert guard.judge(10.5, [link(path(A, unacked=1), path(B))]) == []
    assert guard.judge(10.9, [link(path(A, unacked=1), path(B))]) == []


def test_a_path_that_loses_much_and_answers_is_no_dead_one(guard: PathGuard) -> None:
    for now in range(100):
        congested = path(A, unacked=50, acked=5, heard_s=0.02, backoff=now % 2)
        assert guard.judge(now, [link(congested, path(B))]) == []


@pytest.mark.parametrize(("rtt_s", "rto_s"), [(0.5, 0.2), (0.1, 4.0)], ids=["trip", "timeout"])
def test_a_long_way_makes_no_path_stale(guard: PathGuard, rtt_s: float, rto_s: float) -> None:
    sample = [link(path(A, unacked=1, rtt_s=rtt_s, rto_s=rto_s), path(B))]
    assert guard.judge(0.0, sample) == guard.judge(1.9, sample) == []
    assert guard.judge(2.0, sample) == [Lose(A, "no acknowledgement for 2.00 s")]


def test_a_guard_that_stood_still_has_not_waited() -> None:
    guard = PathGuard(Settings(stale_s=0.1, look_s=0.05))
    sample = [link(path(A, unacked=1), path(B))]
    assert guard.judge(0.0, sample) == guard.judge(5.0, sample) == []
    assert guard.judge(10.0, sample) == [Lose(A, "no acknowledgement for 0.10 s")]


def test_a_subflow_on_which_nothing_was_said_does_not_speak_for_its_address(
    guard: PathGuard,
) -> None:
    waits = link(path(A, unacked=1, rto_s=0.4), path(B))
    idle = link(path(A, heard_s=5.0), path(B), token=2)
    guard.judge(0.0, [waits, idle])
    assert guard.judge(2.0, [waits, idle]) == [Lose(A, "no acknowledgement for 2.00 s")]


def test_a_subflow_that_was_answered_meanwhile_does(guard: PathGuard) -> None:
    waits = link(path(A, unacked=1, rto_s=0.4), path(B))
    answered = link(path(A, heard_s=1.5), path(B), token=2)
    guard.judge(0.0, [waits, answered])
    assert guard.judge(2.0, [waits, answered]) == []
    assert guard.judge(2.1, [waits, link(path(A, heard_s=2.2), path(B), token=2)]) == [
        Lose(A, "no acknowledgement for 2.10 s")
    ]


def test_a_path_whose_link_is_down_is_lost_though_nothing_was_sent(guard: PathGuard) -> None:
    assert guard.judge(0, [link(path(A), path(B))], down={A}) == [Lose(A, "link down")]


LAST: dict[str, Sequence[FullInfo]] = {
    "the only one": [link(dead(A))],
    "all of them": [link(dead(A), dead(B))],
    "the other is closed": [link(dead(A), path(B, state=TcpState.CLOSE))],
    "the other is being opened": [link(dead(A), path(B, state=TcpState.SYN_SENT))],
    "the other is being closed": [link(dead(A), path(B, state=TcpState.CLOSE_WAIT))],
    "of one of two connections": [link(dead(A), path(B)), link(dead(A), token=2)],
    "for the peer to say": [link(dead(A), path(A, id=9), path(B))],
}


@pytest.mark.parametrize("sample", LAST.values(), ids=LAST)
def test_no_connection_is_left_without_a_sound_path(
    guard: PathGuard, sample: Sequence[FullInfo]
) -> None:
    assert guard.judge(0, sample) == []
    assert guard.lost == frozenset()


def test_all_dying_paths_are_lost_if_one_is_sound(guard: PathGuard) -> None:
    decisions = guard.judge(0, [link(dead(A), path(B), dead(C))])
    assert decisions == [Lose(A, ONE_TIMEOUT), Lose(C, ONE_TIMEOUT)]


def test_an_address_is_known_through_an_ipv6_socket() -> None:
    assert plain("::ffff:10.0.1.2") == A
    assert plain("::ffff:1") == "::ffff:1"
    assert plain("dead:beef::1") == "dead:beef::1"


def decisions_until(
    guard: PathGuard, end: float, *, down: set[str]
) -> list[tuple[float, Decision]]:
    """Of a connection that has B alone, judged every tenth of a second."""
    return [
        (now / 10, each)
        for now in range(1, int(end * 10) + 1)
        for each in guard.judge(now / 10, [link(path(B))], down)
    ]


def test_a_lost_path_is_tried_again_after_its_time(guard: PathGuard) -> None:
    guard.judge(0, [link(dead(A), path(B))])
    assert decisions_until(guard, 2.5, down=set()) == [(2.0, Regain(A))]
    assert guard.lost == frozenset()


def test_a_path_is_not_tried_before_its_link_has_been_up_for_a_while(guard: PathGuard) -> None:
    guard.judge(0, [link(path(A), path(B))], down={A})
    assert decisions_until(guard, 9.0, down={A}) == []
    assert guard.judge(9.1, [link(path(B))]) == []
    assert guard.judge(11.0, [link(path(B))]) == [Regain(A)]


def test_a_path_that_does_not_come_back_is_held_twice_as_long_each_time(guard: PathGuard) -> None:
    guard.judge(0, [link(dead(A), path(B))])
    again = Lose(A, "no subflow came about")
    assert decisions_until(guard, 40.0, down=set()) == [
        (2.0, Regain(A)),
        (5.0, again),
        (9.0, Regain(A)),
        (12.0, again),
        (20.0, Regain(A)),
        (23.0, again),
        (33.0, Regain(A)),
        (36.0, again),
    ]


def test_a_path_is_not_blamed_while_nobody_is_connected(guard: PathGuard) -> None:
    guard.judge(0, [link(dead(A), path(B))])
    assert guard.judge(2.0, []) == [Regain(A)]
    assert guard.judge(50.0, []) == []


@pytest.mark.parametrize(("dies_at", "held_s"), [(10.0, 4.0), (70.0, 2.0)])
def test_a_path_that_was_good_for_long_is_held_as_at_first(
    guard: PathGuard, dies_at: float, held_s: float
) -> None:
    guard.judge(0, [link(dead(A), path(B))])
    assert guard.judge(2.0, [link(path(B))]) == [Regain(A)]
    assert guard.judge(3.0, [link(path(A), path(B))]) == []
    assert guard.judge(dies_at, [link(dead(A), path(B))]) == [Lose(A, ONE_TIMEOUT)]
    assert guard.judge(dies_at + held_s - 0.1, [link(path(B))]) == []
    assert guard.judge(dies_at + held_s, [link(path(B))]) == [Regain(A)]


def test_a_lost_path_is_not_lost_again_while_its_subflow_lingers(guard: PathGuard) -> None:
    assert guard.judge(0, [link(dead(A), path(B))]) == [Lose(A, ONE_TIMEOUT)]
    assert guard.judge(0.1, [link(dead(A), path(B))]) == []


def test_a_path_that_was_taken_away_is_not_tried_again(guard: PathGuard) -> None:
    guard.judge(0, [link(dead(A), path(B))])
    guard.forget(A)
    assert decisions_until(guard, 5.0, down=set()) == []
