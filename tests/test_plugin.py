"""The pytest plugin, as a user meets it: each test here runs sessions of its own."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from actors import Actor, System, open_system
from actors.testing import chaos, explore, harness
from actors.testing.case import OF_ONE_KIND, OPTIONS
from actors.testing.lockstep import open_lockstep_system
from actors.testing.virtual import open_virtual_system
from actors.testing.waiting import picture

# Sessions in this process leave no module behind: what they share is imported before them.
LOADED = (chaos, explore, harness)
ROOT = Path(__file__).parent.parent
PLAIN = """
import pytest
import trio
from actors import Actor, Down

class Counter(Actor):
    def __init__(self, start: int = 0) -> None:
        self.value = start

    async def add(self, amount: int) -> int:
        self.value += amount
        return self.value

    async def wait(self) -> None:
        await trio.sleep_forever()
"""


class Waiting(Actor):
    """Waits."""

    async def wait(self) -> None:
        await trio.sleep_forever()


def run(pytester: pytest.Pytester, tests: str, *options: str) -> pytest.RunResult:
    """A session in this process, with a file of these tests."""
    if tests:
        pytester.makepyfile(test_it=PLAIN + tests)
    return pytester.runpytest_inprocess(
        "-p", "actors.testing.plugin", "-p", "no:cacheprovider", *options
    )


def output(result: pytest.RunResult) -> str:
    return "\n".join(result.outlines + result.errlines)


def folder_with_the_package_installed(tmp_path: Path) -> Path:
    """What pip leaves of our entry points: so pytest finds the plugin by itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    info = tmp_path / "site" / "regrow-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: regrow\nVersion: 0\n")
    lines = [f"{name} = {at}" for name, at in project["entry-points"]["pytest11"].items()]
    (info / "entry_points.txt").write_text("[pytest11]\n" + "\n".join(lines) + "\n")
    return info.parent


def in_a_process(tmp_path: Path, tests: str, *options: str) -> subprocess.CompletedProcess[str]:
    """A session in a fresh folder and an interpreter of its own, the package being installed."""
    site = folder_with_the_package_installed(tmp_path)
    (tmp_path / "test_it.py").write_text(tests)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{site}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# -- nothing to configure


def test_it_works_in_a_fresh_folder(tmp_path: Path) -> None:
    ran = in_a_process(
        tmp_path,
        PLAIN
        + """
async def test_a_counter_adds(system):
    counter = await system.spawn(Counter, 3)
    await trio.sleep(3600 / 10)
    assert await counter.ask(Counter.add, 4) == 7

@pytest.mark.regrow
async def test_marked():
    await trio.sleep(3600 / 10)
    assert trio.current_time() == 360.0

@pytest.mark.regrow
def test_no_coroutine(): ...
""",
        "--strict-markers",
        "-W", "error",
    )  # fmt: skip
    assert "3 passed" in ran.stdout, ran.stdout + ran.stderr


def test_a_session_without_its_fixtures_is_left_alone(tmp_path: Path) -> None:
    ran = in_a_process(
        tmp_path,
        """
import sys
import pytest

def test_nothing_heavy_was_imported():
    assert "actors.testing.plugin" in sys.modules
    assert not {"trio", "zmq", "msgspec", "actors.system"} & set(sys.modules)

def test_there_is_no_mark(request):
    assert [mark.name for mark in request.node.iter_markers()] == []

async def test_async():
    pass

@pytest.fixture
def system():
    return "mine"

def test_a_fixture_of_ones_own(system):
    assert system == "mine"
""",
        "-p", "no:trio", "-p", "no:hypothesispytest", "-p", "no:anyio",
    )  # fmt: skip
    assert "async def functions are not natively supported" in ran.stdout
    assert "1 failed, 3 passed" in ran.stdout, ran.stdout + ran.stderr


def test_without_pytest_trio_its_fixtures_say_what_is_missing(pytester: pytest.Pytester) -> None:
    result = run(pytester, "async def test_it(chaos): ...\ndef test_other(): ...\n"
                 "@pytest.mark.regrow\nasync def test_marked(): ...", "-p", "no:trio")  # fmt: skip
    result.assert_outcomes(errors=2, passed=1)
    assert "test_it.py::test_marked uses pytest.mark.regrow: it takes" in output(result)
    assert (
        "test_it.py::test_it uses chaos, regrow_chaos, regrow_kind, regrow_options, regrow_seed: "
        "it takes pytest-trio: pip install 'regrow[pytest]'"
    ) in output(result)


