"""What several test files share."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest

from actors import system
from actors.testing.leftovers import nothing_left
from runtime.wires.net import Net, check_net
from tests import scenario_play
from tests.matrix_cells import sampled
from tests.real import OVER
from tests.scenario import Scenario
from tests.scenario_run import Outcome

pytest_plugins = ["actors.testing.plugin", "pytester"]
hypothesis.settings.register_profile("regrow", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("regrow")


@pytest.fixture
def home() -> Iterator[str]:
    """Where the run folders are of a test that the harness does not run. Nothing may be left."""
    with nothing_left():
        yield os.environ["XDG_RUNTIME_DIR"]


# The kill matrix takes minutes: it is run when it is named.


def pytest_addoption(parser: pytest.Parser) -> None:
    how = "the transport of real systems that are not said to have another"
    parser.addoption("--over", choices=["ipc", "tcp", "mptcp"], default="ipc", help=how)
    group = parser.getgroup("kill matrix")
    group.addoption("--matrix-sample", metavar="SEED", help="its core and a tenth of the rest")
    group.addoption("--matrix-results", metavar="FILE", help="append what was seen, as JSON lines")


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started by a script in its background,
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which the programs would inherit
    over = config.getoption("--over")
    if over != "ipc":

        def check(kind: str, *rest: Any) -> Net:
            return check_net(over if kind == "ipc" else kind, *rest)

        vars(system)["check_net"] = check
        OVER.extend(["--transport", over])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _leave_out_scenarios(config, items)
    seed = config.getoption("--matrix-sample")
    marks = config.getoption("-m") or ""
    named = any("test_matrix" in arg for arg in config.invocation_params.args)
    if seed is None and (named or "matrix" in marks or "core" in marks):
        return

    def wanted(item: pytest.Item) -> bool:
        if item.get_closest_marker("matrix") is None:
            return True
        if seed is None:
            return False
        cell = item.callspec.params["cell"]  # type: ignore[attr-defined]
        return item.get_closest_marker("core") is not None or sampled(cell, seed)

    left_out = [item for item in items if not wanted(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if wanted(item)]


# Of the path-manager scenarios, which take minutes too, one a group is run unless they are named.


def _leave_out_scenarios(config: pytest.Config, items: list[pytest.Item]) -> None:
    marks = config.getoption("-m") or ""
    if "scenario" in marks or any("test_scenario" in a for a in config.invocation_params.args):
        return
    left_out = [
        item
        for item in items
        if item.get_closest_marker("scenario") and not item.get_closest_marker("core")
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def outcome(scenario: Scenario, request: pytest.FixtureRequest) -> Outcome:
    """How a scenario ended."""
    return scenario_play.outcome_of(scenario, request.session)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if said := scenario_play.summary():
        terminalreporter.line(said)
    why_not = scenario_play.WHY_NOT
    skipped = [str(each.longrepr) for each in terminalreporter.stats.get("skipped", [])]
    if why_not and (count := sum(why_not in each for each in skipped)):
        terminalreporter.line(f"{count} tests of Multipath TCP were skipped: {why_not}")


@pytest.fixture
def matrix_result(request: pytest.FixtureRequest) -> Callable[[dict[str, Any]], None]:
    """Note what was seen of one cell, for `tests.matrix_table`."""
    path = request.config.getoption("--matrix-results")

    def note(seen: dict[str, Any]) -> None:
        if path is not None:
            with open(path, "a") as results:
                results.write(json.dumps(seen) + "\n")

    return note
