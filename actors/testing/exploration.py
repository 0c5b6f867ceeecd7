"""Looking for a run of a test that fails, and for the least that makes it fail.

    exploration = Exploration(body)
    found = exploration.search(runs=500)
    assert found is None, found.text("test_it.py::test_it")

Invariants
----------
* A run follows from the body, its seed, and either the chances of weather and strikes, which are
  drawn from the seed, or a list of faults; the list of what befell the one makes the other.
* Two failures are the same if they are of one type and came through the same innermost line of the
  body's file; of a group, all in it.
* What is found fails as it did at first: nothing that does not fail again is shrunk.
* Who is named as a victim lives in one run at least, or the search that found nothing is an error.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Final

import msgspec

from actors.supervision.record import Happened
from actors.testing.absence import check_lived, in_faults, in_rules
from actors.testing.shrinking import Trying, shortest, simpler, simplest
from actors.testing.strikes import Chance, Drawn, Strike, struck
from actors.testing.trial import run_trial
from actors.testing.virtual import VirtualSystem
from runtime.errors import RemoteError
from runtime.weather.weather import Fault, Rule, Weather

Body = Callable[[VirtualSystem], Awaitable[object]]
Faults = Iterable[Fault | Strike]
TRIES: Final = 250
"""So many lists of faults are tried."""
CALM_SEEDS: Final = 20
"""So many orders of tasks are tried without any fault."""
SEEDS: Final = 5
"""So many seeds are tried in place of the one that was found."""
DEFAULT: Final = Weather(kinds=("control", "user"), delay=0.1, delay_s=(0.0, 1.0))
CALM: Final = Chance()
NOT_AGAIN: Final = (
    "but not in the same way from the same seed: the test depends on what is not in its system"
)
NOT_LISTED: Final = "but the list of its faults does not bring it back: the test made its weather"
_NO_FAILURES: Final = {"Exit", "Skipped"}
"""What a test runner's own exceptions are called."""


