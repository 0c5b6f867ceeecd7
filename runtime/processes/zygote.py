"""The zygote: a small process that forks every node of a system, and reaps it.

Run as ``python -m runtime.processes.zygote CONTROL CONTROLLER``: the descriptors of one end of a
SOCK_SEQPACKET pair, and of a pidfd of the controller. What is said over the pair: `orders`.

Invariants
----------
* One thread, no trio loop, no ZMQ context. It never waits but in one ``poll``: news that the
  controller does not read (it may be stopped) wait here, and then nothing more is read from it.
* A node is a fork of an image that has its modules loaded, collected, without holes and frozen. An
  import that leaves what must not be forked is told as `Tainted`, and the zygote forks no more.
* It is every node's kernel parent and a child subreaper, so a node's status, rusage and strays
  come to it. A node's strays are killed when it dies, those of a living node never. Told
  apart by `marks`; what has no mark is killed at the end.
* Nodes of an earlier zygote are adopted: held by their pidfds, their strays found in ``/proc``.
* At the end of its socket it kills all it has until no child remains, frozen ones too, puts back
  who manages the paths of its network namespace, if that is noted, removes the run folder and
  exits: also while it imports, unless the import stays in C.
"""

import contextlib
import ctypes
import fcntl
import gc
import os
import select
import shutil
import signal
import socket
import sys
import traceback
from collections import deque
from typing import Final, NamedTuple, NoReturn

from runtime.errors import WireError
from runtime.multipath.path_owner import put_back
from runtime.processes import procfs
from runtime.processes.brood import Brood
from runtime.processes.holes import fill_holes
from runtime.processes.main_module import UnguardedError, has_main
from runtime.processes.marks import kill_tree
from runtime.processes.newborn import CONTROLLER_FD, IGNORED_SIGNALS, become_node, load, resolve
from runtime.processes.orders import (
    MAX_MESSAGE_BYTES,
    MAX_SURVIVORS,
    Adopt,
    Begin,
    Fork,
    Forked,
    FromZygote,
    Importing,
    Ping,
    Pong,
    Ready,
    Refused,
    Tainted,
    ToZygote,
    decode_order,
    encode,
)
from runtime.processes.run_folder import owner_path
from runtime.processes.taint import find_taint, open_fds

_MAX_NEWS_WAITING: Final = 1024
_MAX_WHY: Final = 32 * 1024
_SUBREAPER: Final = 36
_SET_PIPE_SIZE: Final = 1031
SPARE_AFTER_MS: Final = 2
_THREAD_LIMITS: Final = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class _News(NamedTuple):
    data: bytes
    pidfd: int | None
    gate: int | None
    order: bytes


class _Blank(NamedTuple):
    """A child without an order; ``gate`` is where to write one."""

    pid: int
    gate: int


