"""What comes out is a prefix of what went in, and all of it once the network is fair."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import WireError
from runtime.wires.packet import ANSWER, FLEETING, NUMBERED, PROBE, WINDOW, Packet, decode, encode
from runtime.wires.resending import (
    ANSWER_PACKETS,
    ANSWER_S,
    BURST_PACKETS,
    OVERTAKEN,
    Receiving,
    Sending,
)
from runtime.wires.round_trip import FIRST_S, MAX_S, MIN_S, RoundTrip

HUGE = 2**64 - 1


class Pair:
    """Both ends, and all that is between them, to be delivered at will."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sending, self.receiving = Sending(1), Receiving(1)
        self.out: list[bytes] = []
        self.there: list[tuple[int, int, bytes]] = []  # number (0: a probe), order, message
        self.back: list[tuple[int, int, int]] = []
        self.transmitted = 0
        self.posted = 0

    def post(self) -> None:
        step = self.sending.post([b"%d" % self.posted], self.now)
        self.posted += 1
        if step is not None:
            self._leave([step])

    def _leave(self, steps: object) -> None:
        for number, order, (frame,) in steps:  # type: ignore[attr-defined]
            self.transmitted += 1
            self.there.append((number, order, frame))

    def arrive(self, number: int, order: int, frame: bytes) -> None:
        if number:
            for whole in self.receiving.take(number, order, [frame], self.now):
                self.out += map(bytes, whole)
        else:
            self.receiving.take_probe(order)

    def answer(self) -> None:
        """Answer, if it is time."""
        if self.receiving.due <= self.now:
            self.back.append((self.receiving.upto, self.receiving.latest, self.receiving.above))
            self.receiving.answered()

    def hear(self, upto: int, latest: int, above: int) -> None:
        self._leave(self.sending.answer(upto, latest, above, self.now))

    def pass_time(self) -> None:
        if order := self.sending.late(self.now):
            self.there.append((0, order, b""))
        self.answer()

    def be_fair(self) -> None:
        """Deliver everything from now on, until nothing is left to do."""
        for _ in range(100_000):
            while self.there or self.back:
                while self.there:
                    self.arrive(*self.there.pop(0))
                self.answer()
                while self.back:
                    self.hear(*self.back.pop(0))
            due = min(self.sending.due, self.receiving.due)
            if due == math.inf:
                return
            self.now = max(self.now, due)
            self.pass_time()
        raise AssertionError("it never ends")

    def expected(self) -> list[bytes]:
        return [b"%d" % number for number in range(self.posted)]


VERBS = ("post", "deliver", "lose", "double", "pass", "answer", "hear")
STEPS = st.lists(st.tuples(st.sampled_from(VERBS), st.floats(0, 1)), max_size=100)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_what_comes_out_is_a_prefix_of_what_went_in_and_in_the_end_all(
    steps: list[tuple[str, float]],
) -> None:
    pair = Pair()
    for verb, where in steps:
        wire: list[tuple[int, ...]] = pair.there or pair.back  # type: ignore[assignment]
        at = min(int(where * len(wire)), len(wire) - 1)
        if verb == "post":
            for _ in range(1 + int(where * 8)):
                pair.post()
        elif verb == "pass":
            pair.now += where / 2
            pair.pass_time()
        elif verb == "answer":
            pair.answer()
        elif verb == "hear" and pair.back:
            pair.hear(*pair.back.pop(min(int(where * len(pair.back)), len(pair.back) - 1)))
        elif wire and verb == "lose":
            wire.pop(at)
        elif wire and verb == "double":
            wire.append(wire[at])
        elif wire and verb == "deliver" and pair.there:
            pair.arrive(*pair.there.pop(at))
        assert pair.out == pair.expected()[: len(pair.out)]
        assert len(pair.sending) + len(pair.receiving) + len(pair.out) >= pair.posted
    pair.be_fair()
    assert pair.out == pair.expected()
    assert len(pair.sending) == len(pair.receiving) == 0


