"""What everybody waits for, at one instant: what a test says that ran into its deadline.

Invariants
----------
* Looking asks nobody anything and waits for nothing: it works where everything stands still.
* The runtime's own tasks are left out: what waits is a line of a test, a fixture or an actor.
* What cannot be seen is left out, never guessed: of a node in a process of its own there is its
  status page; of one in this trio run its asks and its lines, too.
"""

from __future__ import annotations

import linecache
import os
import sysconfig
from collections.abc import Iterator
from types import FrameType
from typing import Final

import trio

import runtime
from actors.system import System
from runtime.hosts.memory_host import MemoryHost
from runtime.traffic.exchange import Exchange

_PACKAGES: Final = os.path.dirname(os.path.dirname(os.path.abspath(runtime.__file__ or "")))
_LIBRARIES: Final = os.path.dirname(os.path.dirname(os.path.abspath(trio.__file__)))
_OURS: Final = tuple(os.path.join(_PACKAGES, name, "") for name in ("actors", "runtime", "shell"))
_NOT_USERS: Final = (
    *_OURS,
    *(os.path.join(_LIBRARIES, name, "") for name in ("trio", "pytest_trio", "outcome")),
    os.path.join(sysconfig.get_paths()["stdlib"], ""),
)
_SHOWN: Final = 50


def picture(system: System | None) -> str:
    """Lines of text: the tasks of this process, then the actors and asks of ``system``."""
    lines = [*_section("tasks", _tasks(trio.lowlevel.current_root_task()))]
    if system is not None:
        lines += _section("actors", _actors(system))
        lines += _section("asks without an answer", _asks(system))
    return "\n".join(lines)


def _section(title: str, rows: Iterator[str]) -> Iterator[str]:
    shown = [row for row, _ in zip(rows, range(_SHOWN + 1), strict=False)]
    if shown:
        yield f"{title}:"
        yield from (f"  {row}" for row in shown[:_SHOWN])
    if len(shown) > _SHOWN:
        yield "  ... and more"


def _tasks(task: trio.lowlevel.Task | None) -> Iterator[str]:
    if task is None:
        return
    place = _place(task)
    if place:
        name = f"{task.name}: " if task.name.startswith("<") else ""
        yield name + place
    for nursery in task.child_nurseries:
        for child in sorted(nursery.child_tasks, key=_age):
            yield from _tasks(child)


def _age(task: trio.lowlevel.Task) -> int:
    return int(getattr(task, "_counter", 0))


def _place(task: trio.lowlevel.Task) -> str:
    """The innermost line of it that is a user's; of a test or a fixture else one of ours."""
    users = ours = ""
    for frame, number in task.iter_await_frames():
        path = frame.f_code.co_filename
        if not path.startswith(_NOT_USERS):
            users = _line(frame, number)
        elif path.startswith(_OURS) and task.name.startswith("<"):
            ours = _line(frame, number)
    return users or ours


def _line(frame: FrameType, number: int | None) -> str:
    path = frame.f_code.co_filename
    place = f"{_brief(path)}:{number} in {_function(frame)}"
    line = linecache.getline(path, number or 0).strip()
    return f"{place}: {line}" if line else place


def _function(frame: FrameType) -> str:
    return frame.f_code.co_qualname.rpartition("<locals>.")[2]


def _brief(path: str) -> str:
    below = os.path.relpath(path)
    return path if below.startswith("..") else below


def _actors(system: System) -> Iterator[str]:
    for name, record in system.nodes.records.items():
        if record.gone.is_set() or not record.pid:
            continue
        seen = system.host.look(record.incarnation, record.pid)
        does = "idle"
        if seen.handler:
            does = f"handler {seen.handler} for {seen.handler_age_s:.3g} s"
        elif not record.started:
            does = "starting"
        yield f"{name}: {record.verdict}, {does}"


def _asks(system: System) -> Iterator[str]:
    processes: list[Exchange] = [system.exchange]
    if isinstance(system.host, MemoryHost):
        processes += [body.exchange for body in system.host.bodies.values()]
    for process in processes:
        for slot in process.pending.values():
            asker, target = slot.outbound.source.address, slot.outbound.target
            yield f"{asker.name} asks {target.name}: {slot.handler}"
