"""Who is silent: the table a guardian keeps of the nodes it watches, and its mirror.

A guardian notes each beat as it reads it, and checks when `Watch.next_at` says, after it has
read everything that waited. It tells its controller of *changes* alone: who fell
silent, who was heard again. The watched side keeps an `Acknowledged`.

Invariants
----------
* A silence is told once, when it begins; the beat that ends it is told once.
* A beat of another incarnation than the guarded one is no beat; a stale `guard` or
  `unguard` changes nothing.
* `Watch.beat` takes O(1). `Watch.check`, `Watch.quiet` and `Watch.next_at` look at those alone who
  were not heard for so long that it may matter: at the others only when the check was late.
* A new period keeps the silences that were told, and forgives the others until now.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from runtime.detection.detector import EARLIEST_BEATS, DeadlineDetector, Detector, checked_period

_MAY_FALL: Final = EARLIEST_BEATS - 0.5
"""No detector suspects anybody earlier; half a beat is for what sums of floats lose."""


class Silence(msgspec.Struct, frozen=True):
    """Nothing was heard of this incarnation after ``last_heard``."""

    name: str
    incarnation: int
    last_heard: float


class _Ward:
    __slots__ = ("detector", "incarnation", "silent")

    def __init__(self, incarnation: int, detector: Detector) -> None:
        self.incarnation = incarnation
        self.detector = detector
        self.silent = False


class Watch:
    """The wards of one guardian, all beating every ``period_s`` seconds."""

    def __init__(self, period_s: float) -> None:
        self._period_s = checked_period(period_s)
        self._wards: OrderedDict[str, _Ward] = OrderedDict()  # who was heard longest ago is first

    def guard(
        self,
        name: str,
        incarnation: int,
        now: float,
        *,
        detector: Callable[[float, float], Detector] = DeadlineDetector,
    ) -> None:
        """Watch this incarnation from ``now`` on, in place of an earlier one.

        Args:
            detector: made with (period_s, now).
        """
        ward = self._wards.get(name)
        if ward is None or ward.incarnation < incarnation:
            self._wards[name] = _Ward(incarnation, detector(self._period_s, now))
            self._wards.move_to_end(name)

    def unguard(self, name: str, incarnation: int) -> None:
        """Watch this incarnation, and any before it, no longer."""
        ward = self._wards.get(name)
        if ward is not None and ward.incarnation <= incarnation:
            del self._wards[name]

    def beat(self, name: str, incarnation: int, now: float) -> bool:
        """Note a beat; say whether it ended a silence that `check` had told."""
        ward = self._wards.get(name)
        if ward is None or ward.incarnation != incarnation:
            return False
        ward.detector.heartbeat(now)
        self._wards.move_to_end(name)
        was_silent, ward.silent = ward.silent, False
        return was_silent

    def check(self, now: float, late_s: float) -> list[Silence]:
        """Return who has fallen silent since the last check, who was heard longest ago first.

        Args:
            now: after everything that waited has been read.
            late_s: by how much this check comes later than it was meant to.
        """
        fallen = []
        everybody = late_s > self._period_s  # it counts in their favour
        for name, ward in self._unheard(now, 0.0 if everybody else _MAY_FALL):
            suspected = ward.detector.suspects(now, late_s)
            if suspected and not ward.silent:
                ward.silent = True
                fallen.append(Silence(name, ward.incarnation, ward.detector.last_heard))
        return fallen

    def quiet(self, now: float) -> list[str]:
        """Those who were not heard for two periods, but are not told as silent."""
        return [name for name, ward in self._unheard(now, 2) if not ward.silent]

    def next_at(self, now: float) -> float:
        """When to check again, at most one period from ``now``."""
        wards = self._unheard(now, _MAY_FALL - 1)
        soon = now + self._period_s
        return min((ward.detector.next_at(now) for _, ward in wards), default=soon)

    def set_period(self, period_s: float, now: float) -> None:
        """From ``now`` on expect beats every ``period_s`` seconds, of later wards too."""
        self._period_s = checked_period(period_s)
        for ward in self._wards.values():
            ward.detector.set_period(period_s, now)

    def _unheard(self, now: float, beats: float) -> Iterator[tuple[str, _Ward]]:
        """Who was not heard for so many beats; 0: everybody."""
        since = now - beats * self._period_s
        for name, ward in self._wards.items():
            if ward.detector.last_heard > since:
                return
            yield name, ward

    def last_heard(self, name: str) -> float:
        """When it was heard last, or since when it is guarded.

        Raises:
            LookupError: it is not guarded here.
        """
        try:
            return self._wards[name].detector.last_heard
        except KeyError:
            raise LookupError(f"{name} is not guarded here") from None

    def silent(self) -> list[str]:
        """Those whose silence was told and has not ended."""
        return [name for name, ward in self._wards.items() if ward.silent]

    def __contains__(self, name: str) -> bool:
        return name in self._wards

    def __len__(self) -> int:
        return len(self._wards)


class Acknowledged:
    """The watched side: whether its beats are heeded.

    While `unheeded`, a node beats to the controller as well: its guardian may be frozen,
    or gone without the news having come. A false alarm costs one more beat.
    """

    def __init__(self, period_s: float, now: float) -> None:
        self._period_s = period_s
        self.since = now

    def acknowledged(self, now: float) -> None:
        """Note an acknowledgement, or that another guardian begins."""
        self.since = now

    def set_period(self, period_s: float, now: float) -> None:
        """Expect acknowledgements at another period, from ``now`` on."""
        self._period_s = checked_period(period_s)
        self.since = now

    def unheeded(self, now: float) -> bool:
        """Whether two periods or more have passed without an acknowledgement."""
        return now - self.since >= 2 * self._period_s
