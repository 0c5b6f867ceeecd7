"""The gate of a listening process: how many strangers it bears."""

from runtime.network.gate import HANDSHAKE_S, MAX_STRANGERS, Gate


def test_friends_do_not_shut_the_gate() -> None:
    gate = Gate()
    for fd in range(10 * MAX_STRANGERS):
        gate.accepted(fd, fd / 1000)
        assert not gate.judge(fd / 1000)
        gate.welcomed(fd / 1000)
    assert gate.strangers(2.0) == 0
    assert gate.counts == {"accepted": 10 * MAX_STRANGERS, "welcomed": 10 * MAX_STRANGERS}


def test_it_shuts_at_the_limit_and_opens_below_half_of_it() -> None:
    gate = Gate()
    moves = []
    for fd in range(MAX_STRANGERS):
        gate.accepted(fd, 0.0)
        moves.append(gate.judge(0.0))
    assert moves == [False] * (MAX_STRANGERS - 1) + [True]
    assert gate.is_shut
    moves = []
    for fd in range(MAX_STRANGERS // 2 + 1):
        gate.failed("left early")
        gate.gone(fd, 1.0)
        moves.append(gate.judge(1.0))
    assert moves == [False] * (MAX_STRANGERS // 2) + [True]
    assert not gate.is_shut
    assert gate.counts["shut"] == 1
    assert gate.counts["left early"] == MAX_STRANGERS // 2 + 1


def test_it_opens_by_itself_though_no_end_was_reported() -> None:
    gate = Gate()
    for fd in range(MAX_STRANGERS):
        gate.accepted(fd, 100.0)
    assert gate.judge(100.0)
    assert not gate.judge(100.0 + HANDSHAKE_S)
    assert gate.judge(100.0 + HANDSHAKE_S + 1.5)
    assert not gate.is_shut


def test_a_descriptor_that_is_given_again_is_one_stranger() -> None:
    gate = Gate()
    for _ in range(3):
        gate.accepted(7, 0.0)
    assert gate.strangers(0.0) == 1


def test_who_goes_without_a_word_before_he_was_welcome_was_no_zmtp() -> None:
    gate = Gate()
    gate.accepted(7, 0.0)
    gate.gone(7, 0.1)
    assert gate.counts == {"accepted": 1, "no zmtp": 1}
    assert gate.strangers(0.1) == 0


def test_a_failure_is_counted_once() -> None:
    gate = Gate()
    gate.accepted(7, 0.0)
    gate.failed("refused")
    gate.gone(7, 0.1)
    assert gate.counts == {"accepted": 1, "refused": 1}


def test_a_friend_that_goes_is_no_failure() -> None:
    gate = Gate()
    for fd, gone_at in ((7, 0.5), (8, 1000.0)):
        gate.accepted(fd, 0.0)
        gate.welcomed(0.0)
        gate.gone(fd, gone_at)
    assert gate.counts == {"accepted": 2, "welcomed": 2}
    assert gate.strangers(0.5) == 0
