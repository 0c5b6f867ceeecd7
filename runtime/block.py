"""What holds for the length of a ``with`` block, and complains if there was none.

Invariants
----------
* Nothing happens before the block is entered.
* One that never was is a RuntimeWarning, as a coroutine that was never awaited is: what it was to
  bring about did not come about, and a test that relies on it proves nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from types import TracebackType
from typing import ParamSpec

P = ParamSpec("P")


def block(function: Callable[P, Iterator[None]]) -> Callable[P, Block]:
    """As `contextlib.contextmanager`, of what yields once and nothing."""
    opened = contextmanager(function)

    @wraps(function)
    def make(*args: P.args, **kwargs: P.kwargs) -> Block:
        return Block(function.__name__, opened(*args, **kwargs))

    return make


class Block(AbstractContextManager[None]):
    """Entered once."""

    __slots__ = ("_entered", "_manager", "_name")

    def __init__(self, name: str, manager: AbstractContextManager[None, bool | None]) -> None:
        self._name = name
        self._manager = manager
        self._entered = False

    def __enter__(self) -> None:
        self._entered = True
        self._manager.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return self._manager.__exit__(kind, error, traceback)

    def __del__(self) -> None:
        if not self._entered:
            warnings.warn(
                f"{self._name}() was never entered, and did nothing: with ...{self._name}(...):",
                RuntimeWarning,
                stacklevel=2,
                source=self,
            )
