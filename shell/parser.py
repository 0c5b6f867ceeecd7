"""A parser of command lines whose errors are one line.

    regrow: --deadline: must be a number of seconds, not 'soon'
    regrow: unrecognized: --topo bst; did you mean --topology? (see regrow --help)

Invariants
----------
* An error is one line on stderr, begins with the program's name, and ends with status 2.
* What nobody knows is compared with what there is, and the nearest is offered.
"""

import argparse
import difflib
from collections.abc import Sequence
from typing import NoReturn

from shell.answers import one_line

_UNKNOWN = "unrecognized arguments: "
_MISSING = "the following arguments are required: "


class Parser(argparse.ArgumentParser):
    """``words``: that can stand first instead, as in `regrow join`."""

    def __init__(
        self, prog: str, description: str, epilog: str = "", words: Sequence[str] = ()
    ) -> None:
        super().__init__(prog=prog, description=description, epilog=epilog, allow_abbrev=False)
        self._words = words

    def error(self, message: str) -> NoReturn:
        """Say it, and exit with status 2."""
        told = message.removeprefix("argument ")
        if message.startswith(_UNKNOWN):
            unknown = message.removeprefix(_UNKNOWN)
            told = f"unrecognized: {unknown}{self._guess(unknown.split())} (see {self.prog} --help)"
        elif message.startswith(_MISSING):
            told = f"{message.removeprefix(_MISSING)} is missing (see {self.prog} --help)"
        self.exit(2, f"{self.prog}: {one_line(told)}\n")

    def _guess(self, unknown: Sequence[str]) -> str:
        """What was meant, if that can be told."""
        for word in unknown:
            if word in self._words:
                return f"; {word} stands first: {self.prog} {word}"
        first = unknown[0].partition("=")[0] if unknown else ""
        known = list(self._option_string_actions) if first.startswith("-") else list(self._words)
        near = difflib.get_close_matches(first, known, 1, cutoff=0.5)
        if not near:
            return ""
        return f"; did you mean {near[0] if first.startswith('-') else f'{self.prog} {near[0]}'}?"
