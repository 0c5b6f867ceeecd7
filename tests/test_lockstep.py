"""When time may move in lockstep: the pure core, against a model of processes and the kernel."""

from __future__ import annotations

import math
import random
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.testing.lockstep import open_lockstep_system
from runtime.lockstep.lockstep import Lockstep

FIRST, SECOND = 1, 2


def idle(lockstep: Lockstep, who: int, number: int = 1, deadline: float = math.inf) -> None:
    lockstep.reported(who, number, deadline)


def test_time_does_not_move_before_all_have_answered_a_wave() -> None:
    lockstep = Lockstep()
    lockstep.join(FIRST)
    lockstep.join(SECOND)
    assert lockstep.begin_wave() == (0, ())
    idle(lockstep, FIRST)
    assert lockstep.begin_wave() == (0, ())
    assert lockstep.awaited == [SECOND]
    idle(lockstep, SECOND)
    assert not lockstep.quiet
    assert lockstep.begin_wave() == (1, [FIRST, SECOND])
    lockstep.answered(FIRST, 1, 1)
    assert lockstep.awaited == [SECOND]
    with pytest.raises(RuntimeError, match=r"\[2\] may not be idle"):
        lockstep.move(1.0)
    lockstep.answered(SECOND, 1, 1)
    assert lockstep.quiet


def test_who_is_alone_may_move_at_once() -> None:
    lockstep = Lockstep()
    assert lockstep.begin_wave() == (1, [])
    assert lockstep.quiet
    assert lockstep.deadline == math.inf
    assert lockstep.move(5.0) == []


def test_an_answer_from_another_idleness_or_to_another_wave_proves_nothing() -> None:
    lockstep = Lockstep()
    lockstep.join(FIRST)
    idle(lockstep, FIRST, 1)
    lockstep.begin_wave()
    lockstep.answered(FIRST, 1, 2)
    assert not lockstep.quiet
    idle(lockstep, FIRST, 2)
    assert lockstep.begin_wave() == (2, [FIRST])
    lockstep.answered(FIRST, 1, 2)
    assert not lockstep.quiet
    lockstep.answered(FIRST, 2, 2)
    assert lockstep.quiet


@pytest.mark.parametrize("what", ["join", "leave", "reported", "stopped", "goes_on", "void"])
def test_whatever_changes_begins_the_wave_anew(what: str) -> None:
    lockstep = Lockstep()
    for who in (FIRST, SECOND, 3):
        lockstep.join(who)
        idle(lockstep, who)
    lockstep.stopped(3)
    lockstep.begin_wave()
    for who in (FIRST, SECOND):
        lockstep.answered(who, 1, 1)
    assert lockstep.quiet
    if what == "reported":
        idle(lockstep, FIRST, 2)
    elif what == "void":
        lockstep.void()
    else:
        getattr(lockstep, what)({"join": 4, "goes_on": 3}.get(what, FIRST))
    assert not lockstep.quiet


def test_whose_deadline_has_come_runs_until_it_reports_again() -> None:
    lockstep = Lockstep()
    for who, deadline in ((FIRST, 2.0), (SECOND, 3.0)):
        lockstep.join(who)
        idle(lockstep, who, 1, deadline)
    lockstep.begin_wave()
    for who in (FIRST, SECOND):
        lockstep.answered(who, 1, 1)
    assert lockstep.deadline == 2.0
    assert lockstep.move(2.0) == [FIRST]
    assert lockstep.awaited == [FIRST]
    assert lockstep.begin_wave() == (0, ())
    idle(lockstep, FIRST, 2, 9.0)
    assert lockstep.begin_wave() == (2, [FIRST, SECOND])


