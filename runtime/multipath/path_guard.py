"""Which local addresses to take out of use, and when to try them again.

The kernel moves what a dead path held to another one, but late: its scheduler trusts a subflow
until several timeouts have passed, and a stale path raises no event. Deleting the endpoint of the
dying path moves it at once (4 to 8 ms against 0.4 to 1.5 s). So this looks at samples of every
connection and decides.

A subflow is **dying** when its link is down, when its retransmission timer has backed off, or when
what was sent on it stays unacknowledged for `stale_s`. Endpoints are per namespace, and deleting
one touches all connections; so an address is **lost** only if every subflow on it is dying (else it
is for the peer to act, at its end of the one that is) and each connection that uses it has a sound
subflow elsewhere.

Invariants
----------
* No connection loses its last sound subflow by a decision made here.
* A lost address is tried again when its link has been up for `hold_s`. If that brings no subflow
  within `connect_s`, or one that dies within `good_s`, it is lost again and held twice as long, to
  `max_hold_s`.
* Time is an argument, and so is what is known of the links. Nothing is read here.

Source: ``tcp_retransmit_timer`` of Linux 6.18; figures in ``tests/test_real_path_manager.py``.
"""

from collections.abc import Collection, Mapping
from typing import Final, TypeAlias

import msgspec

from runtime.multipath.statistics import FullInfo, Subflow, TcpInfo, TcpState

_MAPPED: Final = "::ffff:"
_OPENING: Final = (TcpState.SYN_SENT, TcpState.SYN_RECV)


class Settings(msgspec.Struct, frozen=True):
    """How soon an address is given up, and for how long."""

    backoff: int = 1
    stale_s: float = 1.0
    hold_s: float = 2.0
    max_hold_s: float = 60.0
    connect_s: float = 3.0
    good_s: float = 60.0


class Lose(msgspec.Struct, frozen=True):
    """Take the address out of use; ``reason`` is for people."""

    address: str
    reason: str


class Regain(msgspec.Struct, frozen=True):
    """Put the address back into use."""

    address: str


Decision: TypeAlias = Lose | Regain


class _History(msgspec.Struct):
    """Of an address that was lost once. ``proved``: it has carried a subflow since it returned."""

    since: float
    hold_s: float
    lost: bool = True
    proved: bool = False


class _Wait(msgspec.Struct, frozen=True):
    """A subflow has had no more than this acknowledged since then."""

    bytes_acked: int
    since: float


def plain(host: str) -> str:
    """An IPv4 address as such, also where an IPv6 socket maps it."""
    return host[len(_MAPPED) :] if host.startswith(_MAPPED) and "." in host else host


class PathGuard:
    """The decisions of one network namespace."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._histories: dict[str, _History] = {}
        self._waits: dict[tuple[int, int], _Wait] = {}

    @property
    def lost(self) -> frozenset[str]:
        """The addresses that are out of use."""
        return frozenset(address for address, each in self._histories.items() if each.lost)

    def judge(
        self, now: float, connections: Collection[FullInfo], down: Collection[str] = ()
    ) -> list[Decision]:
        """What to do now; ``down`` has the local addresses whose links are down.

        A `Lose` is to be carried out before the next sample is taken.
        """
        dying = self._dying(now, connections, down)
        by_address = [_by_address(info) for info in connections]
        reasons: dict[str, str] = {}
        for address in {address: None for each in by_address for address in each}:
            subflows = [subflow for each in by_address for subflow in each.get(address, ())]
            if all(subflow in dying for subflow in subflows):
                reasons[address] = dying[subflows[0]]
        decisions: list[Decision] = []
        for address, reason in reasons.items():
            users = [each for each in by_address if address in each]
            if address not in self.lost and all(
                _sound_elsewhere(each, reasons, dying) for each in users
            ):
                self._lose(now, address)
                decisions.append(Lose(address, reason))
        in_use = {address for each in by_address for address in each} - reasons.keys()
        return decisions + self._retry(now, in_use, bool(connections), down)

    def forget(self, address: str) -> None:
        """It is no endpoint any more: it is not tried again."""
        self._histories.pop(address, None)

    def _dying(
        self, now: float, connections: Collection[FullInfo], down: Collection[str]
    ) -> dict[Subflow, str]:
        """Every dying subflow, with why."""
        found: dict[Subflow, str] = {}
        waits: dict[tuple[int, int], _Wait] = {}
        for info in connections:
            for subflow in info.living:
                tcp, key = subflow.tcp, (info.mptcp.token, subflow.id)
                wait = self._waits.get(key)
                if wait is None or wait.bytes_acked != tcp.bytes_acked:
                    wait = _Wait(tcp.bytes_acked, now)
                reason = ""
                if _held_up(tcp):
                    waits[key] = wait
                    reason = self._reason(tcp, now - wait.since)
                if plain(subflow.addresses.local.host) in down:
                    reason = "link down"
                if reason:
                    found[subflow] = reason
        self._waits = waits
        return found

    def _reason(self, tcp: TcpInfo, waited_s: float) -> str:
        if tcp.backoff >= self._settings.backoff:
            return f"no acknowledgement in {tcp.backoff} timeouts"
        if waited_s >= max(self._settings.stale_s, 4e-6 * tcp.rtt):
            return f"no acknowledgement for {waited_s:.1f} s"
        return ""

    def _retry(
        self, now: float, in_use: Collection[str], connected: bool, down: Collection[str]
    ) -> list[Decision]:
        decisions: list[Decision] = []
        for address, history in list(self._histories.items()):
            if history.lost and address in down:
                history.since = now
            elif history.lost and now >= history.since + history.hold_s:
                history.lost, history.proved, history.since = False, False, now
                decisions.append(Regain(address))
            elif not history.lost and address in in_use:
                history.proved = True
            elif (
                not history.lost
                and not history.proved
                and connected
                and now >= history.since + self._settings.connect_s
            ):
                self._lose(now, address)
                decisions.append(Lose(address, "no subflow came about"))
        return decisions

    def _lose(self, now: float, address: str) -> None:
        settings, history = self._settings, self._histories.get(address)
        hold_s = settings.hold_s
        if history is not None and now - history.since < settings.good_s:
            hold_s = min(2 * history.hold_s, settings.max_hold_s)
        self._histories[address] = _History(since=now, hold_s=hold_s)


def _held_up(tcp: TcpInfo) -> bool:
    """Whether something waits for the network: for an acknowledgement, or to leave this host.

    What a closed window holds back waits for the peer's reader, and probes back off there too.
    """
    return bool(tcp.unacked or (tcp.notsent_bytes and tcp.snd_wnd >= max(1, tcp.snd_mss)))


def _by_address(info: FullInfo) -> dict[str, list[Subflow]]:
    """The living subflows of a connection by local address; those being opened are none yet."""
    found: dict[str, list[Subflow]] = {}
    for subflow in info.living:
        if subflow.tcp.state not in _OPENING:
            found.setdefault(plain(subflow.addresses.local.host), []).append(subflow)
    return found


def _sound_elsewhere(
    subflows: Mapping[str, list[Subflow]],
    given_up: Collection[str],
    dying: Collection[Subflow],
) -> bool:
    """Whether a connection has a sound subflow on an address that is not given up."""
    return any(
        subflow.tcp.state == TcpState.ESTABLISHED and subflow not in dying
        for address, each in subflows.items()
        if address not in given_up
        for subflow in each
    )
