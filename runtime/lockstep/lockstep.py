"""Virtual time over real processes: when the clock of all may move, decided without doing anything.

One process, the conductor's, owns the clock; the others follow. Time moves from one instant to the
next deadline only when nothing can happen any more at the present one: every process is idle, and
no message is on its way. Finding that out is distributed termination detection.

The wire. A message must at each moment be seen by one of two: by its sender, who has not handed it
over yet, or by its receiver's poll. So the messages go over Unix sockets (`socket_transport`):
there a send returns when the bytes lie in the receiver's queue, and no thread is needed. ZeroMQ
will not do. Its I/O thread takes a message off the kernel before our poll can see it; counts
of what was sent and received would show that, but not once the sender was killed: whether the bytes
that it had written when SIGKILL came are with nobody, or in the receiver's I/O thread and about to
come out, no count tells, and time would move past a message that then arrives. (Seen: with the
I/O thread of the receiver on a busy processor, of 20 messages sent just before a SIGKILL 3 were
there when the sender's pidfd fired, 15 came after a poll that had found nothing, 2 never.)

The rule. A process is idle while no task of its loop can run and its poll, with timeout 0, finds
nothing. When it becomes idle it reports so, with a number of that idleness and its next deadline.
Once all have reported, the conductor asks all (a wave), and each answers with its number if its
poll still finds nothing; whoever finds something is no longer idle, and will report anew.

The argument. Let t be the moment at which a wave begins. Whoever answers with the number it had
reported before t was idle from before t until after it: idle at t. A message that was on its way
at t lay in its receiver's queue until that receiver ran; as it did not run before it answered, its
poll would have found the message. So when all have answered, at t all were idle and nothing was on
its way: nothing happens any more, unless time moves. (The conductor's own process is idle all the
while, and looks at its own poll last.) This is Mattern's double wave; as the wire loses nothing
from sight, it needs no counts.

Deaths and signals. A signal is a message, too: who was sent SIGKILL or SIGSTOP before the wave
never answers it, for the kernel acts on them before that process runs again; SIGTERM is found by
its poll. A process is in the wave until its pidfd fires. By then all it has sent lies in queues;
whatever changes who takes part begins a new wave. A stopped process (state T) does nothing: it is
left out while its state is T, which is looked at before the wave and after it. It still counts on
its own clock, and where its deadlines have passed it is told so when it goes on.

The contract. What is in none of the queues must be seen otherwise, or not be:
* the zygote: while it owes an answer, or the word on an end, or is at work, time stands still;
* threads, child processes, and descriptors that tasks wait for: while a process has any that are
  not the runtime's it is not idle (`outside`), nor is anybody while a node's grandchild runs that
  the zygote has inherited. So work of the outer world lasts no time;
* time that stands still for ``patience_s`` real seconds is an error that names who holds it.
What nobody can see is a look at the outer world that is repeated with sleeps in between, like
``while not path.exists(): await trio.sleep(1)`` for a file that a process of nobody's here is to
write: these sleeps last no real time, under any virtual clock. Signals from outside the system, and
a process's own alarms, come at no defined instant.

Invariants
----------
* Time moves only after a wave that everybody who takes part and is not stopped has answered with
  the number of its last report, and in which nobody joined, left, reported, stopped or went on.
* It moves to the earliest deadline, or not at all; never back.
* Whose deadline has come counts as running until it reports again.
* A party that has joined and not yet reported is running.

Source: F. Mattern, "Algorithms for distributed termination detection", Distributed Computing 2
(1987), the four-counter method.
"""

from __future__ import annotations

import math
from collections.abc import Collection


class _Party:
    __slots__ = ("answered", "deadline", "idle", "number", "stopped")

    def __init__(self) -> None:
        self.idle = False
        self.number = -1
        self.deadline = math.inf
        self.answered = 0
        self.stopped = False


class Lockstep:
    """What the conductor knows of the other processes, by their incarnations."""

    def __init__(self) -> None:
        self._parties: dict[int, _Party] = {}
        self._wave = 0
        self._open = False  # nothing has changed since the wave began

    def join(self, who: int) -> None:
        """It takes part from now on, and runs."""
        self._parties[who] = _Party()
        self._open = False

    def leave(self, who: int) -> None:
        """It is certainly dead."""
        if self._parties.pop(who, None) is not None:
            self._open = False

    def reported(self, who: int, number: int, deadline: float) -> None:
        """It became idle, for the ``number``-th time; nothing is due there before ``deadline``."""
        party = self._parties.get(who)
        if party is not None:
            party.idle, party.number, party.deadline = True, number, deadline
            self._open = False

    def answered(self, who: int, wave: int, number: int) -> None:
        """It was still, or again, in its ``number``-th idleness when it heard of the wave."""
        party = self._parties.get(who)
        if party is not None and party.idle and party.number == number:
            party.answered = wave

    def stopped(self, who: int) -> None:
        """It was seen in state T."""
        self._mark(who, True)

    def goes_on(self, who: int) -> None:
        """It was seen in another state."""
        self._mark(who, False)

    def _mark(self, who: int, stopped: bool) -> None:
        party = self._parties.get(who)
        if party is not None and party.stopped is not stopped:
            party.stopped = stopped
            self._open = False

    def void(self) -> None:
        """Something else has happened: the wave proves nothing."""
        self._open = False

    def begin_wave(self) -> tuple[int, Collection[int]]:
        """A new wave's number, and whom to ask; 0 and nobody if it is not the time for one."""
        if self._open or not all(party.idle for party in self._taking_part()):
            return 0, ()
        self._wave += 1
        self._open = True
        return self._wave, [who for who, party in self._parties.items() if not party.stopped]

    @property
    def quiet(self) -> bool:
        """Whether the wave is over, and has proved that nothing happens any more."""
        return self._open and all(party.answered == self._wave for party in self._taking_part())

    def _taking_part(self) -> Collection[_Party]:
        return [party for party in self._parties.values() if not party.stopped]

    @property
    def awaited(self) -> Collection[int]:
        """Who keeps time from moving."""
        wave = self._wave if self._open else 0
        return [
            who
            for who, party in self._parties.items()
            if not party.stopped and (not party.idle or (wave and party.answered != wave))
        ]

    @property
    def standing(self) -> Collection[int]:
        """Who is stopped."""
        return [who for who, party in self._parties.items() if party.stopped]

    @property
    def deadline(self) -> float:
        """The earliest of those who take part."""
        return min((party.deadline for party in self._taking_part()), default=math.inf)

    def move(self, now: float) -> Collection[int]:
        """It is ``now``. Returns whose deadlines have come: they are to be told, and run.

        Raises:
            RuntimeError: it is not proved that nothing happens any more.
        """
        if not self.quiet:
            raise RuntimeError(f"time may not move: {sorted(self.awaited)} may not be idle")
        self._open = False
        due = []
        for who, party in self._parties.items():
            if not party.stopped and party.deadline <= now:
                party.idle = False
                due.append(who)
        return due
