"""``regrow run --no-shell``: a user's tree, and nobody at the console.

Invariants
----------
* It ends with the root or by a signal, and the whole tree with it.
* Status 0 if the root ended as it should, 1 if not, or if it did not start, or if the tree did
  not open or close as it should, with the reason on stderr; 128 + n after signal n.
"""

import logging
from typing import Final

from runtime.errors import ActorError
from runtime.exits import ExitReason
from shell.answers import one_line
from shell.blame import blame
from shell.options import Options
from shell.planting import open_forest, root_end, root_name
from shell.signals import until_signal

log: Final = logging.getLogger("regrow.shell")


class Unattended:
    """One run of a tree; `run` it once."""

    def __init__(self, options: Options) -> None:
        self._options = options

    async def run(self) -> int:
        """Run to the end; returns the exit status."""
        status, number = await until_signal(self._watch)
        return status if number is None else 128 + number

    async def _watch(self) -> int:
        try:
            async with open_forest(self._options) as forest:
                reason = await root_end(forest.system, self._options)
        except (ActorError, OSError) as error:
            log.error("%s", blame(error, self._options.named))
            return 1
        except Exception:  # a process's entry: the status stays ours to give
            log.exception("the tree failed")
            return 1
        if _in_order(reason):
            return 0
        log.error("%s", one_line(f"{root_name(self._options)} ended: {reason}"))
        return 1


def _in_order(reason: ExitReason) -> bool:
    return reason.planned or (reason.kind == "exited" and not reason.code)
