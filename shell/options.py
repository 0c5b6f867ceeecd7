"""The command line of the shell."""

import argparse
import math
from collections.abc import Sequence

import msgspec

from shell.dialects import DIALECTS


class Options(msgspec.Struct, frozen=True):
    """What the user asked for. Times are in seconds."""

    dialect: str = "spec"
    topology: str = "tree"
    script: str | None = None
    unordered: bool = False
    deadline_s: float = 2.0
    start_deadline_s: float = 30.0
    quiet_nodes: bool = False


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    """Read ``arguments``, by default those of the process.

    Raises:
        SystemExit: 2 for wrong usage, 0 after ``--help``.
    """
    given = _parser().parse_args(arguments)
    implied = DIALECTS[given.dialect].topology or "tree"
    return Options(
        dialect=given.dialect,
        topology=given.topology or implied,
        script=given.script,
        unordered=given.unordered,
        deadline_s=given.deadline,
        start_deadline_s=given.start_deadline,
        quiet_nodes=given.quiet_nodes,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="regrow",
        description="Trees of supervised processes, by commands on stdin; 'help' lists them.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--dialect",
        choices=list(DIALECTS),
        default="spec",
        help="the words of the answers; v34 implies --topology tree, v45 bst",
    )
    add(
        "--topology",
        choices=["tree", "list", "bst"],
        help="who is the parent of a new node (default: the dialect's, else tree)",
    )
    add("--script", metavar="FILE", help="read commands from FILE; status 1 after any error")
    add("--unordered", action="store_true", help="print answers as they come")
    add(
        "--deadline",
        type=_seconds,
        default=2.0,
        metavar="SECONDS",
        help="how long exec and ping wait for a node (default: 2)",
    )
    add(
        "--start-deadline",
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help="how long create waits for a node (default: 30)",
    )
    add("--quiet-nodes", action="store_true", help="do not show the nodes' output on stderr")
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"must be more than 0 seconds, not {text}")
    return seconds
