"""What befalls a message follows from its seed, its names, its kind and its ordinal."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.address import Address
from runtime.exits import ExitReason
from runtime.messages import envelope as wire
from runtime.messages.batch import Batch
from runtime.messages.codec import encode
from runtime.messages.kinds import GROUPS, KINDS, kind_of, kinds_in
from runtime.weather.arrivals import Arrivals
from runtime.weather.partitions import partition_of
from runtime.weather.weather import Delay, Drop, Duplicate, Fault, Reorder, Rule, Weather, names

HERE = ("a", "b", "ask")

# -- kinds


@pytest.mark.parametrize(
    ("envelopes", "kind"),
    [
        ([wire.Beat(1)], "beat"),
        ([wire.Heard(1), wire.Beat(1)], "heard"),
        ([wire.Beat(1), wire.Cancel(1, 2), wire.Close(1)], "cancel"),
        ([wire.Beat(1), wire.Open(1, "a", 2, "b", 3), wire.Ask(1, "f", 0, 7)], "ask"),
        ([wire.Reply(1, 7, 0, 1, 0, 0, 0, 0), wire.Ask(1, "f", 0, 7)], "reply"),
        ([wire.Fail(1, 7, "raised", "E", "", "", 0, 1, 0, 0, 0)], "fail"),
        ([wire.Tells(1, "f", 0, 9)], "tell"),
        ([wire.Traced(1, "f", 0, 7)], "ask"),
        ([wire.StartFailed("E", "", "")], "start_failed"),
        ([wire.Down("memory:7", ExitReason(kind="killed", signal=9))], "down"),
        ([], "noise"),
    ],
    ids=str,
)
def test_a_batch_is_of_the_kind_of_its_weightiest_envelope(
    envelopes: list[wire.Envelope], kind: str
) -> None:
    assert kind_of(encode(*envelopes)) == kind


def test_a_run_of_tells_in_a_batch_is_a_tell() -> None:
    batch = Batch()
    batch.add(wire.Credit(1, 0, 0, 0, 0, 0, 0, 0))
    batch.tell(1, "f", 0)
    batch.tell(1, "f", 0)
    assert kind_of(batch.take()) == "tell"


def test_a_message_without_a_batch_is_an_answer_of_the_layer_below() -> None:
    assert kind_of([b"", b"header"]) == "answer"
    assert kind_of([b""]) == kind_of([]) == "noise"


def test_every_kind_is_in_one_group() -> None:
    assert sum(map(len, GROUPS.values())) == len(KINDS)
    assert kinds_in(GROUPS) == KINDS


@given(st.lists(st.binary(max_size=40), max_size=3))
def test_any_frames_have_a_kind(frames: list[bytes]) -> None:
    assert kind_of(frames) in KINDS


# -- the dice


def strikes(weather: Weather, count: int = 1000) -> list[tuple[Fault, ...]]:
    return [weather.strikes(*HERE, ordinal) for ordinal in range(1, count + 1)]


def test_the_same_seed_strikes_the_same_on_every_machine() -> None:
    weather = Weather(drop=0.2, duplicate=0.2, delay=0.3, reorder=0.2, delay_s=1.0, seed=7)
    assert [each for some in strikes(weather, 8) for each in some] == [
        Duplicate("a", "b", "ask", 1, 1.0),
        Drop("a", "b", "ask", 3),
        Reorder("a", "b", "ask", 4, 1.0),
        Drop("a", "b", "ask", 5),
        Delay("a", "b", "ask", 7, 1.0),
    ]
    (delayed,) = Weather(delay=1.0, seed=7).strikes(*HERE, 1)
    assert delayed == Delay("a", "b", "ask", 1, 0.09639149414399857)


def test_rates_come_out_about_as_often_as_they_say() -> None:
    struck = strikes(Weather(drop=0.1, duplicate=0.2, delay=0.5, seed="x"), 4000)
    share = {
        sort: sum(isinstance(each, sort) for some in struck for each in some) / 4000
        for sort in (Drop, Duplicate, Delay, Reorder)
    }
    assert share == pytest.approx({Drop: 0.1, Duplicate: 0.18, Delay: 0.45, Reorder: 0}, abs=0.02)


@pytest.mark.parametrize("other", [("a", "b", "tell"), ("b", "a", "ask"), ("a", "c", "ask")])
def test_other_messages_have_other_dice(other: tuple[str, str, str]) -> None:
    weather = Weather(drop=0.5)
    here = [bool(weather.strikes(*HERE, n)) for n in range(64)]
    assert here != [bool(weather.strikes(*other, n)) for n in range(64)]
    assert here != [bool(Weather(drop=0.5, seed=1).strikes(*HERE, n)) for n in range(64)]


def test_one_rate_more_moves_no_other_dice() -> None:
    before, after = Weather(delay=0.3), Weather(delay=0.3, drop=0.1, duplicate=0.5)
    for less, more in zip(strikes(before), strikes(after), strict=True):
        if not any(isinstance(each, Drop) for each in more):
            assert [each for each in more if isinstance(each, Delay)] == list(less)


def test_what_is_dropped_is_struck_by_nothing_else() -> None:
    weather = Weather(drop=1.0, duplicate=1.0, delay=1.0, reorder=1.0)
    assert weather.strikes(*HERE, 3) == (Drop("a", "b", "ask", 3),)


def test_a_delay_is_between_its_bounds() -> None:
    for (each,) in strikes(Weather(delay=1.0, delay_s=(0.25, 0.5)), 100):
        assert isinstance(each, Delay)
        assert 0.25 <= each.delay_s <= 0.5
    assert Weather(reorder=1.0, delay_s=2.0).strikes(*HERE, 1) == (
        Reorder("a", "b", "ask", 1, 2.0),
    )


# -- rules


def test_the_first_rule_that_matches_is_the_only_one() -> None:
    weather = Weather(
        Rule(source="a", target={"b", "c"}, kinds="user", latency_s=1.0),
        Rule(source="a", both_ways=True, latency_s=2.0),
        latency_s=3.0,
    )
    found = {
        which: rule.latency_s if (rule := weather.rule(*which)) is not None else 0.0
        for which in (
            ("a", "b", "ask"), ("a", "d", "ask"), ("a", "b", "beat"), ("b", "a", "ask"),
            ("b", "c", "ask"),
        )
    }  # fmt: skip
    assert list(found.values()) == [1.0, 2.0, 2.0, 2.0, 3.0]
    assert Weather(Rule(source="a")).rule("b", "a", "ask") is None


def test_a_process_is_named_by_itself_and_by_what_is_in_it() -> None:
    assert names("a") == names(Address("s", "a", 3, "")) == names("a/cell") == {"a"}
    assert names([Address("s", "b/x", 3, ""), "c"]) == {"b", "c"}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Rule(kinds="asks"), "no kind of message: 'asks'"),
        (lambda: Rule(kinds=["user", "bet"]), "'bet'"),
        (lambda: Weather(drop=1.5), "drop is from 0 to 1, not 1.5"),
        (lambda: Weather(delay=-0.1), "delay is from 0 to 1"),
        (lambda: Weather(delay_s=(0.2, 0.1)), "delay_s is one duration or two that grow"),
        (lambda: Weather(latency_s=-1.0), "latency_s is a duration, not -1.0"),
        (lambda: Weather(bytes_per_s=0.0), "bytes_per_s is more than 0"),
        (lambda: Weather.only([Drop("a", "b", "reply!", 1)]), "'reply!'"),
        (lambda: partition_of([]), "has groups"),
        (lambda: partition_of(["a", []]), "somebody in it"),
        (lambda: partition_of(["a", {"b", "a"}]), "on two sides of a partition: a"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


# -- lists of faults

FAULTS = [
    Drop("a", "b", "ask", 1),
    Delay("a", "b", "ask", 2, 0.5),
    Duplicate("a", "b", "ask", 2, 0.25),
    Reorder("b", "a", "reply", 7, 0.1),
]


def test_a_list_strikes_what_it_names_and_nothing_else() -> None:
    weather = Weather.only(FAULTS, Rule(kinds="user", drop=1.0, latency_s=0.5))
    assert strikes(weather, 3) == [(FAULTS[0],), (FAULTS[1], FAULTS[2]), ()]
    assert weather.strikes("b", "a", "reply", 7) == (FAULTS[3],)
    rule = weather.rule(*HERE)
    assert rule == Rule(kinds="user", latency_s=0.5)
    assert strikes(Weather.only([], Rule(drop=1.0)), 3) == [(), (), ()]


def test_what_struck_can_be_listed_and_strikes_again() -> None:
    chance = Weather(drop=0.1, duplicate=0.1, reorder=0.1, delay=0.1, seed=3)
    struck = strikes(chance)
    again = Weather.only((each for some in struck for each in some), *chance.rules)
    assert strikes(again) == struck


@pytest.mark.parametrize(
    "what",
    [
        *FAULTS,
        Rule(),
        Rule(source={"b", "a"}, target="c", kinds={"user", "beat"}, drop=0.5, delay_s=1.0),
        Weather(Rule(source="a", messages_per_s=5.0), seed="x", drop=0.25),
        Weather.only(FAULTS, Rule(latency_s=1.0)),
        Weather.only([]),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_is_printed_is_code_for_the_same(what: object) -> None:
    again = eval(repr(what))
    assert repr(again) == repr(what)
    if isinstance(what, Weather):
        assert (again.rules, again.faults, again.seed) == (what.rules, what.faults, what.seed)
    else:
        assert again == what


@pytest.mark.parametrize(
    ("weather", "breaks"),
    [
        (Weather(latency_s=1.0, delay=1.0, messages_per_s=1.0), False),
        (Weather(Rule(kinds="user", reorder=0.1), latency_s=1.0), True),
        (Weather(drop=0.1), True),
        (Weather(duplicate=0.1), True),
        (Weather.only([FAULTS[1]], Rule(drop=1.0)), False),
        (Weather.only(FAULTS), True),
    ],
)
def test_it_is_known_whether_the_wire_keeps_its_promise(weather: Weather, breaks: bool) -> None:
    assert weather.breaks_order == breaks


# -- partitions


@pytest.mark.parametrize(
    ("groups", "one_way", "blocked"),
    [
        ([{"a", "b"}, "c"], False, "ac bc ca cb"),
        ([{"a", "b"}, "c"], True, "ac bc"),
        ([{"a", "b"}], False, "ac ad bc bd ca cb da db"),
        ([{"a", "b"}], True, "ac ad bc bd"),
        (["a", "b", "c"], True, "ab ac bc"),
    ],
)
def test_a_partition_is_between_its_groups(
    groups: list[str | set[str]], one_way: bool, blocked: str
) -> None:
    partition = partition_of(groups, one_way)
    found = [f"{a}{b}" for a in "abcd" for b in "abcd" if partition.blocks(a, b)]
    assert " ".join(found) == blocked


# -- arrivals


def arrive(arrivals: Arrivals, now: float, *faults: Fault, kind: str = "ask") -> list[float]:
    return arrivals.of(now, "a", "b", kind, 100, [], faults)


def delay(by_s: float) -> Delay:
    return Delay("a", "b", "ask", 1, by_s)


def test_nothing_overtakes_what_is_delayed() -> None:
    arrivals = Arrivals()
    assert arrive(arrivals, 1.0, delay(0.5)) == [1.5]
    assert arrive(arrivals, 1.25) == [1.5]
    assert arrive(arrivals, 1.25, delay(0.5)) == [1.75]
    assert arrive(arrivals, 2.0) == [2.0]


def test_everything_overtakes_what_is_reordered() -> None:
    arrivals = Arrivals()
    assert arrive(arrivals, 1.0, Reorder("a", "b", "ask", 1, 0.5)) == [1.5]
    assert arrive(arrivals, 1.25) == [1.25]


def test_signs_of_life_have_a_lane_of_their_own() -> None:
    arrivals = Arrivals()
    assert arrive(arrivals, 1.0, delay(0.5)) == [1.5]
    assert arrive(arrivals, 1.25, kind="beat") == [1.25]
    assert arrive(arrivals, 1.25, kind="credit") == [1.5]
    assert arrivals.of(1.25, "b", "a", "ask", 100, [], ()) == [1.25]


def test_a_doubled_message_comes_twice_and_a_dropped_one_never() -> None:
    arrivals = Arrivals()
    twice = Duplicate("a", "b", "ask", 1, 0.25)
    assert arrive(arrivals, 1.0, delay(0.5), twice) == [1.5, 1.75]
    assert arrive(arrivals, 1.0, Drop("a", "b", "ask", 1)) == []


def test_a_throttled_line_carries_one_after_the_other() -> None:
    arrivals = Arrivals()
    rules = [Rule(bytes_per_s=100.0, messages_per_s=4.0, latency_s=0.5)]

    def send(now: float, size: int, target: str = "b", *faults: Fault) -> list[float]:
        return arrivals.of(now, "a", target, "ask", size, rules, faults)

    assert send(1.0, 50) == [2.0]  # half a second of bytes
    assert send(1.0, 1) == [2.25]  # a quarter, as a message
    assert send(1.0, 100, "c") == [2.5]  # another line
    assert send(1.0, 100, "b", Drop("a", "b", "ask", 3)) == []  # it took its second all the same
    assert send(4.0, 50) == [5.0]
    assert send(2.5, 50) == [5.5]


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0, 2)), max_size=30))
def test_a_lane_keeps_its_order_whatever_is_delayed(sent: list[tuple[float, float]]) -> None:
    arrivals = Arrivals()
    now = 0.0
    came: list[float] = []
    for pause_s, late_s in sent:
        now += pause_s
        (at,) = arrive(arrivals, now, delay(late_s))
        assert at >= now + late_s
        came.append(at)
    assert came == sorted(came)
