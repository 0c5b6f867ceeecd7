"""The order in which trio runs its tasks, as a function of a seed.

trio shuffles on purpose the tasks that are runnable at one instant. A simulation that is to be
replayed needs the same shuffle again.

Invariants
----------
* Inside the block, the same program with the same seed and a virtual clock runs its tasks in the
  same order; other seeds try other orders.
* After it trio's own state is what it was before.

Source: ``trio._core._run``, the switch that trio offers to Hypothesis for the same purpose. It has
no public name; without it the block does nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import trio

_SWITCH = "_ALLOW_DETERMINISTIC_SCHEDULING"


@contextmanager
def seeded_scheduling(seed: int) -> Iterator[None]:
    """Let ``seed`` decide the order of tasks."""
    run: Any = trio._core._run
    shuffler = getattr(run, "_r", None)
    if not isinstance(shuffler, Random) or not hasattr(run, _SWITCH):
        yield
        return
    state, switch = shuffler.getstate(), getattr(run, _SWITCH)
    shuffler.seed(seed)
    setattr(run, _SWITCH, True)
    try:
        yield
    finally:
        setattr(run, _SWITCH, switch)
        shuffler.setstate(state)
