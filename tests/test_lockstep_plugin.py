"""Processes in virtual time by the plugin: each test here runs sessions of its own."""

from __future__ import annotations

import pytest

from actors.testing import lockstep
from tests.test_plugin import LOADED, output, run

pytestmark = pytest.mark.real
IMPORTED = (*LOADED, lockstep)  # before a session in this process


def test_one_body_runs_on_three_kinds_of_systems(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
from runtime.weather.weather import Weather

@pytest.fixture
def regrow_options():
    return {"weather": Weather(latency_s=0.001), "patience_s": 20.0}

@pytest.mark.regrow(on=["virtual", "real", "lockstep"], intensity=(9, 1.0))
async def test_all(chaos, system, regrow_kind):
    counter = await system.spawn(Counter, 3, name="counter", restart="permanent")
    assert (type(system).__name__ == "VirtualSystem") == (regrow_kind == "virtual")
    assert await counter.ask(Counter.add, 1) == 4
    probe = await system.probe()
    probe.monitor(counter)
    await chaos.freeze(counter)
    await chaos.thaw(counter)
    await trio.sleep(0.1 if regrow_kind == "real" else 50.0)
    assert await counter.ask(Counter.add, 1) == 5
    await chaos.kill(counter)
    down = await probe.expect(Down, ref=counter)
    assert str(down.reason) == "killed(SIGKILL)"
""",
        "-v",
        "--strict-markers",
    )
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*[[]lockstep] PASSED*"])


def test_what_it_leaves_behind_and_who_holds_its_time_is_named(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
import socket, subprocess, time
kept = []

class Stubborn(Actor):
    async def compute(self):
        time.sleep(60)

async def test_clean(lockstep_system):
    assert not kept
    await trio.sleep(50)

@pytest.mark.regrow(on="lockstep")
async def test_a_socket(system):
    kept.append(socket.socket())

@pytest.mark.regrow(on="lockstep", patience_s=4.0)
async def test_a_handler(system):
    stubborn = await system.spawn(Stubborn, name="stubborn")
    await stubborn.tell(Stubborn.compute)
    await trio.sleep(3600)

@pytest.mark.regrow(deadline_s=30)
async def test_late(regrow_lockstep_system):
    await trio.sleep(300)

def test_the_end():
    kept.pop().close()
""",
    )
    said = output(result)
    result.assert_outcomes(passed=2, failed=3)
    assert "the test has left behind:\n  file descriptor" in said
    assert "for 4 real seconds: stubborn (pid " in said
    assert "handler compute runs" in said
    assert "it was not done after 30 s of its clock; then there were" in said


@pytest.mark.parametrize(
    ("test", "why"),
    [
        ("async def test_it(system, lockstep_system): ...", "a test has one system"),
        ("async def test_it(real_system, lockstep_system): ...", "a test has one system"),
        (
            "@pytest.mark.regrow(on='real')\nasync def test_it(lockstep_system): ...",
            "a test has one system",
        ),
        (
            "async def test_it(lockstep_system, regrow_clock): ...",
            "no clock that jumps on a lockstep system",
        ),
        (
            "@pytest.mark.regrow(on='lockstep')\nasync def test_it(network): ...",
            "there is no weather",
        ),
    ],
)
def test_misuse_is_told_before_anything_runs(
    pytester: pytest.Pytester, test: str, why: str
) -> None:
    result = run(pytester, test)
    result.assert_outcomes(errors=1)
    assert why in output(result)


def test_they_are_marked_real(pytester: pytest.Pytester) -> None:
    tests = "async def test_it(lockstep_system): ...\n"
    result = run(pytester, tests, "-m", "real", "--collect-only", "-q")
    assert [line for line in result.outlines if "::" in line] == ["test_it.py::test_it"]


def test_a_marked_test_may_open_its_system_itself(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
from actors.testing.lockstep import open_lockstep_system

@pytest.mark.regrow(on="lockstep")
async def test_it():
    async with open_lockstep_system() as system:
        counter = await system.spawn(Counter, 3)
        began = trio.current_time()
        await trio.sleep(50)
        assert await counter.ask(Counter.add, 4) == 7
        assert trio.current_time() == began + 50
""",
    )
    result.assert_outcomes(passed=1)
