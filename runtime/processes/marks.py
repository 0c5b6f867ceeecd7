"""Whose process is this? How a node's strays are told from those of another.

A stray is a process that a node has started, however it has tried to get away. It carries
at least one of its node's marks:

* ``REGROW_NODE=NAME.INCARNATION`` in its environment, once it has exec'ed. Names are unique
  in one system only, so ``REGROW_RUN``, the run folder, says which;
* the node's session, as long as it has not called ``setsid``;
* the node's output file as descriptor 1 or 2;
* the node's status page among the files that it has mapped to write to, as long as it has not
  exec'ed. Who reads a page maps it too, and is no stray.

Only a process that has called ``setsid``, exec'ed with an emptied environment and redirected
its output carries none. It is found by descent while an ancestor is found, or else at the end of
the system, when the zygote kills all it has.
"""

import os
import signal
from collections.abc import Collection, Mapping
from typing import Final

from runtime.processes import procfs
from runtime.processes.run_folder import output_path, page_path

NODE: Final = "REGROW_NODE"
RUN: Final = "REGROW_RUN"


def owner(pid: int, folder: str, sessions: Mapping[int, int]) -> int | None:
    """The incarnation of ``folder``'s system that ``pid`` comes from, None if it has no mark.

    ``sessions``: from the pid of each node, dead or alive, to its incarnation.
    """
    environ = procfs.environ(pid)
    if environ.get(RUN.encode()) == os.fsencode(folder):
        incarnation = environ.get(NODE.encode(), b"").rpartition(b".")[2]
        if incarnation.isdigit():
            return int(incarnation)
    stat = procfs.stat(pid)
    if stat is not None and stat.session in sessions:
        return sessions[stat.session]
    files = {procfs.open_file(pid, 1), procfs.open_file(pid, 2)} | procfs.mapped_files(pid)
    for path in files:
        path = path.removesuffix(" (deleted)")
        incarnation_text = os.path.basename(path).partition(".")[0]
        if os.path.dirname(path) == folder and incarnation_text.isdigit():
            incarnation_ = int(incarnation_text)
            if path in (output_path(folder, incarnation_), page_path(folder, incarnation_)):
                return incarnation_
    return None


def kill_tree(pid: int) -> None:
    """Send SIGKILL to a process and all that descend from it, parents first."""
    for victim in (pid, *procfs.descendants(pid)):
        try:
            os.kill(victim, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def kill_strays(folder: str, dead: Collection[int], sessions: Mapping[int, int]) -> None:
    """Send SIGKILL to all of the machine's processes that come from these dead nodes.

    For nodes whose zygote has died: what they leave behind becomes nobody's child of ours.
    """
    ours = os.getpid()
    for pid in procfs.pids():
        if pid != ours and pid not in sessions and owner(pid, folder, sessions) in dead:
            kill_tree(pid)
