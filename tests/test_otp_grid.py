"""Supervision as in OTP: restart type x way of exit x strategy, in virtual time.

A supervisor has three children, a, b and c; b ends. The tables below say what comes of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from itertools import product
from signal import SIGTERM
from typing import Any

import pytest
import trio

from actors import Actor, ActorRef, ChildSpec, Down, Supervisor, child
from actors.supervision.record import Happened
from actors.testing.virtual import VirtualSystem
from runtime.messages.behaviour import Restart, Strategy

END_AT = 3.0
RESTARTS: tuple[Restart, ...] = ("permanent", "transient", "temporary")
STRATEGIES: tuple[Strategy, ...] = ("one_for_one", "one_for_all", "rest_for_one")


class Part(Actor):
    """Ends in every way that there is."""

    async def leave(self) -> None:
        self.finish()

    async def crash(self) -> None:
        raise ValueError("as told")

    async def crash_beside(self) -> None:
        self.nursery.start_soon(self.crash)

    async def quit(self, code: int) -> None:
        raise SystemExit(code)


class Whole(Supervisor):
    """Three children; the second is as the test says."""

    def __init__(self, restart: Restart, local: bool) -> None:
        self.restart: Restart = restart
        self.local = local

    def children(self) -> list[ChildSpec[Any]]:
        return [
            child(Part, name="a", local=self.local),
            child(Part, name="b", local=self.local, restart=self.restart),
            child(Part, name="c", local=self.local, restart="transient"),
        ]


End = Callable[[VirtualSystem, ActorRef[Part]], Awaitable[object]]


async def exit_with(code: int, system: VirtualSystem, ref: ActorRef[Part]) -> None:
    system.exit(ref, code)


async def terminate(system: VirtualSystem, ref: ActorRef[Part]) -> None:
    system.signal(ref, SIGTERM)


async def kill(system: VirtualSystem, ref: ActorRef[Part]) -> None:
    await ref.kill()


ENDS: dict[str, tuple[End, str]] = {
    "normal": (lambda _, ref: ref.tell(Part.leave), "normal"),
    "handler": (lambda _, ref: ref.tell(Part.crash), "crashed(ValueError: as told)"),
    "nursery": (lambda _, ref: ref.tell(Part.crash_beside), "crashed(ValueError: as told)"),
    "exit 0": (partial(exit_with, 0), "exited(0)"),
    "exit 3": (partial(exit_with, 3), "exited(3)"),
    "killed": (kill, "killed(SIGKILL)"),
    "SIGTERM": (terminate, "shutdown"),
    "SystemExit 0": (lambda _, ref: ref.tell(Part.quit, 0), "normal"),
    "SystemExit 3": (lambda _, ref: ref.tell(Part.quit, 3), "crashed(SystemExit: 3)"),
}
CELLS = {"killed": "killed"}  # where a cell's reason differs: no signal ended it
PROCESS_ONLY = ("exit 0", "exit 3", "SIGTERM")

NEW, DEAD, FREE = "lives again", "stays as dead", "gone from the tree"
FATES: dict[str, tuple[str, str, str]] = {  # of b: permanent, transient, temporary
    "normal": (NEW, FREE, FREE),
    "handler": (NEW, NEW, DEAD),
    "nursery": (NEW, NEW, DEAD),
    "exit 0": (NEW, DEAD, DEAD),
    "exit 3": (NEW, NEW, DEAD),
    "killed": (NEW, NEW, DEAD),
    "SIGTERM": (NEW, FREE, FREE),
    "SystemExit 0": (NEW, FREE, FREE),
    "SystemExit 3": (NEW, NEW, DEAD),
}
GROUPS: dict[Strategy, tuple[str, str]] = {  # who is stopped, who starts: in this order
    "one_for_one": ("", "b"),
    "one_for_all": ("ca", "abc"),
    "rest_for_one": ("c", "bc"),
}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("restart", RESTARTS)
@pytest.mark.parametrize(
    ("end", "local"),
    [
        pytest.param(end, local, id=f"{end}-{'cells' if local else 'processes'}")
        for end, local in product(ENDS, (False, True))
        if not (local and end in PROCESS_ONLY)
    ],
)
async def test_the_grid(
    end: str, local: bool, restart: Restart, strategy: Strategy, system: VirtualSystem
) -> None:
    how, reason = ENDS[end]
    reason = CELLS.get(end, reason) if local else reason
    fate = FATES[end][RESTARTS.index(restart)]
    stopped, started = GROUPS[strategy] if fate == NEW else ("", "")
    prefix = "top/" if local else ""
    happened: list[tuple[str, str, float]] = []

    def hear(news: Happened) -> None:
        happened.append((news.what, news.name.removeprefix(prefix), news.at))

    top = await system.spawn(Whole, restart, local, name="top", strategy=strategy)
    probe = await system.probe()
    refs = {name: await system.lookup(prefix + name, Part) for name in "abc"}
    for ref in refs.values():
        probe.monitor(ref)
    await trio.sleep_until(END_AT)
    with system.listen(hear):
        await how(system, refs["b"])
        await trio.sleep(2)
    tree = {row.name.removeprefix(prefix): row for row in await system.tree()}

    assert happened == [
        ("died", "b", END_AT),
        *([("removed", "b", END_AT)] if fate == FREE else []),
        *(("died", name, END_AT) for name in stopped),
        *(("started", name, END_AT) for name in started),
    ]
    assert [(down.ref, str(down.reason)) for down in probe.came(Down)] == [
        (refs["b"], reason),
        *((refs[name], "shutdown") for name in stopped),
    ]
    survivors = "abc" if fate != FREE else "ac"
    assert [name for name in tree if name in "abc"] == [*survivors]
    for name in survivors:
        new = tree[name].incarnation != refs[name].incarnation
        assert (name, new) == (name, name in started)
        dead = name == "b" and fate == DEAD
        assert (name, tree[name].state) == (name, "dead" if dead else "ok")
    assert [*started] == sorted(started, key=lambda name: tree[name].incarnation)
    assert tree["top"].incarnation == top.incarnation


def test_the_tables_are_whole() -> None:
    assert FATES.keys() == ENDS.keys()
    assert GROUPS.keys() == set(STRATEGIES)
