"""What the nodes of the zygote's tests do. ``boot`` is JSON; "fifo" is where they report to."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from runtime.processes.newborn import CONTROLLER_FD
from runtime.processes.orders import Order
from runtime.processes.run_folder import page_path
from runtime.processes.status_page import StatusPage
from runtime.processes.taint import open_fds


def say(order: Order, **what: Any) -> None:
    """One line to the test. Shorter than PIPE_BUF, so it arrives whole."""
    with open(json.loads(order.boot)["fifo"], "wb", buffering=0) as fifo:
        fifo.write(json.dumps({"incarnation": order.incarnation, **what}).encode() + b"\n")


def rest(order: Order, folder: str) -> None:
    say(order, pid=os.getpid())
    while True:
        signal.pause()


def leave(order: Order, folder: str) -> None:
    code = json.loads(order.boot)["code"]
    if code is not None:
        raise SystemExit(code)


def leave_at_once(order: Order, folder: str) -> None:
    os._exit(9)


def crash(order: Order, folder: str) -> None:
    raise LookupError("no such thing")


def describe(order: Order, folder: str) -> None:
    say(
        order,
        fds=sorted(open_fds()),
        targets=[os.readlink(f"/proc/self/fd/{fd}") for fd in (0, 1, 2)],
        environ=dict(os.environ),
        cwd=os.getcwd(),
        session=os.getsid(0),
        pid=os.getpid(),
        sigterm=signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
        controller=_pid_behind(CONTROLLER_FD),
        boot=len(order.boot),
        chance=random.random(),
    )


def _pid_behind(pidfd: int) -> int:
    lines = Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pid:"))


def start_strays(order: Order, folder: str) -> None:
    """One of each kind of stray; each of them, and the node, is reported, then the node rests."""
    page = StatusPage(page_path(folder, order.incarnation), order.incarnation)
    sleep = ["sleep", "600"]
    null = subprocess.DEVNULL
    for kind, stray in {
        "plain": subprocess.Popen(sleep),
        "nameless": subprocess.Popen(sleep, env={}, stdout=null, stderr=null),
        "setsid": subprocess.Popen(sleep, start_new_session=True, stdout=null, stderr=null),
    }.items():
        say(order, kind=kind, pid=stray.pid)
    _start_daemon(order, lambda: os.execvp("sleep", sleep), "daemon")
    _start_daemon(order, signal.pause, "forked daemon")
    say(order, kind="node", pid=os.getpid())
    while True:
        signal.pause()
    page.close()


def _start_daemon(order: Order, live: Any, kind: str) -> None:
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            null = os.open("/dev/null", os.O_RDWR)
            os.dup2(null, 1)
            os.dup2(null, 2)
            say(order, kind=kind, pid=os.getpid())
            live()
        os._exit(0)
    os.waitpid(child, 0)


def be_a_page(order: Order, folder: str) -> None:
    """Write records whose fields agree with each other, until killed."""
    page = StatusPage(page_path(folder, order.incarnation), order.incarnation)
    say(order, pid=os.getpid())
    n = 0
    while True:
        n += 1
        page.begin(b"%d" % n, float(n))
        page.end(float(n))


def print_for_ever(order: Order, folder: str) -> None:
    print("one")
    print("two", file=sys.stderr)
    os.write(1, b"half a li")
    say(order, pid=os.getpid())
    time.sleep(600)
