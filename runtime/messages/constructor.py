"""Constructors: what a class of actors is made with, as it travels.

Compiled once a class, in the parent and in the zygote, like its handlers.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from runtime.messages.behaviour import Behaviour
from runtime.messages.signature import Parameters


def construct(actor: Behaviour, args: bytes) -> None:
    """Call the constructor with arguments from the wire.

    Raises:
        WireError: they do not fit it.
        Exception: whatever it raises.
    """
    parameters = constructor_of(type(actor))
    if parameters is None:
        return
    parameters.run(actor, *parameters.decode(args, (), ()))


_constructors: WeakKeyDictionary[type[Behaviour], Parameters | None] = WeakKeyDictionary()


def constructor_of(behaviour: type[Behaviour]) -> Parameters | None:
    """What a class's constructor takes; None if it has none of its own.

    Raises:
        TypeError: one of its parameters cannot travel.
    """
    if behaviour not in _constructors:
        own = behaviour.__init__ is not object.__init__
        _constructors[behaviour] = Parameters(behaviour.__init__) if own else None
    return _constructors[behaviour]