def test_who_is_stopped_is_left_out_until_it_goes_on_and_is_told_what_it_missed() -> None:
    lockstep = Lockstep()
    for who, deadline in ((FIRST, 2.0), (SECOND, 3.0)):
        lockstep.join(who)
        idle(lockstep, who, 1, deadline)
    lockstep.stopped(FIRST)
    assert lockstep.deadline == 3.0
    assert lockstep.begin_wave() == (1, [SECOND])
    lockstep.answered(SECOND, 1, 1)
    assert lockstep.move(3.0) == [SECOND]
    assert lockstep.standing == [FIRST]
    lockstep.goes_on(FIRST)
    idle(lockstep, SECOND, 2, 8.0)
    assert lockstep.begin_wave() == (2, [FIRST, SECOND])
    for who, number in ((FIRST, 1), (SECOND, 2)):
        lockstep.answered(who, 2, number)
    assert lockstep.deadline == 2.0
    assert lockstep.move(3.0) == [FIRST]


async def test_without_its_clock_no_system_opens() -> None:
    with pytest.raises(RuntimeError, match="and no LockstepClock"):
        open_lockstep_system()


# -- the model


class Process:
    """One follower: what lies in its queue, and what it says to the conductor."""

    def __init__(self) -> None:
        self.runs = True
        self.due = False  # it was told so
        self.queue = 0
        self.number = 0
        self.deadline = math.inf
        self.told: deque[int] = deque()  # waves; 0 is Due
        self.said: deque[tuple[str, int, float]] = deque()
        self.killed = False  # and will do nothing that it has not begun
        self.dead = False
        self.signalled = False  # SIGSTOP is on its way
        self.state_t = False

    @property
    def may_step(self) -> bool:
        return not (self.dead or self.state_t)

    @property
    def at_rest(self) -> bool:
        """Whether it cannot do anything unless somebody else does."""
        return self.dead or self.state_t or not (self.runs or self.queue or self.due)


