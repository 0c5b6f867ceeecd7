"""Real shells for the real tests: the console script, driven over a pipe or a terminal.

Every wait has a bound, and every console a folder of its own in ``TMPDIR``: so all its
processes can be found by their environment, whoever has adopted them, and what it leaves
behind can be counted.
"""

import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trio

from actors.testing import leftovers
from actors.testing.leftovers import alive as alive
from actors.testing.leftovers import begun as begun
from runtime.processes import procfs
from runtime.processes.newborn import SPARE
from runtime.processes.pidfd import send_signal

ROOT = str(Path(__file__).parent.parent)
REGROW = str(Path(sys.executable).parent / "regrow")
OVER: list[str] = []
"""Options of every shell; filled by ``pytest --over tcp``."""
ANSWER_S = 15.0
"""No answer takes longer, on the slowest of machines."""
START_S = 4 * ANSWER_S
"""Until a process has come up and said its first word, on a starved machine."""
GONE_S = 5.0
"""Five times what is promised of a controller's death."""
END_S = 25.0
"""Five times what is promised of an orderly end."""

_ON_TERMINAL = (
    "import fcntl, os, sys, termios;"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execvp(sys.argv[1], sys.argv[1:])"
)


def family(pid: int) -> dict[str, list[int]]:
    """The processes under a controller: its zygotes, their nodes, what nodes have started."""
    zygotes = [child for child in procfs.children(pid) if alive(child)]
    nodes = [node for each in zygotes for node in nodes_of(each)]
    strays = [stray for each in nodes for stray in procfs.descendants(each) if alive(stray)]
    return {"zygotes": zygotes, "nodes": nodes, "strays": strays}


def nodes_of(zygote: int) -> list[int]:
    """Its children, but for the one that has no order yet."""
    return [pid for pid in procfs.children(zygote) if alive(pid) and not is_spare(pid)]


def is_spare(pid: int) -> bool:
    """Whether it waits to become a node, or is too young to say so."""
    stat = procfs.stat(pid)
    if stat is None:
        return False
    name = procfs.name(pid)
    return name == SPARE or (name == procfs.name(stat.ppid) and _is_zygote(stat.ppid))


