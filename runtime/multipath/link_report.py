"""What is known of a process's network links, as values that can travel.

Whose links they are, tells of them: a process is asked for its report, as it would be pinged.

Invariants
----------
* The kernel's own figures come with the first `TOLD` streams alone; of the others what is counted
  here.
"""

from __future__ import annotations

from typing import Any, Final, Protocol, runtime_checkable

import msgspec

from runtime.multipath.statistics import FullInfo

TOLD: Final = 64


class StreamReport(msgspec.Struct, frozen=True):
    """One stream, or one connection of ZMQ's own, as one of its ends sees it.

    ``peer``: the name of who is at the other end, "" if that is not known, as of whoever called.
    ``remote``: a numeric address and a port; "" where there is no stream now, or where ZMQ has it.
    ``sent_bytes``, ``received_bytes``: of what ZMQ says, as a pump counts it, or the kernel where
    there is none; None where nobody counts. ``full``: what the kernel knows of the subflows; None
    for anything but Multipath TCP. ``note``: for people, why there is none. ``tos``: the type of
    service of what leaves, as the kernel has it, or ZMQ for its own; None where there is no
    network.
    """

    outgoing: bool
    peer: str = ""
    local: str = ""
    remote: str = ""
    sent_bytes: int | None = None
    received_bytes: int | None = None
    full: FullInfo | None = None
    note: str = ""
    tos: int | None = None

    @property
    def is_multipath(self) -> bool:
        return self.full is not None


class LinkReport(msgspec.Struct, frozen=True):
    """The links of one process. ``transport``: ``ipc``, ``tcp``, ``mptcp``, ``memory``."""

    name: str
    transport: str
    endpoint: str
    streams: tuple[StreamReport, ...]

    @property
    def paths(self) -> int:
        """How many subflows carry them."""
        return sum(len(each.full.living) for each in self.streams if each.full is not None)

    @property
    def plain(self) -> int:
        """How many streams are open and no more than TCP, though they should be."""
        return sum(bool(each.remote) and each.full is None for each in self.streams)


@runtime_checkable
class Reporting(Protocol):
    """A transport that knows more of its links than their endpoints."""

    def reports(self) -> dict[str, StreamReport]:
        """Of the outgoing ones, by endpoint."""

    def incoming_reports(self) -> list[StreamReport]:
        """Of those by which others call."""


class OpenStream(msgspec.Struct, frozen=True):
    """``endpoint``: of the peer that it was opened to, "" for one by which somebody called."""

    endpoint: str
    socket: Any


@runtime_checkable
class Watchable(Protocol):
    """A transport whose streams are this process's own sockets."""

    def streams_now(self) -> dict[str, OpenStream]:
        """Those that are open, by a key that no other one ever has."""
