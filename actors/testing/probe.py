"""A probe: an actor of a test, that records what comes to it.

    probe = await system.probe()
    probe.monitor(counter)
    system.kill(counter)
    down = await probe.expect(Down, ref=counter)

    stub = await system.probe(Counter)  # stands in for a Counter
    await teller.tell(Teller.report_to, stub.ref)
    await stub.expect(Counter.add, 4)
    stub.reply(7)

Its ref can be given to anybody. What is read goes in the order in which it came; what a reader did
not ask for stays for the next, so that two messages from two senders need no order.

Invariants
----------
* What came is never dropped without an account: an expectation that fails tells all of it.
* An ask waits until `Probe.reply`, or until its asker gives it up.

Source: Akka's TestProbe; Erlang's selective receive.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import trio

from actors import requests
from actors.actor import Actor
from actors.child_spec import ChildOptions
from actors.down import Down, Monitor, Recovered, Suspected
from actors.ref import ActorRef, ref_to
from actors.testing.arrivals import Arrival, Call, Message, is_handler, matcher
from actors.testing.recording import Entry, Recording
from runtime.address import CONTROLLER
from runtime.messages.behaviour import handlers_of
from runtime.messages.signature import signature_of

if TYPE_CHECKING:
    from runtime.cells.service import Service

A = TypeVar("A", bound=Actor)
A_co = TypeVar("A_co", bound=Actor, covariant=True)
M = TypeVar("M", Call, Down, Suspected, Recovered)
R = TypeVar("R")
Handler = Callable[..., Coroutine[Any, Any, Any]] | Callable[..., AsyncIterator[Any]]
EXPECT_S = 3.0

__all__ = ["Arrival", "Call", "Probe", "open_probe"]


class Probe(Generic[A_co]):
    """Made by ``system.probe()``. ``expect_s``: how long it waits where nothing else is said."""

    def __init__(
        self, ref: ActorRef[A_co], recording: Recording, since: float, expect_s: float
    ) -> None:
        self.ref = ref
        self.expect_s = expect_s
        self._recording = recording
        self._since = since
        self._last: Entry | None = None  # the ask that was read last

    # -- reading

    @overload
    async def expect(
        self, what: type[M], /, *, within_s: float | None = None, **fields: Any
    ) -> M: ...
    @overload
    async def expect(
        self, what: Handler, /, *args: Any, within_s: float | None = None, **kwargs: Any
    ) -> Call: ...
    @overload
    async def expect(
        self, what: Callable[[Any], bool] | None = None, /, *, within_s: float | None = None
    ) -> Message: ...
    async def expect(
        self, what: Any = None, /, *args: Any, within_s: float | None = None, **fields: Any
    ) -> Any:
        """The first unread message that matches; it may be still to come.

        Those that do not match stay unread. In the order of tests that like it strict, ``expect()``
        is the next one, whatever it is.

        Args:
            what: `Down`, `Suspected`, `Recovered` or `Call`; or a handler, as ``Counter.add``; or a
                predicate; None: anything.
            args, fields: the arguments of the call, all of them or none; or what the message's
                fields are equal to.
            within_s: how long to wait, on the clock of the test.

        Raises:
            AssertionError: none came; with the account of all that did.
            TypeError: none can come: it is no message, or the class stood in for lacks the handler.
        """
        __tracebackhide__ = True
        return await self._read(what, args, fields, within_s, skipping=False)

    @overload
    async def fish(
        self, what: type[M], /, *, within_s: float | None = None, **fields: Any
    ) -> M: ...
    @overload
    async def fish(
        self, what: Handler, /, *args: Any, within_s: float | None = None, **kwargs: Any
    ) -> Call: ...
    @overload
    async def fish(
        self, what: Callable[[Any], bool] | None = None, /, *, within_s: float | None = None
    ) -> Message: ...
    async def fish(
        self, what: Any = None, /, *args: Any, within_s: float | None = None, **fields: Any
    ) -> Any:
        """As `expect`, but what came before it is skipped: nobody will read it any more."""
        __tracebackhide__ = True
        return await self._read(what, args, fields, within_s, skipping=True)

    async def expect_none(
        self, what: Any = None, /, *args: Any, for_s: float, **fields: Any
    ) -> None:
        """For so long no such message came, nor was one unread.

        Raises:
            AssertionError: at once, if one is there or comes; with the account.
        """
        __tracebackhide__ = True
        matches, words = self._matcher(what, args, fields)
        with trio.move_on_after(_seconds("for_s", for_s)):
            while self._recording.arrivals.unread(matches) is None:
                await self._recording.bell.wait()
        if self._recording.arrivals.unread(matches) is not None:
            raise AssertionError(
                f"{self.ref} expected no {words} for {for_s:g} s, but had\n{self.account()}"
            )

    async def _read(
        self,
        what: Any,
        args: tuple[Any, ...],
        fields: dict[str, Any],
        within_s: float | None,
        *,
        skipping: bool,
    ) -> Message:
        __tracebackhide__ = True
        matches, words = self._matcher(what, args, fields)
        limit_s = self.expect_s if within_s is None else _seconds("within_s", within_s)
        arrivals = self._recording.arrivals
        await trio.lowlevel.checkpoint()
        arrival = arrivals.take(matches, skipping=skipping)
        with trio.move_on_after(limit_s):
            while arrival is None:
                await self._recording.bell.wait()
                arrival = arrivals.take(matches, skipping=skipping)
        arrival = arrival or arrivals.take(matches, skipping=skipping)
        if arrival is None:
            had = self.account() or "  nothing at all"
            raise AssertionError(
                f"{self.ref} expected a {words} within {limit_s:g} s, but had\n{had}"
            )
        if isinstance(arrival.message, Call) and arrival.message.asked:
            self._last = self._recording.waiting.get(arrival.message.number)
        return arrival.message

    def _matcher(
        self, what: Any, args: tuple[Any, ...], fields: dict[str, Any]
    ) -> tuple[Callable[[Message], bool], str]:
        found = matcher(what, args, fields)
        if is_handler(what):
            self._check_heard(what)
        return found

    def _check_heard(self, handler: Handler) -> None:
        signature = signature_of(handler)
        if signature.name not in handlers_of(type(self._actor)):
            raise TypeError(f"{self.ref} stands in for a class that has no {signature.qualified}")

    @property
    def arrivals(self) -> list[Arrival]:
        """All that came, oldest first, with its instants on the clock of the test."""
        return list(self._recording.arrivals)

    def came(self, kind: type[M], /) -> list[M]:
        """All of this type that came, oldest first, read or not."""
        return [each.message for each in self.arrivals if isinstance(each.message, kind)]

    def account(self, *, only_unread: bool = False) -> str:
        """All that came, oldest first, a line each: seconds, what became of it, the message."""
        return self._recording.arrivals.account(self._since, only_unread=only_unread)

    # -- answering

    def reply(self, value: Any = None, /, *, to: Call | None = None) -> None:
        """Answer the ask that was read last, or ``to``. To a stream: with all its items.

        Raises:
            RuntimeError: it was told, answered already, or given up by its asker.
        """
        self._answer(to, lambda: value)

    def reply_error(self, error: Exception, /, *, to: Call | None = None) -> None:
        """The same with what its handler raised: `RemoteError` at the asker."""

        def fail() -> None:
            raise error

        self._answer(to, fail)

    def _answer(self, to: Call | None, answer: Callable[[], Any]) -> None:
        entry = self._last if to is None else self._recording.waiting.get(to.number)
        if entry is None or entry.answered.is_set() or entry not in self._waiting():
            what = "the message read last" if to is None else f"{to.handler}{to.args!r}"
            raise RuntimeError(f"{self.ref}: nobody waits for an answer to {what}")
        entry.answer = answer
        entry.answered.set()

    def _waiting(self) -> list[Entry]:
        return list(self._recording.waiting.values())

    def answer(
        self,
        handler: Callable[..., Coroutine[Any, Any, R]],
        by: Callable[..., R],
        /,
    ) -> None:
        """Every ask of ``handler`` from now on is answered at once, by ``by(*args)``.

        They are recorded all the same.
        """
        if not is_handler(handler):
            raise TypeError(f"give the handler as Class.handler, not {handler!r}")
        self._check_heard(handler)
        self._recording.answers[signature_of(handler).name] = by

    # -- watching

    def monitor(self, ref: ActorRef[Any], *, suspicions: bool = False) -> Monitor:
        """Its `Down` will come here; see `Actor.monitor`."""
        return self._actor.monitor(ref, suspicions=suspicions)

    def demonitor(self, monitor: Monitor) -> None:
        """Nothing more of this monitor comes here."""
        self._actor.demonitor(monitor)

    def link(self, ref: ActorRef[Any]) -> None:
        """The probe and ``ref`` share their fate; see `Actor.link`."""
        self._actor.link(ref)

    @property
    def _actor(self) -> Actor:
        actor = self._recording.actor
        assert actor is not None
        return actor


def _seconds(name: str, value: float) -> float:
    if not (isinstance(value, int | float) and 0 <= value < math.inf):
        raise ValueError(f"{name} is a number of seconds, not {value!r}")
    return value


async def open_probe(
    cell: Service,
    actor: type[A] | None,
    *,
    name: str | None = None,
    since: float,
    expect_s: float | None = None,
) -> Probe[Any]:
    """A local actor of the controller; see `System.probe`."""
    if actor is not None and not (isinstance(actor, type) and issubclass(actor, Actor)):
        raise TypeError(f"give a class of actors that the probe stands in for, not {actor!r}")
    recording = Recording()
    options: ChildOptions = {"local": True, "name": name}
    address = await requests.spawn(
        cell, recording.class_of(actor), (), parent=CONTROLLER, options=options
    )
    patience_s = EXPECT_S if expect_s is None else expect_s
    return Probe(ref_to(address), recording, since, patience_s)
