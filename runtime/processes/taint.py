"""What a process must not have when it forks, because a child would get half of it.

A thread is not copied, but its locks are; a ZMQ context works in the child without an error,
although its I/O thread is not there; connections to a listening socket go to any of the
children.

Invariants
----------
* Looks at this process only, and changes nothing.
* ZMQ is looked for, never imported.
"""

import gc
import os
import socket
import sys

from runtime.processes.procfs import open_file, thread_count


def find_taint() -> str:
    """What makes it unsafe to fork this process, "" if nothing.

    A ZMQ context without sockets has no threads yet; it is found among the objects that the
    garbage collector knows, frozen ones excepted: call this before ``gc.freeze``.
    """
    threads = thread_count(os.getpid())
    if threads != 1:
        return f"it has started threads ({threads - 1})"
    zmq = sys.modules.get("zmq")
    if zmq is not None and any(issubclass(type(o), zmq.Context) for o in gc.get_objects()):
        return "it has made a ZMQ context"
    for fd in open_fds():
        if _listens(fd):
            return f"it has opened a listening socket (descriptor {fd})"
    return ""


def open_fds() -> set[int]:
    """The descriptors of this process."""
    listed = {int(fd) for fd in os.listdir("/proc/self/fd")}
    return {fd for fd in listed if open_file(os.getpid(), fd)}  # without the one that listed them


def _listens(fd: int) -> bool:
    if not open_file(os.getpid(), fd).startswith("socket:"):
        return False
    with socket.socket(fileno=os.dup(fd)) as found:
        return bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