def test_its_marks_and_fixtures_are_known(pytester: pytest.Pytester) -> None:
    assert "@pytest.mark.regrow(on, seed," in output(run(pytester, "", "--markers"))
    shown = output(run(pytester, "", "--fixtures"))
    for name in ("regrow_system", "regrow_real_system", "regrow_network", "regrow_chaos", "chaos"):
        assert re.search(rf"^{name} --", shown, re.MULTILINE), name


# -- fixtures


def test_short_names_are_the_users_to_shadow(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
@pytest.fixture
def network():
    return "mine"

@pytest.fixture
async def system(regrow_system):
    regrow_system.counter = await regrow_system.spawn(Counter, 41)
    yield regrow_system
    assert trio.current_time() == 60.0

@pytest.fixture
async def counter(system):
    return system.counter

async def test_it(counter, network, regrow_network, regrow_system, system, chaos):
    assert network == "mine"
    assert system is regrow_system
    assert regrow_network is system.network
    assert await counter.ask(Counter.add, 1) == 42
    await chaos.kill(counter)
    await trio.sleep(60)
""",
    )
    result.assert_outcomes(passed=1)


def test_virtual_time_can_be_had_without_a_system(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
import random

async def test_it(regrow_clock, regrow_seed):
    assert random.random() == random.Random(regrow_seed).random()
    await trio.sleep(300)
    regrow_clock.jump(200)
    assert trio.current_time() == 500.0

@pytest.fixture
async def late(regrow_clock):
    await trio.sleep(300)

async def test_through_a_fixture(late):
    assert trio.current_time() == 300.0
""",
        "-o", "trio_mode=true",
    )  # fmt: skip
    result.assert_outcomes(passed=2)


def test_options_of_the_system_are_a_fixture_or_a_mark(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
@pytest.fixture
def regrow_options():
    return {"intensity": (0, 1.0), "fault": lambda source, target, frames: (0.1,)}

async def test_it(system):
    counter = await system.spawn(Counter, restart="permanent")
    assert trio.current_time() > 0.1
    system.kill(counter)
    await trio.sleep(10)
    assert [row.state for row in await system.tree()] == ["given up"]

@pytest.mark.parametrize("state", [
    "given up", pytest.param("ok", marks=pytest.mark.regrow(intensity=(9, 1.0))),
])
@pytest.mark.regrow(intensity=(0, 1.0))
async def test_by_a_parameter(system, state):
    counter = await system.spawn(Counter, restart="permanent")
    system.kill(counter)
    await trio.sleep(10)
    assert [row.state for row in await system.tree()] == [state]

@pytest.mark.regrow(intensity=(9, 1.0), fault=lambda source, target, frames: (0.0,))
async def test_marked(system):
    counter = await system.spawn(Counter, restart="permanent")
    assert trio.current_time() == 0.0
    system.kill(counter)
    await trio.sleep(10)
    assert [row.state for row in await system.tree()] == ["ok"]

""",
    )
    result.assert_outcomes(passed=4)


@pytest.mark.parametrize("how", ["system", "explored", "lockstep", "real"])
def test_an_option_of_the_fixture_that_nobody_takes_is_told_with_those_that_are(
    how: str, pytester: pytest.Pytester
) -> None:
    mark = {
        "system": "",
        "explored": "@explore(runs=1)",
        "lockstep": "@pytest.mark.regrow(on='lockstep')",
        "real": "@pytest.mark.regrow(on='real')",
    }[how]
    result = run(
        pytester,
        f"""
from actors.testing.explore import explore

@pytest.fixture
def regrow_options():
    return {{"intensive": (0, 1.0)}}

{mark}
async def test_it(system):
    raise AssertionError("it was run")
""",
    )
    result.assert_outcomes(errors=1)
    kind = "virtual" if how in ("system", "explored") else how
    assert re.search(
        rf": regrow_options on a {kind} system has no 'intensive'; did you mean 'intensity'\?"
        r" \(known: .*\bstrategy\b.*\)",
        output(result),
    )


def test_options_that_are_none_are_told(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
@pytest.fixture
def regrow_options():
    pass

async def test_it(system): ...
""",
    )
    result.assert_outcomes(errors=1)
    assert "regrow_options is a dict of what opens the system, not None" in output(result)