@pytest.mark.parametrize("loss", [0.0, 0.01, 0.05, 0.3, 0.6])
def test_a_long_talk_over_a_bad_wire_is_whole(loss: float) -> None:
    rng = random.Random(str(loss))
    pair = Pair()
    while pair.posted < 6000 or len(pair.sending):
        for _ in range(min(rng.randrange(100), 6000 - pair.posted)):
            pair.post()
        there, pair.there = pair.there, []
        for packet in there:
            if rng.random() >= loss:
                pair.arrive(*packet)
        pair.answer()
        back, pair.back = pair.back, []
        for answer in back:
            if rng.random() >= loss:
                pair.hear(*answer)
        pair.now += 0.01
        pair.pass_time()
        assert len(pair.receiving) < WINDOW
    assert pair.out == pair.expected()
    # in order below, so each loss is found once, and nothing but losses goes again
    assert pair.transmitted <= 6000 / (1 - loss) * 1.1


def test_on_a_faithful_wire_nothing_goes_again_and_few_answers_come() -> None:
    pair = Pair()
    answers = 0
    for _ in range(100 * ANSWER_PACKETS):
        pair.post()
        pair.arrive(*pair.there.pop())
        pair.answer()
        answers += len(pair.back)
        while pair.back:
            pair.hear(*pair.back.pop())
    assert pair.transmitted == pair.posted
    assert answers == 100  # the first is answered at once
    assert pair.sending.resent == pair.receiving.doubled == 0


def test_a_single_loss_goes_again_once_it_was_overtaken_and_only_once() -> None:
    pair = Pair()
    for _ in range(20):
        pair.post()
    pair.there.pop(4)
    pair.be_fair()
    assert pair.out == pair.expected()
    assert pair.transmitted == 21


def test_what_was_overtaken_by_a_few_is_not_taken_for_lost() -> None:
    pair = Pair()
    for _ in range(1 + OVERTAKEN):
        pair.post()
    first = pair.there.pop(0)
    for _ in range(OVERTAKEN - 1):
        pair.arrive(*pair.there.pop(0))
    pair.answer()
    pair.hear(*pair.back.pop())
    assert pair.transmitted == 1 + OVERTAKEN
    pair.arrive(*first)
    pair.be_fair()
    assert pair.transmitted == 1 + OVERTAKEN


def test_the_last_of_a_talk_is_found_by_a_probe() -> None:
    pair = Pair()
    pair.post()
    pair.there.clear()
    assert pair.sending.due == FIRST_S
    pair.now = FIRST_S
    pair.pass_time()
    assert [number for number, _, _ in pair.there] == [0]
    pair.be_fair()
    assert pair.out == [b"0"]
    assert pair.transmitted == 2


def test_a_peer_that_stands_still_finds_a_few_probes_and_answers_once() -> None:
    pair = Pair()
    for _ in range(100):
        pair.post()
    while pair.now < 3600:
        pair.now = pair.sending.due
        pair.pass_time()
    probes = [number for number, _, _ in pair.there if number == 0]
    assert 1800 <= len(probes) <= 1810  # MAX_S
    assert pair.transmitted == 100
    for packet in pair.there:  # it goes on, and reads all
        pair.arrive(*packet)
    pair.there.clear()
    pair.answer()
    assert len(pair.back) == 1
    pair.be_fair()
    assert pair.transmitted == 100


def test_one_that_stood_still_itself_reads_before_it_asks() -> None:
    pair = Pair()
    pair.post()
    pair.now = 3600
    pair.pass_time()
    assert len(pair.there) == 1
    assert pair.sending.due == 3600 + MIN_S


def test_what_a_broken_connection_lost_goes_again_in_bursts() -> None:
    pair = Pair()
    for _ in range(1000):
        pair.post()
    pair.there.clear()
    pair.now = pair.sending.due
    pair.pass_time()
    pair.arrive(*pair.there.pop())
    pair.answer()
    pair.now += 1
    pair.hear(*pair.back.pop())
    assert len(pair.there) == BURST_PACKETS
    pair.be_fair()
    assert pair.out == pair.expected()
    assert pair.transmitted == 2000


