"""From a fork of the zygote to a node: the child's first millisecond.

A child is forked before its order is there: it leaves the zygote behind, and waits at a pipe
for the order, or for the pipe's end.

Invariants
----------
* It never returns into the zygote, runs none of its atexit functions, flushes none of its buffers.
* Its own session; signals as in a fresh Python, but that SIGINT kills, like SIGTERM.
* Of the zygote's descriptors it keeps `CONTROLLER_FD`, a pidfd of the controller that its own
  children do not inherit, and what the modules opened while they were imported. 0 is
  ``/dev/null``, 1 and 2 the node's output file.
* The order comes once the zygote has handed the news of this node over; a zygote that dies
  before takes the child along. So the start function of an untold node is never called.
* The status is 0, that of SystemExit, or 1 with the traceback in the output.
"""

import atexit
import contextlib
import gc
import io
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable, Collection
from importlib import import_module
from typing import Any, Final, NoReturn

from runtime.processes.main_module import has_main, load_main
from runtime.processes.marks import NODE, RUN
from runtime.processes.orders import MAX_MESSAGE_BYTES, Fork, Main, Order, decode_order
from runtime.processes.run_folder import output_path

CONTROLLER_FD: Final = 3
SPARE: Final = "regrow-spare"
"""What a child is called that has no order yet."""
IGNORED_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""By the zygote; it handles SIGCHLD and SIGALRM, too, otherwise than a node does."""


def become_node(folder: str, main: Main | None, gate: int, keep: Collection[int]) -> NoReturn:
    """Be the node until it ends. ``gate``: the pipe to wait at; ``keep``: what modules opened."""
    status = 1
    try:
        _leave_the_zygote({0, 1, 2, CONTROLLER_FD, gate, *keep})
        _take_name(SPARE)
        order = _read_order(gate)
        if order is not None:
            _settle_in(order, folder)
            load(order.entry, main)
            resolve(order.start)(order, folder)
            atexit._run_exitfuncs()
            status = 0
    except SystemExit as error:
        status = _status(error.code)
    except BaseException:  # there is no frame above this one that could still be told
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(status)


def load(entry: str, main: Main | None) -> None:
    """The entry's module is imported. Raises whatever the module does."""
    module = entry.partition(":")[0]
    if module != "__main__":
        import_module(module)
    elif not has_main():
        if main is None:
            raise ImportError("__main__ is no file that could be imported elsewhere")
        load_main(main)


def resolve(path: str) -> Callable[..., Any]:
    """What "module:attribute" names."""
    module, _, name = path.partition(":")
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found  # type: ignore[no-any-return]


def _leave_the_zygote(keep: Collection[int]) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.setsid()
    atexit._clear()
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd not in keep:
            with contextlib.suppress(OSError):  # the one that listed them
                os.close(fd)

    random.seed()
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    gc.enable()


def _read_order(gate: int) -> Order | None:
    """What comes through the gate before it closes."""
    parts = []
    while part := os.read(gate, MAX_MESSAGE_BYTES):
        parts.append(part)
    os.close(gate)
    if not parts:
        return None
    fork = decode_order(b"".join(parts))
    return fork.order if isinstance(fork, Fork) else None


def _take_name(name: str) -> None:
    """For ps and top."""
    comm = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
    os.write(comm, name[:15].encode())
    os.close(comm)


def _settle_in(order: Order, folder: str) -> None:
    output = os.open(
        output_path(folder, order.incarnation),
        os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC,
        0o600,
    )
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    _take_name(order.name)
    for number in IGNORED_SIGNALS:  # a child without an order does not end by them
        signal.signal(number, signal.SIG_DFL)
    _set_environ(order.environ)
    os.environ[NODE] = f"{order.name}.{order.incarnation}"
    os.environ[RUN] = folder
    os.chdir(order.cwd)


def _set_environ(wanted: dict[str, str]) -> None:
    """Change only what differs: writing all of it dirties half a MiB of pages."""
    for name in [name for name in os.environ if name not in wanted]:
        del os.environ[name]
    for name, value in wanted.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _status(code: object) -> int:
    if code is None or isinstance(code, int):
        return (code or 0) & 0xFF
    print(code, file=sys.stderr)
    return 1
