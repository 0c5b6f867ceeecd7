"""Which local addresses to take out of use, and when to try them again.

The kernel moves what a dead path held to another one, but late: its scheduler trusts a subflow
until several timeouts have passed, and a stale path raises no event. Deleting the endpoint of the
dying path moves it at once (4 to 8 ms against 0.4 to 1.5 s). So this looks at samples of every
connection and decides.

A subflow is **dying** when its link is down, or when what was sent on it stays unacknowledged, and
nothing at all comes back, for longer than any sound path takes: `stale_s`, which is more than twice
the 40 ms by which Linux delays an acknowledgement, four round trips, and half of the timeout at
which the kernel itself begins to move, unless that has come. A congested path loses much, and
answers: acknowledgements that confirm nothing new come all the time. Endpoints are per namespace,
and deleting one touches all connections; so an address is **lost** only if no subflow on it has
been answered while a dying one waited (else it is for the peer to act, at its end of the one that
is; one on which nothing was said has no say) and each connection that uses it has a sound subflow
elsewhere.

Invariants
----------
* No connection loses its last sound subflow by a decision made here.
* One who looks seldom, because this process stood still, has not waited longer for it.
* A lost address is tried again when its link has been up for `hold_s`. If that brings no subflow
  within `connect_s`, or one that dies within `good_s`, it is lost again and held twice as long, to
  `max_hold_s`.
* Time is an argument, and so is what is known of the links. Nothing is read here.

Source: ``tcp_retransmit_timer`` of Linux 6.18. Measured (``make paths``): a silent path stalls a
link for 90 to 150 ms, and for 180 to 600 without a guard, as the kernel waits for its timeout of
200 ms; to wait for that timeout here, however often one looks, is no faster than the kernel. In two
minutes of asks on two cores with a load of 10, whose rounds waited up to 2 s for a core, no address
was lost.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from runtime.multipath.statistics import FullInfo, Subflow, TcpInfo, TcpState

_MAPPED: Final = "::ffff:"
_TRIPS: Final = 4
"""Linux probes for a lost tail after two round trips: by now the answer to that is here."""
_CARRYING: Final = (TcpState.ESTABLISHED, TcpState.CLOSE_WAIT)


class Settings(msgspec.Struct, frozen=True):
    """How soon an address is given up, and for how long.

    ``look_s``: how much a single look may add to what a subflow has waited.
    """

    backoff: int = 1
    stale_s: float = 0.1
    look_s: float = 0.05
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
    """A subflow has had no more than this acknowledged for so long."""

    bytes_acked: int
    waited_s: float = 0.0


class _Dying(msgspec.Struct, frozen=True):
    reason: str
    waited_s: float


def plain(host: str) -> str:
    """An IPv4 address as such, also where an IPv6 socket maps it."""
    return host[len(_MAPPED) :] if host.startswith(_MAPPED) and "." in host else host


class PathGuard:
    """The decisions of one network namespace."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._histories: dict[str, _History] = {}
        self._waits: dict[tuple[int, int], _Wait] = {}
        self._judged_at = -math.inf

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
            if reason := _lost(subflows, dying):
                reasons[address] = reason
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
    ) -> dict[Subflow, _Dying]:
        """Every dying subflow, with why."""
        found: dict[Subflow, _Dying] = {}
        step_s, self._judged_at = min(now - self._judged_at, self._settings.look_s), now
        waits: dict[tuple[int, int], _Wait] = {}
        for info in connections:
            for subflow in info.living:
                tcp, key = subflow.tcp, (info.mptcp.token, subflow.id)
                wait = self._waits.get(key)
                if wait is None or wait.bytes_acked != tcp.bytes_acked:
                    wait = _Wait(tcp.bytes_acked)
                else:
                    wait = _Wait(tcp.bytes_acked, wait.waited_s + step_s)
                reason = ""
                if _held_up(tcp):
                    waits[key] = wait
                    reason = self._reason(tcp, wait.waited_s)
                if plain(subflow.addresses.local.host) in down:
                    reason = "link down"
                if reason:
                    timeout_s = 0.5e-6 * tcp.rto if tcp.backoff else 0.0
                    found[subflow] = _Dying(reason, max(wait.waited_s, timeout_s))
        self._waits = waits
        return found

    def _reason(self, tcp: TcpInfo, waited_s: float) -> str:
        silent_s = tcp.last_ack_recv / 1000
        long_s = max(self._settings.stale_s, _TRIPS * 1e-6 * tcp.rtt)
        if tcp.backoff >= self._settings.backoff and silent_s >= long_s:
            return f"no acknowledgement in {tcp.backoff} timeouts"
        waited_s = min(waited_s, silent_s)
        if waited_s >= max(long_s, 0.5e-6 * tcp.rto):
            return f"no acknowledgement for {waited_s:.2f} s"
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


def _lost(subflows: Sequence[Subflow], dying: Mapping[Subflow, _Dying]) -> str:
    """Why the address of these can be used no more, "" if it can."""
    found = [dying[each] for each in subflows if each in dying]
    if not found:
        return ""
    waited_s = max(each.waited_s for each in found)
    for each in subflows:
        if each not in dying and each.tcp.last_ack_recv < 1000 * waited_s:
            return ""
    return found[0].reason


def _by_address(info: FullInfo) -> dict[str, list[Subflow]]:
    """The subflows that carry a connection, by local address: none that opens or closes."""
    found: dict[str, list[Subflow]] = {}
    for subflow in info.living:
        if subflow.tcp.state in _CARRYING:
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
