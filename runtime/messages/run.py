"""Runs: messages of one pair that follow each other and share an envelope.

Their payloads stand one after the other in one. An envelope for each cost who asks an eighth of his
time, and who answers a tenth; of tells, it was the half.

Invariants
----------
* ``sizes`` are as many as ``ids``, and their sum is ``size``: `runtime.messages.codec` sees to it.
"""

from runtime.messages.envelope_base import Envelope


class Tells(Envelope, frozen=True, tag=11):
    """A run of ``count`` calls of ``handler``: their arguments follow each other in the payload."""

    pair: int
    handler: str
    size: int
    count: int
    buffers: tuple[int, ...] = ()


class Asks(Envelope, frozen=True, tag=12):
    """A run of asks of ``handler`` without deadlines, each to be answered to its id.

    The arguments follow each other in the payload, of so many bytes each; ``size``: in all.
    """

    pair: int
    handler: str
    size: int
    ids: tuple[int, ...]
    sizes: tuple[int, ...]
    chain: tuple[str, ...] = ()
    buffers: tuple[int, ...] = ()


class Replies(Envelope, frozen=True, tag=13):
    """A run of results, each of an ask, and the pair's counts so far. See `Asks`."""

    pair: int
    size: int
    ids: tuple[int, ...]
    sizes: tuple[int, ...]
    handled: int
    failed: int
    expired: int
    rejected: int
    done_bytes: int
    buffers: tuple[int, ...] = ()
