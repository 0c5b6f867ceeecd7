"""When an outage is reported, to the millisecond."""

import math

import pytest

from actors.control.heartbeat import (
    Change,
    Created,
    Died,
    Forgotten,
    Heard,
    Heartbeat,
    Notice,
    Sign,
    Silenced,
)

Event = tuple[float, Change | float]  # an instant, and a change or an order's period
LOST, BACK, BEAT = Sign.LOST, Sign.BACK, Sign.BEAT


def told(events: list[Event], until: float, *, roll_call: bool = False) -> list[object]:
    """(instant, id, sign) of every notice, asked for at each instant that is announced."""
    heartbeat = Heartbeat(roll_call=roll_call)
    found: list[object] = []

    def note(now: float, notices: list[Notice]) -> None:
        found.extend((round(now, 6), notice.id, notice.sign) for notice in notices)

    for at, event in [*sorted(events, key=lambda event: event[0]), (until, None)]:
        while heartbeat.next_at() <= at:
            now = heartbeat.next_at()
            note(now, heartbeat.due(now))
        if isinstance(event, float):
            heartbeat.order(event, at)
        elif event is not None:
            note(at, heartbeat.hear(event))
    return found


@pytest.mark.parametrize(
    ("events", "notices"),
    [
        ([(0, Created(1, 0)), (1, 1.0)], []),
        ([(0, Created(1, 0)), (9, Silenced(1, 8))], []),
        ([(0, Created(1, 0)), (1, 1.0), (9, Silenced(1, 8))], [(12, 1, LOST)]),
        ([(0, Created(1, 0)), (9, Silenced(1, 8)), (10, 1.0)], [(14, 1, LOST)]),
        ([(0, 1.0), (2, Created(1, 2)), (2.5, Died(1, 1))], [(6, 1, LOST)]),
        ([(0, 1.0), (1, Created(1, 1)), (3, Died(1, 3))], [(7, 1, LOST)]),
        ([(0, 1.0), (1, Created(1, 1)), (3, Died(1, 3)), (4, Forgotten(1, 4))], []),
        (
            [(0, 1.0), (1, Created(1, 1)), (4, Silenced(1, 3)), (8, Heard(1, 8))],
            [(7, 1, LOST), (8, 1, BACK)],
        ),
        ([(0, 1.0), (1, Created(1, 1)), (4, Silenced(1, 3)), (6, Heard(1, 6))], []),
        (
            [(0, 1.0), (1, Created(1, 1)), (4, Silenced(1, 3)), (5, Died(1, 3))],
            [(7, 1, LOST)],
        ),
        (
            [(0, 1.0), (1, Created(1, 1)), (3, Died(1, 3)), (9, Created(1, 9))],
            [(7, 1, LOST), (9, 1, BACK)],
        ),
        (
            [(0, 1.0), (1, Created(1, 1)), (3, Died(1, 3)), (9, 2.0)],
            [(7, 1, LOST), (17, 1, LOST)],
        ),
        (
            [(0, 1.0), (0, Created(1, 0)), (3, Silenced(1, 3)), (9, 1.0), (10, Heard(1, 10))],
            [(7, 1, LOST)],
        ),
        ([(0, 1.0), (1, Created(1, 1)), (3, Died(1, 3)), (4, 0.0)], []),
        (
            [(0, 1.0), (0, Created(2, 0)), (0, Created(1, 0)), (1, Died(1, 1)), (1, Died(2, 1))],
            [(5, 2, LOST), (5, 1, LOST)],
        ),
    ],
    ids=[
        "all is well",
        "nobody ordered reports",
        "4 periods after the last beat",
        "4 periods after the order",
        "4 periods after the creation",
        "a dead node is a silent one",
        "a removed node is not",
        "a return is told",
        "a short silence is not told",
        "silent and then dead is one outage",
        "the next incarnation is a return",
        "a new order forgets what was reported",
        "and so its return",
        "the end of the reports",
        "in order of creation",
    ],
)
def test_notices(events: list[Event], notices: list[object]) -> None:
    assert told(events, 30) == notices


def test_a_roll_call_has_a_line_for_each_beat_and_repeats_the_lost() -> None:
    events: list[Event] = [
        (0, Created(1, 0)),
        (0, Created(2, 0)),
        (0, 1.0),
        (2.5, Died(1, 2.5)),
    ]
    assert told(events, 12, roll_call=True) == [
        (1, 1, BEAT),
        (1, 2, BEAT),
        (2, 1, BEAT),
        (2, 2, BEAT),
        *[(at, 2, BEAT) for at in (3, 4, 5, 6)],
        (6.5, 1, LOST),
        *[(at, 2, BEAT) for at in (7, 8, 9, 10, 11)],
        (11.5, 1, LOST),
        (12, 2, BEAT),
    ]


def test_ticks_that_were_missed_are_not_made_up() -> None:
    heartbeat = Heartbeat(roll_call=True)
    heartbeat.hear(Created(1, 0))
    heartbeat.order(1.0, 0)
    assert heartbeat.due(3.5) == [Notice(1, BEAT)]
    assert heartbeat.next_at() == 4


def test_nothing_is_due_without_an_order() -> None:
    heartbeat = Heartbeat()
    heartbeat.hear(Created(1, 0))
    heartbeat.hear(Died(1, 1))
    assert heartbeat.next_at() == math.inf
    assert heartbeat.due(100) == []


def test_asking_early_or_twice_reports_nothing() -> None:
    heartbeat = Heartbeat()
    heartbeat.hear(Created(1, 0))
    heartbeat.order(1.0, 0)
    heartbeat.hear(Died(1, 0))
    assert heartbeat.due(3.999) == []
    assert heartbeat.due(4) == [Notice(1, LOST)]
    assert heartbeat.due(4) == []
