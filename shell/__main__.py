"""``regrow``: the shell on stdin and stdout. ``regrow run``: a tree of the user's own.
``regrow join``: a node of a system elsewhere.

The only place where the shell meets the real system. stdout holds answers and notices
and nothing else; diagnostics go to stderr.
"""

import errno
import gc
import logging
import os
import stat
import sys

import trio

from shell.classes import import_from_here
from shell.joining import join_system
from shell.options import parse_options
from shell.planting import open_forest
from shell.process import Process
from shell.unattended import Unattended


def main() -> int:
    """Run the shell to its end; returns the exit status (2 for wrong usage)."""
    if sys.argv[1:2] == ["join"]:
        return join_system(sys.argv[2:])
    options = parse_options()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="regrow: %(message)s")
    _fill_descriptors()
    import_from_here()
    input_fd = 0
    if options.script is not None:
        try:
            input_fd = os.open(options.script, os.O_RDONLY | os.O_CLOEXEC)
            if stat.S_ISDIR(os.fstat(input_fd).st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        except OSError as error:
            print(f"regrow: --script {options.script}: {error.strerror}", file=sys.stderr)
            return 2
    # 100,000 lines make millions of short-lived objects: collect less often, and not what is here
    # to stay. A seventh of the time of a long script.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    try:
        if not options.shell:
            return trio.run(Unattended(options).run)
        return trio.run(Process(options, open_forest, input_fd, 1).run)
    except KeyboardInterrupt:
        return 130


def _fill_descriptors() -> None:
    """Put /dev/null where 0, 1 or 2 is closed, so that no socket of ours gets its number."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


if __name__ == "__main__":
    sys.exit(main())
