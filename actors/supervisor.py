"""A supervisor: an actor whose work is its children.

    class Web(Supervisor):
        strategy = "rest_for_one"
        intensity = (3, 60.0)

        def children(self) -> list[ChildSpec[Any]]:
            return [child(Store, name="store"), child(Front, name="front")]

Every actor supervises what it spawns, one_for_one; a `Supervisor` says how, and lists who is
there from the start. It may spawn more at any time. What is to be done about an end is
decided and done by the controller (`actors.control.regrowth`), on the supervisor's behalf: so it
answers while its children are restarted, and one that is busy or frozen holds up nobody's return.

Invariants
----------
* The listed children are up, in their order, before ``on_start`` runs; one that does not come up
  is a failed start of the supervisor, and what was up before it is stopped.
* The list is gone through at every start of the supervisor: children that live on are taken
  back, if their class and arguments are the same.
* Over its budget it stops its children and ends as ``crashed``, and its own supervisor decides.

Source: Erlang/OTP ``supervisor``.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

from actors.actor import Actor
from actors.child_spec import ChildSpec, check
from runtime.messages.behaviour import Strategy


class Supervisor(Actor):
    """An actor that is about its children: subclass it, and list them in `children`.

        class Web(Supervisor):
            strategy = "rest_for_one"  # one_for_one, one_for_all
            intensity = (3, 60.0)  # restarts of its children, in so many seconds

            def children(self) -> list[ChildSpec[Any]]:
                return [child(Store, name="store"), child(Front, name="front")]

    It may spawn more at any time. `System.lookup` finds a child by its name, and ``following`` of
    that ref reaches it in every life. Over its intensity it stops its children and ends as
    ``crashed``, and its own supervisor decides.
    """

    strategy: ClassVar[Strategy] = "one_for_one"
    intensity: ClassVar[tuple[int, float]] = (5, 10.0)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check({"strategy": cls.strategy, "intensity": cls.intensity})
        if inspect.iscoroutinefunction(cls.children):
            raise TypeError(f"{cls.__qualname__}.children must be a plain def")
        cls._supervises = (cls.strategy, cls.intensity)

    def children(self) -> Sequence[ChildSpec[Any]]:
        """Who is there from the start, in the order of their starts, before ``on_start`` runs.

        It is asked again in each life. Children that live, of the same class and arguments, stay;
        so give them names: the unnamed end with their parent's incarnation.
        """
        return ()

    async def _begin(self) -> None:
        specs = self.children()
        children = f"{type(self).__qualname__}.children"
        if not isinstance(specs, Sequence):
            raise TypeError(f"{children} has returned {specs!r}, not a list of child(...)")
        for spec in specs:
            if not isinstance(spec, ChildSpec):
                raise TypeError(f"{children} has {spec!r}: use child(...)")
            await self.spawn(spec.actor, *spec.args, **spec.options)
        await self.on_start()