class World:
    """Followers 1 to n, the conductor's process, and a kernel with its queues.

    Nothing happens at once: each step is one that a scheduler may choose.
    """

    def __init__(self, count: int, dice: random.Random) -> None:
        self.dice = dice
        self.followers = {who: Process() for who in range(1, count + 1)}
        self.own_queue = 0
        self.owner_runs = True
        self.own_deadline = 1.0
        self.now = 0.0
        self.work = 60  # so many messages, signals and timers before all is done
        self.lockstep = Lockstep()
        for who in self.followers:
            self.lockstep.join(who)
        self.moves = 0

    # what may happen next

    def steps(self) -> list[tuple[str, int]]:
        found = []
        if self.owner_runs or self.own_queue:
            found.append(("own step", 0))
        else:
            found.append(("conduct", 0))
            if self.work:
                found.append(("outer world", 0))
        for who, each in self.followers.items():
            if each.dead:
                if who in self.lockstep._parties:
                    found.append(("pidfd", who))
                continue
            if each.killed:
                found.append(("die", who))
            if each.signalled:
                found.append(("stop", who))
            if not each.may_step:
                continue
            if each.runs:
                found.append(("step", who))
            elif not (each.killed or each.signalled):
                if each.queue or each.due:
                    found.append(("wake", who))
                if each.told:
                    found.append(("hear", who))
        return found

    def do(self, what: str, who: int) -> None:
        each = self.followers.get(who)
        if what == "own step":
            self.lockstep.void()
            if self.own_queue:
                self.own_queue -= 1
                self.owner_runs = True
            elif self.dice.random() < 0.5:
                self.act()
            else:
                self.owner_runs = False
        elif what == "outer world":
            self.own_queue += 1
        elif what == "conduct":
            self.conduct()
        elif each is None:
            raise AssertionError(what)
        elif what == "pidfd":
            self.hear_all(who)
            self.lockstep.leave(who)
        elif what == "die":
            each.dead = True
        elif what == "stop":
            each.state_t, each.signalled = True, False
        elif what == "wake":
            each.runs, each.due = True, False
        elif what == "hear":
            wave = each.told.popleft()
            if not wave:
                each.due = True
            elif not (each.queue or each.due):
                each.said.append(("still", wave, each.number))
        elif each.queue:
            each.queue -= 1
        elif self.dice.random() < 0.5:
            self.act(who)
        elif not (each.killed or each.signalled):
            each.runs = False
            each.number += 1
            each.deadline = self.timer()
            each.said.append(("idle", each.number, each.deadline))

    def timer(self) -> float:
        if self.work and self.dice.random() < 0.5:
            self.work -= 1
            return self.now + self.dice.choice([0.5, 1.0, 1.5])
        return math.inf

    def act(self, by: int = 0) -> None:
        """Who runs sends a message, or a signal; one that is dying may still finish a send."""
        if not self.work:
            return
        self.work -= 1
        target = self.dice.choice([0, *self.followers])
        dying = by in self.followers and (self.followers[by].killed or self.followers[by].signalled)
        chance = self.dice.random()
        if target == 0 or chance < 0.7 or dying:
            if target == 0:
                self.own_queue += 1
            elif not self.followers[target].dead:
                self.followers[target].queue += 1
        elif chance < 0.8:
            self.followers[target].killed = True
            self.followers[target].state_t = False  # SIGKILL wakes who is stopped
        elif chance < 0.9:
            self.followers[target].signalled = not self.followers[target].killed
        elif not self.followers[target].killed:
            self.followers[target].signalled = self.followers[target].state_t = False

    # what the conductor does while its own process is idle, one small thing at a time

    def hear_all(self, who: int) -> None:
        said = self.followers[who].said
        while said:
            self.hear(who)

    def hear(self, who: int) -> None:
        kind, number, last = self.followers[who].said.popleft()
        if kind == "idle":
            self.lockstep.reported(who, number, last)
        else:
            self.lockstep.answered(who, number, int(last))

    def conduct(self) -> None:
        spoken = [who for who, each in self.followers.items() if each.said]
        choice = self.dice.random()
        if spoken and choice < 0.6:
            who = self.dice.choice(spoken)
            if who in self.lockstep._parties:
                self.hear(who)
            return
        if choice < 0.7:
            for who in self.lockstep.awaited:
                if self.followers[who].state_t:
                    self.lockstep.stopped(who)
            return
        wave, asked = self.lockstep.begin_wave()
        for who in asked:
            self.followers[who].told.append(wave)
        for who in list(self.lockstep.standing):
            if not self.followers[who].state_t:
                self.lockstep.goes_on(who)
        if self.lockstep.quiet:
            self.check()
            self.move()

    def check(self) -> None:
        """The point of it all."""
        assert not self.own_queue
        assert not self.owner_runs
        for who, each in self.followers.items():
            assert each.at_rest, f"{who} was not at rest"
            assert each.dead or each.state_t or not (each.killed or each.signalled)
            assert not each.dead or who not in self.lockstep._parties

    def move(self) -> None:
        deadline = min(self.lockstep.deadline, self.own_deadline)
        if deadline == math.inf:
            return
        self.now = max(self.now, deadline)
        self.moves += 1
        for who in self.lockstep.move(self.now):
            self.followers[who].told.append(0)
        if self.own_deadline <= self.now:
            self.owner_runs = True
            self.own_deadline = self.now + 1.0 if self.work else math.inf


@given(st.integers(1, 5), st.integers(0, 2**32))
def test_time_never_moves_while_anything_can_happen_whatever_the_schedule(
    count: int, seed: int
) -> None:
    world = World(count, random.Random(seed))
    for _ in range(3000):
        what, who = world.dice.choice(world.steps())
        world.do(what, who)
    assert not world.work  # it has come to the end of all that there was to do
    assert world.moves


def test_the_model_meets_deaths_stops_and_waves_that_fail() -> None:
    seen: set[str] = set()
    for seed in range(50):
        world = World(4, random.Random(seed))
        for _ in range(1500):
            what, who = world.dice.choice(world.steps())
            seen.add(what)
            world.do(what, who)
        assert world.lockstep._wave > world.moves
    assert seen == {
        "own step", "outer world", "conduct", "pidfd", "die", "stop", "wake", "hear", "step",
    }  # fmt: skip
