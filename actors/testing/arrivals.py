"""What came to a probe: every message, with its instant, and what has become of it.

Invariants
----------
* Nothing that came is ever forgotten: it is unread, taken or skipped, and the account shows it.
* Messages are read in the order in which they came, but for those that a reader did not ask for:
  they stay unread.
* Pure: instants are arguments, and nobody waits here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from actors.down import Down, Recovered, Suspected
from runtime.address import Address
from runtime.messages.signature import signature_of

SHOWN: Final = 50
"""Of so many messages, the last ones, an account tells."""


@dataclass(frozen=True)
class Call:
    """A message: the handler that was meant, and its complete arguments, in order.

    ``asked``: somebody waits for an answer. It is no part of equality.
    """

    handler: str
    args: tuple[Any, ...] = ()
    asked: bool = field(default=False, compare=False)
    number: int = field(default=0, compare=False, repr=False)


Message = Call | Down | Suspected | Recovered


@dataclass
class Arrival:
    """One message. ``became``: of an ask also, in brackets, how it was answered."""

    at: float
    message: Message
    became: Literal["unread", "taken", "skipped"] = "unread"
    answer: str = ""


class Arrivals:
    """Of one probe, oldest first."""

    def __init__(self) -> None:
        self._all: list[Arrival] = []

    def __iter__(self) -> Iterator[Arrival]:
        return iter(self._all)

    def add(self, at: float, message: Message) -> Arrival:
        """It came at the instant ``at``."""
        arrival = Arrival(at, message)
        self._all.append(arrival)
        return arrival

    def unread(self, matches: Callable[[Message], bool]) -> Arrival | None:
        """The first of those that nobody has read and that match."""
        for arrival in self._all:
            if arrival.became == "unread" and matches(arrival.message):
                return arrival
        return None

    def take(self, matches: Callable[[Message], bool], *, skipping: bool = False) -> Arrival | None:
        """The same, and it is read now; ``skipping``: so are those before it."""
        arrival = self.unread(matches)
        if arrival is None:
            return None
        arrival.became = "taken"
        for before in self._all:
            if before is arrival:
                break
            if skipping and before.became == "unread":
                before.became = "skipped"
        return arrival

    def account(self, since: float, *, only_unread: bool = False) -> str:
        """A line for each message, with the seconds from ``since`` on; "" if there is none."""
        told = [each for each in self._all if not only_unread or each.became == "unread"]
        lines = [] if len(told) <= SHOWN else [f"  ... {len(told) - SHOWN} before these"]
        for each in told[-SHOWN:]:
            answer = f" ({each.answer})" if each.answer else ""
            became = "" if only_unread else f"{each.became:8}"
            lines.append(f"  {each.at - since:10.3f} s  {became}{show(each.message)}{answer}")
        return "\n".join(lines)


def show(message: Message) -> str:
    """It in one line."""
    if isinstance(message, Call):
        args = ", ".join(map(_brief, message.args))
        return f"{'asked' if message.asked else 'told'} {message.handler}({args})"
    if isinstance(message, Down):
        return f"Down of {message.ref}: {message.reason}"
    if isinstance(message, Suspected):
        return f"Suspected {message.ref}: {message.kind}, {message.evidence}"
    return f"Recovered {message.ref}"


def _brief(value: object) -> str:
    text = str(value) if isinstance(value, Address) else repr(value)
    return text if len(text) <= 100 else text[:97] + "..."


def matcher(
    what: Any, args: tuple[Any, ...], fields: Mapping[str, Any]
) -> tuple[Callable[[Message], bool], str]:
    """What is looked for, as a predicate and in words.

    ``what``: a type of messages, whose ``fields`` are equal to those; a handler as
    ``Class.handler``, whose arguments are ``args`` if any are given; a predicate; None: anything.

    Raises:
        TypeError: it is none of these, or has no such field or arguments.
    """
    if what is None or (callable(what) and not isinstance(what, type) and not is_handler(what)):
        if args or fields:
            raise TypeError("arguments belong to a handler, and fields to a type")
        if what is None:
            return lambda message: True, "message"
        name = getattr(what, "__qualname__", repr(what))
        return lambda message: bool(what(message)), f"message of which {name} holds"
    if isinstance(what, type):
        if what not in (Call, Down, Suspected, Recovered):
            raise TypeError(f"a probe hears Call, Down, Suspected and Recovered, not {what!r}")
        if args:
            raise TypeError(f"fields of {what.__name__} are given by their names")
        for name in fields:
            if name not in what.__annotations__:
                raise TypeError(f"{what.__name__} has no field {name!r}")

        def fits(message: Message) -> bool:
            return isinstance(message, what) and all(
                getattr(message, name) == value for name, value in fields.items()
            )

        words = ", ".join(f"{name}={_brief(value)}" for name, value in fields.items())
        return fits, f"{what.__name__}({words})" if words else what.__name__
    if not is_handler(what):
        raise TypeError(f"give a type, Class.handler or a predicate, not {what!r}")
    signature = signature_of(what)
    if not args and not fields:
        return (
            lambda message: isinstance(message, Call) and message.handler == signature.name,
            f"call of {signature.qualified}",
        )
    wanted = Call(signature.name, signature.bind(args, dict(fields)))
    return wanted.__eq__, f"call of {signature.qualified}{_tuple(wanted.args)}"


def is_handler(what: object) -> bool:
    """Whether it can be the handler of an actor: an ``async def``."""
    return inspect.iscoroutinefunction(what) or inspect.isasyncgenfunction(what)


def _tuple(args: tuple[Any, ...]) -> str:
    return f"({', '.join(map(_brief, args))})"