def _is_zygote(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
            return b"runtime.processes.zygote" in cmdline.read()
    except OSError:
        return False


async def until(holds: Callable[[], bool], within_s: float = ANSWER_S) -> None:
    """It holds. For what nobody is told of: /proc has no events."""
    with trio.fail_after(within_s):
        while not holds():  # noqa: ASYNC110
            await trio.sleep(0.002)


def frozen(*pids: int) -> bool:
    """Whether all of them are stopped."""
    stats = [procfs.stat(pid) for pid in pids]
    return all(stat is not None and stat.frozen for stat in stats)


async def freeze(*pids: int) -> None:
    """They are stopped."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    await until(lambda: frozen(*pids))


def thaw(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


async def gone(pids: Iterable[int]) -> None:
    """All of them have ended."""
    for pid in pids:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            await trio.lowlevel.wait_readable(pidfd)
        finally:
            os.close(pidfd)


def marked(home: str) -> list[int]:
    """Every living process that has ``TMPDIR=home`` in its environment."""
    return leftovers.marked("TMPDIR", home)


def run_folders(home: str) -> list[str]:
    """The run folders under ``home``; `folder` of a system that is open, nothing after it."""
    root = f"{home}/regrow-{os.geteuid()}"
    try:
        return [f"{root}/{name}" for name in os.listdir(root)]
    except FileNotFoundError:
        return []


@contextmanager
def home_folder() -> Iterator[str]:
    """A short path for ``TMPDIR``. What is left of its processes at the end is killed."""
    home = tempfile.mkdtemp(prefix="rg-", dir="/tmp")
    try:
        yield home
    finally:
        for pid in marked(home):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(home)


def environment(home: str, more: Mapping[str, str] | None = None) -> dict[str, str]:
    environ = {**os.environ, "TMPDIR": home, "PYTHONPATH": ROOT, **(more or {})}
    environ.pop("XDG_RUNTIME_DIR", None)
    return environ


class Console:
    """A process that reads lines and writes lines."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", input_fd: int, output_fd: int, home: str
    ) -> None:
        self.pid = process.pid
        self.home = home
        self._process = process
        self._pidfd = os.pidfd_open(process.pid)
        self._input_fd = input_fd
        self._output_fd = output_fd
        self._rest = b""
        self._heard = False
        self._ended = False
        for fd in {input_fd, output_fd}:
            os.set_blocking(fd, False)

    # -- talking

    async def feed(self, data: bytes) -> None:
        """Hand all of it over. It takes as long as the other side takes."""
        rest = memoryview(data)
        while rest:
            await trio.lowlevel.wait_writable(self._input_fd)
            rest = rest[os.write(self._input_fd, rest[:65536]) :]

    async def say(self, *lines: str) -> None:
        with trio.fail_after(ANSWER_S):
            await self.feed("".join(f"{line}\n" for line in lines).encode())

    async def line(self) -> str:
        """The next line. `EOFError` if none will come."""
        with trio.fail_after(ANSWER_S if self._heard else START_S):
            while b"\n" not in self._rest:
                if not await self._read():
                    raise EOFError(f"the output has ended after {self._rest!r}")
        self._heard = True
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    async def lines(self, count: int) -> list[str]:
        return [await self.line() for _ in range(count)]

    async def ask(self, line: str) -> str:
        """Say one line, and hear its answer of one line."""
        await self.say(line)
        return await self.line()

    async def ask_all(self, *lines: str) -> list[str]:
        """Say some lines at once, and hear an answer of one line to each."""
        await self.say(*lines)
        return await self.lines(len(lines))

    async def create(self, id: int, parent: int = -1) -> int:
        """The pid of a new node."""
        answer = await self.ask(f"create {id} {parent}")
        assert answer.startswith("Ok: "), answer
        return int(answer.removeprefix("Ok: "))

    async def tree(self) -> list[str]:
        """What ``tree`` prints, without its first and its empty last line."""
        await self.say("tree")
        assert await self.line() == f"-1 pid {self.pid} ok"
        lines = []
        while line := await self.line():
            lines.append(line)
        return lines

    async def states(self) -> dict[int, str]:
        """The state of each node, by its id."""
        rows = [line.partition(" guardian ")[0].split(maxsplit=3) for line in await self.tree()]
        return {int(id): state for id, _, _, state in rows}

    async def becomes(self, id: int, state: str) -> None:
        """``tree`` says that the node's state is ``state``."""
        with trio.fail_after(ANSWER_S):
            while (await self.states())[id] != state:  # noqa: ASYNC110
                await trio.sleep(0.02)

    async def silence(self, seconds: float) -> None:
        """Nothing is printed meanwhile."""
        assert self._rest == b""
        with trio.move_on_after(seconds):
            await self._read()
        assert self._rest == b""

    async def output(self) -> str:
        """All that is still to come."""
        while await self._read():
            pass
        rest, self._rest = self._rest, b""
        return rest.decode()

    async def count_lines(self) -> dict[str, int]:
        """All lines that are still to come, with how often."""
        counts: dict[str, int] = {}
        while self._rest or not self._ended:
            if b"\n" not in self._rest and await self._read():
                continue
            *lines, self._rest = self._rest.split(b"\n")
            for line in map(bytes.decode, lines):
                counts[line] = counts.get(line, 0) + 1
        return counts

    async def _read(self) -> bool:
        await trio.lowlevel.wait_readable(self._output_fd)
        try:
            data = os.read(self._output_fd, 1 << 20)
        except OSError:  # EIO: nobody has the terminal open any more
            data = b""
        self._rest += data
        self._ended = not data
        return bool(data)

    def close_input(self) -> None:
        """The end of input; a terminal is hung up."""
        trio.lowlevel.notify_closing(self._input_fd)
        os.close(self._input_fd)
        if self._output_fd == self._input_fd:
            self._output_fd = -1
        self._input_fd = -1

    def close_output(self) -> None:
        os.close(self._output_fd)
        self._output_fd = -1

    # -- the process

    def signal(self, number: int) -> None:
        send_signal(self._pidfd, number)

    async def status(self) -> int:
        """Its exit status, once it has ended: as subprocess has it, -9 for killed."""
        await trio.lowlevel.wait_readable(self._pidfd)
        return self._process.wait()

    @property
    def zygote(self) -> int:
        """The pid of the only one there is."""
        (pid,) = family(self.pid)["zygotes"]
        return pid

    def node_pids(self) -> set[int]:
        """The nodes that live, whatever zygote has forked them."""
        others = {self.pid, *family(self.pid)["zygotes"]}
        return {pid for pid in marked(self.home) if pid not in others and not is_spare(pid)}

    @property
    def folder(self) -> str:
        """The run folder."""
        (folder,) = run_folders(self.home)
        return folder

    def errors(self) -> str:
        """What it has written to stderr."""
        return Path(self.home, "stderr").read_text(errors="replace")

    def peak_bytes(self) -> int:
        """The most memory that it has had resident so far."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))

    async def nothing_left(self, within_s: float) -> None:
        """It, its nodes and all they have started are gone, and so is the run folder."""
        with trio.fail_after(within_s):
            await trio.lowlevel.wait_readable(self._pidfd)
            # What has not come through its exec has no mark yet, but the folder is there.
            while (left := marked(self.home)) or run_folders(self.home):
                await gone(left)
                await trio.sleep(0.01)

    def _close(self) -> None:
        for fd in {self._input_fd, self._output_fd} - {-1}:
            os.close(fd)
        send_signal(self._pidfd)
        self._process.wait()
        os.close(self._pidfd)


@asynccontextmanager
async def open_console(
    *options: str,
    argv: Collection[str] = (),
    terminal: bool = False,
    environ: Mapping[str, str] | None = None,
    cwd: str = ROOT,
) -> AsyncIterator[Console]:
    """``regrow OPTIONS``, or ``argv``, over a pipe or a terminal of its own.

    At the end it is killed if it lives still, and nothing is left in any case. After a
    failure its stderr is a note.
    """
    with home_folder() as home:
        console = _start(
            argv or (REGROW, *_over(options)), terminal, home, environment(home, environ), cwd
        )
        try:
            yield console
            console.signal(signal.SIGKILL)
            await console.nothing_left(GONE_S)
        except BaseException as error:
            error.add_note(f"stderr of the console: {console.errors()!r}")
            error.add_note(f"unread output: {console._rest!r}")
            raise
        finally:
            console._close()


def _over(options: tuple[str, ...]) -> tuple[str, ...]:
    """Before ``--``: what follows that is the root's."""
    end = options.index("--") if "--" in options else len(options)
    return (*options[:end], *OVER, *options[end:])


