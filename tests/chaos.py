"""Chaos: random operations on a random tree, beside a plain model, until something contradicts.

    make chaos SECONDS=60 SEED=n [MODE=virtual|real]
    python -m tests.chaos --seconds 60 --seed TEXT [--mode virtual|real|both]
    python -m tests.chaos --mode virtual --replay TEXT/17 [--minimise]

A *virtual* run is 250 operations on an `open_virtual_system`, replayed exactly by its seed; many of
them fill the time. A *real* run is one tree of processes, killed and stopped for real; its seed
gives the same operations again, though not the same instants. What is checked is in
`tests.chaos_audit` (the insides of a virtual system, at every step) and `tests.chaos_driver`.

Invariants
----------
* A run that fails says its seed, its last operations, and how to replay it.
* Nothing outlives a run: no task, process or file.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.system import System, open_system
from actors.testing.virtual import open_virtual_system
from runtime.errors import ActorError
from runtime.weather.weather import Rule, Weather
from tests.chaos_actors import Chaotic
from tests.chaos_audit import Auditor, settle_journal
from tests.chaos_driver import Driver, judge_tree
from tests.chaos_journal import BUSY_S, JOURNAL
from tests.chaos_plan import Op, draw
from tests.real import home_folder, marked, run_folders

OPERATIONS = 250
CALM_S = 90.0
"""Of virtual time: the longest pause before a restart is 10 s, the longest wait for credit 30."""
REAL_CALM_S = 40.0
LAST = 15


class Failure(Exception):
    """A run has contradicted itself. ``faults``: how; ``ops``: what was done until then."""

    def __init__(self, seed: str, faults: Sequence[str], ops: Sequence[Op]) -> None:
        super().__init__(f"seed {seed}: {faults[0]}")
        self.faults = list(faults)
        self.ops = list(ops)


# -- virtual


def weather_of(seed: str) -> Weather | None:
    """In half of the runs whatever travels takes a while; in half of these, some of it is lost."""
    rng = Random(f"weather of {seed}")
    if rng.random() < 0.5:
        return None
    worst_s = rng.choice((0.01, 0.2))
    late = Rule(latency_s=worst_s / 256, delay=0.2, delay_s=(0.0, worst_s))
    if rng.random() < 0.5:
        return Weather(late, seed=seed)
    losing = msgspec.structs.replace(late, drop=0.01, duplicate=0.02, reorder=0.05)
    return Weather(losing, seed=seed)


def run_virtual(seed: str, ops: Sequence[Op] | None = None) -> int:
    """How many operations a whole run has done.

    Raises:
        Failure: it has contradicted itself.
    """
    todo = draw(seed, OPERATIONS) if ops is None else ops
    done: list[Op] = []
    JOURNAL.begin(1e-6)
    try:
        trio.run(_virtual, seed, todo, done, clock=MockClock(autojump_threshold=0))
    except Exception as error:
        JOURNAL.faults.append(f"the run ended in {error!r}")
        raise Failure(seed, JOURNAL.faults, done) from error
    if JOURNAL.faults:
        raise Failure(seed, JOURNAL.faults, done)
    return len(done)


async def _virtual(seed: str, ops: Sequence[Op], done: list[Op]) -> None:
    rng = Random(f"run of {seed}")
    weather = weather_of(seed)
    abrupt = rng.random() < 0.25
    number = rng.randrange(1 << 30)
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with open_virtual_system(seed=number, intensity=(1000, 1.0), weather=weather) as system:
        async with trio.open_nursery() as nursery:
            driver = Driver(system, nursery)
            auditor = Auditor(system, driver)
            with system.listen(driver.hear):
                for op in ops:
                    done.append(op)
                    driver.start(op)
                    await wait_all_tasks_blocked()
                    auditor.look()
                    if op.pause_s:
                        await trio.sleep(op.pause_s)
                        auditor.look()
                    if JOURNAL.faults:
                        break
                if not abrupt and not JOURNAL.faults:
                    await trio.sleep(5.0)
                    with trio.move_on_after(CALM_S):
                        while (  # noqa: ASYNC110
                            nursery.child_tasks or await _restless(driver) or auditor.at_work()
                        ):
                            await trio.sleep(1.0)
                    await trio.sleep(5.0)  # whatever is linked has been dragged along
                    auditor.settle()
                    await driver.settle_audit()
                nursery.cancel_scope.cancel()
        began = trio.current_time()
    if JOURNAL.faults:
        return
    if trio.current_time() - began > 5.0:
        JOURNAL.faults.append(f"the end took {trio.current_time() - began:g} s")
    left = trio.lowlevel.current_statistics().tasks_living - tasks
    if left or system.host.bodies or system.exchange.pending:
        JOURNAL.faults.append(f"{left} tasks are left, and {system.host.bodies}")


# -- real


def run_real(seed: str, seconds: float, ops: Sequence[Op] | None = None) -> int:
    """How many operations one tree of processes has stood in so many seconds.

    Raises:
        Failure: it has contradicted itself.
    """
    # Nobody does more, not even for an hour.
    todo = draw(seed, 100 + int(seconds * 10), pace_s=0.15) if ops is None else ops
    done: list[Op] = []
    JOURNAL.begin(BUSY_S)
    old = {name: os.environ.get(name) for name in ("TMPDIR", "XDG_RUNTIME_DIR", "PYTHONPATH")}
    with home_folder() as home:
        root = str(Path(__file__).parent.parent)
        os.environ |= {"TMPDIR": home, "XDG_RUNTIME_DIR": home, "PYTHONPATH": root}
        try:
            trio.run(_real, todo, done, seconds)
        except Exception as error:
            JOURNAL.faults.append(f"the run ended in {error!r}")
            raise Failure(seed, JOURNAL.faults, done) from error
        finally:
            for name, value in old.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
        left = marked(home)
        if left or run_folders(home):
            JOURNAL.faults.append(f"processes {left} and folders {run_folders(home)} are left")
    if JOURNAL.faults:
        raise Failure(seed, JOURNAL.faults, done)
    return len(done)


async def _real(ops: Sequence[Op], done: list[Op], seconds: float) -> None:
    until = trio.current_time() + seconds
    printed: list[str] = []

    def output(name: str, line: str) -> None:
        printed.append(f"{name}| {line}")

    async with open_system(output=output, intensity=(1000, 1.0), signals=False) as system:
        async with trio.open_nursery() as nursery:
            driver = Driver(system, nursery)
            with system.listen(driver.hear):
                for op in ops:
                    done.append(op)
                    driver.start(op)
                    await trio.sleep(op.pause_s)
                    driver.judge_certificates()
                    _judge_places(system)
                    JOURNAL.faults += [f"overdue: {each}" for each in JOURNAL.overdue()]
                    if JOURNAL.faults or trio.current_time() > until:
                        break
                if not JOURNAL.faults:
                    await _calm(driver)
                nursery.cancel_scope.cancel()
        began = trio.current_time()
    if trio.current_time() - began > 5.0 * 5:
        JOURNAL.faults.append(f"the end took {trio.current_time() - began:.1f} s")
    JOURNAL.faults += [line for line in printed if "Traceback" in line and "Boom" in line]


def _judge_places(system: System) -> None:
    nodes = system.nodes
    rows = [nodes.roll.row(name) for name in nodes.places.subtree("controller")[1:]]
    judge_tree([(row.name, row.parent, row.guardian, row.state) for row in rows])


async def _calm(driver: Driver) -> None:
    """All is quiet: then both ends of everything must agree."""
    nodes = driver.system.nodes
    await trio.sleep(6.0)  # what hangs or is frozen goes on
    with trio.move_on_after(REAL_CALM_S):
        while await _restless(driver):  # noqa: ASYNC110
            await trio.sleep(0.25)
    await trio.sleep(1.0)
    JOURNAL.faults += [f"no calm: {each}" for each in await _restless(driver)]
    driver.judge_certificates()
    for name in list(driver.lives):
        if nodes.records[name].spec.local:
            continue  # its process has one journal
        with trio.move_on_after(BOUND := 20.0) as scope:
            try:
                JOURNAL.add(await driver.refs[name].ask(Chaotic.report))
            except ActorError as error:
                JOURNAL.faults.append(f"{name} is quiet and did not report: {error!r}")
        if scope.cancelled_caught:
            JOURNAL.faults.append(f"{name} is quiet and did not report within {BOUND} s")
    settle_journal(driver)
    await driver.settle_audit()
    for outbound in driver.system.exchange.outbounds.values():
        if outbound.window.in_flight and outbound.target.incarnation in driver.lives.values():
            JOURNAL.faults.append(f"{outbound.window.in_flight} to {outbound.target} in flight")


async def _restless(driver: Driver) -> list[str]:
    """Who is not yet as it should be, and what is still to be handled."""
    in_flight = (await driver.system.audit()).in_flight
    nodes = driver.system.nodes
    states = {name: nodes.roll.row(name).state for name in nodes.records}
    return [f"{in_flight} are in flight"] * (in_flight > 0) + [
        f"{name} is {state}"
        for name, state in states.items()
        if state in ("frozen", "busy", "cut off", "restarting")
        or (
            state == "dead"
            and nodes.records[name].spec.restart == "permanent"
            and nodes.roll.has_host(nodes.records[name])
        )
    ]


# -- the command


def minimise(seed: str, ops: Sequence[Op], like: str) -> list[Op]:
    """As few of them as still fail with a fault that begins like ``like``."""

    def fails(some: Sequence[Op]) -> bool:
        try:
            run_virtual(seed, some)
        except Failure as failure:
            return any(_kind(fault) == _kind(like) for fault in failure.faults)
        return False

    rest, size = list(ops), max(1, len(ops) // 2)
    while True:
        at, before = 0, len(rest)
        while at < len(rest):
            fewer = rest[:at] + rest[at + size :]
            if fails(fewer):
                rest = fewer
            else:
                at += size
        if size == 1 and len(rest) == before:
            return rest
        size = max(1, size // 2)


def _kind(fault: str) -> str:
    """A fault without names and numbers."""
    return "".join(each for each in fault if each.isalpha() or each == " ")[:40]


def _say_failure(mode: str, failure: Failure, replay: str) -> None:
    say = f"{mode}: {failure}\n" + "".join(f"  {fault}\n" for fault in failure.faults[:12])
    say += f"after {len(failure.ops)} operations, the last of them:\n"
    say += "".join(f"  {op}\n" for op in failure.ops[-LAST:])
    print(f"{say}replay: {replay}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--mode", choices=("virtual", "real", "both"), default="both")
    parser.add_argument("--runs", type=int, help="so many virtual runs, whatever time they take")
    parser.add_argument("--replay", help="the one run with exactly this seed")
    parser.add_argument("--ops", help="a file of operations, one line of JSON each, for --replay")
    parser.add_argument("--minimise", action="store_true", help="leave out what does not matter")
    parser.add_argument("--keep-going", action="store_true", help="after a failed virtual run")
    options = parser.parse_args(argv)
    if options.replay is not None:
        return _replay(options)
    both = options.mode == "both"
    seconds = options.seconds / 2 if both else options.seconds
    status = 0
    if options.mode != "real":
        status = _many(options, seconds)
    if options.mode != "virtual" and not status:
        seed = f"{options.seed}/real"
        try:
            # What comes after it, the calm and the end, is part of the time.
            count = run_real(seed, max(5.0, seconds - 12.0))
        except Failure as failure:
            replay = f"python -m tests.chaos --mode real --seconds {seconds:g} --replay {seed!r}"
            _say_failure("real", failure, replay)
            return 1
        print(f"real: seed {seed}, {count} operations", flush=True)
    return status


def _many(options: argparse.Namespace, seconds: float) -> int:
    began, count, number, failed = time.monotonic(), 0, 0, 0
    last = math.inf if options.runs is None else options.runs
    while number < last and (options.runs or time.monotonic() - began < seconds):
        seed = f"{options.seed}/{number}"
        try:
            count += run_virtual(seed)
        except Failure as failure:
            failed += 1
            replay = f"python -m tests.chaos --mode virtual --replay {seed!r} --minimise"
            _say_failure("virtual", failure, replay)
            if not options.keep_going:
                return 1
        number += 1
    took = f"{time.monotonic() - began:.0f} s"
    print(
        f"virtual: seeds {options.seed}/0 to {number - 1}, {count} operations, {took}", flush=True
    )
    return 1 if failed else 0


def _replay(options: argparse.Namespace) -> int:
    ops = None
    if options.ops is not None:
        lines = Path(options.ops).read_text().splitlines()
        ops = [msgspec.convert(json.loads(line), Op) for line in lines]
    try:
        if options.mode == "real":
            count = run_real(options.replay, options.seconds, ops)
        else:
            count = run_virtual(options.replay, ops)
    except Failure as failure:
        if options.minimise and options.mode != "real":
            few = minimise(options.replay, failure.ops, failure.faults[0])
            try:
                run_virtual(options.replay, few)
            except Failure as smaller:
                failure = smaller
        _say_failure(options.mode, failure, "the same again")
        return 1
    print(f"seed {options.replay}: {count} operations, and no fault")
    return 0


if __name__ == "__main__":
    sys.exit(main())
