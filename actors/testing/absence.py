"""Who is named in an exploration, and never lives.

What names nobody befalls nobody, and a test that is spared by a slip of the pen looks like one that
passes.

Invariants
----------
* It is judged at the end, over all runs: a name may come to life late, or in one run of many.
* Strikes befall nodes alone. Faults and rules may name the controller, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from actors.testing.strikes import Strike
from runtime.address import CONTROLLER
from runtime.weather.weather import Fault, Rule, names

Named = tuple[str, str]
"""A name, and what has it."""


def in_faults(faults: Iterable[Fault | Strike]) -> Iterator[Named]:
    """The nodes that these name."""
    for each in faults:
        whom = (each.name,) if isinstance(each, Strike) else (each.source, each.target)
        for name in whom:
            if isinstance(each, Strike) or name != CONTROLLER:
                yield name, type(each).__name__


def in_rules(rules: Iterable[Rule]) -> Iterator[Named]:
    """The nodes that these name."""
    for rule in rules:
        for name in sorted(names(rule.source) | names(rule.target)):
            if name != CONTROLLER:
                yield name, "Rule"


def check_lived(named: Iterable[Named], lived: Collection[str], where: str) -> None:
    """Raise unless all of them have lived.

    Raises:
        ValueError: who has not, and what names him.
    """
    __tracebackhide__ = True
    absent: dict[str, str] = {}
    for name, what in named:
        if name not in lived:
            absent.setdefault(name, what)
    if absent:
        told = ", ".join(f"{name!r} ({what})" for name, what in absent.items())
        raise ValueError(f"no node of this name has lived in {where}: {told}")
