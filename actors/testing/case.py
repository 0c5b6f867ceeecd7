"""One test on our fixtures: which kind of system it runs on, from which seed, and how long.

A mark says so, else the command line, else the ini file, else the default.
"""

from __future__ import annotations

import argparse
import difflib
import math
import re
import zlib
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from actors.system import System
    from actors.testing.trial import Bound

KINDS: Final = ("virtual", "real", "lockstep")
FAULTS_SHOWN: Final = 50
WALL: Final = 5.0
"""A virtual run may take so many times the seconds of a real one."""
_RUN: Final = re.compile(r"\[run\d+\]$|-run\d+(?=[\]-])|(?<=\[)run\d+-")
OF_ONE_KIND: Final = {
    **dict.fromkeys(("weather", "log", "fault", "reliable"), "virtual"),
    "patience_s": "lockstep",
}
"""Options of one kind of system; the other systems of the same test do without."""
_OF_ALL: Final = frozenset({"output", "strategy", "intensity", *OF_ONE_KIND})
OPTIONS: Final = {
    "virtual": _OF_ALL | {"state", "resume"},
    "real": _OF_ALL
    | {"signals", "state", "resume", "transport", "listen", "keys", "insecure", "join_file"}
    | {"name_joiner", "path_manager", "tos"},
    "lockstep": _OF_ALL,
}
"""What opens each kind; written down here, for to import what takes them costs a session much."""
DURATIONS: Final = {
    "deadline_s": (600.0, "virtual seconds that a test may take"),
    "real_deadline_s": (60.0, "seconds that a test on processes may take; a virtual one: 5 times"),
    "beat_s": (0.25, "seconds between two heartbeats"),
    "expect_s": (3.0, "seconds that a probe waits where nothing else is said"),
}
_OWN: Final = frozenset({"on", "seed", "runs", "leaks", *DURATIONS})
"""Keywords of the mark that open no system."""


def seconds(text: str | float) -> float:
    try:
        value = float(text)
        if 0 < value < math.inf:
            return value
    except (TypeError, ValueError):
        pass
    raise argparse.ArgumentTypeError(f"must be a positive number of seconds, not {text!r}")


def chosen_duration(config: pytest.Config, marked: Mapping[str, Any], name: str) -> float:
    """What the mark says, else the command line, else the ini file, else the default."""
    chosen = marked.get(name)
    if chosen is None:
        chosen = config.getoption(f"regrow_{name}")
    if chosen is None:
        chosen = config.getini(f"regrow_{name}")
    try:
        return seconds(DURATIONS[name][0] if chosen is None else chosen)
    except argparse.ArgumentTypeError as error:
        raise pytest.UsageError(f"regrow: {name} {error}") from None


def check_marks(item: pytest.Item, kind: str, marked: Mapping[str, Any]) -> None:
    """Raise `pytest.UsageError` if a mark of that test has a keyword that nobody takes."""
    known = OPTIONS[kind] | _OWN
    for name in marked:
        if name not in known:
            raise pytest.UsageError(
                f"{item.nodeid}: pytest.mark.regrow on a {kind} system has no"
                f" {name!r}{_hint(name, known)}"
            )


def misfit(kind: str, options: object) -> str:
    """What is wrong with the value of the fixture ``regrow_options``, or nothing."""
    if not isinstance(options, Mapping):
        return f"regrow_options is a dict of what opens the system, not {options!r}"
    known = OPTIONS[kind] if kind == "real" else OPTIONS[kind] | {"seed"}
    for name in options:
        if name not in known:
            return (
                f"regrow_options on a {kind} system has no {name!r}{_hint(str(name), known)}"
                f" (known: {', '.join(sorted(known))})"
            )
    return ""


def _hint(name: str, known: Set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def marks_of(node: Any) -> dict[str, Any]:
    """The keywords of all its marks; the nearest one stands, a parameter's before the test's."""
    found: dict[str, Any] = {}
    own = node.callspec.marks if hasattr(node, "callspec") else []
    nearest = [mark for mark in own if mark.name == "regrow"]
    for mark in (*nearest, *node.iter_markers("regrow")):
        if mark.args:
            raise pytest.UsageError(f"pytest.mark.regrow takes keywords alone, not {mark.args!r}")
        found = {**mark.kwargs, **found}
    return found


@dataclass
class Case:
    """One test that uses our fixtures, and what became of it so far."""

    item: pytest.Function
    kind: str
    marked: dict[str, Any]
    offset: int = 0  # of its seed, where it runs from several
    bound: Bound | None = None
    systems: list[System] = field(default_factory=list)
    ended_s: float = 0.0

    def duration(self, name: str) -> float:
        """One of `DURATIONS`, for this test."""
        return chosen_duration(self.item.config, self.marked, name)

    @property
    def id(self) -> str:
        """Of the test, from whatever seed it runs."""
        return _RUN.sub("", self.item.nodeid)

    @property
    def seed(self) -> int:
        chosen = self.item.config.getoption("regrow_seed")
        if chosen is None:
            chosen = self.marked.get("seed", zlib.crc32(self.id.encode()))
        if not isinstance(chosen, int):
            raise pytest.UsageError(f"{self.item.nodeid}: regrow: seed is a number, not {chosen!r}")
        return chosen + self.offset

    @property
    def options(self) -> dict[str, Any]:
        """Those that open the system."""
        return {name: value for name, value in self.marked.items() if name not in _OWN}

    def sections(self) -> Iterator[tuple[str, str]]:
        """What the report of its failure says beside the failure."""
        if self.kind == "virtual":
            yield (
                "regrow",
                f"seed {self.seed}, ended at {self.ended_s:g} s of its clock; to replay it:\n"
                f'pytest "{self.id}" --regrow-seed {self.seed}',
            )
        elif self.kind == "lockstep":
            yield "regrow", f"seed {self.seed}, ended at {self.ended_s:g} s of its clock"
        for system in self.systems:
            network = getattr(system, "network", None)
            if network is not None and network.faults:
                told = [f"  {fault!r}" for fault in network.faults[:FAULTS_SHOWN]]
                yield f"regrow: what the weather did ({len(network.faults)})", "\n".join(told)
            for probe in system.probes:
                if unread := probe.account(only_unread=True):
                    yield f"regrow: what {probe.ref} has not read", unread
