"""What a lost path costs: ``python -m tests.bench_paths [--messages N] [--only TEXT]``.

Two hosts of the laboratory, two wires, a controller on one host and a node that joined from the
other. One of the paths is lost under a load of asks and tells, in every way, at either end, with
the guard and without, and over plain tcp for contrast. Printed is the longest that a round of three
tells and an ask took, without what its processes waited for a core, and with it. Then what comes
through two shaped paths, and through one.

Status 1 if with a guard a round took more than half a second, or anything was lost, doubled, or out
of its order, or the node was said to be silent or dead; or if two paths carry less than 1.7 times
what one does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import trio

from actors.testing import lab
from tests import mptcp
from tests.bench import machine, open_folder
from tests.path_cells import ENDS, LOSSES, PATHS, RATE, Cell, Seen, bandwidth, play
from tests.path_load import Mark

STALL_S = 0.5
GAIN = 1.7
MODES = ("guarded", "unguarded", "tcp")
PLAYED = {"guarded": 4, "unguarded": 2, "tcp": 1}
FEW = 1_000
LINE = "{:54} {:5.0f} ms of {:5.0f}, before {:3.0f} of {:3.0f}{}"


def cells() -> Iterator[Cell]:
    """In the order in which they are told.

    Without the guard no more than each path of two; plain tcp has one, the first.
    """
    for loss in LOSSES:
        for end in ENDS:
            for path in PATHS:
                for mode in MODES:
                    if path in PATHS[: PLAYED[mode]]:
                        yield Cell(loss, end, path, mode)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench_paths", allow_abbrev=False)
    parser.add_argument(
        "--messages", type=int, default=100_000, metavar="N", help="with the guard; default: 100000"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="cases with this in their name")
    options = parser.parse_args()
    if why := mptcp.missing() or lab.missing("nft", "tc"):
        print(why, file=sys.stderr)
        return 1
    wanted = [cell for cell in cells() if options.only in f"{cell}"]
    print(machine(), flush=True)
    with open_folder():
        return trio.run(_measure, wanted, options.messages, options.only in "bandwidth")


async def _measure(wanted: list[Cell], messages: int, pour: bool) -> int:
    guarded = sum(cell.mode == "guarded" for cell in wanted) or 1
    worst: dict[tuple[str, str], float] = {}
    sent, bad = 0, 0
    for cell in wanted:
        seen = await play(cell, max(-(-messages // guarded), 8) if cell.mode == "guarded" else FEW)
        said = _judged(cell, seen)
        bad += bool(said) and cell.mode != "tcp"  # that one is for contrast
        sent += seen.account.noted if cell.mode == "guarded" else 0
        key = cell.loss, cell.mode
        worst[key] = max(worst.get(key, 0.0), seen.stalls.net_s)
        figures = [*_ms(seen.stalls), *_ms(seen.before)]
        print(LINE.format(f"{cell}", *figures, said), flush=True)
    print(f"\n{sent} asks and tells with the guard. The longest round:\n")
    print("| a path is lost | with the guard | without | plain tcp |\n|---|---|---|---|")
    for loss in LOSSES:
        keys = [(loss, mode) for mode in MODES]
        shown = [f"{worst[key] * 1000:.0f} ms" if key in worst else "-" for key in keys]
        print(f"| {loss} | {' | '.join(shown)} |")
    if pour:
        one, two = await bandwidth()
        bad += two < GAIN * one
        rates = f"{one / 1e6:.2f} and {two / 1e6:.2f} MB/s"
        print(f"\none and two paths of {RATE}: {rates}, {two / one:.2f} times as much")
    return int(bad > 0)


def _ms(mark: Mark) -> tuple[float, float]:
    return mark.net_s * 1000, mark.worst_s * 1000


def _judged(cell: Cell, seen: Seen) -> str:
    if cell.mode == "tcp":
        heard = ", ".join(seen.stalls.heard)
        return f"; {seen.away.refused} asks refused, {heard}" if heard else ""
    found = [seen.complaint] if seen.complaint else []
    if cell.mode == "guarded" and seen.stalls.net_s > STALL_S:
        found.append(f"more than {STALL_S:g} s")
    return f"  FAILED: {'; '.join(found)}" if found else ""


if __name__ == "__main__":
    sys.exit(main())
