"""What a path-manager scenario is made of: steps to take at either end, and checks at the end.

A scenario is a table row: how both ends are set up, what is done while they talk, and what
the kernel's counters, the connection's statistics and the events say at the end. `scenario_run`
carries it out.

Source: the numbered list of the kernel's own ``mptcp_join`` tests, Linux 6.18.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from runtime.multipath.endpoint import Flags

if TYPE_CHECKING:
    from tests.scenario_scene import Scene

Side: TypeAlias = Literal["server", "client"]
S: Final[Side] = "server"
C: Final[Side] = "client"
SIGNAL, SUBFLOW, BACKUP = Flags.SIGNAL, Flags.SUBFLOW, Flags.BACKUP
FULLMESH, LAMINAR, IMPLICIT = Flags.FULLMESH, Flags.LAMINAR, Flags.IMPLICIT
NONE: Final = Flags(0)

Step: TypeAlias = Callable[["Scene"], Awaitable[None]]
UNBOUNDED: Final = 1 << 60


class Check(msgspec.Struct, frozen=True):
    """What is seen of ``name`` at one end lies within the bounds.

    ``kind`` is where to look: a "counter" or a "tcp counter" of the host, a field of the
    connection's MPTCP_INFO, how many subflows are "living", how many "event"s of that class and
    "notice"s of our path manager, how many bytes were "sent" by that device. Of counters "A-B" is
    a difference, and "A+peer" a sum.
    """

    side: Side
    kind: Literal["counter", "tcp counter", "info", "living", "event", "notice", "sent"]
    name: str
    least: int
    most: int

    def __str__(self) -> str:
        bounds = {
            self.least: f"at least {self.least}",
            UNBOUNDED: f"at least {self.least}",
        }
        said = f"{self.least}" if self.least == self.most else bounds.get(self.most, "")
        return f"{self.side} {self.kind} {self.name}: {said or f'{self.least} to {self.most}'}"


Checks: TypeAlias = tuple[Check, ...]


class Scenario(msgspec.Struct, frozen=True):
    """``title`` says what holds.

    ``link``: why our links alone carry it, if it is not two of our transports. ``altered``:
    bytes may be changed on the way, so they are counted, not compared, and the connection ends as
    plain TCP. ``lost``: counters of what the scenario's rules do not let through.

    Nobody listens to the events of those ends that are ``deaf``. The kernel asks for listeners in
    any namespace, so such a scenario is played when all others are over.
    """

    number: int
    title: str
    setup: tuple[Step, ...] = ()
    checks: Checks = ()
    during: tuple[Step, ...] = ()
    before: Checks = ()
    after: Checks = ()
    connect: str = "10.0.1.1"
    traffic: Literal["talk", "none"] = "talk"
    deaf: frozenset[Side] = frozenset()
    attempts: int = 1
    altered: bool = False
    link: str = ""
    lost: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.number:03d} {self.title}"


def counter(side: Side, name: str, least: int, most: int | None = None) -> Check:
    return Check(side, "counter", name, least, least if most is None else most)


def at_least(side: Side, name: str, least: int) -> Check:
    return Check(side, "counter", name, least, UNBOUNDED)


def info(name: str, server: int, client: int) -> Checks:
    """A field of MPTCP_INFO at both ends."""
    return (
        Check(S, "info", name, server, server),
        Check(C, "info", name, client, client),
    )


def living(server: int, client: int) -> Checks:
    """Subflows that have not closed, the initial one among them."""
    return Check(S, "living", "subflows", server, server), Check(
        C, "living", "subflows", client, client
    )


def events(side: Side, **counts: int) -> Checks:
    return tuple(Check(side, "event", name, count, count) for name, count in counts.items())


_FALLBACKS: Final = (
    "InfiniteMapTx",
    "DSSCorruptionFallback",
    "SimultConnectFallback",
    "MPCapableFallbackACK",
    "MPCapableFallbackSYNACK",
    "MPCapableDataFallback",
    "MD5SigFallback",
    "DssFallback",
)


def no_fallback() -> Checks:
    return tuple(counter(side, name, 0) for side in (S, C) for name in _FALLBACKS)


def joins(
    syn: int,
    synack: int | None = None,
    ack: int | None = None,
    *,
    tx: int | None = None,
    rejected: int = 0,
    bind_errors: int = 0,
    connect_errors: int = 0,
    cookies: bool = False,
) -> Checks:
    """MP_JOIN at both ends, none of them forged, and nothing fell back to plain TCP.

    With SYN cookies a subflow over the limit may get as far as its SYN-ACK, or be dropped and tried
    again: what is beyond the limit has no upper bound then.
    """
    synack = syn if synack is None else synack
    return (
        counter(S, "MPJoinSynRx", syn, UNBOUNDED if cookies else None),
        counter(C, "MPJoinSynAckRx", synack, syn if cookies else None),
        counter(S, "MPJoinAckRx", syn if ack is None else ack),
        counter(C, "MPJoinSynAckHMacFailure", 0),
        counter(S, "MPJoinAckHMacFailure", 0),
        counter(S, "MPJoinRejected", rejected, UNBOUNDED if cookies else None),
        counter(C, "MPJoinSynTx", syn if tx is None else tx),
        counter(C, "MPJoinSynTxCreatSkErr", 0),
        counter(C, "MPJoinSynTxBindErr", bind_errors),
        counter(C, "MPJoinSynTxConnectErr", connect_errors),
        *no_fallback(),
    )


def announced(
    count: int, echoes: int | None = None, *, by: Side = S, most: int | None = None
) -> Checks:
    """ADD_ADDR as received and its echo as received.

    An announcement whose echo is slow is sent again, to three times: ``most`` if that is fewer.
    """
    peer = C if by == S else S
    return (
        counter(peer, "AddAddr", count, 4 * count if most is None else most),
        counter(by, "EchoAdd", count if echoes is None else echoes),
    )


def announced_tx(count: int, echoes: int) -> Checks:
    """The same as sent, by the server."""
    return at_least(S, "AddAddrTx", count), at_least(C, "EchoAddTx", echoes)


def with_ports(count: int) -> Checks:
    return (
        counter(C, "PortAdd", count),
        counter(S, "MPJoinPortSynRx", count),
        counter(C, "MPJoinPortSynAckRx", count),
        counter(S, "MPJoinPortAckRx", count),
        counter(S, "MismatchPortSynRx", 0),
        counter(S, "MismatchPortAckRx", 0),
    )


def removed(addresses: int, subflows: int, *, by: Side = C) -> Checks:
    """RM_ADDR as received by the other end, and subflows closed for it here."""
    peer = S if by == C else C
    return counter(peer, "RmAddr", addresses), counter(by, "RmSubflow", subflows)


def removed_about(addresses: int, subflows: int, *, by: Side) -> Checks:
    """The same where both ends act at once: either may count the end of a subflow, or both."""
    return (
        counter(S if by == C else C, "RmAddr", addresses),
        Check(by, "counter", "RmSubflow+peer", subflows, 2 * subflows),
    )


def paths_lost(count: int) -> Checks:
    """As our path managers tell it, of subflows that had been established."""
    return Check(S, "notice", "PathLost", count, count), Check(
        C, "notice", "PathLost", count, count
    )


def prio(tx: int, rx: int, syn: int, synack: int) -> Checks:
    """MP_PRIO of the server and to it, at both ends, and backup flags of MP_JOIN."""
    return (
        counter(S, "MPPrioTx", tx),
        counter(C, "MPPrioRx", tx),
        counter(C, "MPPrioTx", rx),
        counter(S, "MPPrioRx", rx),
        counter(S, "MPJoinSynBackupRx", syn),
        counter(C, "MPJoinSynAckBackupRx", synack),
    )


def no_resets(by: Side = S) -> Checks:
    return counter(by, "MPRstTx", 0), counter(C if by == S else S, "MPRstRx", 0)


def checksums(asked: bool) -> Checks:
    """They are used if they were asked for; none is wrong, and nothing was sent about one."""
    names = ("DataCsumErr", "MPFailTx", "MPFailRx", "InfiniteMapTx", "InfiniteMapRx")
    none = tuple(counter(side, name, 0) for side in (S, C) for name in names)
    return info("csum_enabled", asked, asked) + none + no_resets()


def stale(least: int, delta: int) -> Checks:
    """Subflows of the client that were given up for others; ``delta`` of them are so still."""
    return (
        at_least(C, "SubflowStale", least),
        counter(C, "SubflowStale-SubflowRecover", delta),
    )
