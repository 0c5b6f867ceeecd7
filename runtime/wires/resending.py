"""Once, in order, and not lost: the two ends of one direction over a wire that promises nothing.

`Sending` numbers what it is given, keeps it until it was heard, and finds out what has to go again;
`Receiving` puts in order what came. Selective: only what is missing goes again, and what came out
of order is kept. Each *transmission* has an ``order`` of its own, never used again; the receiver
tells the highest that came. So what left before that and has not come was lost or overtaken,
and each loss is found once, whatever the clock says. When nothing is heard at all, the
sender asks what has come, by a probe of a few bytes: a peer that stands still for an hour finds
small questions, not an hour's copies.

There is no congestion control: TCP below has its own. What goes again at one time is bounded, and
the answer to it brings the next.

Invariants
----------
* What comes out of `Receiving.take` is a prefix of what went into `Sending.post`, and all of it
  once every packet that is sent often enough arrives.
* `Receiving` never forgets what it has acknowledged.
* Memory: each message that is on neither side's hands any more has been handed on, so what both
  ends hold together is in flight in the accounts above, and bounded by their credits
  (`runtime.traffic.credit`); control is not charged, and small. The sender holds by reference what
  was not heard; the receiver at most `WINDOW` packets that came out of order.
* Time is an argument. This module never reads a clock, and nothing is drawn by lot.

Source: RFC 9002 (QUIC loss detection): never-reused transmission numbers, packet and time
thresholds, probes. We differ: one space of numbers, and nothing but the holes goes again.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from runtime.messages.codec import Buffer
from runtime.wires.packet import WINDOW
from runtime.wires.round_trip import MIN_S, RoundTrip

OVERTAKEN: Final = 3
"""What so many later transmissions have overtaken is lost."""
BURST_PACKETS: Final = 64
BURST_BYTES: Final = 1024 * 1024
"""So much goes again at one time, and one packet in any case."""
ANSWER_S: Final = 0.025
"""An answer waits so long for something to travel with."""
ANSWER_PACKETS: Final = 32
ANSWER_BYTES: Final = 1024 * 1024
"""So much is answered at once."""
STILL_S: Final = 0.25
"""A timer that is this late: the process stood still, and answers may lie in its inbox."""

Frames = Sequence[Buffer]


class Transmission(NamedTuple):
    """What is to leave now."""

    number: int
    order: int
    frames: Frames


class _Sent:
    __slots__ = ("at", "frames", "order")

    def __init__(self, frames: Frames, order: int, at: float) -> None:
        self.frames = frames
        self.order = order
        self.at = at


class Sending:
    """The sending end. ``due``: when to call `late`; ``heard``: something was answered."""

    def __init__(self, session: int) -> None:
        self.session = session
        self.due = math.inf
        self.heard = False
        self.resent = 0
        self._last = self._order = 0  # given
        self._upto = self._latest = 0  # heard of
        self._sent: dict[int, _Sent] = {}  # by number, in the order of the last transmissions
        self._waiting: deque[Frames] = deque()  # beyond the window
        self._answer = (-1, -1, -1)  # the last one
        self._probe = (0, 0.0)
        self._round_trip = RoundTrip()

    def __len__(self) -> int:
        """How many messages are not known to have arrived."""
        return len(self._sent) + len(self._waiting)

    def post(self, frames: Frames, now: float) -> Transmission | None:
        """Take a message; None if it leaves later. The frames are the layer's until then."""
        if self._waiting or self._last - self._upto >= WINDOW:
            self._waiting.append(frames)
            return None
        return self._first(frames, now)

    def next_order(self) -> int:
        """For what is sent once."""
        self._order += 1
        return self._order

    def answer(self, upto: int, latest: int, above: int, now: float) -> list[Transmission]:
        """Learn what has come; what is to leave now, again or for the first time."""
        if upto > self._last or latest > self._order:
            return []  # that was never sent
        if (upto, latest, above) == self._answer:
            return []
        self._answer = upto, latest, above
        self.heard = True
        fresh = latest if latest > self._latest else 0
        news = fresh or upto > self._upto
        if news:
            self._round_trip.answered()
        if fresh and self._probe[0] == fresh:
            self._round_trip.took(now - self._probe[1])
        for number in range(self._upto + 1, upto + 1):
            sent = self._sent.pop(number, None)  # as in `_arrived`: every message comes by here
            if sent is not None and sent.order == fresh:
                self._round_trip.took(now - sent.at)
        if upto > self._upto:
            self._upto = upto
        if fresh:
            self._latest = latest
        if not self._sent and not self._waiting:
            self.due = math.inf
            return []
        if above:
            for number in self._came(upto, latest, above):
                self._arrived(number, fresh, now)
        leaving = [self._go(number, now) for number in self._lost(latest, now)]
        self.resent += len(leaving)
        while self._waiting and self._last - self._upto < WINDOW:
            leaving.append(self._first(self._waiting.popleft(), now))
        if not self._sent:
            self.due = math.inf
        elif news:
            self.due = now + self._round_trip.wait_s
        return leaving

    def late(self, now: float) -> int:
        """The order of a probe that is to leave now, or 0."""
        if now < self.due:
            return 0
        if now > self.due + STILL_S:
            self.due = now + MIN_S
            return 0
        self._round_trip.waited_in_vain()
        return self.ask(now)

    def ask(self, now: float) -> int:
        """The order of a probe that is to leave now."""
        self.due = now + self._round_trip.wait_s
        self._probe = self.next_order(), now
        return self._order

    def _first(self, frames: Frames, now: float) -> Transmission:
        self._last += 1
        self._order += 1
        self._sent[self._last] = _Sent(frames, self._order, now)
        if self.due == math.inf:
            self.due = now + self._round_trip.wait_s
        return Transmission(self._last, self._order, frames)

    def _go(self, number: int, now: float) -> Transmission:
        sent = self._sent.pop(number)
        sent.order = self.next_order()
        sent.at = now
        self._sent[number] = sent
        return Transmission(number, sent.order, sent.frames)

    def _arrived(self, number: int, fresh: int, now: float) -> None:
        sent = self._sent.pop(number, None)
        if sent is not None and sent.order == fresh:
            self._round_trip.took(now - sent.at)

    def _came(self, upto: int, latest: int, above: int) -> list[int]:
        """Those that came out of order. Of later transmissions the answer can know nothing."""
        came = []
        for number, sent in self._sent.items():
            if sent.order > latest:
                break
            if above >> (number - upto - 1) & 1:
                came.append(number)
        return came

    def _lost(self, latest: int, now: float) -> list[int]:
        """Those that the answer should have told of; as many as may leave at one time."""
        lost: list[int] = []
        size = 0
        late_s = self._round_trip.late_s
        for number, sent in self._sent.items():
            if sent.order >= latest:
                break
            if latest - sent.order >= OVERTAKEN or now - sent.at >= late_s:
                size += sum(map(len, sent.frames))
                if lost and (len(lost) >= BURST_PACKETS or size > BURST_BYTES):
                    break
                lost.append(number)
        return lost


