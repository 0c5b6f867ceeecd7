"""``regrow join ADDRESS:PORT --key FILE``: this process becomes a node of a system elsewhere.

Invariants
----------
* The status is 0 after a planned end, 1 if it could not join or ended badly, 2 for wrong usage: a
  command line that makes no sense, whatever files, classes and controllers there are.
* That it has joined, and under which name, is one line on stderr; so is why it ended, unless it
  was stopped.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import trio

from actors.requests import entry_of, prepare
from runtime.errors import SpawnError, WireError
from runtime.exits import ExitReason
from runtime.hosts.joined_node import Wish, join
from runtime.messages.constructor import constructor_of
from runtime.network.join_file import Pass, read_pass
from runtime.network.key_file import read_keys
from runtime.network.tcp_endpoint import Site, parse_site
from runtime.processes.run_folder import raise_open_file_limit
from runtime.wires.zmq_tcp import check_safe
from shell.arguments import read_arguments
from shell.blame import blame
from shell.classes import find_class, import_from_here
from shell.options import add_tos, entry, seconds
from shell.parser import Parser

_NODE = "actors.node:ComputeNode"


def join_system(arguments: Sequence[str]) -> int:
    """Be a node until it ends; returns the exit status."""
    import_from_here()
    given = _given(arguments)
    try:
        wish = _wish(given)
    except (SpawnError, WireError, OSError, ValueError, TypeError) as error:
        print(f"regrow: {blame(error, [('--key', given.key)])}", file=sys.stderr)
        return 1
    raise_open_file_limit()
    gc.collect()
    gc.freeze()
    reason: ExitReason | None = None
    try:
        reason = trio.run(join, wish, partial(_joined, wish.site))
    except* (SpawnError, OSError) as group:
        named = [("--listen", str(site).removesuffix(":0")) for site in given.listen]
        for each in _leaves(group):
            print(f"regrow: {blame(each, named)}", file=sys.stderr)
    if reason is None:
        return 1
    if not reason.planned:
        why = f"{reason}: {reason.message}" if reason.kind == "lost" else str(reason)
        print(f"regrow: {why}", file=sys.stderr)
    return 0 if reason.planned else 1


def _joined(site: Site, name: str) -> None:
    print(f"regrow: joined {site} as {name}", file=sys.stderr, flush=True)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for each in group.exceptions:
        found.extend(_leaves(each) if isinstance(each, BaseExceptionGroup) else [each])
    return found


def _given(arguments: Sequence[str]) -> argparse.Namespace:
    """What the command line says. `SystemExit`: it makes no sense."""
    parser = _parser()
    given = parser.parse_intermixed_args(arguments)
    site: Site = given.address
    if not site.port:
        parser.error(f"say the controller's port: {site.host}:PORT, or [ADDRESS]:PORT")
    if (given.key is None) is not given.insecure:
        parser.error("say --key FILE, or --insecure for a system that has no keys")
    for each in given.listen:
        if each.port:
            parser.error(f"a node takes any port: --listen {each.host}, not {each}")
    if given.insecure:
        try:
            check_safe((site, *given.listen), None)
        except ValueError as error:
            parser.error(f"--insecure: {error}")
    return given


def _wish(given: argparse.Namespace) -> Wish:
    """What is asked for; raises what stands in its way here."""
    passport = _passport(given.key) if given.key is not None else None
    behaviour = find_class(given.actor)
    parameters = constructor_of(behaviour)
    args, keywords = read_arguments(behaviour.__name__, parameters, given.arguments)
    _, encoded = prepare(partial(behaviour, **keywords), tuple(args))
    return Wish(
        given.address,
        passport,
        entry_of(behaviour),
        encoded,
        given.name or "",
        behaviour.__name__.lower(),
        tuple(each.host for each in given.listen),
        given.lost_after,
        given.transport,
        given.tos,
        not given.no_guard,
    )


def _passport(path: str) -> Pass:
    try:
        return read_pass(path)
    except OSError:
        with suppress(OSError):
            read_keys(path)
            raise SpawnError(
                f"{path}: these are the controller's own keys (--keys), which stay with it: --key"
                " takes the file that it writes with --join-file"
            ) from None
        raise


def _parser() -> Parser:
    parser = Parser(
        "regrow join",
        "Start a node here that belongs to a system whose controller is elsewhere, "
        "and was started with --transport tcp --listen ADDRESS:PORT --join-file FILE.",
    )
    add = parser.add_argument
    add("address", metavar="ADDRESS:PORT", type=_site, help="where the controller listens")
    add(
        "arguments",
        metavar="ARG",
        nargs="*",
        default=(),  # without one, argparse calls it required when another one is missing
        help="of the constructor; any text behind --",
    )
    add("--key", metavar="FILE", help="what the controller wrote with --join-file; mode 0600")
    add("--transport", choices=["tcp", "mptcp"], default="tcp", help="that of the controller")
    add(
        "--no-guard",
        action="store_true",
        help="with mptcp: leave the paths of this host to its kernel, as without CAP_NET_ADMIN",
    )
    add("--insecure", action="store_true", help="a system without keys: loopback alone")
    add(
        "--name",
        help="of the node; in a shell's tree a number (default: the lowest that is free; else its"
        " class and a number)",
    )
    add("--actor", metavar="MODULE:CLASS", type=entry, default=_NODE, help=f"default: {_NODE}")
    add(
        "--listen",
        action="append",
        default=[],
        type=_site,
        metavar="ADDRESS",
        help="where others reach this node, again for more; the port is any"
        " (default: this host's address on the way to the controller)",
    )
    add(
        "--lost-after",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="end when the controller has been silent for so long, and be given up after so long"
        " (default: 60)",
    )
    add_tos(parser)
    return parser


def _site(text: str) -> Site:
    try:
        return parse_site(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