def test_an_option_in_a_parameter_is_told_at_the_collection(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
@pytest.mark.parametrize("regrow_options", [{}, {"log": 1, "logs": 1}])
async def test_it(system): ...
""",
    )
    result.assert_outcomes()
    assert "regrow_options on a virtual system has no 'logs'; did you mean 'log'?" in output(result)


@pytest.mark.parametrize(
    ("test", "says"),
    [
        (
            "@pytest.mark.regrow(intensive=1)\nasync def test_it(system): ...",
            "a virtual system has no 'intensive'; did you mean 'intensity'?",
        ),
        (
            "@pytest.mark.regrow(transport='tcp')\nasync def test_it(system): ...",
            "a virtual system has no 'transport'",
        ),
        (
            "@pytest.mark.regrow(on=['virtual', 'lockstep'], state='x')\n"
            "async def test_it(system): ...",
            "a lockstep system has no 'state'",
        ),
        (
            "@pytest.mark.regrow(deadline=1)\nasync def test_it(): ...",
            "a virtual system has no 'deadline'; did you mean 'deadline_s'?",
        ),
        (
            "from actors.testing.explore import explore\n"
            "@pytest.mark.regrow(expects_s=1)\n@explore()\nasync def test_it(system): ...",
            "a virtual system has no 'expects_s'; did you mean 'expect_s'?",
        ),
    ],
    ids=["misspelled", "of a real one", "of two kinds", "no fixture", "explored"],
)
def test_a_keyword_that_nobody_takes_is_told_at_collection_with_the_test(
    pytester: pytest.Pytester, test: str, says: str
) -> None:
    result = run(pytester, f"def test_first(): ...\n{test}")
    said = output(result)
    assert re.search(rf"::test_it\S*: pytest\.mark\.regrow on {re.escape(says)}", said), said
    assert "passed" not in said


def test_the_keywords_are_those_of_what_opens_each_kind_of_system() -> None:
    openers: dict[str, Callable[..., object]] = {
        "virtual": open_virtual_system,
        "real": open_system,
        "lockstep": open_lockstep_system,
    }
    for kind, opener in openers.items():
        foreign = {name for name, of in OF_ONE_KIND.items() if of != kind}
        assert OPTIONS[kind] - foreign == inspect.signature(opener).parameters.keys() - {"seed"}


@pytest.mark.parametrize(
    ("test", "why"),
    [
        ("def test_it(system): ...", "the test must be an async def"),
        ("async def test_it(system, real_system): ...", "a test has one system"),
        ("async def test_it(real_system, network): ...", "a test has one system"),
        ("async def test_it(real_system, regrow_clock): ...", "no clock that jumps on a real"),
        ("async def test_it(system, lab): ...", "there are no hosts on a virtual system"),
        ("async def test_it(lockstep_system, lab): ...", "no hosts on a lockstep system"),
        (
            "@pytest.mark.regrow(on='real')\nasync def test_it(network): ...",
            "there is no weather",
        ),
        (
            "@pytest.mark.regrow(on='virtual')\nasync def test_it(real_system): ...",
            "a test has one system",
        ),
        (
            "import hypothesis\n@hypothesis.given(hypothesis.strategies.just(1))\n"
            "async def test_it(system, n): ...",
            "call actors.testing.trial.run_trial in it",
        ),
    ],
)
def test_misuse_is_told_before_anything_runs(
    pytester: pytest.Pytester, test: str, why: str
) -> None:
    result = run(pytester, test)
    result.assert_outcomes(errors=1)
    assert why in output(result)


# -- virtual and real


BOTH = """
@pytest.mark.regrow(on=["virtual", "real"], reliable=True)
async def test_both(chaos, system, regrow_kind):
    counter = await system.spawn(Counter, 3, restart="permanent")
    await counter.tell(Counter.add, 1)
    probe = await system.probe()
    probe.monitor(counter)
    await chaos.freeze(counter)
    await chaos.thaw(counter)
    assert await counter.ask(Counter.add, 1) == 5
    await chaos.kill(counter)
    down = await probe.expect(Down, ref=counter)
    assert str(down.reason) == "killed(SIGKILL)"

async def test_virtual(system): ...

async def test_real(real_system): ...
"""


@pytest.mark.real
def test_one_body_runs_on_both_kinds_of_systems(pytester: pytest.Pytester) -> None:
    result = run(pytester, BOTH, "-v", "--strict-markers")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["*test_both?virtual? PASSED*", "*test_both?real? PASSED*"])


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        ("real", ["test_both[real]", "test_real"]),
        ("not real", ["test_both[virtual]", "test_virtual"]),
    ],
)
def test_real_ones_are_marked_so(
    pytester: pytest.Pytester, selection: str, chosen: list[str]
) -> None:
    result = run(pytester, BOTH, "-m", selection, "--collect-only", "-q")
    names = [line.partition("::")[2] for line in result.outlines if "::" in line]
    assert names == chosen


def test_what_a_test_may_run_on_is_checked(pytester: pytest.Pytester) -> None:
    result = run(pytester, "@pytest.mark.regrow(on='moon')\nasync def test_it(system): ...")
    assert "::test_it: regrow: on is one of virtual, real, lockstep, not 'moon'" in output(result)
    result = run(pytester, "@pytest.mark.regrow('real')\nasync def test_it(system): ...")
    assert "takes keywords alone, not ('real',)" in output(result)
    result = run(pytester, "@pytest.mark.regrow(seed='x')\nasync def test_it(system): ...")
    assert "::test_it: regrow: seed is a number, not 'x'" in output(result)
    result = run(pytester, "@pytest.mark.regrow(deadline_s=0)\nasync def test_it(system): ...")
    assert "deadline_s must be a positive number of seconds, not 0" in output(result)


@pytest.mark.real
def test_what_a_real_test_leaves_behind_is_named(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
import os, socket, subprocess
kept = []

async def test_a_process(real_system):
    kept.append(subprocess.Popen(["sleep", "60"]))

async def test_a_context(real_system):
    import zmq
    kept.append(socket.socket())
    kept.append(zmq.Context())
    kept[-1].socket(zmq.PAIR).close()

async def test_a_folder(real_system):
    os.makedirs(os.environ["XDG_RUNTIME_DIR"] + "/regrow/forgotten")

@pytest.mark.regrow(leaks=False)
async def test_it_may_be_meant(real_system):
    kept.append(subprocess.Popen(["sleep", "60"]))

async def test_it_is_a_note_on_a_failure(real_system):
    kept.append(socket.socket())
    raise KeyError("mine")

async def test_the_next_one_is_clean(real_system):
    assert kept[0].wait() == -9

def test_the_end():
    for each in kept:
        getattr(each, "close", getattr(each, "term", getattr(each, "wait", None)))()
""",
    )
    said = output(result)
    result.assert_outcomes(passed=3, failed=4)
    assert re.search(r"the test has left behind:\n  process \d+: sleep 60\n", said)
    assert "the test has left behind:\n  a ZMQ context that was not closed\n" in said
    assert len(set(re.findall(r"  file descriptor \d+: socket:\[\d+\]\n", said))) == 2
    assert re.search(r"left behind:\n  run folder /tmp/rg-\w+/regrow/forgotten\n", said)
    assert "KeyError: 'mine'" in said


