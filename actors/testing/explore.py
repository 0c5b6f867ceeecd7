"""One test, from many seeds of weather, of the order of tasks, and of deaths.

    @explore(runs=500, kills=1)
    async def test_no_job_is_done_twice(system: VirtualSystem) -> None: ...

Each run has a fresh virtual system; the test may take ``system``, ``network`` and ``chaos``, and
fixtures that need no system, which all runs share. At the first run that fails, what befell it is
shrunk to the shortest list of faults that makes it fail in the same way
(`actors.testing.exploration`), and the test fails with its error and the code to paste above it:

    @explore.replay(seed=0, faults=[Delay("boss", "worker", "ask", 2, 1.0), Kill("worker", 3.0)])

What is pasted is run before anything is explored, and stays as a test of its own.

Invariants
----------
* Who is named (as a victim, in a strike or a fault, by a rule of its weather) and lives in no run
  is an error at the end, unless fewer were run than it says.
* The seeds of a test follow from its id. ``--regrow-seed`` is one, for one run, or the first of
  ``--regrow-runs``.
* It works without pytest as well: what is decorated is a plain function.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final

from actors.testing.chaos import Chaos
from actors.testing.exploration import DEFAULT, Exploration, Run
from actors.testing.settings import Settings
from actors.testing.strikes import Chance, Freeze, Kill, Strike
from actors.testing.virtual import VirtualSystem, open_virtual_system
from runtime.weather.weather import Fault, Rule, Weather

__all__ = ["Freeze", "Kill", "explore"]

Test = Callable[..., Awaitable[None]]
Explored = Callable[..., None]
SETTINGS: Final = "_regrow_exploring"
"""The plugin's fixture that has what the session says of a test."""
_PLAN: Final = "__regrow_plan__"
_SHORT: Final[Mapping[str, Callable[[VirtualSystem], Any]]] = {
    "system": lambda system: system,
    "network": lambda system: system.network,
    "chaos": Chaos,
}
_GIVEN: Final = {**_SHORT, **{f"regrow_{name}": give for name, give in _SHORT.items()}}


