"""Explored tests in pytest, as a user meets them: each test here runs sessions of its own."""

from __future__ import annotations

import re

import pytest

from actors.testing import chaos, explore, harness
from tests.test_plugin import output

LOADED = (chaos, explore, harness)  # sessions in this process leave no module behind
TESTS = """
import pytest
import trio
from actors.testing.explore import explore
from runtime.weather.weather import Weather
from tests.planted import LossyDesk, Postman

@explore(runs=200)
async def test_a_parcel_is_fetched(system):
    desk = await system.spawn(LossyDesk, name="desk")
    postman = await system.spawn(Postman, name="postman")
    await postman.tell(Postman.bring, desk, "parcel")
    with trio.fail_after(10):
        assert await desk.ask(LossyDesk.collect, "parcel") == "parcel"
"""
CODE = re.compile(r"^from actors\.testing\.explore.*?^\)$", re.DOTALL | re.MULTILINE)


def run(pytester: pytest.Pytester, tests: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(test_it=tests)
    return pytester.runpytest_inprocess(
        "-p", "actors.testing.plugin", "-p", "no:cacheprovider", *options
    )


def test_what_a_failure_prints_can_be_pasted_above_the_test(pytester: pytest.Pytester) -> None:
    result = run(pytester, TESTS)
    result.assert_outcomes(failed=1)
    said = output(result)
    assert "trio.TooSlowError" in said
    assert "run_trial" not in said
    many = re.search(r"^run (\d+) of 200, with seed (\d+), failed; 1 of its", said, re.MULTILINE)
    assert many is not None, said
    code = CODE.search(said)
    assert code is not None, said

    itself = f"--regrow-seed {many[2]}"
    assert f'pytest "test_it.py::test_a_parcel_is_fetched" {itself}' in said
    again = output(run(pytester, TESTS, *itself.split()))
    assert f"run 1 of 1, with seed {many[2]}, failed; 1 of its" in again

    pasted = TESTS.replace("@explore(runs=200)", f"{code[0]}\n@explore(runs=1)")
    said = output(run(pytester, pasted, "--regrow-seed", "0"))
    assert "regrow: in the replay from seed" in said
    assert "1 failed" in said
    mended = pasted.replace("import LossyDesk", "import Desk as LossyDesk")
    run(pytester, mended, "--regrow-seed", "0").assert_outcomes(passed=1)


def test_what_an_explored_test_may_take(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
import pytest
import trio
from actors import Actor
from actors.testing.explore import explore
from runtime.weather.weather import Weather

seen = []
systems = set()

class Quiet(Actor):
    pass

@pytest.fixture
def regrow_options():
    return {"weather": Weather(latency_s=0.5), "intensity": (1, 1.0)}

@pytest.fixture
def word():
    return "word"

class TestIt:
    @pytest.mark.parametrize("number", [1, 2])
    @pytest.mark.regrow(beat_s=2.0, expect_s=7.0)
    @explore(runs=5)
    async def test_all(self, number, word, system, network, chaos, tmp_path):
        assert (word, network.weather.rules[0].latency_s) == ("word", 0.5)
        assert (system.nodes.guardians.beat_s, system.expect_s) == (2.0, 7.0)
        await chaos.kill(await system.spawn(Quiet))
        seen.append((number, network.weather.seed, tmp_path.exists()))
        systems.add(id(system.network))

def test_all_were_run():
    assert [number for number, *_ in seen] == [1] * 5 + [2] * 5
    assert len({seed for _, seed, _ in seen}) == 10

class Crashing(Actor):
    async def on_start(self):
        self.nursery.start_soon(self.crash)

    async def crash(self):
        raise KeyError("of a node")

@explore()
async def test_crashing(regrow_system):
    await regrow_system.spawn(Crashing, name="crashing")
    await trio.sleep(1)
    assert not "as told"

@explore(runs=20)
async def test_skipped(system):
    pytest.skip("as told")

@pytest.mark.regrow(deadline_s=5)
@explore(runs=20)
async def test_late(system):
    await trio.sleep_forever()
""",
    )
    result.assert_outcomes(passed=3, skipped=1, failed=2)
    assert "crashing| KeyError: 'of a node'" in output(result).replace("| |", "|")
    assert "TooSlowError: it was not done after 5 s of its clock" in output(result)


def test_a_fixture_that_has_a_system_is_no_part_of_a_run(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
import pytest
from actors.testing.explore import explore

@pytest.fixture
def counter(system):
    return 1

@explore(runs=5)
async def test_it(system, counter): ...
""",
    )
    assert "explore opens a system for each run, and a fixture has none" in output(result)


def test_the_command_line_says_how_many_runs(pytester: pytest.Pytester) -> None:
    tests = """
from actors.testing.explore import explore

runs = []

@explore(runs=5)
async def test_it(system, network):
    runs.append(network.weather.seed)

def test_runs():
    assert runs == [40, 41]
"""
    run(pytester, tests, "--regrow-runs", "2", "--regrow-seed", "40").assert_outcomes(passed=2)


def test_a_victim_that_never_lives_fails_the_test_but_not_a_run_of_its_own(
    pytester: pytest.Pytester,
) -> None:
    tests = """
from actors import Actor
from actors.testing.explore import explore

class Worker(Actor):
    pass

@explore(runs=5, kills=1, victims=["worker", "wroker"])
async def test_it(system):
    await system.spawn(Worker, name="worker")
"""
    result = run(pytester, tests)
    result.assert_outcomes(failed=1)
    said = output(result)
    assert "no node of this name has lived in any of 5 runs: 'wroker' (victims)" in said
    assert "exploration.py" not in said
    run(pytester, tests, "--regrow-seed", "1").assert_outcomes(passed=1)
    run(pytester, tests, "--regrow-runs", "3").assert_outcomes(passed=1)
