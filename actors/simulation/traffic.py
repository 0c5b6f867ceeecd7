"""What passes over a memory network: counted by process, and lost by lot if it is a sign of life.

Assigned to ``MemoryNetwork.fault``. Signs of life are beats and their acknowledgements; nothing
else is ever lost here, for whatever carries a tree over a wire that loses repeats all the rest.

Invariants
----------
* What is lost was sent, but not received.
* The same messages in the same order lose the same ones: the dice are of ``seed`` alone.
* While signs of life are lost, an acknowledgement is `LATENCY_S` under way: in a world without any
  latency it would come at the very instant of the beat, and two periods later count as missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Final

from runtime.messages import envelope as wire
from runtime.messages.codec import Buffer, decode

LATENCY_S: Final = 1 / 1024
_NOW: Final = (0.0,)
_LATER: Final = (LATENCY_S,)


class Traffic:
    """Of one network. ``sent`` and ``received``: messages by incarnation, since `begin`.

    ``loss``: the share of the signs of life that never come, 0 to 1.
    """

    def __init__(self, seed: int) -> None:
        self.loss = 0.0
        self.sent: Counter[int] = Counter()
        self.received: Counter[int] = Counter()
        self.lost = 0
        self._dice = Random(seed)

    def begin(self) -> None:
        """Count from 0."""
        self.sent.clear()
        self.received.clear()
        self.lost = 0

    def of(self, incarnation: int) -> int:
        """How many messages it has sent and received."""
        return self.sent[incarnation] + self.received[incarnation]

    @property
    def busiest(self) -> tuple[int, int]:
        """(messages, incarnation) of the process with the most."""
        return max(((self.of(each), each) for each in self.sent | self.received), default=(0, 0))

    def __call__(self, source: int, target: int, frames: Sequence[Buffer]) -> Sequence[float]:
        self.sent[source] += 1
        later = _NOW
        if self.loss:
            kinds = {type(part[0]) for part in decode(frames)}
            if kinds <= {wire.Beat, wire.Heard}:
                if self._dice.random() < self.loss:
                    self.lost += 1
                    return ()
                later = _LATER if wire.Heard in kinds else _NOW
        self.received[target] += 1
        return later
