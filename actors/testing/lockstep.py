"""A system of real processes in virtual time.

    async def test_a_minute_of_restarts(lockstep_clock: LockstepClock) -> None:
        async with open_lockstep_system() as system:
            ...

The trio run needs a `LockstepClock`: as ``clock=`` of `trio.run`, or by a fixture that the test
function takes. While the system is open, time moves from deadline to deadline, and only when every
process of it is idle and no message is on its way. What that takes of the actors, and why it is
right: `runtime.lockstep.lockstep`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import trio

from actors.child_spec import check
from actors.opening import Opening
from actors.system import System, to_stderr
from runtime.lockstep.clock import LockstepClock
from runtime.lockstep.host import open_lockstep_host
from runtime.messages.behaviour import Strategy

PATIENCE_S = 30.0


def open_lockstep_system(
    *,
    seed: int = 0,
    patience_s: float = PATIENCE_S,
    output: Callable[[str, str], None] | None = None,
    strategy: Strategy = "one_for_one",
    intensity: tuple[int, float] = (5, 10.0),
) -> Opening[System]:
    """``async with open_lockstep_system() as system:`` runs one for the length of the block.

    Args:
        seed: decides how long the pauses between restarts are.
        patience_s: the real seconds for which time may stand still, since somebody computes, waits
            for the outer world or hangs. Then a `RuntimeError` that names who it is leaves the
            block. It takes the place of the 5 s of an orderly end, which are of virtual time.
        output, strategy, intensity: see `open_system`.

    Raises:
        ValueError: a strategy or an intensity that makes no sense.
        RuntimeError: the clock of this trio run is no `LockstepClock`.
    """
    check({"strategy": strategy, "intensity": intensity})
    clock = trio.lowlevel.current_clock()
    if not isinstance(clock, LockstepClock):
        raise RuntimeError(f"the clock of this trio run is {clock!r}, and no LockstepClock")
    opening = partial(open_lockstep_host, clock, patience_s, output or to_stderr)
    chance = random.Random(seed).random
    return Opening(opening, System, False, strategy, intensity, chance)
