"""What an actor hears of those that it monitors: the values that come to ``on_down``.

Invariants
----------
* A monitor brings one `Down`, and nothing after it.
* Only a monitor with ``suspicions=True`` brings `Suspected` and `Recovered`, and a
  `Recovered` only after a `Suspected`.
"""

from __future__ import annotations

from typing import Any, Literal, cast

import msgspec

from actors.ref import ActorRef, ref_to
from runtime.exits import ExitReason
from runtime.messages import envelope as wire

Suspicion = Literal["frozen", "busy", "cut off"]


class Monitor(msgspec.Struct, frozen=True):
    """One watch of one actor; what comes of it carries its ``number``."""

    number: int
    ref: ActorRef[Any]


class Down(msgspec.Struct, frozen=True):
    """``ref`` has ended.

    ``monitor``: the number of the `Monitor` that this comes of. ``ref`` is the incarnation that
    ended, also where a following ref is monitored. ``reason``: its whole certificate; of the
    kind ``unknown`` for one that nobody knows.
    """

    monitor: int
    ref: ActorRef[Any]
    reason: ExitReason


class Suspected(msgspec.Struct, frozen=True):
    """``ref`` is silent. ``kind``: its process is stopped, computes, or cannot be seen at all."""

    monitor: int
    ref: ActorRef[Any]
    kind: Suspicion
    evidence: str


class Recovered(msgspec.Struct, frozen=True):
    """``ref`` was suspected and is heard again."""

    monitor: int
    ref: ActorRef[Any]


def read(news: wire.Fallen | wire.Suspicion) -> Down | Suspected | Recovered:
    """The controller's word, as actors hear it."""
    ref = ref_to(news.who)
    if isinstance(news, wire.Fallen):
        return Down(news.number, ref, news.reason)
    if news.kind == "ok":
        return Recovered(news.number, ref)
    return Suspected(news.number, ref, cast(Suspicion, news.kind), news.evidence)
