"""What the controller keeps of one incarnation, from its order to its certificate."""

from __future__ import annotations

import msgspec
import trio

from actors.supervision.backoff import Backoff
from actors.supervision.intensity import Intensity
from runtime.address import Address
from runtime.exits import ExitReason
from runtime.hosts.host import Body
from runtime.processes.evidence import Evidence
from runtime.traffic.pair import Peer
from runtime.traffic.registrar import Spec


class Happened(msgspec.Struct, frozen=True):
    """Something became of a node. ``at``: on trio's clock; of a silence, when it began.

    ``what``: ``started``, ``silent``, ``heard``, ``died`` or ``removed``.
    """

    what: str
    name: str
    incarnation: int
    at: float


class Record:
    """One incarnation.

    ``said`` is its own last word, ``reason`` the whole truth once it is known; ``ended`` is set
    then, ``gone`` when it is certainly dead, ``settled`` when it has either started or failed to.
    """

    __slots__ = (
        "address",
        "args",
        "backoff",
        "before",
        "body",
        "budget",
        "earlier",
        "ended",
        "exhausted",
        "failure",
        "gone",
        "kept",
        "lane",
        "last_life",
        "left",
        "orphan_budget",
        "peer",
        "planned",
        "reason",
        "restarts",
        "resumed",
        "said",
        "sentence",
        "sequence",
        "settled",
        "spec",
        "spoke",
        "started",
        "traceback",
        "unwanted",
        "up_at",
        "verdict",
        "watchers",
    )

    def __init__(self, address: Address, spec: Spec, args: bytes) -> None:
        self.address = address
        self.spec = spec
        self.args = args
        self.body: Body | None = None
        self.sequence = 0  # of the last guardianship
        self.peer: Peer | None = None
        self.settled = trio.Event()
        self.started = False
        self.up_at = 0.0
        self.failure = ""  # why it did not come up
        self.traceback = ""  # of that
        self.planned = False  # somebody wants its end
        self.unwanted = False  # and that of its place
        self.gone = trio.Event()  # it is certainly dead
        self.sentence: tuple[int, str] | None = None  # the signal that was sent, and why
        self.left: Evidence | None = None  # the last look at it
        self.said: ExitReason | None = None
        self.spoke = trio.Event()
        self.reason: ExitReason | None = None
        self.ended = trio.Event()
        self.verdict = "ok"
        self.kept = b""  # its last snapshot, or that of the life before
        self.before = 0  # the incarnation before, whether that came up or not
        self.resumed = False  # it lived under another controller
        self.last_life = 0  # the last one before that came up
        self.earlier: Record | None = None  # the life before, for its certificate
        self.restarts = 0
        self.backoff: Backoff | None = None
        self.budget: Intensity | None = None  # for its children
        self.lane = trio.Lock()  # in which its children are restarted together
        self.orphan_budget: Intensity | None = None  # while its supervisor is dead
        self.exhausted = False  # it ends, for its children died too often
        self.watchers: dict[Peer, None] = {}

    def inherit(self, before: Record) -> None:
        """Take over what outlives an incarnation."""
        self.kept = before.kept
        self.before = before.incarnation
        self.last_life = before.incarnation if before.started else before.last_life
        self.earlier, before.earlier = before, None
        self.restarts = before.restarts + 1
        self.backoff = before.backoff
        self.orphan_budget = before.orphan_budget

    @property
    def name(self) -> str:
        return self.address.name

    @property
    def incarnation(self) -> int:
        return self.address.incarnation

    @property
    def pid(self) -> int:
        """Its process's, 0 as long as it has none of its own."""
        return self.body.pid if self.body is not None else 0

    async def goes_within(self, seconds: float) -> bool:
        """Wait for its certain death, no longer than this; whether it came."""
        with trio.move_on_after(seconds):
            await self.gone.wait()
        return self.gone.is_set()

    @property
    def known_reason(self) -> ExitReason:
        """How it ended, as far as that is known by now."""
        return self.reason or self.said or ExitReason(kind="unknown")

    @property
    def certificate(self) -> ExitReason | None:
        """Of the last life of its place that has ended, as far as that is known by now."""
        if self.gone.is_set():
            return self.known_reason
        return self.earlier.known_reason if self.earlier is not None else None

    def signal(self, number: int, why: str) -> None:
        """Send its process a signal, if it has one still. ``why``: for the certificate."""
        if not self.gone.is_set():
            self.sentence = number, why
        if self.body is not None:
            self.body.signal(number)
