"""What processes say to each other: the routing part of every message.

An envelope is a small array whose first element is its tag. Many of them share one
ZMQ message, see `runtime.messages.codec`; the payloads they speak of travel beside them.

A *pair* is one direction between two cells. Its sender numbers it, announces it once
with `Open`, and names it by that number ever after: so the envelope of a tell is a
few bytes, and credits and accounts have a thing to count on.

Invariants
----------
* Tags are never given to another meaning: the wire format is frozen here. New fields
  come last and have defaults.
* Every size is a number of bytes, every count a total since the pair was opened.
* ``deadline`` is an instant of CLOCK_MONOTONIC where it is positive (both ends have
  the same boot id), minus the seconds left where it is negative, and 0.0 for none.
"""

from typing import Any

from runtime.address import Address
from runtime.exits import ExitReason
from runtime.messages.admission import Join as Join
from runtime.messages.admission import Joined as Joined
from runtime.messages.admission import Signal as Signal
from runtime.messages.envelope_base import Envelope as Envelope
from runtime.messages.inquiry import Account as Account
from runtime.messages.inquiry import Audit as Audit
from runtime.messages.inquiry import Letters as Letters
from runtime.messages.inquiry import LinksAsked as LinksAsked
from runtime.messages.inquiry import LinksTold as LinksTold
from runtime.messages.inquiry import Mark as Mark
from runtime.messages.inquiry import Marked as Marked
from runtime.messages.inquiry import Ping as Ping
from runtime.messages.inquiry import Pong as Pong
from runtime.messages.inquiry import Station as Station
from runtime.messages.inquiry import Traced as Traced
from runtime.messages.run import Asks as Asks
from runtime.messages.run import Replies as Replies
from runtime.messages.run import Tells as Tells


class Hello(Envelope, frozen=True, tag=0):
    """The first word on a connection: who is calling, and where to answer."""

    address: Address
    boot_id: str
    version: int


# -- messages between cells ------------------------------------------------------


class Open(Envelope, frozen=True, tag=1):
    """From now on ``pair`` means: from ``source`` to the cell ``target``."""

    pair: int
    source: str
    source_incarnation: int
    target: str
    target_incarnation: int


class Tell(Envelope, frozen=True, tag=2):
    """Call ``handler``; nobody waits. ``buffers``: the arguments that are own frames."""

    pair: int
    handler: str
    size: int
    buffers: tuple[int, ...] = ()


class Ask(Envelope, frozen=True, tag=3):
    """Call ``handler`` and answer to ``id``. ``chain``: the cells that wait for it.

    Each as ``name.incarnation``: the next life of a cell waits for nothing that the last one asked.
    """

    pair: int
    handler: str
    size: int
    id: int
    deadline: float = 0.0
    chain: tuple[str, ...] = ()
    buffers: tuple[int, ...] = ()


class Reply(Envelope, frozen=True, tag=4):
    """The result of an ask, and the pair's counts so far."""

    pair: int
    id: int
    size: int
    handled: int
    failed: int
    expired: int
    rejected: int
    done_bytes: int
    buffers: tuple[int, ...] = ()


class Fail(Envelope, frozen=True, tag=5):
    """An ask that ended without a result; ``kind`` is one of those in `runtime.cells.calls`."""

    pair: int
    id: int
    kind: str
    type_name: str
    message: str
    traceback: str
    handled: int
    failed: int
    expired: int
    rejected: int
    done_bytes: int


class Cancel(Envelope, frozen=True, tag=6):
    """Nobody waits for ``id`` any more."""

    pair: int
    id: int


class Credit(Envelope, frozen=True, tag=7):
    """The pair's counts so far, and how much may be in flight from now on."""

    pair: int
    handled: int
    failed: int
    expired: int
    rejected: int
    done_bytes: int
    messages: int
    bytes: int


class Item(Envelope, frozen=True, tag=8):
    """One item of the stream ``id``."""

    pair: int
    id: int
    size: int
    buffers: tuple[int, ...] = ()


class More(Envelope, frozen=True, tag=9):
    """The consumer of the stream ``id`` has room for ``items`` and ``bytes`` in all."""

    pair: int
    id: int
    items: int
    bytes: int


class Close(Envelope, frozen=True, tag=10):
    """The sender will use ``pair`` no more."""

    pair: int


# -- control: never queued behind user messages ----------------------------------


class Welcome(Envelope, frozen=True, tag=32):
    """The answer to a node's `Hello`: what to run. The payload holds the arguments.

    ``guardian`` is the process that hears this node's beats, ``parent`` the actor at whose place
    it hangs. The last ``kept`` bytes of the payload are a `runtime.cells.snapshot.Kept`, if any.
    """

    entry: str
    size: int
    guardian: Address
    sequence: int
    beat_s: float
    mailbox_messages: int
    mailbox_bytes: int
    buffers: tuple[int, ...] = ()
    kept: int = 0
    parent: Address | None = None
    snapshot_every_s: float = 1.0


