"""Envelopes of those who join a system by hand, before they belong to it and after.

They are part of `runtime.messages.envelope`, whose invariants hold for them too; the tags are from
one row. A `Join` must be understood by all versions, so that they can tell each other that they
differ.
"""

from runtime.address import Address
from runtime.messages.envelope_base import Envelope


class Join(Envelope, frozen=True, tag=65):
    """Take me in. Said before any hello, by who has the system's key and no incarnation yet.

    ``answer``: where the answer is heard. ``endpoint``: where the node will listen, as
    incarnation 0. ``name`` empty: one made of ``stem``. ``args``: its constructor's, encoded.
    """

    version: int
    answer: str
    endpoint: str
    entry: str
    name: str
    stem: str
    args: bytes
    lost_after_s: float


class Joined(Envelope, frozen=True, tag=66):
    """The answer: who it is now, and who its controller is; or why not."""

    refusal: str
    address: Address | None = None
    controller: Address | None = None


class Signal(Envelope, frozen=True, tag=67):
    """Have this signal, as from the controller's own host."""

    number: int
