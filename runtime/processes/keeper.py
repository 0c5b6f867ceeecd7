"""The controller's side of the zygote: orders in, nodes and the news of their ends out.

The keeper has one zygote at a time, and replaces one that has died, does not answer or has
loaded what must not be forked. Nodes survive that: the next zygote adopts them.

Invariants
----------
* Every wait is bounded (`attendance`). Whoever wanted the module that a zygote could not
  load within 30 s gets `SpawnError`.
* A node whose `Forked` was not handed over never runs. So an order in flight when its zygote
  dies is given once more to the next one; the second time it is `SpawnError`.
* After a cancelled `fork` there is no such node, or it was sent SIGKILL and nobody hears of it.
* Each node that `fork` has answered for is told to ``on_exit`` once, unless the block ends
  first: with its status by the zygote that forked it; after a replacement with what the
  kernel tells within 1 s, or None.
* After the block none of its nodes is left, nor the zygote.
"""

import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import trio

from runtime.errors import SpawnError
from runtime.processes import procfs
from runtime.processes.asks import Ask, Asks, ForkedNode
from runtime.processes.attendance import PING_S, Attendance
from runtime.processes.launcher import Launcher, last_words
from runtime.processes.main_module import check_guarded, current_folder, find_main
from runtime.processes.marks import kill_strays
from runtime.processes.orders import (
    MAX_SURVIVORS,
    Adopt,
    Begin,
    Exited,
    Forked,
    FromZygote,
    Order,
    Ready,
    Refused,
    Survivor,
    Tainted,
    encode,
)
from runtime.processes.pidfd import close_pidfd, has_exited, send_signal, wait_exited, wait_status

PRELOAD: Final = ("trio", "zmq", "msgspec")
IMPORT_S: Final = 30.0
END_S: Final = 1.0