def test_beyond_the_window_nothing_leaves() -> None:
    pair = Pair()
    for _ in range(WINDOW + 10):
        pair.post()
    assert pair.transmitted == WINDOW
    assert len(pair.sending) == WINDOW + 10
    pair.there.pop(0)
    while pair.there:
        pair.arrive(*pair.there.pop())
    assert len(pair.receiving) == WINDOW - 1
    assert pair.out == []
    pair.be_fair()
    assert pair.out == pair.expected()


def test_what_lies_beyond_the_window_is_not_taken_in() -> None:
    receiving = Receiving(1)
    assert receiving.take(WINDOW + 1, 1, [b"x"], 0.0) == []
    assert receiving.take(HUGE, HUGE, [b"x"], 0.0) == []
    assert receiving.take(0, 1, [b"x"], 0.0) == []
    assert len(receiving) == receiving.above == 0


@pytest.mark.parametrize("answer", [(2, 1, 0), (0, 9, 0), (HUGE, HUGE, 0), (HUGE, 1, 1)])
def test_an_answer_to_what_was_never_sent_changes_nothing(answer: tuple[int, int, int]) -> None:
    sending = Sending(1)
    sending.post([b"x"], 0.0)
    assert sending.answer(*answer, 5.0) == []
    assert len(sending) == 1
    assert not sending.heard
    assert sending.due == FIRST_S


def test_answers_without_news_do_not_put_the_question_off() -> None:
    pair = Pair()
    pair.post()
    pair.be_fair()
    pair.post()
    due = pair.sending.due
    for n in range(10):
        pair.now = due - 0.01 + n / 1000
        pair.hear(1, 1, 0)
    assert pair.sending.due == due


def test_an_answer_waits_a_moment_for_something_to_travel_with() -> None:
    receiving = Receiving(1)
    receiving.take(1, 1, [b"x"], 1.0)
    assert receiving.due == -math.inf  # the first: so that it need not say where it lives again
    receiving.answered()
    receiving.take(2, 2, [b"x"], 1.0)
    receiving.take(3, 3, [b"x"], 1.01)
    assert receiving.due == 1.0 + ANSWER_S
    receiving.take(5, 5, [b"x"], 1.02)
    assert receiving.due == -math.inf


def test_signs_of_life_come_neither_twice_nor_late() -> None:
    receiving = Receiving(1)
    assert [receiving.take_fleeting(order) for order in (3, 3, 2, 7, 6)] == [
        True, False, False, True, False,
    ]  # fmt: skip
    assert receiving.latest == 7


def test_the_wait_follows_the_samples_within_bounds() -> None:
    trip = RoundTrip()
    assert trip.wait_s == FIRST_S
    trip.took(0.2)
    assert trip.wait_s == pytest.approx(0.2 + 4 * 0.1)
    for _ in range(100):
        trip.took(0.001)
    assert trip.wait_s == MIN_S
    for _ in range(100):
        trip.waited_in_vain()
    assert trip.wait_s == MAX_S
    trip.answered()
    assert trip.wait_s == MIN_S
    trip.took(3600.0)  # it was frozen
    assert trip.late_s == pytest.approx(MAX_S * 9 / 8)
    for _ in range(40):
        trip.took(0.001)
    assert trip.wait_s < 0.5


PACKETS = st.builds(
    Packet,
    st.sampled_from([ANSWER, FLEETING, NUMBERED, PROBE]),
    *[st.integers(0, HUGE)] * 6,
    st.integers(0, 2**WINDOW - 1),
    st.sampled_from(["", "memory:1", "tcp://[::1]:5?key=\u00fc"]),
)


@given(PACKETS)
def test_a_packet_is_read_as_it_was_written(packet: Packet) -> None:
    assert decode(encode(packet)) == packet
    assert decode(memoryview(encode(packet))) == packet


@given(st.binary(max_size=900), st.sampled_from([ANSWER, PROBE]))
def test_any_bytes_are_a_packet_or_a_wire_error(noise: bytes, kind: int) -> None:
    for frame in (noise, bytes([kind, 0]) + noise):
        try:
            packet = decode(frame)
        except WireError:
            continue
        assert ANSWER <= packet.kind <= PROBE
        assert packet.above.bit_length() <= WINDOW
