"""The pytest plugin: a user's actors under test, on virtual or on real systems, or in between.

    async def test_a_counter_adds(system: VirtualSystem) -> None:
        counter = await system.spawn(Counter, 3)
        assert await counter.ask(Counter.add, 4) == 7

Installing the package registers it; pytest-trio runs the tests. There is nothing to configure.

Fixtures: ``regrow_system``, ``regrow_real_system``, ``regrow_lockstep_system``,
``regrow_network``, ``regrow_chaos``, ``regrow_clock`` (virtual time, with or without a system),
``regrow_seed``, ``regrow_kind``; ``regrow_lab``, hosts and wires for tests of real networks; and
``regrow_options``, for a user to override. The short names ``system``, ``real_system``,
``lockstep_system``, ``network``, ``chaos`` and ``lab`` are the same, unless a user's fixture
shadows them.

Invariants
----------
* A test that uses none of these fixtures, itself or through another, is not touched, unless it is
  marked ``regrow``: then it runs in virtual time; or, ``on="real"``, in real time, ``"lockstep"``,
  on such a clock, within the same bound as a test on processes, and must leave nothing behind.
* A session without such tests pays for this module alone: what it takes to run them is imported
  when the first of them runs.
* A keyword of the mark that nobody takes is told at the collection, with the test's name; one of
  ``regrow_options`` as well where it is a parameter, else at the set-up: no system is opened.
* Without ``--regrow-seed`` a seed is a function of the test's id.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import pytest

from actors.testing.case import DURATIONS, KINDS, WALL, Case, check_marks, marks_of, misfit, seconds
from actors.testing.settings import Settings

if TYPE_CHECKING:
    from actors.system import System
    from actors.testing.chaos import Chaos
    from actors.testing.lab import Lab
    from actors.testing.virtual import VirtualSystem
    from runtime.wires.memory import MemoryNetwork

_OF_ONE_KIND: Final = {"regrow_real_system": "real", "regrow_lockstep_system": "lockstep"}
_SHORT: Final = frozenset({"system", "real_system", "lockstep_system", "network", "chaos", "lab"})
_OURS: Final = frozenset({"regrow_seed", "regrow_kind", "regrow_clock"})
"""Each of our fixtures uses one of these."""


# -- options and marks


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("regrow", "actors under test")
    for name, (default, what) in DURATIONS.items():
        option = f"--regrow-{name.replace('_', '-')}"
        group.addoption(option, type=seconds, metavar="S", help=f"{what}; default {default:g}")
        parser.addini(f"regrow_{name}", f"{what} ({option})", default=None)
    group.addoption("--regrow-seed", type=int, metavar="N", help="the seed of every virtual run")
    group.addoption("--regrow-runs", type=int, metavar="N", help="run each test from N seeds")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "regrow(on, seed, runs, deadline_s, beat_s, expect_s, leaks, **options): how a test of "
        'actors is run. on: "virtual", "real", "lockstep" or several in a list; runs: from so many '
        "seeds, one after another; leaks=False: no leak check; options are those of what opens the "
        "system; weather takes the seed of the run.",
    )
    config.addinivalue_line("markers", "real: a test of actors on processes and sockets")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if _OURS.isdisjoint(metafunc.fixturenames):
        return
    marked = marks_of(metafunc.definition)
    on = marked.get("on", ())
    kinds = [on] if isinstance(on, str) else list(on)
    if wrong := [kind for kind in kinds if kind not in KINDS]:
        where = metafunc.definition.nodeid
        said = f"regrow: on is one of {', '.join(KINDS)}, not {wrong[0]!r}"
        raise pytest.UsageError(f"{where}: {said}")
    if kinds and "regrow_kind" in metafunc.fixturenames:
        metafunc.parametrize("regrow_kind", kinds, indirect=True)
    if (runs := _runs(metafunc.config, marked)) > 1:
        ids = [f"run{number}" for number in range(runs)]
        metafunc.parametrize("regrow_seed", range(runs), indirect=True, ids=ids)


def _runs(config: pytest.Config, marked: Mapping[str, Any]) -> int:
    """From how many seeds a test runs: one that is replayed from a seed from that alone."""
    runs: int | None = config.getoption("regrow_runs")
    if runs is None:
        runs = marked.get("runs", 1) if config.getoption("regrow_seed") is None else 1
    if not isinstance(runs, int) or runs < 1:
        raise pytest.UsageError(f"regrow: runs is a number of seeds, not {runs!r}")
    return runs


# -- which tests


EXPLORING = pytest.StashKey[Settings]()
CASE = pytest.StashKey[Case]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        if "regrow_lab" in item.fixturenames:
            item.add_marker("real")
        if not _ours(item):
            if hasattr(item.obj, "__regrow_plan__"):
                check_marks(item, "virtual", marks_of(item))
            continue
        params: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
        marked = marks_of(item)
        kind = params.get("regrow_kind", _kind_of(item, marked))
        check_marks(item, kind, marked)
        if "regrow_options" in params and (why := misfit(kind, params["regrow_options"])):
            raise pytest.UsageError(f"{item.nodeid}: {why}")
        case = Case(item, kind, marked, params.get("regrow_seed", 0))
        item.stash[CASE] = case
        if kind != "virtual":
            item.add_marker("real")
        if _runner(config) and inspect.iscoroutinefunction(item.function):
            item.add_marker(pytest.mark.trio(run=_run_of(case)))


def _ours(item: pytest.Function) -> bool:
    """Whether it uses one of our fixtures, or the mark alone."""
    if not _OURS.isdisjoint(item.fixturenames):
        return True
    marked = item.get_closest_marker("regrow") is not None
    return marked and inspect.iscoroutinefunction(item.function)


def _kind_of(item: pytest.Function, marked: Mapping[str, Any]) -> str:
    """Of a test that has no parameter for it."""
    on = marked.get("on", "virtual")
    if _OURS.isdisjoint(item.fixturenames):
        kind = on if isinstance(on, str) else on[0] if len(on) == 1 else "virtual"
        if kind not in KINDS:
            raise pytest.UsageError(f"regrow: on is one of {', '.join(KINDS)}, not {kind!r}")
        return str(kind)
    kinds = [kind for name, kind in _OF_ONE_KIND.items() if name in item.fixturenames]
    return kinds[0] if kinds else "virtual"


def _runner(config: pytest.Config) -> bool:
    """Whether pytest-trio is there to run tests."""
    names = ("trio", "pytest_trio", "pytest_trio.plugin")
    return any(config.pluginmanager.hasplugin(name) for name in names)


def _run_of(case: Case) -> Callable[..., object]:
    """In the place of ``trio.run``, for one test."""

    def run(main: Callable[[], Any], *, clock: Any = None, instruments: Any = ()) -> None:
        __tracebackhide__ = True
        from actors.testing.harness import run

        own: Any = case.item.funcargs.get("regrow_clock")
        run(case, main, clock or own, instruments)

    return run


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    case = item.stash.get(CASE, None)
    if case is None:
        return
    why = ""
    names = case.item.fixturenames
    if not _runner(item.config):
        why = "it takes pytest-trio: pip install 'regrow[pytest]'"
    elif hasattr(case.item.obj, "hypothesis"):
        why = "a Hypothesis test runs many times in one: call actors.testing.trial.run_trial in it"
    elif hasattr(case.item.obj, "__regrow_plan__"):
        why = "explore opens a system for each run, and a fixture has none"
    elif not inspect.iscoroutinefunction(case.item.function):
        why = "the test must be an async def"
    elif any(kind != case.kind for name, kind in _OF_ONE_KIND.items() if name in names) or (
        "regrow_system" in names and not _OF_ONE_KIND.keys().isdisjoint(names)
    ):
        why = "a test has one system: regrow_system (on=[...] says which kind) or one of the others"
    elif case.kind != "virtual" and ("regrow_network" in names or "regrow_clock" in names):
        why = f"there is no weather and no clock that jumps on a {case.kind} system"
    elif case.kind != "real" and "regrow_lab" in names:
        why = f"there are no hosts on a {case.kind} system: real_system"
    if why:
        uses = ["pytest.mark.regrow"] if _OURS.isdisjoint(names) else []
        uses += sorted(_SHORT.intersection(names))
        uses += sorted(name for name in names if name.startswith("regrow_"))
        pytest.fail(f"{case.id} uses {', '.join(uses)}: {why}", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    case = item.stash.get(CASE, None)
    if case is not None and call.when == "call" and report.failed:
        report.sections.extend(case.sections())
    settings = item.stash.get(EXPLORING, None)
    if settings is not None and call.when == "call" and report.failed:
        report.sections.extend(("regrow: explored", text) for text in settings.found)
    return report


# -- fixtures


def _case(request: pytest.FixtureRequest) -> Case:
    case: Case = request.node.stash[CASE]
    return case


def _check(request: pytest.FixtureRequest, kind: str, options: object) -> None:
    if why := misfit(kind, options):
        pytest.fail(f"{request.node.nodeid}: {why}", pytrace=False)


@pytest.fixture
def regrow_seed(request: pytest.FixtureRequest) -> int:
    """The seed of this test's run."""
    return _case(request).seed