class Keeper:
    """Made by `open_zygote`."""

    def __init__(
        self,
        folder: str,
        launcher: Launcher,
        nursery: trio.Nursery,
        on_exit: Callable[[Exited], None],
        on_replaced: Callable[[str], None],
        preload: Sequence[str],
        prepare: str,
        import_s: float,
        ping_s: float,
    ) -> None:
        self.pid = 0  # the zygote's, 0 between two of them
        self._folder = folder
        self._launcher = launcher
        self._nursery = nursery
        self._on_exit = on_exit
        self._on_replaced = on_replaced
        self._preload = tuple(preload)
        self._prepare = prepare
        self._import_s = import_s
        self._ping_s = ping_s
        self._main = find_main()
        self._leave: set[str] = set()
        self._tainted = False  # it was we who gave the present zygote up; its asks lose no life
        self._asks = Asks()
        self._nodes: dict[int, tuple[Survivor, int]] = {}  # by incarnation; the int is its pidfd
        self._zygote: Attendance | None = None
        self._settled: trio.Event = trio.Event()  # the first zygote is ready, or is not to be
        self._unfit = ""  # why a zygote could not even begin
        self._closed = False

    async def fork(self, order: Order) -> ForkedNode:
        """The node runs. ``on_exit`` may hear of its end before this returns.

        Raises:
            SpawnError: it does not, and why (its module's traceback, for one); or the order
                takes more than 128 KiB.
            ValueError: its class cannot be imported in another process, or the incarnation is
                that of another node.
            trio.ClosedResourceError: the block has ended.

        Cancellation: if the node was forked already it is killed, and nobody hears of it.
        """
        ask = Ask(order)
        if "__main__" in ask.modules and self._main is None:
            raise ValueError(
                f"{order.entry} cannot be imported in another process: "
                "it comes from a REPL, from -c or from a package's __main__.py"
            )
        if self._asks.get(ask.incarnation) or ask.incarnation in self._nodes:
            raise ValueError(f"incarnation {ask.incarnation} has been ordered already")
        if self._closed:
            raise trio.ClosedResourceError("the zygote's block has ended")
        self._asks.add(ask)
        self._order(ask)
        return await self._asks.answer_to(ask)

    @trio.lowlevel.enable_ki_protection
    async def keep(self) -> None:
        """Have a zygote, always."""
        failures = 0
        while True:
            why, ready = await self._have_one()
            failures = 0 if ready or self._tainted else failures + 1
            if not self._tainted:
                self._asks.survive(f"no zygote: {why}{last_words(self._folder)}")
            if failures == 2 and not self._settled.is_set():
                self._unfit = why
                self._settled.set()
            self._on_replaced(why)
            if failures:
                await trio.sleep(min(0.1 * 2**failures, 5.0))

    @property
    def owed(self) -> str:
        """What a zygote that lives and is not stopped has still to do or say; "" if nothing."""
        zygote, stat = self._zygote, procfs.stat(self.pid) if self._zygote is not None else None
        if zygote is None or stat is None or stat.frozen or stat.ended:
            return ""
        if not zygote.idle:
            return "the zygote has not answered"
        if any(self._asks.all()):
            return "the zygote has not carried out an order"
        for node, pidfd in self._nodes.values():
            if has_exited(pidfd):
                return f"the zygote has not told how {node.name} ended"
        return "" if stat.state == "S" else "the zygote is at work"

    async def settled(self) -> None:
        """The first zygote is ready. `SpawnError` if it could not begin."""
        await self._settled.wait()
        if self._unfit:
            raise SpawnError(f"no zygote: {self._unfit}{last_words(self._folder)}")

    async def end(self) -> None:
        """No node is left, though the zygote may have failed at that. To be shielded."""
        self._closed = True
        for ask in self._asks.all():
            self._asks.answer(ask, trio.ClosedResourceError("the zygote's block has ended"))
        left = [(node, pidfd) for node, pidfd in self._nodes.values() if not has_exited(pidfd)]
        with trio.move_on_after(END_S):
            for _, pidfd in left:
                send_signal(pidfd)
            for _, pidfd in left:
                await wait_exited(pidfd)
        if self._nodes:  # of whose ends the zygote has not said that their strays are seen to
            sessions = {node.pid: node.incarnation for node, _ in self._nodes.values()}
            kill_strays(self._folder, set(sessions.values()), sessions)
        for _, pidfd in self._nodes.values():
            close_pidfd(pidfd)
        self._nodes.clear()

    # One zygote after the other.

    async def _have_one(self) -> tuple[str, bool]:
        """Why there is one no longer, and whether it had begun."""
        try:
            line = self._launcher.launch(self._folder)
        except OSError as error:
            return f"it cannot be started: {error}", False
        self._zygote = zygote = Attendance(line, self._hear, self._import_s, self._ping_s)
        self.pid = line.pid
        self._tainted = False
        self._brief()
        try:
            await zygote.attend()
        finally:
            self.pid, self._zygote = 0, None
        if zygote.overdue and zygote.importing:
            self._asks.blame(zygote.importing.module, f"the zygote was given up: {zygote.why}")
        return zygote.why, zygote.ready

    def _brief(self) -> None:
        assert self._zygote is not None
        here = current_folder()
        paths = tuple(path or here for path in sys.path)
        leave = tuple(sorted(self._leave))
        begin = Begin(self._folder, here, paths, self._main, self._preload, leave, self._prepare)
        self._zygote.put(encode(begin))
        nodes = list(self._nodes.values())
        for first in range(0, len(nodes), MAX_SURVIVORS):
            some = nodes[first : first + MAX_SURVIVORS]
            adopt = Adopt(tuple(node for node, _ in some))
            self._zygote.put(encode(adopt), [pidfd for _, pidfd in some])
        for ask in self._asks.all():
            self._order(ask)

    def _order(self, ask: Ask) -> None:
        if self._zygote is not None:
            self._zygote.put(ask.data, wanted=lambda: self._asks.get(ask.incarnation) is ask)

    # The news.

    def _hear(self, news: FromZygote, fds: list[int]) -> None:
        if isinstance(news, Forked):
            self._hear_forked(news, fds)
        elif isinstance(news, Exited):
            self._hear_exited(news)
        elif isinstance(news, Refused):
            self._hear_refused(news)
        elif isinstance(news, Tainted):
            self._leave.add(news.module)
            self._tainted = True
            if self._zygote is not None:
                self._zygote.end(f"importing {news.module}: {news.why}")
        elif isinstance(news, Ready):
            self._settled.set()

    def _hear_forked(self, news: Forked, fds: list[int]) -> None:
        ask = self._asks.get(news.incarnation)
        try:
            theirs = [os.dup(fds[0])] if ask is not None else []
        except (OSError, IndexError):  # the kernel has dropped it if there was no number for it
            theirs = []
        if ask is not None and theirs:
            self._nodes[news.incarnation] = Survivor(ask.name, news.incarnation, news.pid), fds[0]
            self._asks.answer(ask, ForkedNode(news.incarnation, news.pid, theirs[0]))
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(news.pid, signal.SIGKILL)  # we shall be told of its end, and not heed it
        for fd in fds:
            os.close(fd)
        if ask is not None:
            self._asks.answer(ask, SpawnError(f"{ask.name}: no file descriptor left to hold it"))

    def _hear_exited(self, news: Exited) -> None:
        node = self._nodes.pop(news.incarnation, None)
        if node is None:
            return
        if news.status is None:
            self._nursery.start_soon(self._hear_orphan, news, node[1])
        else:
            close_pidfd(node[1])
            self._on_exit(news)

    @trio.lowlevel.enable_ki_protection
    async def _hear_orphan(self, news: Exited, pidfd: int) -> None:
        try:
            status = await wait_status(pidfd)
        finally:
            close_pidfd(pidfd)
        self._on_exit(msgspec.structs.replace(news, status=status))

    def _hear_refused(self, news: Refused) -> None:
        ask = self._asks.get(news.incarnation)
        if ask is not None:
            error = ValueError if news.misuse else SpawnError
            self._asks.answer(ask, error(f"{ask.name}: {news.why}"))
        elif news.incarnation == 0 and self._zygote is not None:
            self._zygote.end(news.why)


