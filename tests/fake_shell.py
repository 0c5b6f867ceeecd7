"""The shell's process over a tree without nodes: ``python -m tests.fake_shell [OPTIONS]``.

For tests of what only a real process can show: signals, closed pipes, exit statuses.
stderr says when the tree is open and when it has been closed.
"""

import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from shell.options import Options, parse_options
from shell.process import Process
from tests.fake_tree import FakeTree


@asynccontextmanager
async def open_fake(options: Options) -> AsyncIterator[FakeTree]:
    if options.quiet_nodes:
        raise OSError("no room for a tree")
    tree = FakeTree()
    tree.delays = {"create 9": 60.0}
    os.write(2, b"open\n")
    try:
        yield tree
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.05)
        os.write(2, b"closed\n")


def main() -> int:
    options = parse_options()
    logging.basicConfig(stream=sys.stderr, format="regrow: %(message)s")
    fd = 0 if options.script is None else os.open(options.script, os.O_RDONLY)
    return trio.run(Process(options, open_fake, fd, 1).run)


if __name__ == "__main__":
    sys.exit(main())
