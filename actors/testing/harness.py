"""What runs the tests of the plugin: everything that is heavy to import.

Invariants
----------
* The system is opened in the test's own trio run, before what uses it, and closed after that.
* A test ends within its bound, and says what it waited for.
* A test on processes has left nothing behind, or fails.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.abc import Clock, Instrument

from actors.opening import Opening
from actors.system import System, open_system
from actors.testing.case import OF_ONE_KIND, WALL
from actors.testing.leftovers import LeftBehindError, nothing_left
from actors.testing.lockstep import open_lockstep_system
from actors.testing.trial import Bound, run_virtually
from actors.testing.virtual import open_virtual_system
from runtime.lockstep.clock import LockstepClock
from runtime.weather.weather import Weather

if TYPE_CHECKING:
    from actors.testing.case import Case


def run(
    case: Case,
    main: Callable[[], Awaitable[object]],
    clock: Clock | None,
    instruments: Sequence[Instrument],
) -> None:
    """Run one test, its fixtures included."""
    __tracebackhide__ = True
    failure = ""
    try:
        if case.kind == "virtual":
            _run_virtually(case, main, clock, instruments)
        elif case.kind == "lockstep":
            _run_in_lockstep(case, main, instruments)
        else:
            _run_for_real(case, main, instruments)
    except trio.TooSlowError as late:
        failure = case.bound.late if case.bound is not None else ""
        if late.args != (failure,):
            raise
    except LeftBehindError as left:
        failure = str(left)
    except BaseExceptionGroup as group:
        raise _single(group) from None
    if failure:
        __tracebackhide__ = False  # else pytest says that there is nothing to be seen
        pytest.fail(failure, pytrace=False)


def _run_virtually(
    case: Case,
    main: Callable[[], Awaitable[object]],
    clock: Clock | None,
    instruments: Sequence[Instrument],
) -> None:
    __tracebackhide__ = True
    wall_s = WALL * case.duration("real_deadline_s")
    bound = case.bound = Bound(case.duration("deadline_s"), wall_s)
    instruments = (*instruments, _InOrder())
    run_virtually(_timed(case, main), bound, seed=case.seed, clock=clock, instruments=instruments)


def _run_for_real(
    case: Case, main: Callable[[], Awaitable[object]], instruments: Sequence[Instrument]
) -> None:
    __tracebackhide__ = True
    deadline_s = case.marked.get("deadline_s", case.duration("real_deadline_s"))
    bound = case.bound = Bound(deadline_s)
    with nothing_left(check=case.marked.get("leaks", True)):
        trio.run(bound.run, main, instruments=instruments)


def _run_in_lockstep(
    case: Case, main: Callable[[], Awaitable[object]], instruments: Sequence[Instrument]
) -> None:
    __tracebackhide__ = True
    wall_s = WALL * case.duration("real_deadline_s")
    bound = case.bound = Bound(case.duration("deadline_s"), wall_s)
    with nothing_left(check=case.marked.get("leaks", True)):
        clock = LockstepClock()
        trio.run(bound.run, _timed(case, main), clock=clock, instruments=instruments)


def _single(group: BaseException) -> BaseException:
    """What pytest-trio's nursery has wrapped, if it is one exception."""
    while isinstance(group, BaseExceptionGroup) and len(group.exceptions) == 1:
        notes = getattr(group, "__notes__", ())
        group = group.exceptions[0]
        for note in notes:
            group.add_note(note)
    return group


def _timed(case: Case, main: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[object]]:
    async def timed() -> None:
        __tracebackhide__ = True
        try:
            await main()
        finally:
            case.ended_s = trio.current_time()

    return timed


class _InOrder(Instrument):
    """Lets fixtures begin in the order of their names.

    pytest-trio starts them in the order of a set, that is by their addresses; with the order of
    tasks a function of the seed, that alone would make two runs differ.
    """

    def __init__(self) -> None:
        self._fresh: list[Any] = []

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        if task.name.startswith(("<fixture ", "<test ")):
            self._fresh.append(task)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if len(self._fresh) > 1 and hasattr(task, "_counter"):
            counters = sorted(each._counter for each in self._fresh)
            self._fresh.sort(key=lambda each: str(each.name))
            for each, counter in zip(self._fresh, counters, strict=True):
                each._counter = counter
        if self._fresh:
            trio.lowlevel.remove_instrument(self)


@asynccontextmanager
async def open_case(case: Case, options: Mapping[str, Any]) -> AsyncIterator[System]:
    """The system of a test."""
    options = {"output": _print, **options, **case.options}
    options = {k: v for k, v in options.items() if OF_ONE_KIND.get(k, case.kind) == case.kind}
    opening: Opening[Any]
    if case.kind == "virtual":
        if isinstance(weather := options.get("weather"), Weather):
            options["weather"] = _seeded(weather, case.seed)
        opening = open_virtual_system(**{"seed": case.seed, **options})
    elif case.kind == "lockstep":
        opening = open_lockstep_system(**{"seed": case.seed, **options})
    else:
        opening = open_system(**options)
    async with opening as system:
        system.expect_s = case.duration("expect_s")
        system.nodes.guardians.pace(case.duration("beat_s"))
        case.systems.append(system)
        if case.bound is not None:
            case.bound.system = system
        yield system


def _seeded(weather: Weather, seed: int) -> Weather:
    """The same, drawn from the seed of the run unless it has one of its own."""
    if weather.seed or weather.faults:
        return weather
    return Weather(*weather.rules, seed=seed)


def _print(name: str, line: str) -> None:
    print(f"{name}| {line}", file=sys.stderr)
