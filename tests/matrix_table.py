"""The README's table "What happens when something dies", from what a run of the matrix has seen.

``python -m tests.matrix_table [FILE] [--write README.md]`` reads ``matrix.jsonl`` and prints the
rows, or puts them between the two marks in the README. A row is made of all moments, and of leaf,
middle and several, for they differ in nothing that is said here.

Source of the file: ``pytest --matrix-results FILE``; one JSON object per cell that has passed; of
a cell that was run again the last one counts.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from tests.matrix_cells import CELLS, EVENTS, HIT, Cell

BEGIN: Final = "<!-- the kill matrix: made by `python -m tests.matrix_table` -->"
END: Final = "<!-- the end of the kill matrix -->"
HEAD: Final = (
    "| who | what happens | who is told what | worst seen | left behind |",
    "|---|---|---|---|---|",
)
NODES: Final = ("leaf", "middle", "several")
WHO: Final = {
    **dict.fromkeys(NODES, "a node"),
    "zygote": "the zygote",
    "controller": "the controller",
}
WHAT: Final = {
    "SIGKILL": "SIGKILL",
    "SIGSTOP": "SIGSTOP",
    "SIGTERM": "SIGTERM",
    "SIGSEGV": "SIGSEGV",
    "oom-cgroup": "its cgroup is out of memory",
    "oom-rlimit": "`MemoryError` (RLIMIT_AS)",
    "_exit": "`os._exit(7)`",
    "raise": "an exception in a told handler",
    "hog": "a handler never yields",
    "closed-sockets": "its connections are closed under it",
    "closed-all": "all its descriptors are closed",
    "closed-router": "its inbox is closed",
}
ZYGOTES: Final = {"raise": "a module raises at its import", "hog": "an import never ends"}
Seen = dict[str, Any]


def rows(results: Iterable[Seen]) -> list[str]:
    """The lines of the table, without its head."""
    groups: dict[tuple[str, str], list[Seen]] = {}
    for seen in results:
        groups.setdefault((WHO[seen["victim"]], seen["event"]), []).append(seen)
    order = [(who, event) for who in dict.fromkeys(WHO.values()) for event in EVENTS]
    return [_row(who, event, groups[who, event]) for who, event in order if (who, event) in groups]


def _row(who: str, event: str, group: list[Seen]) -> str:
    what = WHAT[event]
    if who == "the zygote" and event not in ("SIGKILL", "SIGSTOP", "SIGTERM", "SIGSEGV"):
        what = ZYGOTES.get(event, f"{what}, at an import")
    told, worst = {"a node": _node, "the zygote": _zygote, "the controller": _controller}[who](
        group
    )
    left = max(max(seen.get("strays_s", 0.0), seen["left_s"]) for seen in group)
    return f"| {who} | {what} | {told} | {worst} | nothing, {_time(left)} |"


def _node(group: list[Seen]) -> tuple[str, str]:
    ends = [
        (what, *told)
        for seen in group
        for what, told in seen["told"].items()
        if what.rpartition(" ")[2] in HIT[seen["victim"]]
    ]
    reasons = {why for what, _, why, _ in ends if what.startswith(("wait ", "monitor "))}
    verdicts = [seen["verdict_s"] for seen in group if "verdict_s" in seen]
    worst = _time(max(at for *_, at in ends))
    if not verdicts:
        return f"asks, streams: `ActorDeadError`; monitors: `Down`: {_list(reasons)}", worst
    kind = "frozen" if group[0]["event"] == "SIGSTOP" else "busy"
    waits = "asks, streams: `UnreachableError`" if kind == "frozen" else "asks wait"
    told = f"{waits}; monitors: `Suspected({kind})`; once it is killed, `Down`: {_list(reasons)}"
    return told, f"verdict {_time(max(verdicts))}, death {worst}"


def _zygote(group: list[Seen]) -> tuple[str, str]:
    event = group[0]["event"]
    bombs = {seen["told"]["bomb"][0] for seen in group if "told" in seen}
    told = "nobody: it is ignored" if event == "SIGTERM" else "nobody: it is replaced"
    if bombs:
        told = f"that spawn: `{'`, `'.join(sorted(bombs))}`; other spawns and nodes go on"
    replaced = [seen["replaced_s"] for seen in group if "replaced_s" in seen]
    return told, f"replaced after {_time(max(replaced))}" if replaced else "-"


def _controller(group: list[Seen]) -> tuple[str, str]:
    event = group[0]["event"]
    local = "of the actor in its process, monitors: `Down`: crashed; the system goes on"
    told = {
        "SIGSTOP": "nobody: all goes on when it does, without a false alarm",
        "SIGTERM": "its block is cancelled; every node stops in order",
        "raise": local,
        "oom-rlimit": local,
        "hog": "nobody: the nodes live on; then it is killed",
        "closed-router": "its block raises; every node ends",
    }.get(event, "nobody is left to be told")
    ends = max(seen["end_s"] for seen in group)
    return told, f"all stopped in {_time(ends)}" if event == "SIGTERM" else "-"


def _list(reasons: Iterable[str]) -> str:
    """The reasons, without what differs from run to run."""
    short = {
        f"{why.partition(':')[0]})" if why.startswith("crashed(") and ":" in why else why
        for why in reasons
    }
    return ", ".join(sorted(short))


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1.0 else f"{seconds * 1000:.0f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", nargs="?", default="matrix.jsonl")
    parser.add_argument("--write", metavar="README")
    options = parser.parse_args()
    with open(options.file) as file:
        every = [json.loads(line) for line in file]
    last = {Cell(seen["victim"], seen["event"], seen["moment"]): seen for seen in every}
    count = f"{len(last)} of {len(CELLS)} cells were run for this."
    table = [*HEAD, *rows(last.values()), "", count]
    if options.write is None:
        print("\n".join(table))
        return
    readme = Path(options.write)
    before, begin, rest = readme.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{readme} has no place for the table: {BEGIN} and {END}")
    readme.write_text("\n".join([before + BEGIN, "", *table, "", END + after]))


if __name__ == "__main__":
    main()
