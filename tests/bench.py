"""The benchmark: ``python -m tests.bench [--rounds N] [--only TEXT] [--quick]``.

Prints the machine, and one table: each figure beside the floor that was measured in the same
round, medians of interleaved rounds, with the worst. The ratio is judged, the absolute figures
are only printed (where a row says otherwise its limits have a unit). Status 1 if a row misses
its ``must`` or has failed.

To add a row: see `tests.bench_row`.

Invariants
----------
* Rounds are interleaved: every row is measured once before any is measured again.
* A row that fails, or takes longer than `ROUND_S`, does not keep the others from being measured.
* All sockets are in one temporary folder, which is removed; so are all processes, also on
  Ctrl-C, SIGTERM and SIGHUP.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version

import trio
import zmq

from tests import (
    bench_calls,
    bench_death,
    bench_local,
    bench_payload,
    bench_restart,
    bench_shell,
    bench_spawn,
    bench_stream,
    bench_virtual,
    bench_wires,
)
from tests.bench_row import Round, Row
from tests.bench_table import Line, Mark, table

ROWS: Sequence[type[Row]] = [
    *bench_spawn.ROWS,
    *bench_restart.ROWS,
    *bench_death.ROWS,
    *bench_calls.ROWS,
    *bench_wires.ROWS,
    *bench_stream.ROWS,
    *bench_shell.ROWS,
    *bench_local.ROWS,
    *bench_payload.ROWS,
    *bench_virtual.ROWS,
]
ROUND_S = 90.0


def main() -> int:
    """Measure what was asked for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", allow_abbrev=False)
    parser.add_argument("--rounds", type=int, metavar="N", help="default: 5; with --quick 1")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows with this in their name")
    parser.add_argument("--quick", action="store_true", help="measure less, for a first look")
    options = parser.parse_args()
    rounds = (1 if options.quick else 5) if options.rounds is None else options.rounds
    rows = [row(options.quick) for row in ROWS if options.only in row.name]
    if not rows or rounds < 1:
        parser.error(f"no row has {options.only!r} in its name, or no rounds")
    print(f"{machine()}; {rounds} rounds", flush=True)
    with open_folder():
        lines = trio.run(_measure, rows, rounds)
    if lines is None:
        return 130
    print(table(lines))
    return int(any(line.mark in (Mark.MISSED, Mark.FAILED) for line in lines))


def machine() -> str:
    """What the absolute figures depend on."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("trio", "pyzmq", "msgspec"))
    return (
        f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}, "
        f"{packages}, libzmq {zmq.zmq_version()}, load {os.getloadavg()[0]:.1f}"
    )


@contextmanager
def open_folder() -> Iterator[None]:
    """Everybody's sockets and temporary files are in a folder that is removed."""
    within = os.environ.get("XDG_RUNTIME_DIR")
    with tempfile.TemporaryDirectory(prefix="bench-", dir=within) as folder:
        os.environ["XDG_RUNTIME_DIR"] = os.environ["TMPDIR"] = folder
        tempfile.tempdir = None
        yield


async def _measure(rows: Sequence[Row], rounds: int) -> list[Line] | None:
    """All rounds of all rows; None if a signal ended it."""
    measured: list[list[Round]] = [[] for _ in rows]
    errors: list[list[str]] = [[] for _ in rows]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_at_signal, nursery.cancel_scope)
        for number in range(rounds):
            for row, good, bad in zip(rows, measured, errors, strict=True):
                if number >= row.max_rounds:
                    continue
                _tell_progress(f"round {number + 1} of {rounds}: {row.name}")
                try:
                    good.append(await _bounded(row))
                except Exception as error:
                    bad.append(f"round {number + 1}: {'; '.join(_causes(error))}")
        _tell_progress("")
        nursery.cancel_scope.cancel()
        lines = zip(rows, measured, errors, strict=True)
        return [Line(row, good, bad) for row, good, bad in lines]
    return None


async def _bounded(row: Row) -> Round:
    """One round. Its bound is no deadline, which would travel with the asks."""
    async with trio.open_nursery() as nursery:

        async def give_up() -> None:
            await trio.sleep(ROUND_S)
            nursery.cancel_scope.cancel()

        nursery.start_soon(give_up)
        result = await row.round()
        nursery.cancel_scope.cancel()
        return result
    raise RuntimeError(f"it took more than {ROUND_S:g} s")


async def _end_at_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async for _ in signals:
            scope.cancel()


def _causes(error: BaseException) -> list[str]:
    if isinstance(error, BaseExceptionGroup):
        return [cause for each in error.exceptions for cause in _causes(each)]
    return [f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())]


def _tell_progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
