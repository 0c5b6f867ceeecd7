"""Network links as text and as JSON.

Invariants
----------
* `LinksView`: a line for each node; then, where a kernel has no Multipath TCP, one that says so;
  and an empty one.
* `LinkView`: a line for the node, one for each stream, under it one for each of its paths; and an
  empty one. ``->`` is a stream that the node has opened, ``<-`` one that was opened to it; the
  word behind it is the node at its other end, where that is known.
* Who has opened a stream to a node is not known there: `introduced` has it from those who have.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import msgspec

from actors.topology import Id
from runtime.address import CONTROLLER
from runtime.multipath.link_report import LinkReport, StreamReport
from runtime.multipath.statistics import Subflow, TcpState
from shell.commands import CONTROLLER as ROOT

_MISSING = "plain TCP: this kernel"


class LinkView(msgspec.Struct, frozen=True):
    """The links of node ``id``."""

    id: Id
    report: LinkReport

    def text(self) -> str:
        lines = [f"{summary(self.id, self.report)} {self.report.endpoint}"]
        for stream in self.report.streams:
            lines.append(_stream(stream))
            if stream.full is not None:
                lines += (_path(each) for each in stream.full.living)
        return "".join(f"{line}\n" for line in lines)

    def json(self) -> str:
        """The report, with every field that the kernel tells."""
        return json.dumps({"id": self.id, **msgspec.to_builtins(self.report)})


class LinksView(msgspec.Struct, frozen=True):
    """The links of all nodes; None for one that did not answer."""

    reports: Sequence[tuple[Id, LinkReport | None]]

    def text(self) -> str:
        lines = [summary(id, report) for id, report in self.reports]
        notes = {
            stream.note
            for _, report in self.reports
            if report is not None
            for stream in report.streams
            if stream.note.startswith(_MISSING)
        }
        return "".join(f"{line}\n" for line in (*lines, *sorted(notes)))

    def json(self) -> str:
        """A list of objects: ``id``, ``transport``, ``links``, ``paths``, ``plain``, bytes."""
        return json.dumps([_counted(id, report) for id, report in self.reports])


def introduced(report: LinkReport, others: Iterable[LinkReport]) -> LinkReport:
    """With the names of those who have opened a stream to it, as far as ``others`` tell."""
    callers = {
        (stream.remote, stream.local): other.name
        for other in others
        for stream in other.streams
        if stream.outgoing and stream.remote
    }
    streams = tuple(
        each
        if each.peer or not each.remote
        else msgspec.structs.replace(each, peer=callers.get((each.local, each.remote), ""))
        for each in report.streams
    )
    return msgspec.structs.replace(report, streams=streams)


def _counted(id: Id, report: LinkReport | None) -> dict[str, object]:
    if report is None:
        return {"id": id, "available": False}
    streams = report.streams
    found: dict[str, object] = {
        "id": id,
        "available": True,
        "transport": report.transport,
        "links": len(streams),
    }
    if report.transport == "mptcp":
        found |= {
            "paths": report.paths,
            "plain": report.plain,
            "sent": sum(each.sent_bytes or 0 for each in streams),
            "received": sum(each.received_bytes or 0 for each in streams),
        }
    return found


def summary(id: Id, report: LinkReport | None) -> str:
    """One node on one line."""
    found = _counted(id, report)
    if report is None:
        return f"{id} unavailable"
    words = [f"{name} {found[name]}" for name in found if name not in _UNNAMED]
    return f"{id} {report.transport} {' '.join(words)}"


_UNNAMED = ("id", "available", "transport")


def _stream(stream: StreamReport) -> str:
    words = ["->" if stream.outgoing else "<-"]
    if stream.peer:
        words.append(str(ROOT) if stream.peer == CONTROLLER else stream.peer)
    if stream.remote:
        words.append(f"{stream.local} {stream.remote}")
    if stream.sent_bytes is not None:
        words.append(f"sent {stream.sent_bytes} received {stream.received_bytes}")
    if stream.tos:
        words.append(f"tos {stream.tos}")
    if stream.note:
        words.append(stream.note)
    return " ".join(words)


def _path(path: Subflow) -> str:
    tcp = path.tcp
    state = TcpState(tcp.state).name.lower().replace("_", "-") if tcp.state < 12 else "unknown"
    return (
        f"  path {path.addresses.local} -> {path.addresses.remote} {state}"
        f" rtt {tcp.rtt / 1000:.1f} ms cwnd {tcp.snd_cwnd}"
        f" sent {tcp.bytes_sent} received {tcp.bytes_received}"
    )
