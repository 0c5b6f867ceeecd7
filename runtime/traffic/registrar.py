"""What every process asks of its controller: the names, and the life and death of nodes.

An interface: handlers whose signatures both ends compile. The controller implements it;
refs, actors and systems ask it through the controller's own mailbox, like any handler.

Invariants
----------
* What an asker must be able to tell apart comes back as a `Refusal`, not as an exception.
"""

import math
from collections.abc import AsyncIterator

import msgspec

from runtime.address import CONTROLLER, CONTROLLER_INCARNATION, Address
from runtime.errors import ActorDeadError, SpawnError, UnreachableError
from runtime.exits import ExitReason
from runtime.messages.accounts import Audit, DeadLetter
from runtime.messages.behaviour import Behaviour, Restart, Strategy
from runtime.traffic.exchange import Exchange


class Spec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What to start, and where. An empty ``name`` asks for one made of ``stem``.

    ``strategy``, ``max_restarts`` and ``period_s`` say how it supervises its own children.
    ``snapshot_every_s`` 0: at every message.
    """

    entry: str
    parent: str
    name: str = ""
    stem: str = ""
    restart: Restart = "temporary"
    strategy: Strategy = "one_for_one"
    max_restarts: int = 5
    period_s: float = 10.0
    snapshot_every_s: float = 1.0
    hang_after_s: float = math.inf
    lost_after_s: float = 60.0
    local: bool = False
    joined: bool = False  # it came by itself, and nobody here can start it
    start_s: float = 30.0
    mailbox_messages: int = 8192
    mailbox_bytes: int = 32 * 1024 * 1024
    environ: dict[str, str] | None = None
    cwd: str = ""
    token: str = ""  # by which its asker may give it up


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why not. ``kind``: ``spawn``, ``misuse``, ``unknown``, ``dead`` or ``unreachable``."""

    kind: str
    message: str
    reason: ExitReason | None = None
    verdict: str = ""

    def error(self) -> Exception:
        """The exception that an asker raises of it."""
        if self.kind == "unknown":
            return LookupError(self.message)
        if self.kind == "dead":
            return ActorDeadError(self.message, self.reason)
        if self.kind == "misuse":
            return ValueError(self.message)
        if self.kind == "unreachable":
            return UnreachableError(self.message, self.verdict)
        return SpawnError(self.message)


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An address, an exit reason, or a refusal."""

    address: Address | None = None
    reason: ExitReason | None = None
    refusal: Refusal | None = None


class Row(msgspec.Struct, frozen=True):
    """One node in the tree of places; ``guardian`` and ``parent`` are names."""

    name: str
    parent: str
    guardian: str
    incarnation: int
    pid: int
    state: str
    endpoint: str


class Registrar(Behaviour):
    """The handlers, without their bodies."""

    async def spawn_child(self, spec: Spec, args: bytes) -> Answer:
        """The child is up: its address."""
        raise NotImplementedError

    async def abandon(self, token: str) -> None:
        """Nobody waits any more for the child that was asked for with this token."""
        raise NotImplementedError

    async def local_ended(self, who: Address, reason: ExitReason) -> None:
        """A local cell is no more."""
        raise NotImplementedError

    async def look_up(self, name: str) -> Answer:
        """The incarnation that holds the name now."""
        raise NotImplementedError

    async def stop_tree(self, who: Address) -> Answer:
        """It and all under it have ended and are forgotten."""
        raise NotImplementedError

    async def kill_one(self, who: Address) -> Answer:
        """It is dead; its place stays."""
        raise NotImplementedError

    async def wait_for(self, who: Address) -> Answer:
        """It has ended."""
        raise NotImplementedError

    async def restart_one(self, who: Address) -> Answer:
        """Its next incarnation is up, whether it lived or not: its address."""
        raise NotImplementedError

    async def keep(self, who: Address, kept: bytes) -> None:
        """The snapshot of that incarnation is kept."""
        raise NotImplementedError

    async def certificate(self, name: str) -> Answer:
        """How the last life under that name ended that has; no reason: none has."""
        raise NotImplementedError

    async def audit(self) -> Audit:
        """Every sender's account, added up."""
        raise NotImplementedError

    async def dead_letters(self) -> list[DeadLetter]:
        """The last ones, of all processes."""
        raise NotImplementedError

    async def watch_dead_letters(self) -> AsyncIterator[DeadLetter | None]:
        """None, then every one that comes."""
        raise NotImplementedError
        yield

    async def rows(self) -> list[Row]:
        """The tree, parents before their children, in order of creation."""
        raise NotImplementedError


def registrar_of(exchange: Exchange) -> Address:
    """The controller's own cell, as seen from any process of its system."""
    return Address(
        exchange.address.system, CONTROLLER, CONTROLLER_INCARNATION, exchange.controller.endpoint
    )
