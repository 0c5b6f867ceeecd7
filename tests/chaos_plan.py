"""What a run of chaos does: a list of operations, drawn from a seed before anything is started.

An operation names its actors by fixed names, whoever holds them when its turn comes, if anybody
does. So an operation means the same when others before it are left out, and a list that fails
can be made smaller.

Invariants
----------
* The same seed and length give the same list, in every process.
* Pure: no clock, no system.
"""

from __future__ import annotations

from random import Random

import msgspec

from runtime.messages.behaviour import Restart, Strategy

NODES = [f"n{number}" for number in range(7)]
LOCALS = [f"n{number}/l" for number in range(4)]
LISTED = ["f", "f-a", "f-b", "f-c"]
BORN = [f"n{number}-c" for number in range(4)]
NAMES = [*NODES, *NODES, *NODES, *LOCALS, *LISTED, *BORN]

BEARS, STUMBLES, SLOW = 1, 2, 4
"""Tags of an actor: its on_start spawns a child; fails at every third start; takes 0.05 s."""


class Talk(msgspec.Struct, frozen=True):
    """What one says to another; ``deadline_s`` 0: no deadline; ``after``: items until it leaves."""

    kind: str
    nap_s: float = 0.0
    count: int = 1
    size: int = 0
    deadline_s: float = 0.0
    after: int = 0


class Birth(msgspec.Struct, frozen=True):
    """How a child is spawned."""

    name: str
    tag: int = 0
    restart: Restart = "permanent"
    strategy: Strategy = "one_for_one"
    generous: bool = True
    each_message: bool = False
    local: bool = False
    family: bool = False


class Op(msgspec.Struct, frozen=True, omit_defaults=True):
    """One operation; what it leaves out does not concern it. ``pause_s``: until the next one.

    ``which``: the present holder of the name, the one ``before``, or whoever will hold it.
    """

    kind: str
    who: str = ""
    whom: str = ""
    which: str = "present"
    talk: Talk | None = None
    birth: Birth | None = None
    seconds: float = 0.0
    code: int = 0
    pause_s: float = 0.0

    def __str__(self) -> str:
        return msgspec.json.encode(self).decode()


SAYINGS = (
    "ask", "ask", "ask", "tell", "tell", "tell", "burst", "stream", "stream", "linger", "dwell",
    "refuse", "misfit",
)  # fmt: skip
WEIGHTS = {
    "spawn": 14, "grow": 8, "local": 7, "unnamed": 3, "family": 2,
    "talk": 16, "act": 40, "crowd": 8, "relay": 8, "monitor": 12, "demonitor": 2, "link": 4,
    "kill": 7, "crash": 3, "leave": 2, "quit": 2, "vanish": 2, "term": 2, "segv": 1,
    "freeze": 5, "hang": 4, "stop": 3, "destroy": 2, "restart": 4,
    "cancel": 6, "lookup": 2, "tree": 1, "wait": 3, "audit": 2, "trace": 2, "why": 1, "letters": 1,
}  # fmt: skip
GROWING = 10
"""So many spawns come first."""


def draw(seed: str, count: int, *, pace_s: float = 0.15) -> list[Op]:
    """``count`` operations, ``pace_s`` apart on average."""
    rng = Random(seed)
    kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
    return [
        _draw(rng, "spawn" if number < GROWING else rng.choices(kinds, weights)[0], pace_s)
        for number in range(count)
    ]


def _draw(rng: Random, kind: str, pace_s: float) -> Op:
    pause_s = rng.choice((0.0, 0.0, round(4 * pace_s * rng.random(), 3), round(pace_s, 3)))
    who, whom = rng.choice(NAMES), rng.choice(NAMES)
    which = rng.choices(("present", "before", "following"), (8, 1, 2))[0]
    talk = birth = None
    if kind in ("talk", "act", "crowd"):
        talk = _talk(rng)
    elif kind == "relay":
        talk = Talk("relay", round(0.1 * rng.random(), 3), deadline_s=round(2 * rng.random(), 3))
    elif kind in ("spawn", "grow", "local", "unnamed", "family"):
        birth = _birth(rng, kind, who)
        if kind == "local":
            whom = rng.choice(LOCALS).partition("/")[0]
    return Op(
        kind,
        who,
        whom,
        which,
        talk,
        birth,
        seconds=round(rng.choice((0.3, 1.5, 4.0)) * rng.random(), 3),
        code=rng.randrange(4),
        pause_s=pause_s,
    )


def _talk(rng: Random) -> Talk:
    kind = rng.choice(SAYINGS)
    size = rng.choice((0, 0, 100, 5000, 60_000))
    most = 300 if size < 60_000 else 20
    return Talk(
        kind,
        nap_s=rng.choice((0.0, 0.0, 0.0, round(0.2 * rng.random(), 3))),
        count=rng.choice((1, 3, rng.randrange(most))),
        size=size,
        deadline_s=rng.choice((0.0, 0.0, round(rng.random(), 3))),
        after=rng.choice((0, rng.randrange(20))),
    )


def _birth(rng: Random, kind: str, name: str) -> Birth:
    strategies: tuple[Strategy, ...] = ("one_for_one", "one_for_one", "one_for_all", "rest_for_one")
    restarts: tuple[Restart, ...] = ("permanent", "permanent", "transient", "temporary")
    if kind == "unnamed":
        name = ""
    elif kind == "local":
        name = "l"
    elif kind == "family":
        name = "f"
    elif name not in NODES:
        name = rng.choice(NODES)
    tag = rng.choice((0, 0, 0, BEARS, STUMBLES, SLOW, BEARS | SLOW))
    return Birth(
        name,
        tag=tag if kind in ("spawn", "grow") else 0,
        restart=rng.choice(restarts),
        strategy=rng.choice(strategies),
        generous=rng.random() < 0.8,
        each_message=rng.random() < 0.1,
        local=kind == "local",
        family=kind == "family",
    )
