"""What a process has to do with the outer world, as far as that keeps it from being idle.

A loop that waits looks idle; but a thread may be at work for it, a child process, or whoever is
at the other end of a descriptor.

Invariants
----------
* Looking asks the kernel alone, and nothing of trio that is not public.
* The threads and children that were there at the beginning are not looked at: they belong to
  whoever runs this loop.
* A child that has ended and was not waited for does nothing any more.

Source: ``proc(5)``, ``/proc/PID/fdinfo`` of an epoll descriptor: "tfd: FD events: MASK".
"""

from __future__ import annotations

import os
import re
import select
import socket
from collections.abc import Callable, Collection
from typing import Final

import trio

from runtime.processes import procfs

_WATCHED: Final = re.compile(rb"^tfd:\s*(\d+) events:\s*([0-9a-f]+)", re.MULTILINE)
_ASKED: Final = select.EPOLLIN | select.EPOLLOUT


async def find_loop() -> tuple[int, int]:
    """The descriptors of the present trio run: its epoll's, and that by which it wakes itself."""
    poll = await _find_poll()
    while True:
        waiting = watched(poll)
        before = {fd for fd in waiting if has_come(fd)}
        trio.lowlevel.current_trio_token().run_sync_soon(_nothing)
        found = {fd for fd in waiting if has_come(fd)} - before
        await trio.lowlevel.checkpoint()
        if len(found) == 1:
            return poll, found.pop()


def has_come(fd: int) -> bool:
    """Whether that descriptor is readable now; an epoll's is if one of those it waits for is."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


async def _find_poll() -> int:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.wait_readable, ours)
            await trio.lowlevel.checkpoint()
            while True:
                for name in os.listdir("/proc/self/fd"):
                    fd = int(name)
                    if procfs.open_file(os.getpid(), fd) == "anon_inode:[eventpoll]" and (
                        ours.fileno() in watched(fd)
                    ):
                        nursery.cancel_scope.cancel()
                        return fd
                await trio.lowlevel.checkpoint()
    raise AssertionError("unreachable")


def watched(poll: int) -> dict[int, int]:
    """What it waits for now: the event masks, by descriptor."""
    with open(f"/proc/self/fdinfo/{poll}", "rb", buffering=0) as file:
        entries = _WATCHED.findall(file.readall())
    masks = {int(fd): int(mask, 16) for fd, mask in entries}
    return {fd: mask for fd, mask in masks.items() if mask & _ASKED}


class Outside:
    """Of this process.

    Args:
        loop: the descriptors of its loop, as `find_loop` finds them.
        ours: the descriptors of the runtime that tasks may wait for.
        our_children: the runtime's.
    """

    def __init__(
        self,
        loop: tuple[int, int],
        ours: Callable[[], Collection[int]],
        our_children: Callable[[], Collection[int]] = tuple,
    ) -> None:
        self._poll, self._wakeup = loop
        self._ours = ours
        self._our_children = our_children
        self._pid = os.getpid()
        self._threads = set(os.listdir("/proc/self/task"))
        self._children = set(procfs.children(self._pid)) - set(our_children())

    def hold(self) -> str:
        """Why it cannot be told to be idle, "" if it can."""
        threads = set(os.listdir("/proc/self/task")) - self._threads
        if threads:
            return (
                f"it has started {len(threads)} threads (trio's linger for 10 s after their work)"
            )
        children = set(procfs.children(self._pid)) - self._children - set(self._our_children())
        for child in children:
            stat = procfs.stat(child)
            if stat is not None and not stat.ended:
                return f"its child process {child} runs"
        ours = self._ours()
        for fd, mask in watched(self._poll).items():
            # What is not asked for once only is trio's own, too.
            if fd not in ours and fd != self._wakeup and mask & select.EPOLLONESHOT:
                return f"a task waits for descriptor {fd} ({procfs.open_file(self._pid, fd)})"
        return ""


def _nothing() -> None:
    """Runs in the next turn of the loop."""