@pytest.fixture
def regrow_kind(request: pytest.FixtureRequest, regrow_seed: int) -> str:
    """Which kind of system this test runs on: "virtual", "real" or "lockstep"."""
    return _case(request).kind


@pytest.fixture
def regrow_clock(regrow_seed: int) -> Any:
    """The virtual clock of this test, a trio.testing.MockClock. A test that uses it, and no system,
    runs in virtual time all the same."""
    from trio.testing import MockClock

    return MockClock(autojump_threshold=0.0)


@pytest.fixture
def regrow_options() -> dict[str, Any]:
    """Keywords that open the system. Override it to have others."""
    return {}


@pytest.fixture
def _regrow_exploring(request: pytest.FixtureRequest, regrow_options: dict[str, Any]) -> Any:
    """What `actors.testing.explore` is to know of this session."""
    _check(request, "virtual", regrow_options)
    case = Case(request.node, "virtual", marks_of(request.node))
    runs, seed = (request.config.getoption(f"regrow_{name}") for name in ("runs", "seed"))
    wall_s = WALL * case.duration("real_deadline_s")
    settings = request.node.stash[EXPLORING] = Settings(
        case.id,
        case.seed,
        runs if seed is None else runs or 1,
        {**regrow_options, **case.options},
        {"deadline_s": case.duration("deadline_s"), "wall_s": wall_s},
        case.duration("beat_s"),
        case.duration("expect_s"),
    )
    return settings


