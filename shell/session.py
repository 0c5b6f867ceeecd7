"""Lines in, answers out: one conversation with a tree of nodes.

Needs no terminal and no process: a source of bytes, a sink for text and a `Tree`.

    session = Session(tree, topology("tree"), paper)
    ended = await session.run(source)
    # close the tree, then:
    paper.write(session.farewell(ended))

The reader parses lines and queues them; workers start what may start, check it at that
moment, and wait for the tree.

Invariants
----------
* Every command has exactly one answer, which may be empty; a blank line has none.
* Answers come in the order of the commands when ``ordered``, else as they are known.
* At most ``WINDOW`` commands wait for their answers; then reading pauses.
* Cancelling `run` gives no more answers. Otherwise it returns when all are given.
"""

import enum
import math
from collections import deque
from typing import Final

import trio

from actors.control.heartbeat import Change, Died, Forgotten
from actors.control.heartbeat import Created as NodeCreated
from actors.path_manager import PathNotice
from actors.topology import Id, Topology
from shell.answers import Outcome
from shell.commands import Command, Exit, Mistake
from shell.dialects import Spec
from shell.execution import IMPATIENT, Execution, late
from shell.lines import BadLine, Lines
from shell.notices import Notices
from shell.order import Order
from shell.paper import Sink, Source
from shell.ticket import Ticket
from shell.tree import Tree
from shell.workers import Workers

WINDOW: Final = 1024
SLICE: Final = 128


class Ended(enum.Enum):
    """How a session came to its end."""

    EXIT = "exit"
    END_OF_INPUT = "end of input"


class Entry(Ticket):
    """A command in the session: its line, when it was read, and its answer."""

    __slots__ = ("answer", "at", "echo", "line")

    def __init__(self, command: Command, line: int, at: float, echo: str) -> None:
        super().__init__(command)
        self.line = line
        self.at = at
        self.echo = echo
        self.answer: str | None = None


