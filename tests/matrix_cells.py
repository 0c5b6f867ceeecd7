"""The kill matrix: who is hit, by what, while doing what, and what must come of it.

A cell is (victim, event, moment). A pure module: `tests.matrix_host` plays a cell,
`tests.test_matrix` checks it, `tests.matrix_table` prints what was seen.

Invariants
----------
* Each combination is either in `CELLS` or in `MEANINGLESS`, there with the reason.
* What a waiting one must end with is said here alone: `expected`.
* Every victim meets every event that means something in one of the `core` cells.
"""

import hashlib
from itertools import product
from typing import Final, Literal, NamedTuple

Victim = Literal["leaf", "middle", "several", "zygote", "controller"]
VICTIMS: Final = ("leaf", "middle", "several", "zygote", "controller")
SIGNALS: Final = ("SIGKILL", "SIGSTOP", "SIGTERM", "SIGSEGV")
EVENTS: Final = (
    *SIGNALS,
    "oom-cgroup",
    "oom-rlimit",
    "_exit",
    "raise",
    "hog",
    "closed-sockets",
    "closed-all",
    "closed-router",
)
"""``closed-sockets``: the descriptors of its connections, ``closed-all``: all but the first three,
both behind ZeroMQ's back; ``closed-router``: its inbox, by ZeroMQ's own means."""
MOMENTS: Final = ("idle", "load", "spawning", "stopping")

TREE: Final = {"middle": "", "leaf": "middle", "other": "middle", "second": "", "witness": ""}
"""Each node's parent; "" is the controller. ``witness`` is never a victim."""
HIT: Final = {
    "leaf": ("leaf",),
    "middle": ("middle",),
    "several": ("middle", "leaf", "second"),
    "zygote": (),
    "controller": (),
}
CODE: Final = 7
WHY: Final = "it was asked to raise"

NO_CODE = "the zygote runs no code of a user's but imports, which happen while spawning"
NO_ROUTER = "the zygote has no ZeroMQ socket"


class Cell(NamedTuple):
    victim: str
    event: str
    moment: str

    def __str__(self) -> str:
        return "-".join(self)

    @property
    def hit(self) -> tuple[str, ...]:
        """The nodes that are victims."""
        return HIT[self.victim]

    @property
    def by_signal(self) -> bool:
        return self.event in SIGNALS

    @property
    def stops(self) -> bool:
        return self.moment == "stopping"

    @property
    def doomed(self) -> tuple[str, ...]:
        """The nodes that end of it: with a planned end the whole subtree."""
        below = () if "middle" not in self.hit else ("leaf", "other")
        if self.stops or self.event == "SIGTERM":
            return tuple(dict.fromkeys((*self.hit, *below)))
        return self.hit

    @property
    def watched(self) -> tuple[str, ...]:
        """The nodes that somebody waits for, in every way there is."""
        return self.doomed or ("leaf", "middle")

    @property
    def verdict(self) -> str:
        """What is thought of the victims before they end; "" if they end at once."""
        if self.stops or not self.hit:
            return ""
        return {"SIGSTOP": "frozen", "hog": "busy"}.get(self.event, "")


def meaningless(cell: Cell) -> str:
    """Why there is no such cell, "" if there is."""
    if cell.victim != "zygote" or cell.by_signal:
        return ""
    if cell.event == "closed-router":
        return NO_ROUTER
    return "" if cell.moment == "spawning" else NO_CODE


ALL: Final = [Cell(*each) for each in product(VICTIMS, EVENTS, MOMENTS)]
CELLS: Final = [cell for cell in ALL if not meaningless(cell)]
MEANINGLESS: Final = {cell: meaningless(cell) for cell in ALL if meaningless(cell)}


SLOW: Final = {Cell("zygote", "hog", "spawning")}
"""An import may take 30 s."""


def core(cell: Cell) -> bool:
    """Whether it is always run: one moment for each victim and event, in turn."""
    moments = [each.moment for each in CELLS if each[:2] == cell[:2]]
    turn = VICTIMS.index(cell.victim) + EVENTS.index(cell.event)
    return cell not in SLOW and cell.moment == moments[turn % len(moments)]