@pytest.fixture
def _regrow_checked(
    request: pytest.FixtureRequest, regrow_kind: str, regrow_options: dict[str, Any]
) -> dict[str, Any]:
    """The options, each of which somebody takes: no async fixture, so that it is an error of the
    set-up."""
    _check(request, regrow_kind, regrow_options)
    return regrow_options


@pytest.fixture
async def _regrow_running(
    request: pytest.FixtureRequest, _regrow_checked: dict[str, Any]
) -> AsyncIterator[Any]:
    from actors.testing.harness import open_case

    async with open_case(_case(request), _regrow_checked) as system:
        yield system


@pytest.fixture
def regrow_system(_regrow_running: VirtualSystem) -> VirtualSystem:
    """A system in virtual time, in this process: a minute of heartbeats costs milliseconds. With
    pytest.mark.regrow(on=["virtual", "real", "lockstep"]) the test runs on the others, too."""
    return _regrow_running


@pytest.fixture
def regrow_real_system(_regrow_running: System) -> System:
    """A system of processes and sockets; the test is marked real, and must leave nothing behind."""
    return _regrow_running


@pytest.fixture
def regrow_lockstep_system(_regrow_running: System) -> System:
    """A system of processes in virtual time, which moves when all are idle; see
    actors.testing.lockstep. The test is marked real, and must leave nothing behind."""
    return _regrow_running


@pytest.fixture
def regrow_network(regrow_system: VirtualSystem) -> MemoryNetwork:
    """The network of the virtual system, and its weather."""
    return regrow_system.network


@pytest.fixture
def regrow_chaos(_regrow_running: System) -> Chaos:
    """What can befall nodes, by their refs: kill, freeze, thaw, ... On any kind of system."""
    from actors.testing.chaos import Chaos

    return Chaos(_regrow_running)


@pytest.fixture
def regrow_lab() -> Iterator[Lab]:
    """Hosts that are network namespaces, and wires between them; see actors.testing.lab. The test
    is marked real, and skipped where there can be none."""
    from actors.testing.lab import missing, open_lab

    if why := missing("nft", "tc"):
        pytest.skip(why)
    with open_lab() as lab:
        yield lab


@pytest.fixture
def system(regrow_system: VirtualSystem) -> VirtualSystem:
    """The same as regrow_system."""
    return regrow_system


@pytest.fixture
def real_system(regrow_real_system: System) -> System:
    """The same as regrow_real_system."""
    return regrow_real_system


@pytest.fixture
def lockstep_system(regrow_lockstep_system: System) -> System:
    """The same as regrow_lockstep_system."""
    return regrow_lockstep_system


@pytest.fixture
def network(regrow_network: MemoryNetwork) -> MemoryNetwork:
    """The same as regrow_network."""
    return regrow_network


@pytest.fixture
def chaos(regrow_chaos: Chaos) -> Chaos:
    """The same as regrow_chaos."""
    return regrow_chaos


@pytest.fixture
def lab(regrow_lab: Lab) -> Lab:
    """The same as regrow_lab."""
    return regrow_lab
