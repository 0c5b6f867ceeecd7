"""The gate of a listening process: how many strangers it bears."""

from runtime.gate import HANDSHAKE_S, MAX_STRANGERS, Gate


def test_friends_keep_no_gate_shut() -> None:
    gate = Gate()
    for n in range(10 * MAX_STRANGERS):
        gate.accepted(n / 1000)
        assert not gate.judge(n / 1000)
        gate.settled("welcomed")
    assert gate.strangers(1.0) == 0
    assert gate.counts == {"accepted": 10 * MAX_STRANGERS, "welcomed": 10 * MAX_STRANGERS}


def test_it_shuts_at_the_limit_and_opens_at_half_of_it() -> None:
    gate = Gate()
    moves = []
    for _ in range(MAX_STRANGERS):
        gate.accepted(0.0)
        moves.append(gate.judge(0.0))
    assert moves == [False] * (MAX_STRANGERS - 1) + [True]
    assert gate.is_shut
    moves = []
    while gate.is_shut:
        gate.settled("left early")
        moves.append(gate.judge(0.0))
    assert len(moves) == MAX_STRANGERS // 2 + 1
    assert moves[-1]
    assert not any(moves[:-1])
    assert gate.counts["shut"] == 1


def test_it_opens_by_itself_though_no_end_was_reported() -> None:
    gate = Gate()
    for _ in range(MAX_STRANGERS):
        gate.accepted(100.0)
    assert gate.judge(100.0)
    assert not gate.judge(100.0 + HANDSHAKE_S)
    assert gate.judge(100.0 + HANDSHAKE_S + 1.5)
    assert not gate.is_shut


def test_ends_that_nobody_expects_do_not_make_room() -> None:
    gate = Gate()
    for _ in range(50):
        gate.settled("no zmtp")
    for _ in range(MAX_STRANGERS):
        gate.accepted(0.0)
    assert gate.judge(0.0)