class Zygote:
    """See above. ``begin`` is the first message, already read from ``control``."""

    def __init__(self, control: socket.socket, begin: Begin) -> None:
        self._control = control
        self._begin = begin
        self._news: deque[_News] = deque()
        self._brood = Brood(begin.folder)
        self._tainted = False
        self._spare: _Blank | None = None
        self._wants_spare = False
        self._opened_by_modules: set[int] = set()
        self._wakeup, wakeup = socket.socketpair()
        self._wakeup.setblocking(False)
        wakeup.setblocking(False)
        self._waker = wakeup.detach()
        self._poll = select.poll()
        self._poll.register(self._wakeup, select.POLLIN)

    def run(self) -> NoReturn:
        """Serve until the control socket ends."""
        if all(self._load(module, 0) for module in self._begin.preload):
            self._tell(Ready())
        while True:
            reading = select.POLLIN if len(self._news) < _MAX_NEWS_WAITING else 0
            self._poll.register(self._control, reading | (select.POLLOUT if self._news else 0))
            events = self._poll.poll(SPARE_AFTER_MS if self._wants_spare else None)
            if not events:
                self._keep_spare()
            self._part_from({fd for fd, _ in events if fd in self._brood.adopted})
            for fd, event in events:
                if fd == self._wakeup.fileno():
                    self._reap()
                elif fd != self._control.fileno():
                    continue
                elif event & (select.POLLHUP | select.POLLERR):
                    self._end()
                elif event & select.POLLIN:
                    self._hear()
            self._flush()

    # From the controller.

    def _hear(self) -> None:
        message = self._receive()
        if isinstance(message, Ping):
            self._tell(Pong(message.n))
        elif isinstance(message, Adopt):
            pass  # done by _receive
        elif isinstance(message, Fork) and not self._tainted:
            order = message.order
            if self._load(order.start, order.incarnation) and self._load(
                order.entry, order.incarnation
            ):
                self._fork(message)

    def _receive(self) -> ToZygote | None:
        """The next message; None at the end. Survivors are adopted at once."""
        data, fds, _, _ = socket.recv_fds(
            self._control, MAX_MESSAGE_BYTES, MAX_SURVIVORS, socket.MSG_CMSG_CLOEXEC
        )
        if not data:
            return None
        message = decode_order(data)
        if isinstance(message, Adopt):
            for pidfd, survivor in zip(fds, message.survivors, strict=True):
                self._brood.adopt(pidfd, survivor)
                self._poll.register(pidfd, select.POLLIN)
        return message

    def _load(self, path: str, incarnation: int) -> bool:
        """Whether the module may be forked now, or is left to the nodes."""
        module = path.partition(":")[0]
        known = has_main() if module == "__main__" else module in sys.modules
        if known or module in self._begin.leave:
            return True
        self._tell(Importing(module, incarnation))
        self._flush()
        before = open_fds()
        signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
        loaded = False
        try:
            load(module, self._begin.main)
            if self._begin.prepare:
                resolve(self._begin.prepare)(sys.modules[module])
            loaded = True
        except UnguardedError as error:
            self._refuse(incarnation, str(error), misuse=True)
        except (Exception, SystemExit):
            self._refuse(incarnation, traceback.format_exc())
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self.set_signals()
            self._reap()  # an import may have taken the signal
        why = find_taint()
        if why:
            self._tainted = True
            self._tell(Tainted(incarnation, module, why))
            return False
        self._opened_by_modules |= open_fds() - before
        self._give_spare_up()
        gc.collect()
        fill_holes()
        gc.freeze()
        return loaded

    def _refuse(self, incarnation: int, why: str, *, misuse: bool = False) -> None:
        self._tell(Refused(incarnation, why[-_MAX_WHY:], misuse))

    def _fork(self, fork: Fork) -> None:
        order = fork.order
        gate = -1
        try:
            pid, gate = self._take_spare() or self._bear_blank()
            self._brood.bear(pid, order.incarnation)
            pidfd = os.pidfd_open(pid)
        except OSError as error:  # no processes, no descriptors; without a gate the child exits
            if gate >= 0:
                os.close(gate)
            self._refuse(order.incarnation, f"cannot fork: {error}")
        else:
            self._tell(Forked(order.incarnation, pid), pidfd, gate, encode(fork))
            self._wants_spare = True

    def _take_spare(self) -> _Blank | None:
        """The spare child, if it is as it should be."""
        spare, self._spare = self._spare, None
        if spare is not None:
            stat = procfs.stat(spare.pid)
            if stat is None or stat.frozen or stat.ended:
                os.close(spare.gate)
                kill_tree(spare.pid)  # it is a child of ours that was not reaped
                return None
        return spare

    def _bear_blank(self) -> _Blank:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        gate, opener = os.pipe()
        try:
            fcntl.fcntl(opener, _SET_PIPE_SIZE, 2 * MAX_MESSAGE_BYTES)  # a write never waits
            pid = os.fork()
            if pid == 0:
                become_node(self._begin.folder, self._begin.main, gate, self._keep(opener))
        except OSError:
            os.close(opener)
            raise
        finally:
            os.close(gate)
        return _Blank(pid, opener)

    def _keep_spare(self) -> None:
        """Have a child ready for the next order, if there has been one: it saves 3 of 11 ms."""
        self._wants_spare = False
        if self._spare is None and not self._tainted:
            with contextlib.suppress(OSError):  # then the next order will say so
                self._spare = self._bear_blank()

    def _give_spare_up(self) -> None:
        """It lacks a module that we have now."""
        if self._spare is not None:
            os.close(self._spare.gate)
            self._spare = None
            self._wants_spare = True

    def _keep(self, opener: int) -> set[int]:
        """What modules have opened, unless the number is ours by now."""
        ours = {opener, *(fd for news in self._news for fd in (news.pidfd, news.gate) if fd)}
        if self._spare is not None:
            ours.add(self._spare.gate)
        return self._opened_by_modules - ours - self._brood.adopted.keys()

    # To the controller.

    def _tell(
        self,
        news: FromZygote,
        pidfd: int | None = None,
        gate: int | None = None,
        order: bytes = b"",
    ) -> None:
        self._news.append(_News(encode(news), pidfd, gate, order))

    def _flush(self) -> None:
        while self._news:
            data, pidfd, gate, order = self._news[0]
            try:
                socket.send_fds(self._control, [data], [] if pidfd is None else [pidfd])
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionResetError):
                self._end()
            self._news.popleft()
            if pidfd is not None and gate is not None:
                with contextlib.suppress(BrokenPipeError):  # it was killed meanwhile
                    os.write(gate, order)
                os.close(gate)
                os.close(pidfd)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wakeup.recv(4096)
        for exited in self._brood.reap():
            self._tell(exited)
        if self._spare is not None and not os.path.exists(f"/proc/{self._spare.pid}"):
            self._give_spare_up()  # somebody has killed it

    def _part_from(self, pidfds: set[int]) -> None:
        for pidfd in pidfds:
            self._poll.unregister(pidfd)
        for exited in self._brood.part_from(pidfds):
            self._tell(exited)

    def set_signals(self) -> None:
        """Ours again, whatever an import has made of them."""
        for number in IGNORED_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # never ignored: the kernel would reap
        signal.signal(signal.SIGALRM, self._on_alarm)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)

    def _on_alarm(self, *_: object) -> None:
        """While a module is imported: it must not outlive the controller."""
        poll = select.poll()
        poll.register(self._control, 0)
        if poll.poll(0):
            self._end()

    def _end(self) -> NoReturn:
        try:
            while self._receive() is not None:
                pass
        except (OSError, ValueError, WireError):
            pass
        self._brood.bury()
        put_back(owner_path(self._begin.folder))
        shutil.rmtree(self._begin.folder, ignore_errors=True)
        os._exit(0)


def main() -> NoReturn:
    """The process's entry."""
    control_fd = fcntl.fcntl(int(sys.argv[1]), fcntl.F_DUPFD_CLOEXEC, 10)
    controller = fcntl.fcntl(int(sys.argv[2]), fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(int(sys.argv[1]))
    os.close(int(sys.argv[2]))
    os.dup2(controller, CONTROLLER_FD, inheritable=False)
    os.close(controller)
    if os.getsid(0) != os.getpid():
        os.setsid()
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    for name in _THREAD_LIMITS:
        os.environ.setdefault(name, "1")
    control = socket.socket(fileno=control_fd)
    data = control.recv(MAX_MESSAGE_BYTES)
    begin = decode_order(data) if data else None
    if not isinstance(begin, Begin):
        os._exit(0)
    control.setblocking(False)
    with contextlib.suppress(OSError):
        os.chdir(begin.cwd)
    sys.path[:] = begin.sys_path
    sys.argv = [begin.main.path if begin.main else ""]
    gc.disable()
    zygote = Zygote(control, begin)
    zygote.set_signals()
    zygote.run()


if __name__ == "__main__":
    # Under its own name too: the user's script takes the name __main__ from us.
    from runtime.processes.zygote import main as enter

    enter()
