"""How long an answer takes, and so how long to wait for one.

Invariants
----------
* `RoundTrip.wait_s` lies in ``[MIN_S, MAX_S]``, and grows with each wait in vain until an answer
  comes: a peer that is gone for hours is asked every `MAX_S`.
* One enormous sample (a peer that was frozen) counts as `MAX_S`, and is forgotten soon.

Source: RFC 6298; the bounds are for machines near each other. RFC 9002, 6.1.2, for ``late_s``.
"""

from typing import Final

FIRST_S: Final = 0.25
MIN_S: Final = 0.1
MAX_S: Final = 2.0
GRAIN_S: Final = 0.001
_MAX_DOUBLINGS: Final = 8


class RoundTrip:
    """An estimate, from samples in seconds.

    ``wait_s``: how long to wait for an answer. ``late_s``: what left so long ago, and before
    something that was heard, is lost.
    """

    __slots__ = ("_smooth_s", "_vain", "_vary_s", "late_s", "wait_s")

    def __init__(self) -> None:
        self.wait_s = self.late_s = FIRST_S
        self._smooth_s = -1.0  # nothing is known
        self._vary_s = 0.0
        self._vain = 0

    def took(self, sample_s: float) -> None:
        """Note that an answer came after so long."""
        sample_s = min(sample_s, MAX_S)
        if self._smooth_s < 0:
            self._smooth_s, self._vary_s = sample_s, sample_s / 2
        else:
            self._vary_s += (abs(self._smooth_s - sample_s) - self._vary_s) / 4
            self._smooth_s += (sample_s - self._smooth_s) / 8
        self.late_s = max(max(self._smooth_s, sample_s) * 9 / 8, GRAIN_S)
        self._reckon()

    def waited_in_vain(self) -> None:
        """Wait twice as long the next time."""
        self._vain = min(self._vain + 1, _MAX_DOUBLINGS)
        self._reckon()

    def answered(self) -> None:
        """Wait no longer than usual the next time."""
        if self._vain:
            self._vain = 0
            self._reckon()

    def _reckon(self) -> None:
        usual_s = self._smooth_s + 4 * self._vary_s if self._smooth_s >= 0 else FIRST_S
        self.wait_s = min(max(usual_s, MIN_S) * (1 << self._vain), MAX_S)