@dataclass(frozen=True)
class Search:
    """What ``@explore`` says."""

    runs: int
    weather: Weather | None
    chance: Chance
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Replay:
    """What ``@explore.replay`` says."""

    seed: int
    faults: tuple[Fault | Strike, ...]
    rules: tuple[Rule, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """All that is to be done with a test."""

    test: Test
    search: Search | None = None
    replays: tuple[Replay, ...] = ()

    def run(
        self, settings: Settings | None, instance: tuple[Any, ...], given: Mapping[str, Any]
    ) -> None:
        """Run it.

        Raises:
            BaseException: what the test raised; its notes say how to have that again.
            ValueError: it passed, but somebody who is named to be struck has never lived.
        """
        __tracebackhide__ = True
        names = [name for name in inspect.signature(self.test).parameters if name in _GIVEN]

        async def body(system: VirtualSystem) -> None:
            await self.test(*instance, **given, **{name: _GIVEN[name](system) for name in names})

        plain = Exploration(body, file=inspect.unwrap(self.test).__code__.co_filename)
        if settings is not None:
            plain = replace(
                plain,
                weather=settings.options.get("weather") or DEFAULT,
                unsaid=settings.options,
                bounds=settings.bounds,
                beat_s=settings.beat_s,
                expect_s=settings.expect_s,
            )
        for each in self.replays:
            as_it_was = replace(plain, weather=Weather(*each.rules), options=each.options)
            run = as_it_was.replay(each.seed, each.faults)
            if run.failure is not None:
                run.failure.add_note(f"regrow: in the replay from seed {each.seed}")
                raise _told(run, plain.file)
        if self.search is not None:
            self.explore(self.search, plain, settings)

    def explore(self, search: Search, plain: Exploration, settings: Settings | None) -> None:
        """Look for a run that fails."""
        __tracebackhide__ = True
        runs, seed, test = search.runs, 0, self.test.__name__
        if settings is not None:
            runs, seed, test = settings.runs or runs, settings.seed, settings.id
        weather = search.weather or plain.weather
        rules = search.weather.rules if search.weather is not None else ()
        found = replace(
            plain, weather=weather, chance=search.chance, options=search.options
        ).search(runs, seed, of=search.runs, rules=rules)
        if found is None:
            return
        failure = _told(found.first, plain.file)
        if settings is not None:
            settings.found.append(found.text(test, runs))
        else:
            failure.add_note(found.text(test, runs))
        raise failure


def _told(run: Run, file: str) -> BaseException:
    """Its failure, once what its nodes have printed is on stderr."""
    assert run.failure is not None
    for line in run.output:
        print(line, file=sys.stderr)
    return run.failure.with_traceback(_from(file, run.failure.__traceback__))


def _from(file: str, trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the test's file on, if it came there."""
    first = trace
    while first is not None and first.tb_frame.f_code.co_filename != file:
        first = first.tb_next
    return first or trace


class Explore:
    """The decorator; `explore` is the only one of its kind."""

    def __call__(
        self,
        *wrong: object,
        runs: int = 100,
        weather: Weather | None = None,
        kills: int = 0,
        freezes: int = 0,
        victims: Iterable[str] = (),
        within_s: float = 10.0,
        **options: Any,
    ) -> Callable[[Test | Explored], Explored]:
        """The test is run so many times, or until it fails.

        Args:
            weather: rules for what befalls messages; the seed is that of each run. Default: one of
                ten messages is up to a second late, but signs of life are not.
            kills, freezes: how many nodes at most are killed and frozen in a run.
            victims: their names; anybody, if there are none. Each must live in some run. With
                neither kills nor freezes there can be none.
            within_s: how long after the opening of the system.
            options: of `open_virtual_system`.

        Raises:
            ValueError: there is nothing to run, or a figure that makes no sense.
            TypeError: what is decorated is no ``async def``.
        """
        if wrong:
            raise TypeError("write @explore() with its brackets, and name its arguments")
        if not (isinstance(runs, int) and runs > 0):
            raise ValueError(f"runs is a number of runs, not {runs!r}")
        if weather is not None and weather.faults:
            raise ValueError(f"explore takes rules; for a list there is explore.replay: {weather}")
        _check(options)
        victims = (victims,) if isinstance(victims, str) else tuple(victims)
        search = Search(runs, weather, Chance(kills, freezes, victims, within_s), options)
        return lambda test: _decorated(replace(_plan_of(test), search=search))

    def replay(
        self,
        *,
        seed: int,
        faults: Sequence[Fault | Strike],
        rules: Sequence[Rule] = (),
        **options: Any,
    ) -> Callable[[Test | Explored], Explored]:
        """The test is run with exactly these faults, before all else.

        ``rules``: latency and throttles, see `Weather.only`. ``options``: of `open_virtual_system`.
        """
        for each in faults:
            if not isinstance(each, Fault | Strike):
                raise TypeError(f"faults are faults and strikes, not {each!r}")
        _check(options)
        replay = Replay(seed, tuple(faults), tuple(rules), options)

        def decorate(test: Test | Explored) -> Explored:
            plan = _plan_of(test)
            return _decorated(replace(plan, replays=(replay, *plan.replays)))

        return decorate


def _check(options: Iterable[str]) -> None:
    known = inspect.signature(open_virtual_system).parameters.keys() - {"seed", "weather", "fault"}
    for name in options:
        if name not in known:
            raise TypeError(f"open_virtual_system has no option {name!r} to explore with")


def _plan_of(test: Test | Explored) -> Plan:
    plan = getattr(test, _PLAN, None)
    if isinstance(plan, Plan):
        return plan
    if not inspect.iscoroutinefunction(test):
        raise TypeError(f"explore takes an async def, not {test!r}")
    return Plan(test)


def _decorated(plan: Plan) -> Explored:
    @functools.wraps(plan.test)
    def run(*instance: Any, **given: Any) -> None:
        __tracebackhide__ = True
        settings = given.pop(SETTINGS, None)
        plan.run(settings, instance, given)

    parameters = inspect.signature(plan.test).parameters.values()
    others = [each for each in parameters if each.name not in _GIVEN]
    asked = inspect.Parameter(SETTINGS, inspect.Parameter.KEYWORD_ONLY)
    vars(run)["__signature__"] = inspect.Signature([*others, asked])
    vars(run)[_PLAN] = plan
    return run


explore: Final = Explore()
