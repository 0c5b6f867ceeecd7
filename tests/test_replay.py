"""The same seed gives the same run, byte for byte, in each process, wherever that is."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from runtime.weather.event_log import EventLog
from runtime.weather.weather import Weather
from tests.lively import run, windy

ROOT = Path(__file__).parent.parent
RUNS = 100 if os.environ.get("REGROW_LONG") else 1
HASH_SEEDS = "0 1 2 3 4" if os.environ.get("REGROW_LONG") else "0 1"


@cache
def once(seed: int, weather: int) -> EventLog:
    return run(seed, windy(weather))


def start(folder: Path, hash_seed: str) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(folder), "X": "x" * 99}
    command = [sys.executable, "-c", "from tests.lively import main; main()", "1"]
    return subprocess.Popen(
        command, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_run_is_the_same_in_every_process_and_folder(tmp_path: Path) -> None:
    for name in ("actors", "runtime", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    places = [ROOT, tmp_path]
    others = [
        start(places[number % 2], hash_seed) for number, hash_seed in enumerate(HASH_SEEDS.split())
    ]
    here = once(1, 1)
    said = [other.communicate(timeout=120) for other in others]
    assert said == [(f"{here.digest} {here.count}\n", "")] * len(others)


def test_a_run_is_the_same_each_time() -> None:
    assert {run(1, windy(1)).digest for _ in range(RUNS)} == {once(1, 1).digest}


def test_a_run_that_loses_messages_is_the_same_each_time() -> None:
    losing = Weather(seed=1, latency_s=0.002, drop=0.02, duplicate=0.02, reorder=0.05)
    logs = [run(1, losing) for _ in range(RUNS + 1)]
    assert len({log.digest for log in logs}) == 1
    assert {line.rpartition(" ")[2] for line in logs[0].lines} > {"dropped", "late", "came"}


def test_the_scene_is_lively() -> None:
    log = once(1, 1)
    words = [line.split(" ") for line in log.lines]
    facts = {line[2] for line in words if len(line) == 3}
    assert facts == {"started", "died", "silent", "heard", "removed"}
    kinds = {line[4] for line in words if len(line) == 8}
    assert kinds > {"ask", "reply", "fail", "tell", "item", "beat", "down", "verdict"}
    assert {line[7] for line in words if len(line) == 8} >= {"late", "came", "vanished", "held"}


def test_another_seed_is_another_run() -> None:
    assert len({once(1, 1).digest, once(2, 1).digest, once(1, 2).digest}) == 3
