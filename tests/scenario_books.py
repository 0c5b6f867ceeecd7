"""What both ends of a connection say of it, and where they disagree.

As an independent observer would have it. Of the stream: what one end has sent the other has
received, by its user's count and by its kernel's; sequences have advanced by that much, and are
where the peer expects them; each end has the subflows of the other one, seen from there. Of the
hosts: what one counts as sent the other counts as received, and each was told of what it counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import msgspec

from runtime.multipath import inspection
from runtime.multipath.path_guard import plain
from runtime.multipath.statistics import FullInfo, MptcpInfo, SocketAddress, Subflow, TcpState
from tests.scenario import Side
from tests.scenario_end import End

_WORD = 1 << 64


class Account(msgspec.Struct):
    """One end. ``first``: what its kernel said when the connection was new."""

    end: End
    first: MptcpInfo

    @classmethod
    def opened(cls, end: End) -> Account:
        return cls(end, inspection.mptcp_info(end.outer))

    def full(self) -> FullInfo:
        return inspection.full_info(self.end.outer)


def disagreements(accounts: Mapping[Side, Account]) -> list[str]:
    """Of a connection on which nothing is under way; none if the books agree."""
    full = {side: account.full() for side, account in accounts.items()}
    said = [
        f"{side}: {name} {left}, not {right}"
        for side, other in _PAIRS
        for name, left, right in _equal(accounts[side], accounts[other], full[side], full[other])
        if left != right
    ]
    here, there = (_paths(full[side]) for side, _ in _PAIRS)
    if here != {(remote, local) for local, remote in there}:
        said.append(f"subflows {sorted(here)} are not {sorted(there)} seen from there")
    return said


_PAIRS: tuple[tuple[Side, Side], ...] = (("server", "client"), ("client", "server"))


def _equal(
    near: Account, far: Account, ours: FullInfo, theirs: FullInfo
) -> Iterator[tuple[str, int, int]]:
    sent, kernel, peer = near.end.sent, ours.mptcp, theirs.mptcp
    yield "bytes sent by the kernel", kernel.bytes_sent, sent
    yield "bytes acknowledged", kernel.bytes_acked, sent
    yield "bytes that the peer's kernel has received", peer.bytes_received, sent
    yield "bytes that have come out at the peer", far.end.received, sent
    yield "sequence that the peer expects", peer.rcv_nxt, kernel.write_seq
    yield "sequence that is acknowledged", kernel.snd_una, kernel.write_seq
    moved = (kernel.write_seq - near.first.write_seq) % _WORD
    yield "advance of the sequence", moved, sent - near.first.bytes_sent
    if far.first.rcv_nxt:  # it knows the peer's key since before
        moved = (peer.rcv_nxt - far.first.rcv_nxt) % _WORD
        yield "advance of the peer's", moved, sent - far.first.bytes_received


def _paths(info: FullInfo) -> set[tuple[str, str]]:
    return {
        (_text(each.addresses.local), _text(each.addresses.remote)) for each in established(info)
    }


def established(info: FullInfo) -> list[Subflow]:
    return [each for each in info.living if each.tcp.state == TcpState.ESTABLISHED]


def _text(address: SocketAddress) -> str:
    return f"{plain(address.host)} {address.port}"


_SENT = {
    "AddAddrTx": "AddAddr",
    "EchoAddTx": "EchoAdd",
    "RmAddrTx": "RmAddr",
    "MPPrioTx": "MPPrioRx",
    "MPFailTx": "MPFailRx",
    "MPFastcloseTx": "MPFastcloseRx",
    "InfiniteMapTx": "InfiniteMapRx",
}
_TOLD = {"AddAddr": "Announced", "RmAddr": "Removed", "MPPrioRx": "SubflowPriority"}
_JOINED: Mapping[Side, str] = {"server": "MPJoinAckRx", "client": "MPJoinSynAckRx"}


def discord(
    counters: Mapping[Side, Mapping[str, int]],
    events: Mapping[Side, Mapping[str, int]],
    opened: int,
    lost: Collection[str],
) -> list[str]:
    """Where two hosts disagree that have had so many connections; none, once all have been told.

    ``counters``: those of the kernel; ``events``: how many of each class, of the ends where
    somebody listens; ``lost``: counters of what the scenario does not let through.
    """
    said = []
    for side, other in _PAIRS:
        ours, theirs = counters[side], counters[other]
        for sent, received in _SENT.items():
            if received not in lost and ours.get(sent, 0) != theirs.get(received, 0):
                said.append(f"{side}: {sent} {ours[sent]}, and {received} {theirs[received]} there")
        if side not in events:
            continue
        told = {name: ours.get(counter, 0) for counter, name in _TOLD.items()}
        told["Created"] = told["Established"] = opened
        told["SubflowEstablished"] = ours.get(_JOINED[side], 0)
        said += [
            f"{side}: told of {events[side].get(name, 0)} {name}, not {count}"
            for name, count in told.items()
            if events[side].get(name, 0) != count
        ]
    return said