def _start(
    argv: Collection[str], terminal: bool, home: str, environ: dict[str, str], cwd: str
) -> Console:
    with open(f"{home}/stderr", "wb") as stderr:
        if not terminal:
            process = subprocess.Popen(
                [*argv],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environ,
                cwd=cwd,
                bufsize=0,
            )
            assert process.stdin is not None
            assert process.stdout is not None
            with process.stdin, process.stdout:
                ends = os.dup(process.stdin.fileno()), os.dup(process.stdout.fileno())
            return Console(process, *ends, home)
        ours, theirs = pty.openpty()
        try:
            attributes = termios.tcgetattr(theirs)
            attributes[1] &= ~termios.OPOST
            attributes[3] &= ~termios.ECHO
            termios.tcsetattr(theirs, termios.TCSANOW, attributes)
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _ON_TERMINAL, *argv],
                stdin=theirs,
                stdout=theirs,
                stderr=stderr,
                env=environ,
                cwd=cwd,
                start_new_session=True,
            )
        finally:
            os.close(theirs)
        return Console(process, ours, ours, home)


def assert_nothing_left() -> None:
    """As the harness checks it, but at once."""
    assert begun() == []
    assert os.listdir(f"{os.environ['XDG_RUNTIME_DIR']}/regrow") == []