class Receiving:
    """The receiving end. ``due``: when it has to answer; -inf: at the next opportunity."""

    def __init__(self, session: int) -> None:
        self.session = session
        self.due = math.inf
        self.upto = 0
        self.latest = 0
        self.doubled = 0
        self._bits = 0  # bit i: upto + 1 + i is held
        self._held: dict[int, Frames] = {}
        self._packets = self._bytes = 0  # that were not answered
        self._fleeting = 0

    def __len__(self) -> int:
        """How many messages are held."""
        return len(self._held)

    @property
    def above(self) -> int:
        """What came out of order, see `runtime.wires.packet`."""
        return self._bits

    def take(self, number: int, order: int, frames: Frames, now: float) -> list[Frames]:
        """Take a numbered packet in; what can be handed on now, in order."""
        if order > self.latest:
            self.latest = order
        ahead = number - self.upto - 1
        if ahead < 0 or ahead >= WINDOW or self._bits >> ahead & 1:
            self.doubled += 1
            self.due = -math.inf
            return []
        self._packets += 1
        for frame in frames:
            self._bytes += len(frame)
        if not ahead and not self._bits and number > 1:  # in order, as nearly all
            self.upto = number
            if self._packets >= ANSWER_PACKETS or self._bytes >= ANSWER_BYTES:
                self.due = -math.inf
            elif self.due > now + ANSWER_S:
                self.due = now + ANSWER_S
            return [frames]
        enough = self._packets >= ANSWER_PACKETS or self._bytes >= ANSWER_BYTES
        if ahead or self._bits or enough or number == 1:
            self.due = -math.inf
        else:
            self.due = min(self.due, now + ANSWER_S)
        self._held[number] = frames
        self._bits |= 1 << ahead
        whole = []
        while self._bits & 1:
            self._bits >>= 1
            self.upto += 1
            whole.append(self._held.pop(self.upto))
        return whole

    def take_fleeting(self, order: int) -> bool:
        """Whether a packet that is sent once is to be handed on: not if it was overtaken."""
        self.latest = max(self.latest, order)
        if order <= self._fleeting:
            return False
        self._fleeting = order
        return True

    def take_probe(self, order: int) -> None:
        """It wants an answer."""
        self.latest = max(self.latest, order)
        self.due = -math.inf

    def answered(self) -> None:
        """What has come was told."""
        self.due = math.inf
        self._packets = self._bytes = 0