@asynccontextmanager
@trio.lowlevel.enable_ki_protection
async def open_zygote(
    folder: str,
    launcher: Launcher,
    *,
    on_exit: Callable[[Exited], None],
    on_replaced: Callable[[str], None] = lambda why: None,
    preload: Sequence[str] = PRELOAD,
    prepare: str = "",
    import_s: float = IMPORT_S,
    ping_s: float = PING_S,
) -> AsyncIterator[Keeper]:
    """A zygote is there, and can be asked to `Keeper.fork`. An exception of the body stays itself.

    Args:
        folder: the run folder; the zygote removes it when its controller dies.
        on_exit: told of each node's end, at once, in the keeper's task.
        on_replaced: told why a zygote was replaced.
        preload: modules to have in every node; the node's own runtime belongs here.
        prepare: "module:function" to call in the zygote with each module that it loads.
        import_s: seconds that a module may take to be imported.
        ping_s: how often the zygote is asked for a sign of life.

    Raises:
        SpawnError: no zygote could be started.
        RuntimeError: this is the main script, being imported by a zygote.
    """
    check_guarded()
    # Not `async with`: the nursery must not see the body's exception, it would wrap it.
    manager = trio.open_nursery()
    nursery = await manager.__aenter__()
    keeper = Keeper(
        folder, launcher, nursery, on_exit, on_replaced, preload, prepare, import_s, ping_s
    )
    try:
        nursery.start_soon(keeper.keep)
        await keeper.settled()
        yield keeper
    finally:
        nursery.cancel_scope.shield = True
        nursery.cancel_scope.cancel()
        try:
            await manager.__aexit__(None, None, None)
        finally:
            with trio.CancelScope(shield=True):
                await keeper.end()
