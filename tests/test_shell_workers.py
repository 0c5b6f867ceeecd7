"""Jobs take their first steps in order, wait side by side, and end at their deadlines."""

import math
from collections import deque

import trio
from trio.testing import MockClock

from shell.workers import SLICE, Workers

Job = tuple[int, float, float]  # a number, how long it takes, how long it may last


class Bench:
    """Jobs for workers, and what became of them."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.ahead: deque[Job] = deque()
        self.started: list[int] = []
        self.ended: list[tuple[float, str, int]] = []
        self.workers = Workers(nursery, self.take, self.run, self.late)

    def take(self) -> tuple[Job, float] | None:
        return (self.ahead[0], self.ahead.popleft()[2]) if self.ahead else None

    async def run(self, job: Job) -> None:
        self.started.append(job[0])
        if job[1]:
            await trio.sleep(job[1])
        self.ended.append((trio.current_time(), "done", job[0]))

    def late(self, job: Job) -> None:
        self.ended.append((trio.current_time(), "late", job[0]))

    def do(self, *jobs: Job) -> None:
        self.ahead += jobs
        self.workers.poke()


async def test_first_steps_are_in_order(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    bench = Bench(nursery)
    bench.do(*((n, n % 3, math.inf) for n in range(300)))
    await trio.sleep(5)
    assert bench.started == list(range(300))
    assert [at for at, _, _ in bench.ended] == [0.0] * 100 + [1.0] * 100 + [2.0] * 100


async def test_a_job_is_late_at_its_own_deadline(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    bench = Bench(nursery)
    for _ in range(3):
        bench.ended.clear()
        start = trio.current_time()
        bench.do((1, 9, 2), (2, 3, math.inf), (3, 0, 1), (4, 1, 2))
        await trio.sleep(10)
        ended = [(at - start, what, n) for at, what, n in bench.ended]
        assert ended == [(0, "done", 3), (1, "done", 4), (2, "late", 1), (3, "done", 2)]


async def test_jobs_that_never_wait_let_others_run(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    bench.do(*((n, 0, 2) for n in range(10 * SLICE)))
    steps = 0
    while bench.ahead:
        await trio.lowlevel.checkpoint()
        steps += 1
    assert steps >= 9
