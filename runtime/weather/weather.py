"""What befalls messages on their way, as a pure function of a seed.

    Weather(drop=0.01, seed=7)
    Weather(Rule(target="sink", kinds="user", reorder=0.1), Rule(latency_s=0.02), seed=7)
    Weather.only([Drop("a", "b", "reply", 3)])

A *message* is what one process hands to the wire for another, a batch of envelopes; see
`runtime.messages.kinds` for its kind. It is known by the names of the two processes, its kind, and
its ordinal: the how-manieth of that kind it is from the one to the other, counted from 1 over all
lives of both. A *fault* strikes one message. What strikes none in particular is no fault: latency
and throttles, which are in rules, and partitions (`runtime.weather.partitions`).

Of several rules the first that matches a message is the only one for it.

What the wire promises above this, once and in order, holds again by `runtime.wires.reliable`.

Invariants
----------
* Whether and how a message is struck depends on (seed, source, target, kind, ordinal) and its rule
  alone. There is no stream of random numbers: a fault more or less changes no other's dice.
* The same on each machine, in each process: neither ``hash`` nor ``random`` is asked.
* The dice for drop, duplicate, reorder and delay are four; a changed rate moves only its own.
* ``repr`` of a fault or a rule evaluates to an equal one.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Final, Protocol, TypedDict, Unpack

import msgspec

from runtime.messages.kinds import kinds_in


class Named(Protocol):
    """A ref or an address."""

    @property
    def name(self) -> str: ...


Who = str | Named
"""A process, by its name; or by a ref or address of it, or of a cell in it. Any life of it."""
Whom = Who | Iterable[Who]


class Fault(msgspec.Struct, frozen=True):
    """What strikes one message: the ``ordinal``th of its kind from ``source`` to ``target``."""

    source: str
    target: str
    kind: str
    ordinal: int


class Drop(Fault, frozen=True):
    """It never comes."""


class Delay(Fault, frozen=True):
    """It comes so much later, and nothing behind it overtakes it."""

    delay_s: float


class Reorder(Fault, frozen=True):
    """It comes so much later, and what is behind it overtakes it."""

    delay_s: float


class Duplicate(Fault, frozen=True):
    """It comes once more, so much later."""

    after_s: float


class Rates(TypedDict, total=False):
    """The fields of a `Rule` but for source and target."""

    kinds: str | Iterable[str]
    drop: float
    duplicate: float
    reorder: float
    delay: float
    delay_s: float | tuple[float, float]
    latency_s: float
    bytes_per_s: float
    messages_per_s: float


class Rule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What may befall the messages that it matches.

    Args:
        source, target: whose messages, to whom; () for anybody.
        both_ways: those from target to source, too.
        kinds: kinds and groups of `runtime.messages.kinds`; () for all.
        drop, duplicate, reorder, delay: how likely each is, from 0 to 1.
        delay_s: how much later what is delayed or reordered comes, and the second copy of what is
            doubled: evenly between two bounds, or exactly one..
        latency_s: how long every message takes.
        bytes_per_s, messages_per_s: what passes between each two of them at most; the rest queues.

    Raises:
        ValueError: a kind that there is not, or a figure that makes no sense.
    """

    source: Whom = ()
    target: Whom = ()
    both_ways: bool = False
    kinds: str | Iterable[str] = ()
    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay: float = 0.0
    delay_s: float | tuple[float, float] = (0.0, 0.1)
    latency_s: float = 0.0
    bytes_per_s: float = math.inf
    messages_per_s: float = math.inf

    def __post_init__(self) -> None:
        words = (self.kinds,) if isinstance(self.kinds, str) else tuple(sorted(self.kinds))
        kinds_in(words)
        delay_s = self.delay_s
        bounds = delay_s if isinstance(delay_s, tuple) else (delay_s, delay_s)
        for name in ("drop", "duplicate", "reorder", "delay"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is from 0 to 1, not {getattr(self, name)!r}")
        if not 0.0 <= bounds[0] <= bounds[1] < math.inf:
            raise ValueError(f"delay_s is one duration or two that grow, not {delay_s!r}")
        if not 0.0 <= self.latency_s < math.inf:
            raise ValueError(f"latency_s is a duration, not {self.latency_s!r}")
        for name in ("bytes_per_s", "messages_per_s"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"{name} is more than 0, not {getattr(self, name)!r}")
        for name, value in (
            ("source", tuple(sorted(names(self.source)))),
            ("target", tuple(sorted(names(self.target)))),
            ("kinds", words),
            ("delay_s", bounds),
        ):
            msgspec.structs.force_setattr(self, name, value)

    def __repr__(self) -> str:
        said = (
            f"{name}={value!r}"
            for name, default in zip(self.__struct_fields__, self.__struct_defaults__, strict=True)
            if (value := getattr(self, name)) != default
        )
        return f"Rule({', '.join(said)})"

    def without_chance(self) -> Rule:
        """Only what befalls every message."""
        return msgspec.structs.replace(self, drop=0.0, duplicate=0.0, reorder=0.0, delay=0.0)


class Weather:
    """Rules, by chance or by list. A value: it counts nothing, and can be used again.

    ``rates`` make a last rule that is for all; see `Rule`.
    """

    def __init__(self, *rules: Rule, seed: int | str = 0, **rates: Unpack[Rates]) -> None:
        self.rules: tuple[Rule, ...] = (*rules, Rule(**rates)) if rates else rules
        self.seed = seed
        self.faults: tuple[Fault, ...] = ()
        self._listed: dict[tuple[str, str, str, int], tuple[Fault, ...]] = {}
        self._matches = [_matching(rule) for rule in self.rules]
        self._known: dict[tuple[str, str, str], Rule | None] = {}

    @classmethod
    def only(cls, faults: Iterable[Fault], *rules: Rule) -> Weather:
        """Exactly these faults. Of the rules only latency and throttles stay."""
        weather = cls(*(rule.without_chance() for rule in rules))
        weather.faults = tuple(faults)
        for each in weather.faults:
            kinds_in((each.kind,))
            key = (each.source, each.target, each.kind, each.ordinal)
            weather._listed[key] = (*weather._listed.get(key, ()), each)
        return weather

    def __repr__(self) -> str:
        if self.faults:
            return f"Weather.only({', '.join(map(repr, (list(self.faults), *self.rules)))})"
        return f"Weather({', '.join((*map(repr, self.rules), f'seed={self.seed!r}'))})"

    @property
    def breaks_order(self) -> bool:
        """Whether messages may be lost, doubled or overtaken."""
        return any(not isinstance(each, Delay) for each in self.faults) or any(
            rule.drop or rule.duplicate or rule.reorder for rule in self.rules
        )

    def rule(self, source: str, target: str, kind: str) -> Rule | None:
        """The rule for such messages."""
        key = (source, target, kind)
        try:
            return self._known[key]
        except KeyError:
            first = (r for r, fits in zip(self.rules, self._matches, strict=True) if fits(*key))
            found = self._known[key] = next(first, None)
            return found

    def strikes(self, source: str, target: str, kind: str, ordinal: int) -> tuple[Fault, ...]:
        """What befalls this message: a `Drop` alone, or at most one of each other sort."""
        if self._listed:
            return self._listed.get((source, target, kind, ordinal), ())
        rule = self.rule(source, target, kind)
        if rule is None or not (rule.drop or rule.duplicate or rule.reorder or rule.delay):
            return ()
        which = (source, target, kind, ordinal)
        drop, duplicate, reorder, delay, after, later = _dice(self.seed, *which)
        if drop < rule.drop:
            return (Drop(*which),)
        assert isinstance(rule.delay_s, tuple)
        least, most = rule.delay_s
        struck: list[Fault] = []
        if reorder < rule.reorder:
            struck.append(Reorder(*which, least + (most - least) * later))
        elif delay < rule.delay:
            struck.append(Delay(*which, least + (most - least) * later))
        if duplicate < rule.duplicate:
            struck.append(Duplicate(*which, least + (most - least) * after))
        return tuple(struck)


def names(whom: Whom) -> frozenset[str]:
    """The names of the processes that are meant."""
    if isinstance(whom, str):
        return frozenset({whom.partition("/")[0]})
    if isinstance(whom, Iterable):
        return frozenset(name for who in whom for name in names(who))
    return names(whom.name)


def _matching(rule: Rule) -> Callable[[str, str, str], bool]:
    sources, targets = names(rule.source), names(rule.target)
    kinds = kinds_in((rule.kinds,) if isinstance(rule.kinds, str) else rule.kinds)

    def there(source: str, target: str) -> bool:
        return (not sources or source in sources) and (not targets or target in targets)

    def matches(source: str, target: str, kind: str) -> bool:
        if kinds and kind not in kinds:
            return False
        return there(source, target) or (rule.both_ways and there(target, source))

    return matches


_DICE: Final = struct.Struct(">6Q")


def _dice(seed: int | str, *which: str | int) -> tuple[float, ...]:
    """Six numbers in [0, 1)."""
    drawn = blake2b(repr((seed, *which)).encode(), digest_size=_DICE.size).digest()
    return tuple((each >> 11) * 2.0**-53 for each in _DICE.unpack(drawn))