class Started(Envelope, frozen=True, tag=33):
    """The actor is up and takes messages. ``incarnation`` 0: the node's own."""

    endpoint: str
    incarnation: int = 0


class StartFailed(Envelope, frozen=True, tag=34):
    """The actor did not come up. ``incarnation`` 0: the node's own, and the node ends now."""

    type_name: str
    message: str
    traceback: str
    incarnation: int = 0


class Exiting(Envelope, frozen=True, tag=35):
    """The last word of a cell: why it ends. ``incarnation`` 0: the node's own, and the node's."""

    reason: ExitReason
    incarnation: int = 0


class Stop(Envelope, frozen=True, tag=36):
    """End, politely: finish the current handler, run ``on_stop``, leave.

    ``incarnation``: which cell; 0 for the node itself. ``force``: interrupt its handler now.
    ``reason``: how it is to have ended, where that is not a supervisor's stop.
    """

    incarnation: int = 0
    force: bool = False
    reason: ExitReason | None = None


class Beat(Envelope, frozen=True, tag=37):
    """A sign of life, to the guardian. ``number`` only grows.

    ``counts``: rows of seven, an incarnation and its totals (`runtime.traffic.books`).
    """

    number: int
    counts: tuple[int, ...] = ()


class Heard(Envelope, frozen=True, tag=38):
    """The guardian's answer to a `Beat`."""

    number: int


class Guardian(Envelope, frozen=True, tag=39):
    """Beat to this process from now on. A lower ``sequence`` is ignored."""

    sequence: int
    guardian: Address


class Guard(Envelope, frozen=True, tag=40):
    """Listen to this node's beats from now on. A lower ``sequence`` is ignored."""

    sequence: int
    ward: Address
    pid: int


class Unguard(Envelope, frozen=True, tag=41):
    """Do not listen to this node any more."""

    sequence: int
    incarnation: int


class Watch(Envelope, frozen=True, tag=42):
    """Tell me what becomes of the process at ``endpoint``: its verdicts, and its `Down`."""

    endpoint: str


class Unwatch(Envelope, frozen=True, tag=43):
    """Tell me no more of it."""

    endpoint: str


class Down(Envelope, frozen=True, tag=44):
    """That process is no more."""

    endpoint: str
    reason: ExitReason


class Verdict(Envelope, frozen=True, tag=45):
    """What is thought of a silent process: ``frozen``, ``busy``, ``cut off``, or ``ok``.

    ``silent_s``: how long ago its last beat came.
    """

    endpoint: str
    kind: str
    evidence: str = ""
    silent_s: float = 0.0


class Pace(Envelope, frozen=True, tag=46):
    """How often everybody beats from now on."""

    beat_s: float


class Run(Envelope, frozen=True, tag=47):
    """Run the local cell of the incarnation ``previous`` once more, as ``address``.

    Or, for the first time, the one that was asked for with ``token``. The payload is a
    `runtime.cells.snapshot.Kept`, or nothing.
    """

    address: Address
    previous: int
    size: int
    buffers: tuple[int, ...] = ()
    token: str = ""


class Monitor(Envelope, frozen=True, tag=48):
    """Tell me under ``number`` what becomes of ``who`` (incarnation 0: who holds the name now)."""

    number: int
    who: Address
    suspicions: bool = False


class Demonitor(Envelope, frozen=True, tag=49):
    """Tell me no more under this number."""

    number: int


class Fallen(Envelope, frozen=True, tag=50):
    """The answer to a `Monitor`, and the last: ``who`` has ended."""

    number: int
    who: Address
    reason: ExitReason


class Suspicion(Envelope, frozen=True, tag=51):
    """A change of verdict on one that is monitored; ``kind`` is ``ok`` when it is heard again."""

    number: int
    who: Address
    kind: str
    evidence: str = ""


class Link(Envelope, frozen=True, tag=52):
    """The cell ``incarnation`` of mine and ``who`` share their fate from now on, or no more."""

    incarnation: int
    who: Address
    undo: bool = False


class Snapshot(Envelope, frozen=True, tag=53):
    """The state of the incarnation; the payload is a `runtime.cells.snapshot.Kept`."""

    incarnation: int
    size: int
    buffers: tuple[int, ...] = ()


type_union: Any = (
    Hello | Open | Tell | Tells | Ask | Asks | Reply | Replies | Fail | Cancel | Credit
    | Item | More | Close
    | Welcome | Started | StartFailed | Exiting | Stop | Beat | Heard | Guardian | Guard
    | Unguard | Watch | Unwatch | Down | Verdict | Pace
    | Run | Monitor | Demonitor | Fallen | Suspicion | Link | Snapshot
    | Audit | Account | Mark | Marked | Letters | Ping | Pong | Traced | Station
    | LinksAsked | LinksTold
    | Join | Joined | Signal
)  # fmt: skip

VERSION = 1