def sampled(cell: Cell, seed: str) -> bool:
    """Whether it is in the tenth that ``seed`` picks."""
    return hashlib.sha256(f"{seed} {cell}".encode()).digest()[0] % 10 == 0


# What a waiting one ends with: (errors, reasons), each a set of which one must hold.

Ends = tuple[frozenset[str], frozenset[str]]
DEAD = frozenset({"ActorDeadError"})
FINE = frozenset({"ok"})
UNKNOWN = frozenset({"unknown"})
"""Told at once of a certain death, whose cause was not known within 20 ms."""


def reasons(cell: Cell, name: str) -> frozenset[str]:
    """The exit reasons, any of which is the truth about that doomed node."""
    if name not in cell.hit:
        return frozenset({"shutdown"})
    killed = frozenset({"killed(SIGKILL)"})
    by_event = {
        "SIGKILL": killed,
        "SIGSTOP": killed,  # by us, once it was found to be frozen
        "hog": killed,
        "SIGTERM": frozenset({"shutdown"}),
        "SIGSEGV": frozenset({"killed(SIGSEGV)"}),
        "oom-cgroup": killed,
        "oom-rlimit": frozenset({"crashed(MemoryError)"}),
        "_exit": frozenset({f"exited({CODE})"}),
        "raise": frozenset({f"crashed(LookupError: {WHY})"}),
    }
    if cell.event in by_event:
        return by_event[cell.event]
    # ZeroMQ aborts when it finds out; or nothing is heard of it, and we kill it.
    return killed | {"killed(SIGABRT)", "exited(1)", "crashed", "shutdown"}


def waiting(cell: Cell, name: str) -> tuple[str, ...]:
    """Who waits for that node, but for its stop, by what is said when it ends."""
    kinds = ["ask", "ask by witness", "stream", "stream by witness", "wait", "monitor"]
    if cell.moment == "load":
        kinds += ["asks", "tells", "asks by witness"]
    if cell.moment == "spawning":
        kinds += ["spawn by", "spawn under"]
    return tuple(f"{kind} {name}" for kind in kinds)


def expected(cell: Cell) -> dict[str, Ends]:
    """What each waiting one must have ended with, once all doomed nodes are dead."""
    found: dict[str, Ends] = {}
    unreachable = cell.verdict == "frozen"
    for name in cell.doomed:
        why = reasons(cell, name)
        for what in waiting(cell, name):
            kind = what.removesuffix(f" {name}")
            if kind in ("wait", "monitor"):
                found[what] = FINE, why
            elif kind == "spawn under":
                # The child comes up under another guardian, unless its parent was to end.
                found[what] = FINE | DEAD, why | UNKNOWN | {""}
            elif unreachable:
                found[what] = frozenset({"UnreachableError"}), frozenset({"frozen"})
            else:
                kinds = {each.partition("(")[0] for each in why if each.startswith("crashed(")}
                kinds |= {"shutdown"} if cell.stops else set()
                errors = DEAD
                if cell.stops and cell.event == "SIGSTOP":  # the stop may take until the verdict
                    errors, kinds = errors | {"UnreachableError"}, kinds | {"frozen"}
                if kind == "spawn by":  # what the ending handler itself is told
                    errors, kinds = (
                        errors | {"RemoteError"},
                        kinds | {f"ActorDeadError: {name} is not alive"},
                    )
                found[what] = errors, why | UNKNOWN | kinds  # its own word, before its death
        if cell.stops and name in cell.hit:
            found[f"stop {name}"] = FINE, why
    return found


def mismatches(ends: dict[str, Ends], ended: dict[str, dict[str, str]]) -> list[str]:
    """What is not as expected: who waits still, who was told what is not so, or for nothing."""
    found = [f"{what} waits still" for what in ends.keys() - ended.keys()]
    for what, line in ended.items():
        if what.startswith("kill "):
            continue
        if what not in ends:
            found.append(f"{what} ended: {line['how']}, {line['why']}")
            continue
        errors, whys = ends[what]
        why = line["why"]
        if line["how"] not in errors or not (why in whys or why.partition("(")[0] in whys):
            found.append(f"{what}: {line['how']}, {why}; not {sorted(errors)}, {sorted(whys)}")
    return found