@dataclass(frozen=True)
class Run:
    """What became of one run, what befell it, what its nodes printed, and which have lived."""

    seed: int
    failure: BaseException | None
    faults: list[Fault | Strike]
    output: list[str]
    lived: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Found:
    """The first run that failed, and the least that fails in the same way.

    ``runs``: how many there were, itself included. ``but``: why it could not be shrunk.
    ``few``: what is enough, with ``seed``; ``tries``: how many lists it took to find that.
    """

    first: Run
    runs: int
    but: str = ""
    seed: int = 0
    few: list[Fault | Strike] = field(default_factory=list)
    tries: int = 0
    rules: tuple[Rule, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def text(self, test: str = "", of: int = 0) -> str:
        """How to have it again. ``test``: its id. ``of``: how many runs there would have been."""
        many = f"run {self.runs} of {of or self.runs}, with seed {self.first.seed}, failed"
        itself = f'pytest "{test}" --regrow-seed {self.first.seed}'
        if self.but:
            return f"{many}, {self.but}.\nThe run itself: {itself}"
        verb = "is" if len(self.few) == 1 else "are"
        enough = f"{len(self.few)} of its {len(self.first.faults)} faults {verb} enough"
        if not self.few:
            enough = "the order of tasks is enough, without any fault"
        return (
            f"{many}; {enough}. Pasted above the test, this replays it:\n\n"
            f"{self.code()}\n\nThe run itself: {itself}"
        )

    def code(self) -> str:
        """A decorator that replays it, with its imports."""
        ours = {type(each).__name__ for each in self.few if isinstance(each, Strike)}
        theirs = {type(each).__name__ for each in self.few if isinstance(each, Fault)}
        theirs |= {"Rule"} if self.rules else set()
        lines = [f"from actors.testing.explore import {', '.join([*sorted(ours), 'explore'])}"]
        lines += (
            [f"from runtime.weather.weather import {', '.join(sorted(theirs))}"] if theirs else []
        )
        lines += ["", "@explore.replay(", f"    seed={self.seed},"]
        lines += ["    faults=["] if self.few else ["    faults=[],"]
        lines += [f"        {_spelled(each)}," for each in self.few]
        lines += ["    ],"] if self.few else []
        lines += [f"    rules=[{', '.join(map(repr, self.rules))}],"] if self.rules else []
        lines += [f"    {name}={value!r}," for name, value in self.options.items()]
        return "\n".join([*lines, ")"])


def _spelled(fault: Fault | Strike) -> str:
    values = msgspec.structs.astuple(fault)
    words = (json.dumps(each) if isinstance(each, str) else repr(each) for each in values)
    return f"{type(fault).__name__}({', '.join(words)})"


@dataclass(frozen=True)
class Exploration:
    """Of one body.

    Args:
        options: keywords of `open_virtual_system`; ``unsaid`` are those that the code to have a
            run again does not say, for they hold there, too.
        bounds: ``deadline_s`` and ``wall_s`` of `actors.testing.trial.run_trial`.
        beat_s, expect_s: of its systems; None for the usual.
        file: where the test is.
    """

    body: Body
    weather: Weather = DEFAULT
    chance: Chance = CALM
    options: Mapping[str, Any] = field(default_factory=dict)
    unsaid: Mapping[str, Any] = field(default_factory=dict)
    bounds: Mapping[str, Any] = field(default_factory=dict)
    beat_s: float | None = None
    expect_s: float | None = None
    file: str = ""

    def search(
        self,
        runs: int,
        seed: int = 0,
        most: int = TRIES,
        *,
        of: int = 0,
        rules: Iterable[Rule] = (),
    ) -> Found | None:
        """The first of so many runs that fails, from ``seed`` on, shrunk.

        Args:
            of: how many runs there would be, if these are fewer: then nobody is missed.
            rules: those whose names should live, as victims should.

        Raises:
            ValueError: none failed, and somebody who is named has lived in none.
            BaseException: what a test runner raises to skip a test.
        """
        __tracebackhide__ = True
        lived: set[str] = set()
        for number in range(runs):
            run = self.run(seed + number)
            if run.failure is not None:
                return self._shrink(run, number + 1, most)
            lived |= run.lived
        if runs >= of:
            named = [(name, "victims") for name in self.chance.victims]
            check_lived([*named, *in_rules(rules)], lived, f"any of {runs} runs")
        return None

    def replay(self, seed: int, faults: Iterable[Fault | Strike]) -> Run:
        """One run with these faults.

        Raises:
            ValueError: it did not fail, and somebody whom they name has not lived.
        """
        __tracebackhide__ = True
        listed = list(faults)
        run = self.run(seed, listed)
        if run.failure is None:
            check_lived(in_faults(listed), run.lived, f"the replay from seed {seed}")
        return run

    def run(self, seed: int, faults: Faults | None = None) -> Run:
        """One run: with these faults, or by chance."""
        listed = None if faults is None else list(faults)
        weather = Weather(*self.weather.rules, seed=seed)
        strikes: Iterable[Strike | Drawn] = self.chance.draw(seed)
        if listed is not None:
            here = [each for each in listed if isinstance(each, Fault)]
            weather = Weather.only(here, *self.weather.rules)
            strikes = [each for each in listed if isinstance(each, Strike)]
        befell: list[Fault | Strike] = []
        lived: set[str] = set()

        def hear(happened: Happened) -> None:
            lived.add(happened.name)

        async def body(system: VirtualSystem) -> None:
            if self.beat_s is not None:
                system.nodes.guardians.pace(self.beat_s)
            if self.expect_s is not None:
                system.expect_s = self.expect_s
            lived.update(system.nodes.records)
            with struck(system, strikes) as done, system.listen(hear):
                try:
                    await self.body(system)
                finally:
                    befell.extend(system.network.faults)
                    befell.extend(done)

        output: list[str] = []
        said: dict[str, Any] = {"output": lambda name, line: output.append(f"{name}| {line}")}
        world = {**said, **self.unsaid, **self.options, **self._mended(), "weather": weather}
        outcome = run_trial(body, seed=seed, **self.bounds, **world)
        if type(outcome.failure).__name__ in _NO_FAILURES and outcome.failure is not None:
            raise outcome.failure
        lived.update(name for name, _ in in_faults(befell))  # some have died before they were up
        nodes = frozenset(name for name in lived if "/" not in name)
        return Run(seed, outcome.failure, befell, output, nodes)

    def _mended(self) -> dict[str, bool]:
        """With fewer faults the links are to stay as they are."""
        if self.weather.breaks_order and "reliable" not in {**self.unsaid, **self.options}:
            return {"reliable": True}
        return {}

    def _shrink(self, first: Run, runs: int, most: int) -> Found:
        assert first.failure is not None
        wanted = self.place(first.failure)

        def like_it(exploration: Exploration, seed: int, faults: Faults | None) -> bool:
            failure = exploration.run(seed, faults).failure
            return failure is not None and self.place(failure) == wanted

        seeds: dict[tuple[Fault | Strike, ...], int] = {}

        def fails(faults: list[Fault | Strike]) -> bool:
            for seed in (first.seed, *range(2 if faults else CALM_SEEDS)):
                if like_it(self, seed, faults):
                    seeds[tuple(faults)] = seed
                    return True
            return False

        if not like_it(self, first.seed, None):
            return Found(first, runs, NOT_AGAIN)
        trying = Trying(fails, most)
        if not trying(first.faults):
            return Found(first, runs, NOT_LISTED)
        few = simplest(shortest(first.faults, trying), trying, simpler)
        for replay in self._replays():
            for seed in (*range(SEEDS), seeds[tuple(few)]):
                if like_it(replay, seed, few):
                    rules = replay.weather.rules
                    return Found(first, runs, "", seed, few, trying.tries, rules, replay.options)
        return Found(first, runs, NOT_AGAIN)

    def _replays(self) -> Iterator[Exploration]:
        """How the code that is printed might run the test, the shortest code first."""
        rules = tuple(rule.without_chance() for rule in self.weather.rules)
        if not any(rule.latency_s or _throttles(rule) for rule in rules):
            rules = ()
        yield replace(self, weather=Weather(*rules))
        if mended := self._mended():
            yield replace(self, weather=Weather(*rules), options={**self.options, **mended})

    def place(self, failure: BaseException) -> tuple[object, ...]:
        """What makes two failures the same."""
        if isinstance(failure, BaseExceptionGroup):
            return tuple(sorted({repr(self.place(each)) for each in failure.exceptions}))
        frames = list(_frames(failure.__traceback__))
        here = [each for each in frames if each[0] == self.file] or frames
        theirs = failure.type_name if isinstance(failure, RemoteError) else ""
        return (type(failure).__qualname__, theirs, *here[-1:])


def _frames(trace: TracebackType | None) -> Iterator[tuple[str, int]]:
    while trace is not None:
        yield trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next


def _throttles(rule: Rule) -> bool:
    return min(rule.bytes_per_s, rule.messages_per_s) < float("inf")
