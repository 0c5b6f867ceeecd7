"""The process around one session.

Opens the tree, connects two descriptors, turns signals into the end, closes the tree,
and only then prints the last answer: ``Ok`` means that nothing is left behind.

Invariants
----------
* Status 0; 1 if answers could not be written, if ``--script`` and any answer was an error, or
  if the tree did not open or close as it should; 128 + n after signal n, whatever else went
  wrong.
* After SIGINT, SIGTERM or SIGHUP nothing is waited for but the tree's end, and there is no
  last answer.
* The tree is open exactly while the session runs, and its end is waited for on every way
  out. Somebody who does not read our output holds up nothing but the last answers.
"""

import logging
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

import trio

from actors.topology import topology
from runtime.errors import ActorError
from shell.blame import blame
from shell.dialects import DIALECTS
from shell.options import Options
from shell.paper import Paper
from shell.session import Ended, Session
from shell.signals import until_signal
from shell.stdio import Input, Output
from shell.tree import Tree

Opener = Callable[[Options], AbstractAsyncContextManager[Tree]]

FLUSH_S: Final = 1.0  # after a signal, for a reader that stands still

log: Final = logging.getLogger("regrow.shell")


class Process:
    """One session on ``input_fd`` and ``output_fd``; `run` it once."""

    def __init__(self, options: Options, opener: Opener, input_fd: int, output_fd: int) -> None:
        self._options = options
        self._opener = opener
        self._input_fd = input_fd
        self._words = DIALECTS[options.dialect](named=bool(options.root))
        self._paper = Paper(self._words.more_notices)
        self._output = Output(output_fd, self._paper)

    async def run(self) -> int:
        """Talk until the end; returns the exit status."""
        status, number = await until_signal(self._converse)
        if number is None:
            return status
        with trio.move_on_after(FLUSH_S):
            await self._output.flush()
        return 128 + number

    async def _converse(self) -> int:
        try:
            async with self._opener(self._options) as tree:
                session, ended = await self._session(tree)
        except (ActorError, OSError) as error:
            log.error("%s", blame(error, self._options.named))
            return 1
        except Exception:  # a process's entry: the status stays ours to give
            log.exception("the tree or the session failed")
            return 1
        self._paper.write(session.farewell(ended))
        await self._output.flush()
        failed = self._options.script is not None and session.errors > 0
        return int(failed or self._output.lost)

    async def _session(self, tree: Tree) -> tuple[Session, Ended]:
        session = Session(
            tree,
            topology(self._options.topology),
            self._paper,
            dialect=self._words,
            ordered=not self._options.unordered and not os.isatty(self._input_fd),
            deadline_s=self._options.deadline_s,
        )
        printing = trio.CancelScope()

        async def print_answers() -> None:
            with printing:
                await self._output.run(broken=session.hang_up)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(print_answers)
            ended = await session.run(Input(self._input_fd))
            printing.cancel()
        return session, ended
