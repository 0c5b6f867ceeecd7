"""What the controller keeps of one incarnation, from its order to its certificate."""

from __future__ import annotations

import trio

from runtime.address import Address
from runtime.exits import ExitReason
from runtime.pair import Peer
from runtime.registrar import Spec


class Record:
    """One incarnation.

    ``said`` is its own last word, ``reason`` the whole truth once it is known; ``ended`` is set
    then, ``settled`` when it has either started or failed to.
    """

    __slots__ = (
        "address",
        "args",
        "ended",
        "failure",
        "gone",
        "peer",
        "pid",
        "pidfd",
        "planned",
        "reason",
        "said",
        "sequence",
        "settled",
        "spec",
        "started",
        "verdict",
        "watchers",
    )

    def __init__(self, address: Address, spec: Spec, args: bytes) -> None:
        self.address = address
        self.spec = spec
        self.args = args
        self.pid = 0
        self.pidfd = -1
        self.sequence = 0  # of the last guardianship
        self.peer: Peer | None = None
        self.settled = trio.Event()
        self.started = False
        self.failure = ""
        self.planned = False  # somebody wants its end
        self.gone = False  # it is certainly dead
        self.said: ExitReason | None = None
        self.reason: ExitReason | None = None
        self.ended = trio.Event()
        self.verdict = "ok"
        self.watchers: dict[Peer, None] = {}

    @property
    def name(self) -> str:
        return self.address.name

    @property
    def incarnation(self) -> int:
        return self.address.incarnation
