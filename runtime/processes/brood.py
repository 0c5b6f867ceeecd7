"""All that a zygote is responsible for: its nodes, those it has adopted, and their strays.

Invariants
----------
* A node is a child of ours, or adopted: a child of the zygote before us, held by its pidfd.
* A node's end is told after SIGKILL was sent to its strays, so who hears of it can count on that.
* Strays of our own nodes become our children (we are a subreaper), and are told apart when
  a child has died: only then can a node have left any. Killing one brings its children here.
* After `bury` there are neither children nor adopted nodes, nor any that carry their marks.
"""

import os
import time
from collections.abc import Collection
from typing import Final

from runtime.processes import procfs
from runtime.processes.marks import kill_strays, kill_tree, owner
from runtime.processes.orders import Exited, Survivor
from runtime.processes.pidfd import has_exited, send_signal

_BURY_S: Final = 1.0
_SESSIONS: Final = 4096


class Brood:
    """Empty at first. ``adopted`` is by pidfd."""

    def __init__(self, folder: str) -> None:
        self.adopted: dict[int, Survivor] = {}
        self._folder = folder
        self._nodes: dict[int, int] = {}  # pid -> incarnation, our children
        self._sessions: dict[int, int] = {}  # pid -> incarnation, the dead too

    def bear(self, pid: int, incarnation: int) -> None:
        """A child of ours is a node."""
        self._nodes[pid] = self._sessions[pid] = incarnation

    def adopt(self, pidfd: int, survivor: Survivor) -> None:
        """The descriptor is ours now."""
        self.adopted[pidfd] = survivor
        self._sessions[survivor.pid] = survivor.incarnation

    def reap(self) -> list[Exited]:
        """Reap every child that has died; the nodes among them."""
        exits: list[Exited] = []
        while self._nodes or procfs.children(os.getpid()):
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                break
            incarnation = self._nodes.pop(pid, None)
            if incarnation is not None:
                rss_bytes = usage.ru_maxrss * 1024
                times = usage.ru_utime, usage.ru_stime
                exits.append(Exited(incarnation, pid, status, *times, rss_bytes))
        self._kill_strays()
        self._forget_sessions()
        return exits

    def part_from(self, pidfds: Collection[int]) -> list[Exited]:
        """These adopted nodes have died; their descriptors are closed."""
        if not pidfds:
            return []
        gone = [self.adopted.pop(pidfd) for pidfd in pidfds]
        for pidfd in pidfds:
            os.close(pidfd)
        kill_strays(self._folder, {node.incarnation for node in gone}, self._sessions)
        return [Exited(node.incarnation, node.pid, None) for node in gone]

    def bury(self) -> None:
        """Kill all, frozen ones too, until none is left."""
        for pidfd in self.adopted:
            send_signal(pidfd)
        killed: set[int] = set()
        while children := procfs.children(os.getpid()):
            for pid in children:
                if pid not in killed:
                    kill_tree(pid)
            killed.update(children)
            _reap_into(killed)
        deadline = time.monotonic() + _BURY_S
        while not all(map(has_exited, self.adopted)) and time.monotonic() < deadline:
            time.sleep(0.001)
        if self.adopted:
            dead = {node.incarnation for node in self.adopted.values()}
            kill_strays(self._folder, dead, self._sessions)

    def _kill_strays(self) -> None:
        living = {0, *self._nodes.values(), *(s.incarnation for s in self.adopted.values())}
        for pid in procfs.children(os.getpid()):
            if pid not in self._nodes:
                whose = owner(pid, self._folder, self._sessions)
                if whose is not None and whose not in living:
                    kill_tree(pid)

    def _forget_sessions(self) -> None:
        """Of the dead only so many: the oldest have no strays that were not yet seen."""
        if len(self._sessions) > _SESSIONS + 2 * (len(self._nodes) + len(self.adopted)):
            living = {*self._nodes, *(node.pid for node in self.adopted.values())}
            for pid in [pid for pid in self._sessions if pid not in living][: _SESSIONS // 2]:
                del self._sessions[pid]


def _reap_into(killed: set[int]) -> None:
    """Wait for a child, then reap whoever else has died: their children may have come here."""
    options = 0
    try:
        while pid := os.waitpid(-1, options)[0]:
            killed.discard(pid)
            options = os.WNOHANG
    except ChildProcessError:
        pass