class Session:
    """One conversation.

    Args:
        tree: the nodes; opened and closed by the caller.
        topology: decides the parents of new nodes.
        sink: takes the answers.
        ordered: answers in the order of commands.
        deadline_s: how long an ``exec`` or ``ping`` may take.
    """

    def __init__(
        self,
        tree: Tree,
        topology: Topology,
        sink: Sink,
        *,
        dialect: Spec | None = None,
        ordered: bool = True,
        deadline_s: float = 2.0,
    ) -> None:
        self.errors = 0
        self._tree = tree
        self._sink = sink
        self._dialect = dialect or Spec()
        self._ordered = ordered
        self._deadline_s = deadline_s
        self._order = Order(topology, [(place.id, place.parent) for place in tree.places()])
        self._notices = Notices(self._dialect, self._order, sink)
        self._execution = Execution(tree, self._order, self._notices)
        self._held: deque[Entry] = deque()  # not printed yet, oldest first
        self._unprinted = 0
        self._moved = trio.Event()
        self._line = 0
        self._last = Entry(Exit(), 0, 0.0, "")
        self._waiting = False
        self._news: dict[Id, None] = {}  # nodes that may have come or gone
        self._reading = trio.CancelScope()
        self._workers: Workers[Entry]

    async def run(self, source: Source) -> Ended:
        """Answer the lines of ``source`` until ``exit`` or its end.

        Cancellation: commands that wait are given up, and get no answer.
        """
        self._sink.write(self._dialect.greeting)
        for place in self._tree.places():
            self._notices.hear(NodeCreated(place.id, trio.current_time()))
            if not place.state.lives:
                self._notices.hear(Died(place.id, trio.current_time()))
        with self._tree.listen(self._hear):
            async with trio.open_nursery() as nursery:
                self._workers = Workers(nursery, self._take, self._run, self._late)
                nursery.start_soon(self._notices.run)
                nursery.start_soon(self._tree.watch_paths, self._hear_path)
                with self._reading:
                    await self._read(source)
                while self._unprinted:
                    await self._move()
                nursery.cancel_scope.cancel()
        return Ended.EXIT if self._last.line else Ended.END_OF_INPUT

    def hang_up(self) -> None:
        """Nobody reads the answers any more: as the end of input."""
        self._reading.cancel()

    def farewell(self, ended: Ended) -> str:
        """The last answer, for when the tree is gone."""
        elapsed_s = trio.current_time() - self._last.at
        line = self._last.line if ended is Ended.EXIT else None
        return self._last.echo + self._dialect.end(Exit(), line, elapsed_s)

    # What becomes of nodes.

    def _hear(self, change: Change) -> None:
        self._notices.hear(change)
        if isinstance(change, NodeCreated | Forgotten):
            self._news[change.id] = None

    def _hear_path(self, notice: PathNotice) -> None:
        if text := self._dialect.path_notice(notice):
            self._sink.notice(text)

    def _learn(self) -> None:
        """Nodes come and go without our lines, too."""
        for id in self._news:
            if self._tree.state(id) is None:
                self._order.forget(id)
            else:
                self._order.learn(id, self._tree.place(id).parent)
        self._news.clear()

    # Reading.

    async def _read(self, source: Source) -> None:
        lines = Lines()
        while not self._last.line:
            data = await source.receive_some()
            await self._accept_all(lines.feed(data) if data else lines.end())
            if not data:
                self._last.at = trio.current_time()
                return

    async def _accept_all(self, lines: list[str | BadLine]) -> None:
        for count, line in enumerate(lines):
            if self._unprinted >= WINDOW or not self._order.open or count % SLICE == SLICE - 1:
                await self._room()
            self._accept(line)
            if self._last.line:
                return
        await self._sink.room()

    async def _room(self) -> None:
        """Wait until one more command may be accepted."""
        self._workers.poke()
        await trio.lowlevel.checkpoint()
        while not self._order.open or self._unprinted >= WINDOW:
            await self._move()
        await self._sink.room()

    def _accept(self, line: str | BadLine) -> None:
        self._line += 1
        command: Command | None
        if isinstance(line, BadLine):
            command, echo = Mistake(line.why), ""
        else:
            command = self._dialect.read(line)
            if command is None:
                return
            echo = self._dialect.echo(line)
        if echo and not self._ordered:
            self._sink.write(echo)
            echo = ""
        if self._news:
            self._learn()
        entry = Entry(command, self._line, trio.current_time(), echo)
        if type(command) is Exit:
            self._last = entry
            return
        self._unprinted += 1
        if self._ordered:
            self._held.append(entry)
        self._order.add(entry)
        if not self._order.idle:
            self._workers.poke()

    # Starting, answering.

    def _take(self) -> tuple[Entry, float] | None:
        """Answer what needs no waiting; give the next entry that does."""
        if self._news:
            self._learn()
        while (entry := self._order.next()) is not None:
            assert isinstance(entry, Entry)
            outcome = self._execution.check(entry)
            if outcome is None:
                patient = type(entry.command) not in IMPATIENT
                return entry, math.inf if patient else self._deadline_s
            self._finish(entry, outcome)
        return None

    async def _run(self, entry: Entry) -> None:
        self._finish(entry, await self._execution.run(entry.command, entry.parent))

    def _late(self, entry: Entry) -> None:
        self._finish(entry, late(entry.command))

    def _finish(self, entry: Entry, outcome: Outcome) -> None:
        command = entry.command
        elapsed_s = trio.current_time() - entry.at
        answer = self._dialect.answer(command, outcome, entry.line, elapsed_s)
        if self._dialect.is_error(outcome, answer):
            self.errors += 1
        entry.answer = entry.echo + answer
        self._order.finish(entry, done=self._execution.took_effect(command, outcome))
        if not self._ordered:
            self._print(entry.answer)
        while self._held and (text := self._held[0].answer) is not None:
            self._held.popleft()
            self._print(text)
        if not self._order.idle:
            self._workers.poke()

    def _print(self, text: str) -> None:
        self._sink.write(text)
        self._unprinted -= 1
        if self._waiting and (not self._unprinted or self._unprinted <= WINDOW // 2):
            self._moved.set()

    async def _move(self) -> None:
        """Wait until an answer was printed; in a full window, until it is half empty."""
        self._waiting = True
        await self._moved.wait()
        self._moved = trio.Event()
        self._waiting = False
