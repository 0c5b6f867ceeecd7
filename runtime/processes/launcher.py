"""How a zygote is started, apart from what it is told.

A `Launcher` brings up one zygote and hands back the `Line` to it: whole messages, with
descriptors beside them. Here it is a child process and a socket pair; on another machine it
may be started by ssh or a batch system, and its line be our own link.

Invariants
----------
* Nothing here blocks for longer than a fork and an exec (0.3 ms), and no thread is started.
* A line is closed once; then its process is dead and reaped.
* `Line.receive` and `Line.send` never wait: they say `trio.WouldBlock`.
"""

import os
import select
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Final, Protocol

import trio

import runtime
from runtime.processes.orders import MAX_MESSAGE_BYTES, MAX_SURVIVORS
from runtime.processes.pidfd import close_pidfd, has_exited, send_signal, wait_exited
from runtime.processes.run_folder import output_path

ZYGOTE: Final = 0
"""The zygote's output file is that of incarnation 0."""
_LAST_WORDS_BYTES: Final = 4096


def last_words(folder: str) -> str:
    """The end of what the system's zygotes have printed, after a line break; "" if nothing."""
    try:
        with open(output_path(folder, ZYGOTE), "rb") as output:
            output.seek(-min(_LAST_WORDS_BYTES, os.fstat(output.fileno()).st_size), os.SEEK_END)
            text = output.read().decode(errors="replace").strip()
    except OSError:
        return ""
    return f"\n{text}" if text else ""


class Line(Protocol):
    """The way to one zygote."""

    pid: int

    def send(self, data: bytes, fds: Sequence[int]) -> None:
        """Hand one message over; `trio.WouldBlock` if there is no room now.

        Raises:
            trio.BrokenResourceError: the zygote is gone.
        """

    def receive(self) -> tuple[bytes, list[int]]:
        """The next message and its descriptors, now the caller's; `trio.WouldBlock` if none.

        Raises:
            trio.BrokenResourceError: the zygote is gone, and all it has said was read.
        """

    async def wait_readable(self) -> None: ...
    async def wait_writable(self) -> None: ...
    async def wait_exited(self) -> None: ...

    def hang_up(self) -> None:
        """The zygote sees the end of its line, and ends all it has."""

    def kill(self) -> None: ...

    def close(self) -> None:
        """The zygote, if it lived still, is killed; what it has said and nobody read is lost."""


class Launcher(Protocol):
    """Starts zygotes."""

    def launch(self, folder: str) -> Line:
        """A new process, that waits for its `Begin`. `OSError` if there can be none."""


class LocalLauncher:
    """Starts them on this machine, with this interpreter."""

    def launch(self, folder: str) -> "LocalLine":
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        controller = -1
        try:
            controller = os.pidfd_open(os.getpid())
            with theirs, open(output_path(folder, ZYGOTE), "ab") as output:
                process = subprocess.Popen(
                    [
                        sys.executable,
                        *subprocess._args_from_interpreter_flags(),  # type: ignore[attr-defined]
                        *("-m", "runtime.processes.zygote", str(theirs.fileno()), str(controller)),
                    ],
                    cwd=os.path.dirname(os.path.dirname(os.path.abspath(runtime.__file__))),
                    pass_fds=(theirs.fileno(), controller),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            return LocalLine(process, ours)
        except OSError:
            ours.close()
            raise
        finally:
            if controller >= 0:
                os.close(controller)


class LocalLine:
    """A socket pair to a child process."""

    def __init__(self, process: "subprocess.Popen[bytes]", control: socket.socket) -> None:
        control.setblocking(False)
        self.pid = process.pid
        self._process = process
        self._control = control
        self._pidfd = os.pidfd_open(process.pid)

    @property
    def descriptors(self) -> set[int]:
        """What tasks may wait for on its behalf."""
        return {self._control.fileno(), self._pidfd}

    def send(self, data: bytes, fds: Sequence[int]) -> None:
        try:
            socket.send_fds(self._control, [data], fds)
        except BlockingIOError:
            raise trio.WouldBlock from None
        except OSError as error:
            raise trio.BrokenResourceError("the zygote is gone") from error

    def receive(self) -> tuple[bytes, list[int]]:
        try:
            data, fds, _, _ = socket.recv_fds(
                self._control, MAX_MESSAGE_BYTES, MAX_SURVIVORS, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            # Some child of it, just forked, may still hold the other end.
            if has_exited(self._pidfd) and not self._has_more():
                raise trio.BrokenResourceError("the zygote is gone") from None
            raise trio.WouldBlock from None
        except OSError as error:
            raise trio.BrokenResourceError("the zygote is gone") from error
        if not data:
            raise trio.BrokenResourceError("the zygote has closed its line")
        return data, fds

    def _has_more(self) -> bool:
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        return bool(poll.poll(0))

    async def wait_readable(self) -> None:
        await trio.lowlevel.wait_readable(self._control)

    async def wait_writable(self) -> None:
        await trio.lowlevel.wait_writable(self._control)

    async def wait_exited(self) -> None:
        await wait_exited(self._pidfd)

    def hang_up(self) -> None:
        trio.lowlevel.notify_closing(self._control)
        self._control.close()

    def kill(self) -> None:
        send_signal(self._pidfd)

    def close(self) -> None:
        if self._control.fileno() >= 0:
            self.hang_up()
        self.kill()
        self._process.wait()  # SIGKILL has been sent: this takes no longer than the kernel does
        close_pidfd(self._pidfd)
