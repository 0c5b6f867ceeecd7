"""The simulation: the model against trees of real parts, in virtual time, and what it prints."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from actors.simulation import plot, simulate
from actors.simulation.figures import FLAT, Spread, by_arithmetic, depth_of, parent_of, spread
from actors.simulation.measuring import Plan, measure_model, measure_real
from actors.simulation.sheet import share_of_controller, sheet
from actors.simulation.swarm import PHASES, Swarm, phase_of
from actors.simulation.toll import Toll, measure_toll
from runtime.detection.guard import BEAT_S

ROOT = Path(__file__).parent.parent
TOLL = Toll(beat_s=20e-6, check_s=10e-9)
SHAPES = [2, 8, FLAT]


@pytest.mark.parametrize(
    ("fan_out", "parents", "depth"),
    [
        (2, [-1, -1, 0, 0, 1, 1, 2], 3),
        (3, [-1, -1, -1, 0, 0, 0, 1], 2),
        (FLAT, [-1] * 7, 1),
    ],
)
def test_levels_are_filled_one_after_the_other(
    fan_out: int, parents: list[int], depth: int
) -> None:
    assert [parent_of(number, fan_out) for number in range(7)] == parents
    assert depth_of(7, fan_out) == depth


def test_a_spread_is_made_of_its_values() -> None:
    assert spread([]).count == 0
    assert spread([3.0]) == Spread(1, 3.0, 3.0, 3.0)
    assert spread(float(n) for n in range(200, 0, -1)) == Spread(200, 100.0, 198.0, 200.0)


# -- the model alone


def test_in_the_model_a_node_without_its_host_is_known_to_be_silent_at_four_and_a_half_beats() -> (
    None
):
    swarm = Swarm(nodes=8, fan_out=2, seed=0)
    swarm.run(4 * BEAT_S)
    for number in swarm.leaves:
        # A moment after its own beat: nobody hears the next one.
        swarm.cut_off(number, (5 + phase_of(number, 8) / PHASES) * BEAT_S + BEAT_S / 1024)
    swarm.run(8 * BEAT_S)
    assert swarm.silences == [4.5 - 1 / 1024] * len(swarm.leaves)
    assert set(swarm.verdicts) == {"cut off"}
    assert swarm.suspicions == 0
    swarm.heal()
    swarm.run(2 * BEAT_S)
    assert swarm.verdicts.count("ok") == len(swarm.leaves)


def test_in_the_model_everybody_is_suspected_once_when_nothing_comes_any_more() -> None:
    swarm = Swarm(nodes=20, fan_out=4, seed=0)
    swarm.run(4 * BEAT_S)
    swarm.loss = 1.0
    swarm.run(20 * BEAT_S)
    assert swarm.suspicions == 20


@pytest.mark.parametrize("loss", [0.1, 0.2, 0.3])
def test_the_model_suspects_as_often_as_arithmetic_says(loss: float) -> None:
    plan = Plan(nodes=2000, fan_out=16, losses=[loss], losing_s=10.0, steady_s=BEAT_S, samples=1)
    found = measure_model(plan).losing[0]
    expected = by_arithmetic(loss, BEAT_S) * found.node_hours
    assert abs(found.suspicions - expected) < 4 * math.sqrt(expected)  # of a Poisson distribution


def test_the_same_seed_gives_the_same_figures() -> None:
    def essence(seed: int) -> object:
        plan = Plan(nodes=300, fan_out=4, seed=seed, losses=[0.3], losing_s=5.0)
        found = measure_model(plan)
        return found.silence, found.losing, found.all_per_s

    assert essence(7) == essence(7)
    assert essence(7) != essence(8)


# -- the model against real parts


@pytest.mark.parametrize("fan_out", SHAPES)
def test_the_model_says_what_a_tree_of_real_parts_says(fan_out: int) -> None:
    plan = Plan(
        nodes=48, fan_out=fan_out, seed=3, losses=[0.1, 0.3], losing_s=4.0, steady_s=1.0, samples=9
    )
    model = measure_model(plan)
    real = trio.run(measure_real, plan, clock=MockClock(autojump_threshold=0))
    assert real.depth == model.depth
    assert real.controller_per_s == model.controller_per_s
    assert real.busiest_per_s == model.busiest_per_s
    assert real.all_per_s == model.all_per_s == 48 * 4 * 2
    # They draw other dice: how long before the end of a beat a node is cut off is up to them.
    assert 6 <= real.silence.count == model.silence.count <= 9
    for each in (real.silence, model.silence):
        assert 3.5 <= each.median <= each.p99 <= each.worst <= 4.5
    # Before guardians are suspected themselves: the model's controller stands in for none of them.
    assert real.losing[0].controller_per_s == pytest.approx(
        model.losing[0].controller_per_s, rel=0.25
    )
    for losing in (real.losing[1], model.losing[1]):
        expected = by_arithmetic(0.3, BEAT_S) * losing.node_hours
        assert 0 < losing.suspicions < expected + 4 * math.sqrt(expected)


def test_deaths_are_known_and_wards_at_home_without_any_waiting() -> None:
    plan = Plan(nodes=40, fan_out=6, steady_s=BEAT_S, samples=8)
    real = trio.run(measure_real, plan, clock=MockClock(autojump_threshold=0))
    assert real.word == Spread(8, 0.0, 0.0, 0.0)
    assert real.recovery is not None
    assert real.recovery.wards == 6
    assert real.recovery.adopted_beats == real.recovery.regrown_beats == 0.0
    assert 6 < real.recovery.messages < 100
    assert real.start_messages == pytest.approx(8, abs=0.5)


# -- what is printed


def test_the_toll_is_taken_of_real_exchanges() -> None:
    toll = trio.run(measure_toll)
    assert 0 < toll.check_s < toll.beat_s < 0.01


def test_the_controller_works_for_its_own_wards_alone() -> None:
    plan = Plan(nodes=100, fan_out=4, steady_s=1.0, samples=1)
    tree = measure_model(plan)
    flat = measure_model(Plan(nodes=100, fan_out=FLAT, steady_s=1.0, samples=1))
    assert tree.controller_per_s == 4 * 4 * 2  # beats and their answers
    assert share_of_controller(tree, TOLL) == pytest.approx(16 * 20e-6 + 4 * 4 * 10e-9)
    assert share_of_controller(flat, TOLL) == pytest.approx(25 * share_of_controller(tree, TOLL))


def test_the_tables_show_what_was_measured() -> None:
    plan = Plan(nodes=30, fan_out=5, losses=[0.5], losing_s=2.5, steady_s=1.0, samples=4)
    text = sheet([measure_model(plan)], TOLL)
    first, second, third, fourth = text.split("\n\n")
    assert first.splitlines()[2].split() == ["30", "5", "model", "2", "40", "48", "240", "-"]
    assert second.splitlines()[2].split()[:4] == ["30", "5", "model", "-"]
    assert third.splitlines()[2].split()[3] == "50.0%"
    assert "20.0 us" in fourth


def test_the_command_prints_tables_and_says_how_far_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert simulate.main(["--nodes", "20", "--fan-out", "4", "flat", "--loss", "0.5"]) == 0
    said = capsys.readouterr()
    assert [line.split()[:3] for line in said.out.splitlines()[2:6]] == [
        ["20", "4", "model"],
        ["20", "4", "real"],
        ["20", "flat", "model"],
        ["20", "flat", "real"],
    ]
    assert "20 nodes, fan-out 4, real parts: killed and regrown" in said.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--nodes", "1"], "a number of at least 2, not '1'"),
        (["--nodes", "many"], "a number of at least 2, not 'many'"),
        (["--fan-out", "0"], "a number of at least 2, not '0'"),
        (["--loss", "5"], "a share from 0 to 1, not '5'"),
        (["--minutes", "nan"], "minutes above 0, not 'nan'"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name_and_value(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        simulate.main(arguments)
    assert complaint in capsys.readouterr().err


def test_a_plot_without_matplotlib_is_refused_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    assert simulate.main(["--nodes", "20", "--plot", str(tmp_path / "it.png")]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "pip install 'regrow[plot]'" in said.err


def test_the_figures_can_be_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    drawn = tmp_path / "it.png"
    plan = Plan(nodes=30, fan_out=5, losses=[0.5], losing_s=2.5, steady_s=1.0, samples=4)
    plot.draw([measure_model(plan)], drawn)
    assert drawn.read_bytes().startswith(b"\x89PNG")


@pytest.mark.real
def test_ctrl_c_ends_it_at_once_and_without_a_word() -> None:
    command = [
        sys.executable,
        "-m",
        "actors.simulation.simulate",
        "--nodes",
        "3000",
        "--fan-out",
        "2",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as simulation:
        assert simulation.stdout is not None
        assert simulation.stderr is not None
        while ", real parts: " not in (line := simulation.stderr.readline()):
            assert line  # it goes on
        simulation.send_signal(signal.SIGINT)
        stdout, stderr = simulation.communicate(timeout=30)
    assert (simulation.returncode, stdout) == (-signal.SIGINT, "")
    assert "Traceback" not in stderr
