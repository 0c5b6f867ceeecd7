"""Envelopes of those who look into a system: accounts, dead letters, pings, traces, links.

They are part of `runtime.messages.envelope`, whose invariants hold for them too; the tags are from
one row.
"""

from runtime.messages.accounts import DeadLetter, Imbalance
from runtime.messages.envelope_base import Envelope
from runtime.multipath.link_report import LinkReport


class Audit(Envelope, frozen=True, tag=54):
    """Give me your account, as it is now."""

    number: int


class Account(Envelope, frozen=True, tag=55):
    """The answer to an `Audit`: a process's totals, and which of its pairs do not balance.

    ``number`` 0: its last, for it ends now.
    """

    number: int
    totals: tuple[int, ...]
    unbalanced: tuple[Imbalance, ...] = ()


class Mark(Envelope, frozen=True, tag=56):
    """What came before this on ``pairs`` is to be compared: how many messages were that?"""

    number: int
    pairs: tuple[int, ...]


class Marked(Envelope, frozen=True, tag=57):
    """The answer to a `Mark`.

    ``counts``: rows of four, a pair, how many of its messages came, how many of these are
    settled, and 1 where the others may be in its cell's hands.
    """

    number: int
    counts: tuple[int, ...]


class Letters(Envelope, frozen=True, tag=58):
    """New dead letters, and how many more messages there are that none of these tells of."""

    letters: tuple[DeadLetter, ...]
    more: int = 0


class Ping(Envelope, frozen=True, tag=59):
    """Is the target of ``pair`` there? Answered whatever it is doing, and never counted."""

    pair: int
    id: int


class Pong(Envelope, frozen=True, tag=60):
    """The answer to a `Ping`."""

    pair: int
    id: int
    alive: bool


class Traced(Envelope, frozen=True, tag=61):
    """An `Ask` whose stations are to be told, each by a `Station`."""

    pair: int
    handler: str
    size: int
    id: int
    deadline: float = 0.0
    chain: tuple[str, ...] = ()
    buffers: tuple[int, ...] = ()


class Station(Envelope, frozen=True, tag=62):
    """Where the traced ask ``id`` was, and when: an instant of the receiver's CLOCK_MONOTONIC."""

    id: int
    name: str
    at: float


class LinksAsked(Envelope, frozen=True, tag=63):
    """What do you know of your network links? Asked of the process of ``pair``'s target."""

    pair: int
    id: int


class LinksTold(Envelope, frozen=True, tag=64):
    """The answer to a `LinksAsked`."""

    pair: int
    id: int
    report: LinkReport