# -- deadlines


def test_a_test_that_hangs_ends_and_says_what_it_waited_for(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
async def test_default(system):
    counter = await system.spawn(Counter, name="c")
    await counter.ask(Counter.wait)

@pytest.mark.regrow(deadline_s=2)
async def test_marked(system):
    await trio.sleep(3)

@pytest.fixture
async def stuck(system):
    await trio.sleep_forever()

async def test_in_a_fixture(stuck): ...

async def test_its_own_is_none_of_ours(system):
    with trio.fail_after(1):
        await trio.sleep(2)
""",
        "--regrow-deadline-s", "10",
    )  # fmt: skip
    said = output(result)
    result.assert_outcomes(failed=4)
    assert "it was not done after 10 s of its clock; then there were" in said
    assert "in test_default: await counter.ask(Counter.wait)" in said
    assert "in Counter.wait: await trio.sleep_forever()" in said
    assert "c: ok, handler wait for 10 s" in said
    assert "controller asks c: wait" in said
    assert "it was not done after 2 s of its clock" in said
    assert "in stuck: await trio.sleep_forever()" in said
    assert "TooSlowError" in said
    assert "cancelled the test but" not in said


def test_a_virtual_test_whose_time_stands_still_ends_too(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
async def test_it(system):
    while True:
        await trio.lowlevel.checkpoint()
""",
        "--regrow-real-deadline-s", "0.02",
    )  # fmt: skip
    result.assert_outcomes(failed=1)
    assert "it was not done after 0.1 real seconds, at 0 s of its clock" in output(result)


