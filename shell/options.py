"""The command line of the shell."""

import argparse
import math
import sys
from collections.abc import Sequence
from typing import cast, get_args

import msgspec

from runtime.messages.behaviour import Restart, Strategy
from runtime.multipath.path_owner import Owner
from runtime.network.type_of_service import check_tos
from runtime.wires.net import Kind, check_net
from shell.dialects import DIALECTS
from shell.grammar import check_entry
from shell.parser import Parser


class Options(msgspec.Struct, frozen=True):
    """What the user asked for. Times are in seconds.

    ``restart``, ``strategy`` and ``intensity`` are None where nothing was said.
    """

    dialect: str = "spec"
    topology: str = "tree"
    script: str | None = None
    unordered: bool = False
    deadline_s: float = 2.0
    start_deadline_s: float = 30.0
    quiet_nodes: bool = False
    restart: Restart | None = None
    strategy: Strategy | None = None
    intensity: tuple[int, float] | None = None
    root: str = ""
    """The class of `regrow run`, "module:Class"; empty: the shell's own tree of numbers."""
    arguments: tuple[str, ...] = ()
    shell: bool = True
    state: str | None = None
    """The file in which the tree is kept, if it is."""
    resume: bool = False
    transport: str = "ipc"
    listen: tuple[str, ...] = ()
    keys: str | None = None
    """The file that holds them, if one does."""
    insecure: bool = False
    join_file: str | None = None
    """Where to write what joiners need."""
    path_manager: str = "kernel"
    tos: int = 0

    @property
    def named(self) -> list[tuple[str, str | None]]:
        """What is of the world, and may be to blame: the option, and what it names."""
        listen = [("--listen", each) for each in self.listen]
        return [("--keys", self.keys), ("--join-file", self.join_file), *listen]


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    """Read ``arguments``, by default those of the process.

    Raises:
        SystemExit: 2 for wrong usage, 0 after ``--help``.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    parser: Parser
    if words[:1] == ["run"]:
        parser = _run_parser()
        given = parser.parse_intermixed_args(words[1:])
        if given.no_shell and given.script is not None:
            parser.error("--script is for the shell: not with --no-shell")
        implied = "tree"
    else:
        parser = _parser()
        given = parser.parse_args(words)
        implied = DIALECTS[given.dialect].topology or "tree"
    if given.resume and given.state is None:
        parser.error("--resume takes a state to resume from: --state PATH")
    try:
        check_net(
            given.transport,
            given.listen,
            given.keys,
            given.insecure,
            given.join_file,
            given.path_manager,
            given.tos,
            as_option,
        )
    except ValueError as error:
        parser.error(str(error))
    return Options(
        dialect=given.dialect,
        topology=given.topology or implied,
        script=given.script,
        unordered=given.unordered,
        deadline_s=given.deadline,
        start_deadline_s=given.start_deadline,
        quiet_nodes=given.quiet_nodes,
        restart=given.restart,
        strategy=given.strategy,
        intensity=given.intensity,
        root=given.root,
        arguments=tuple(given.arguments),
        shell=not given.no_shell,
        state=given.state,
        resume=given.resume,
        transport=given.transport,
        listen=tuple(given.listen),
        keys=given.keys,
        insecure=given.insecure,
        join_file=given.join_file,
        path_manager=given.path_manager,
        tos=given.tos,
    )


def as_option(name: str, value: object) -> str:
    """How the command line spells what a program says by a keyword."""
    option = f"--{name.replace('_', '-')}"
    if value is True:
        return option
    values = [value] if isinstance(value, str | int) else list(cast("Sequence[object]", value))
    return " ".join(f"{option} {each}" for each in values)


def _parser() -> Parser:
    parser = Parser(
        "regrow",
        "Trees of supervised processes, by commands on stdin; 'help' lists them.",
        "regrow run MODULE:CLASS runs a tree of your own: see regrow run --help. "
        "regrow join ADDRESS starts a node of a system elsewhere: see regrow join --help.",
        words=("run", "join"),
    )
    parser.set_defaults(root="", arguments=(), no_shell=False)
    parser.add_argument(
        "--topology",
        choices=["tree", "list", "bst"],
        help="who is the parent of a new node (default: the dialect's, else tree); list and bst"
        " ignore the PARENT of a create",
    )
    _add_common(parser)
    return parser


def _run_parser() -> Parser:
    parser = Parser(
        "regrow run",
        "Run a supervisor, or any actor, as the root of a tree, with the shell on top.",
    )
    parser.set_defaults(topology="tree")
    parser.add_argument(
        "root",
        metavar="MODULE:CLASS",
        type=entry,
        help="also from the working directory",
    )
    parser.add_argument(
        "arguments",
        metavar="ARG",
        nargs="*",
        default=(),  # without one, argparse calls it required when another one is missing
        help="of its constructor; any text behind --",
    )
    parser.add_argument(
        "--no-shell",
        action="store_true",
        help="run until it ends or a signal comes; status 0 if it ended as it should, else 1",
    )
    _add_common(parser)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--dialect",
        choices=list(DIALECTS),
        default="spec",
        help="the words of the answers; v34 implies --topology tree, v45 bst",
    )
    add("--script", metavar="FILE", help="read commands from FILE; status 1 after any error")
    add("--unordered", action="store_true", help="print answers as they come")
    add(
        "--deadline",
        type=seconds,
        default=2.0,
        metavar="SECONDS",
        help="how long exec and ping wait for a node (default: 2)",
    )
    add(
        "--start-deadline",
        type=seconds,
        default=30.0,
        metavar="SECONDS",
        help="how long create waits for a node (default: 30)",
    )
    add("--quiet-nodes", action="store_true", help="do not show the nodes' output on stderr")
    add(
        "--restart",
        choices=get_args(Restart),
        help="whether created nodes live again after an end: always, unless it was in order, never"
        " (default: temporary, with --state permanent; the root of regrow run: transient)",
    )
    add(
        "--strategy",
        choices=get_args(Strategy),
        help="whom the end of a child concerns (default: one_for_one, or what a class says)",
    )
    add(
        "--intensity",
        type=_intensity,
        metavar="N/SECONDS",
        help="give up after more than N restarts in SECONDS (default: 5/10, or what a class says)",
    )
    add(
        "--state",
        metavar="PATH",
        help="keep the tree in this file, so that it can come back after this process",
    )
    add("--resume", action="store_true", help="bring back the tree that --state PATH holds")
    add(
        "--transport",
        choices=get_args(Kind),
        default="ipc",
        help="how processes reach each other: within this host (default) or over a network",
    )
    add(
        "--listen",
        action="append",
        default=[],
        metavar="ADDRESS[:PORT]",
        help="a numeric address to listen on, again for more, IPv6 as [::1]:5555; the port is the"
        " controller's, nodes take any (default: 127.0.0.1)",
    )
    add(
        "--keys",
        metavar="FILE",
        help="keep the system's keys in this file, mode 0600, made if there is none"
        " (default: keys of this one run, in no file)",
    )
    add(
        "--join-file",
        metavar="FILE",
        help="write what regrow join needs to start a node on another host to this file, mode 0600",
    )
    add(
        "--insecure",
        action="store_true",
        help="no keys and no encryption: on loopback addresses alone, for everybody on this host",
    )
    add(
        "--path-manager",
        choices=get_args(Owner),
        default="kernel",
        help="with mptcp, who decides on the paths of each connection: the kernel (default), or"
        " this process, for which net.mptcp.path_manager is set, if it may be, as long as it runs",
    )
    add_tos(parser)


def add_tos(parser: argparse.ArgumentParser) -> None:
    """The option of everybody who sends over a network."""
    parser.add_argument(
        "--tos",
        type=_tos,
        default=0,
        metavar="N",
        help="the type of service of what is sent over tcp and mptcp, 0 to 255, its two low bits"
        " clear (default: 0)",
    )


def _tos(text: str) -> int:
    try:
        return check_tos(int(text, 0))
    except ValueError as error:
        told = str(error) if "type of service" in str(error) else f"must be a number, not {text!r}"
        raise argparse.ArgumentTypeError(told) from None


def entry(text: str) -> str:
    try:
        return check_entry(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _intensity(text: str) -> tuple[int, float]:
    count, slash, period = text.partition("/")
    try:
        if not (slash and count.isascii() and count.isdigit()):
            raise ValueError
        return int(count), seconds(period)
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(
            f"must be a number of restarts and of seconds, as in 5/10, not {text!r}"
        ) from None


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number of seconds, not {text!r}") from None
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be more than 0 seconds, not {text}")
    return value
