"""What a cell can run: a class whose public ``async def`` methods are its handlers.

Only what stands in a class's table of handlers can be called from outside, by its name.
The table is compiled once a class, in the parent, so that a handler whose arguments
cannot travel is found before any process is started for it.

Invariants
----------
* Underscored names, hooks and the class's own verbs are never handlers.
* A subclass that redefines a verb is a `TypeError` when it is defined.
* A hook that could not be called, or whose call nobody would await, is refused with the handlers:
  an ``async def restore`` would lose the state without a word.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from runtime.messages.signature import Signature, signature_of

if TYPE_CHECKING:
    from runtime.exits import ExitReason

HOOKS: Final[Mapping[str, tuple[str, ...]]] = {
    "on_start": (),
    "on_stop": ("reason",),
    "on_down": ("down",),
    "snapshot": (),
    "restore": ("state", "age_s"),
}
"""What the cell calls by itself, and with what. Those named ``on_`` are awaited."""


Restart = Literal["permanent", "transient", "temporary"]
Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]


class Behaviour:
    """State and handlers. Subclass `actors.Actor`, not this."""

    _verbs: ClassVar[frozenset[str]] = frozenset()
    _supervises: ClassVar[tuple[Strategy, tuple[int, float]]] = ("one_for_one", (5, 10.0))
    _cell: Any = None
    _table: ClassVar[dict[str, Signature] | None] = None
    """The handlers, where the class brings them itself."""

    def __init_subclass__(cls, *, verbs: frozenset[str] | None = None, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if verbs is not None:
            cls._verbs = verbs
            return
        for name in cls._verbs & vars(cls).keys():
            raise TypeError(f"{cls.__qualname__} redefines {name}, which is an actor's own verb")

    async def _begin(self) -> None:
        await self.on_start()

    async def on_start(self) -> None:
        """Run before the first message. An exception here means that the actor did not start."""

    async def on_stop(self, reason: ExitReason) -> None:
        """Run after the last message."""

    def snapshot(self) -> Any:
        """The state that the next incarnation is to have; msgspec carries it. No default.

        It is taken between messages, as often as ``snapshot_every_s`` in the child spec says, and
        never for a temporary child. ``restore`` must be written too.
        """
        raise NotImplementedError

    def restore(self, state: Any, age_s: float) -> None:
        """Take the state of the last incarnation over, before ``on_start``.

        ``state`` is of the annotated type; it was so ``age_s`` seconds ago.
        """


_tables: dict[type[Behaviour], dict[str, Signature]] = {}


def handlers_of(behaviour: type[Behaviour]) -> dict[str, Signature]:
    """The handlers of a class, by name.

    Raises:
        TypeError: one of them has a signature that cannot travel; or a hook could not be called.
    """
    table = behaviour._table or _tables.get(behaviour)
    if table is None:
        table = {}
        for name in dir(behaviour):
            if name.startswith("_") or name in HOOKS or name in behaviour._verbs:
                continue
            function = inspect.getattr_static(behaviour, name)
            if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
                table[name] = signature_of(function)
        for name in HOOKS:
            hook = inspect.getattr_static(behaviour, name, None)
            if inspect.isfunction(hook):
                _check_hook(name, inspect.unwrap(hook))
        _tables[behaviour] = table
    return table


def _check_hook(name: str, hook: Callable[..., Any]) -> None:
    awaited = name.startswith("on_")
    if inspect.isasyncgenfunction(hook) or inspect.iscoroutinefunction(hook) != awaited:
        kind = "an async def" if awaited else "a plain def"
        raise TypeError(f"{hook.__qualname__} must be {kind}: it is a hook of actors")
    given = ("self", *HOOKS[name])
    try:
        inspect.signature(hook).bind(*given)
    except TypeError:
        raise TypeError(
            f"{hook.__qualname__}{inspect.signature(hook)} is called with ({', '.join(given)})"
        ) from None