@pytest.mark.real
def test_a_test_by_the_mark_alone_may_run_in_real_time_and_leaves_nothing(
    pytester: pytest.Pytester,
) -> None:
    result = run(
        pytester,
        """
import subprocess
from actors.testing.leftovers import begun
pytestmark = pytest.mark.regrow(on="real")
kept = []

async def test_a_process():
    kept.append(subprocess.Popen(["sleep", "60"]))
    assert begun() == [kept[0].pid]

@pytest.mark.regrow(deadline_s=0.01)
async def test_an_hour():
    assert kept[0].wait() == -9
    assert begun() == []
    await trio.sleep(3600)
""",
        "-m", "real",
    )  # fmt: skip
    said = output(result)
    result.assert_outcomes(failed=2)
    assert re.search(r"the test has left behind:\n  process \d+: sleep 60\n", said)
    assert "it was not done after 0.01 s of its clock" in said


@pytest.mark.real
def test_a_real_test_has_a_deadline_in_real_seconds(pytester: pytest.Pytester) -> None:
    result = run(pytester, "async def test_it(real_system):\n    await trio.sleep_forever()",
                 "--regrow-real-deadline-s", "0.01")  # fmt: skip
    result.assert_outcomes(failed=1)
    said = output(result)
    assert "it was not done after 0.01 s of its clock; then there were\ntasks:\n  <" in said
    assert "left behind" not in said


@pytest.mark.real
async def test_what_real_nodes_do_is_seen_from_outside(real_system: System) -> None:
    node = await real_system.spawn(Waiting, name="node")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.ask, Waiting.wait)
        with trio.fail_after(20):
            while "node: ok, handler wait for" not in picture(real_system):  # noqa: ASYNC110
                await trio.sleep(0.01)
        assert "controller asks node: wait" in picture(real_system)
        nursery.cancel_scope.cancel()


