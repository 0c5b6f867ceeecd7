"""A handler's signature, as Python writes it.

    add(amount: int) -> int  Add to the counter.
    numbers(upto: int) -> stream of int

Invariants
----------
* One printable line a handler, sorted by name: the signature, and behind two blanks the first
  line of its docstring, if it has one.
"""

import inspect
from collections.abc import Iterable
from typing import Any

from runtime.messages.signature import Signature
from shell.answers import one_line


def describe(handlers: Iterable[Signature]) -> list[str]:
    """A line for each."""
    return [_line(each) for each in sorted(handlers, key=lambda handler: handler.name)]


def _line(handler: Signature) -> str:
    _self, *parameters = inspect.signature(handler.function).parameters.values()
    shown = inspect.Signature(
        [
            each.replace(annotation=handler.hints.get(each.name, inspect.Parameter.empty))
            for each in parameters
        ]
    )
    line = f"{handler.name}{shown}"
    if handler.streams:
        line += " -> stream"
        line += "" if handler.returns is Any else f" of {_type(handler.returns)}"
    elif "return" in handler.hints:
        line += f" -> {_type(handler.returns)}"
    words = (inspect.getdoc(handler.function) or "").strip().partition("\n")[0]
    return one_line(f"{line}  {words}" if words else line)


def _type(hint: Any) -> str:
    return "None" if hint is type(None) else inspect.formatannotation(hint)
