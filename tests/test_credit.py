"""Windows and ledgers: the account of a pair adds up at every step, whatever becomes of reports."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.traffic.credit import (
    FIRST_BYTES,
    FIRST_MESSAGES,
    REPORT_EVERY,
    WINDOW_BYTES,
    WINDOW_MESSAGES,
    Fate,
    Ledger,
    Window,
    share,
)


def account(window: Window) -> tuple[int, ...]:
    return (
        window.handled, window.failed, window.expired, window.rejected, window.undelivered,
        window.in_flight,
    )  # fmt: skip


def sent(messages: int, size: int = 1) -> Window:
    window = Window()
    for _ in range(messages):
        window.spend(size)
    return window


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.3, 0.9]))
def test_the_account_adds_up_at_every_step(seed: int, loss: float) -> None:
    """Reports are lost, late, doubled and overtake each other."""
    rng = random.Random(seed)
    window, ledger = Window(), Ledger()
    queue: list[int] = []
    reports: list[tuple[int, int, int, int, int]] = []
    before = account(window)
    for _ in range(300):
        size = rng.choice((0, 1, 1000, 100_000, 10_000_000))
        action = rng.randrange(4)
        if action == 0 and window.has_room(size):
            window.spend(size)
            queue.append(size)
        elif action == 1 and queue:
            ledger.close(rng.choice(list(Fate)), queue.pop(rng.randrange(len(queue))))
        elif action == 2 and rng.random() >= loss:
            reports.append(ledger.report())
        elif action == 3 and reports:
            window.acknowledge(*rng.choice(reports))
        now = account(window)
        assert sum(now) == window.sent
        assert min(now) >= 0
        assert all(b <= n for b, n in zip(before[:-1], now[:-1], strict=True))
        assert window.in_flight <= window.messages
        assert window.bytes_sent - window.done_bytes <= window.bytes or window.in_flight == 1
        before = now
    for size in queue:
        ledger.close(Fate.HANDLED, size)
    window.acknowledge(*ledger.report())
    assert window.in_flight == 0
    assert window.done_bytes == window.bytes_sent


@pytest.mark.parametrize(
    "report",
    [
        pytest.param((3, 0, 0, 0, 3), id="seen before"),
        pytest.param((2, 0, 0, 0, 2), id="older"),
        pytest.param((11, 0, 0, 0, 11), id="more than was sent"),
        pytest.param((2**63, 0, 0, 0, 1), id="huge"),
        pytest.param((9, -1, 0, 0, 8), id="negative"),
        pytest.param((-9, 0, 0, 0, -9), id="nothing but negative"),
        pytest.param((0, 0, 0, 0, 0), id="nothing"),
    ],
)
def test_a_report_that_is_no_news_or_untrue_changes_nothing(
    report: tuple[int, int, int, int, int],
) -> None:
    window = sent(10)
    window.acknowledge(3, 0, 0, 0, 3)
    window.acknowledge(*report)
    assert account(window) == (3, 0, 0, 0, 0, 7)
    assert window.done_bytes == 3


def test_bytes_that_were_never_sent_are_not_freed() -> None:
    window = sent(10, size=5)
    window.acknowledge(1, 0, 0, 0, 1_000_000)
    assert window.done_bytes == 50
    window.acknowledge(2, 0, 0, 0, -5)
    assert window.done_bytes == 50


def test_what_is_in_flight_at_a_death_is_undelivered() -> None:
    window = sent(10)
    window.acknowledge(1, 2, 3, 1, 7)
    assert window.close() == 3
    assert account(window) == (1, 2, 3, 1, 3, 0)
    assert window.close() == 0


@pytest.mark.parametrize(
    ("in_flight", "size", "room"),
    [
        pytest.param([], FIRST_BYTES, True, id="all of it"),
        pytest.param([], FIRST_BYTES + 1, True, id="one larger message, alone"),
        pytest.param([0], FIRST_BYTES + 1, False, id="one larger message, not alone"),
        pytest.param([1], FIRST_BYTES - 1, True, id="the last byte"),
        pytest.param([1], FIRST_BYTES, False, id="a byte too many"),
        pytest.param([FIRST_BYTES * 2], 0, False, id="behind a larger one"),
        pytest.param([0] * (FIRST_MESSAGES - 1), 0, True, id="the last message"),
        pytest.param([0] * FIRST_MESSAGES, 0, False, id="a message too many"),
    ],
)
def test_there_is_room_for_so_much(in_flight: list[int], size: int, room: bool) -> None:
    window = Window()
    for each in in_flight:
        window.spend(each)
    assert window.has_room(size) is room


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.integers(0, 2**32))
def test_what_may_leave_is_what_the_counts_say(seed: int) -> None:
    """Through grants, answers that wait for their askers, and reports that lie."""
    rng = random.Random(seed)
    window = Window()
    for _ in range(300):
        size = rng.choice((0, 1, 50, 1000))
        waiting = window.bytes_sent - window.done_bytes + window.reply_bytes
        alone = window.sent == window.done and not window.reply_bytes
        room = window.sent - window.done < window.messages and (
            waiting + size <= window.bytes or alone
        )
        assert window.has_room(size) is room
        action = rng.randrange(6)
        if action < 3:
            before = window.sent, window.bytes_sent
            assert window.take(size) is room
            after = (before[0] + 1, before[1] + size) if room else before
            assert (window.sent, window.bytes_sent) == after
        elif action == 3:
            window.grant(rng.randrange(-1, 20), rng.randrange(-1, 2000))
        elif action == 4:
            window.reply_bytes = rng.choice((0, 0, 10, 1000))
        else:
            done = rng.randrange(window.sent + 2)
            window.acknowledge(done, 0, 0, 0, rng.randrange(-1, window.bytes_sent + 2))


@pytest.mark.parametrize("grant", [0, -1, -(2**63)])
def test_one_message_may_always_leave(grant: int) -> None:
    window = Window()
    window.grant(grant, grant)
    assert window.has_room(10**9)
    window.spend(10**9)
    assert not window.has_room(0)


def test_a_smaller_grant_holds_back_until_enough_is_done() -> None:
    window = sent(FIRST_MESSAGES)
    window.grant(2, FIRST_BYTES)
    window.acknowledge(FIRST_MESSAGES - 2, 0, 0, 0, 0)
    assert not window.has_room(0)
    window.acknowledge(FIRST_MESSAGES - 1, 0, 0, 0, 0)
    assert window.has_room(0)


@pytest.mark.parametrize(
    ("messages", "every"),
    [(1, 1), (2, 1), (3, 1), (64, 32), (127, 63), (128, REPORT_EVERY), (1024, REPORT_EVERY)],
)
def test_a_report_is_due_after_half_the_window_at_most(messages: int, every: int) -> None:
    ledger = Ledger()
    ledger.grant(messages, WINDOW_BYTES)
    due = [ledger.close(Fate.HANDLED, 0) for _ in range(every)]
    assert due == [False] * (every - 1) + [True]
    ledger.report()
    assert not ledger.due


def test_a_report_is_due_after_half_the_bytes() -> None:
    ledger = Ledger()
    assert not ledger.close(Fate.HANDLED, FIRST_BYTES // 2 - 1)
    assert ledger.close(Fate.HANDLED, 1)
    assert ledger.report() == (2, 0, 0, 0, FIRST_BYTES // 2)


def test_each_fate_has_its_count() -> None:
    ledger = Ledger()
    for times, fate in enumerate(Fate, start=1):
        for _ in range(times):
            ledger.close(fate, 10)
    assert ledger.report() == (1, 2, 3, 4, 100)


@pytest.mark.parametrize(
    ("senders", "mailbox", "each"),
    [
        (0, (8192, 32 << 20), (WINDOW_MESSAGES, WINDOW_BYTES)),
        (1, (8192, 32 << 20), (WINDOW_MESSAGES, WINDOW_BYTES)),
        (4, (8192, 32 << 20), (1024, 4 << 20)),
        (8, (8192, 32 << 20), (512, 2 << 20)),
        (5000, (8192, 32 << 20), (1, 3355)),
        (1, (10, 100), (5, 50)),
        (1, (1, 1), (1, 1)),
    ],
)
def test_a_mailbox_is_shared_like_this(
    senders: int, mailbox: tuple[int, int], each: tuple[int, int]
) -> None:
    assert share(senders, *mailbox) == each


@settings(derandomize=True, deadline=None)
@given(st.integers(1, 10_000), st.integers(1, 100_000), st.integers(1, 2**40))
def test_all_windows_together_fit_into_half_the_mailbox(
    senders: int, messages: int, size: int
) -> None:
    each_messages, each_bytes = share(senders, messages, size)
    assert each_messages == 1 or senders * each_messages * 2 <= messages
    assert each_bytes == 1 or senders * each_bytes * 2 <= size
    more = share(senders + 1, messages, size)
    assert more[0] <= each_messages
    assert more[1] <= each_bytes