def test_durations_are_options_of_the_line_and_the_ini_file(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nregrow_beat_s = 2\nregrow_expect_s = 20\n")
    tests = """
async def test_it(system, regrow_chaos, request):
    beat_s = request.config.getoption("regrow_beat_s") or 2.0
    probe = await system.probe()
    counter = await system.spawn(Counter)
    probe.monitor(counter, suspicions=True)
    await trio.sleep(10.3)
    await regrow_chaos.freeze(counter)
    await probe.expect()
    assert trio.current_time() == 10 + 4.5 * beat_s
"""
    run(pytester, tests).assert_outcomes(passed=1)
    run(pytester, "", "--regrow-beat-s", "0.5").assert_outcomes(passed=1)
    refused = output(run(pytester, "", "--regrow-beat-s", "-1"))
    assert "regrow-beat-s: must be a positive number of seconds, not '-1'" in refused
    pytester.makeini("[pytest]\nregrow_beat_s = soon\n")
    assert "beat_s must be a positive number of seconds, not 'soon'" in output(run(pytester, ""))


# -- seeds


SEEDED = """
import random

async def test_seeded(system):
    order = []

    async def note(number):
        await trio.sleep(1)
        order.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(note, number)
    pytest.fail(f"saw {order} {random.random()}", pytrace=False)
"""


def seen(result: pytest.RunResult) -> list[str]:
    return re.findall(r"^saw .*$", output(result), re.MULTILINE)


def test_a_failing_test_prints_its_seed_and_how_to_replay_it(pytester: pytest.Pytester) -> None:
    first = run(pytester, SEEDED)
    (line,) = re.findall(r'^pytest "(.*)" --regrow-seed (\d+)$', output(first), re.MULTILINE)
    assert line[0] == "test_it.py::test_seeded"
    assert "ended at 1 s of its clock" in output(first)
    assert seen(run(pytester, "")) == seen(first)
    assert seen(run(pytester, "", line[0], "--regrow-seed", line[1])) == seen(first)
    assert seen(run(pytester, "", "--regrow-seed", "7")) != seen(first)


def test_a_test_runs_from_many_seeds(pytester: pytest.Pytester) -> None:
    result = run(pytester, SEEDED, "--regrow-runs", "3")
    assert len(set(seen(result))) == 3
    lines = re.findall(r'^pytest "(.*)" --regrow-seed (\d+)$', output(result), re.MULTILINE)
    assert {line[0] for line in lines} == {"test_it.py::test_seeded"}
    last = run(pytester, "", lines[2][0], "--regrow-seed", lines[2][1])
    assert seen(last) == seen(result)[2:]


def test_a_mark_may_hold_a_seed(pytester: pytest.Pytester) -> None:
    marked = SEEDED.replace(
        "async def test_seeded", "@pytest.mark.regrow(seed=7)\nasync def test_s"
    )
    assert seen(run(pytester, marked)) == seen(run(pytester, SEEDED, "--regrow-seed", "7"))


def test_a_mark_may_have_a_test_run_from_many_seeds(pytester: pytest.Pytester) -> None:
    marked = SEEDED.replace(
        "async def test_seeded", "@pytest.mark.regrow(seed=7, runs=3)\nasync def test_seeded"
    )
    many = seen(run(pytester, marked))
    assert many == seen(run(pytester, SEEDED, "--regrow-seed", "7", "--regrow-runs", "3"))
    assert seen(run(pytester, marked, "--regrow-seed", "8")) == many[1:2]
    assert len(seen(run(pytester, marked, "--regrow-runs", "2"))) == 2
    assert "runs is a number of seeds, not 0" in output(
        run(pytester, marked.replace("runs=3", "runs=0"))
    )


def test_fixtures_that_do_not_know_each_other_begin_in_one_order(
    pytester: pytest.Pytester,
) -> None:
    names = [f"fixture_{letter}" for letter in "abcdefgh"]
    fixtures = "".join(
        f"@pytest.fixture\nasync def {name}(system):\n    began.append('{name}')\n"
        for name in names
    )
    test = (
        f"began = []\n{fixtures}\nasync def test_it({', '.join(names)}):\n"
        "    pytest.fail(f'saw {began}', pytrace=False)\n"
    )
    first = seen(run(pytester, test))
    assert len(first) == 1
    for _ in range(5):
        assert seen(run(pytester, "")) == first


def test_what_probes_have_not_read_is_told_of_a_failure(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
async def test_it(system):
    probe = await system.probe(name="p")
    await trio.sleep(1)
    await probe.ref.tell(Counter.add, 1)
    await probe.ref.tell(Counter.add, 2)
    await probe.expect(Counter.add, 1)
    await probe.expect(Counter.add, 3)

async def test_unread_is_no_failure(system):
    probe = await system.probe(name="p")
    await probe.ref.tell(Counter.add, 1)
""",
    )
    result.assert_outcomes(failed=1, passed=1)
    said = output(result)
    assert "expected a call of Counter.add(3) within 3 s, but had" in said
    assert re.search(r"what controller/p\.2 has not read -+\n +1\.000 s  told add\(2\)\n", said)


def test_weather_is_drawn_from_the_seed_of_the_run_and_told_of_a_failure(
    pytester: pytest.Pytester,
) -> None:
    result = run(
        pytester,
        """
from runtime.weather.weather import Weather

@pytest.mark.regrow(weather=Weather(kinds="beat", delay=0.5), seed=7)
async def test_it(system, network, regrow_seed):
    await system.spawn(Counter)
    await trio.sleep(30)
    assert network.weather.seed == regrow_seed
    pytest.fail(f"saw {network.faults}", pytrace=False)

@pytest.mark.regrow(weather=Weather(kinds="beat", delay=0.5, seed=3))
async def test_its_own_seed(system, network):
    assert network.weather.seed == 3
""",
    )
    result.assert_outcomes(failed=1, passed=1)
    assert re.search(r"regrow: what the weather did \(\d+\) -+\n  Delay\(", output(result))
    assert seen(run(pytester, "", "-k", "test_it", "--regrow-seed", "7"))[0] == seen(result)[0]
    assert seen(run(pytester, "", "-k", "test_it", "--regrow-seed", "8"))[0] != seen(result)[0]


def test_what_nodes_print_is_in_the_report(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
class Doomed(Actor):
    async def crash(self) -> None:
        raise LookupError("as told")

async def test_it(system):
    doomed = await system.spawn(Doomed, name="doomed")
    await doomed.tell(Doomed.crash)
    await doomed.wait()
    assert False
""",
    )
    assert "doomed| LookupError: as told" in output(result)


def test_a_test_may_skip_and_fail_as_expected(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
async def test_skip(system):
    pytest.skip("not now")

async def test_xfail(system):
    pytest.xfail("known")

@pytest.mark.xfail(raises=KeyError, strict=True)
async def test_marked(system):
    raise KeyError
""",
    )
    result.assert_outcomes(skipped=1, xfailed=2)
