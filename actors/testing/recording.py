"""An actor that has no behaviour: what it is sent is recorded, and answered from outside.

It stands in for an actor of any class. Its handlers are those of that class, so that arguments are
checked as they would be; without a class it takes every name, and arguments as they come.

Invariants
----------
* Messages are recorded in the order in which they came, whether told, asked or a hook's.
* An ask waits for its answer and holds up nobody: all handlers are reentrant.
* A message whose arguments do not fit is refused, as by the class itself, and not recorded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from typing import Any

import msgspec
import trio

from actors.actor import Actor
from actors.testing.arrivals import Arrival, Arrivals, Call, Message
from runtime.cells.call import current
from runtime.errors import WireError
from runtime.messages.behaviour import HOOKS, Behaviour, handlers_of
from runtime.messages.buffers import put_back
from runtime.messages.codec import Buffer
from runtime.messages.signature import MISFIT, Signature


class Entry:
    """One message on its way into the record: it is in, once it and all before it have begun."""

    __slots__ = ("answer", "answered", "arrival", "at", "begun", "handler", "message")

    def __init__(self, at: float, message: Message) -> None:
        self.at = at
        self.message = message
        self.begun = False
        self.arrival: Arrival | None = None
        self.answered = trio.Event()
        self.answer: Callable[[], Any] = lambda: None


class Recording:
    """Of one actor. ``bell``: rings, and is replaced, when something came."""

    def __init__(self) -> None:
        self.arrivals = Arrivals()
        self.bell = trio.Event()
        self.actor: Actor | None = None
        self.answers: dict[str, Callable[..., Any]] = {}  # by handler, those given at once
        self.waiting: dict[int, Entry] = {}  # asks without an answer, by the call's number
        self._coming: deque[Entry] = deque()
        self._last = 0

    def note(self, message: Message) -> Entry:
        """It came, and its turn has not come yet."""
        entry = Entry(trio.current_time(), message)
        self._coming.append(entry)
        return entry

    def begin(self, entry: Entry) -> None:
        """Its turn has come."""
        entry.begun = True
        while self._coming and self._coming[0].begun:
            each = self._coming.popleft()
            each.arrival = self.arrivals.add(each.at, each.message)
            bell, self.bell = self.bell, trio.Event()
            bell.set()

    async def answer(self, entry: Entry) -> Any:
        """Wait for the answer to a call, if it was an ask."""
        ask, call = current.get(), entry.message
        asked = ask is not None and bool(ask.id)
        assert isinstance(call, Call)
        self._last += 1
        entry.message = Call(call.handler, call.args, asked, self._last)
        if asked:
            self.waiting[self._last] = entry
        number = self._last
        self.begin(entry)
        if not asked:
            return None
        ready = self.answers.get(call.handler)
        said = "given up by its asker"
        try:
            if ready is not None:
                entry.answer = partial(ready, *call.args)
            else:
                await entry.answered.wait()
            said = "answered"
            return entry.answer()
        except Exception as error:
            said = f"answered by {error!r}"
            raise
        finally:
            del self.waiting[number]
            if entry.arrival is not None:
                entry.arrival.answer = said

    def class_of(self, behaviour: type[Behaviour] | None) -> type[Actor]:
        """The class whose one instance records here, with the handlers of ``behaviour``."""
        recording = self
        handlers: dict[str, Signature] = Anything(self)
        if behaviour is not None:
            handlers = {
                name: _Recorded(signature.function, self)
                for name, signature in handlers_of(behaviour).items()
            }

        class Probe(Actor):
            """Its name is what its actors are called by."""

            _table = handlers

            async def on_start(self) -> None:
                recording.actor = self

            async def on_down(self, down: Message) -> None:
                recording.begin(recording.note(down))

        return Probe


class _Recorded(Signature):
    """A handler's signature, with another body."""

    __slots__ = ("_recording",)

    def __init__(self, function: Callable[..., Any], recording: Recording) -> None:
        super().__init__(function)
        self._recording = recording
        self.reentrant = True
        self.run = self._stream if self.streams else self._run

    def decode(
        self, payload: Buffer, positions: Sequence[int], buffers: Sequence[memoryview]
    ) -> tuple[Any, ...]:
        args = self._args(payload, positions, buffers)
        return (self._recording.note(Call(self.name, args)),)

    def _args(
        self, payload: Buffer, positions: Sequence[int], buffers: Sequence[memoryview]
    ) -> tuple[Any, ...]:
        return super().decode(payload, positions, buffers)

    async def _run(self, actor: Actor, entry: Entry) -> Any:
        return await self._recording.answer(entry)

    async def _stream(self, actor: Actor, entry: Entry) -> AsyncIterator[Any]:
        items: Iterable[Any] = await self._recording.answer(entry)
        for item in items:
            yield item


async def _anything(self: Actor) -> Any:
    """The handler of every name."""


class _Unknown(_Recorded):
    """A handler of which only the name is known. Buffers come as bytes."""

    __slots__ = ()

    def __init__(self, name: str, recording: Recording) -> None:
        super().__init__(_anything, recording)
        self.name = self.qualified = name
        self.label = name.encode()

    def _args(
        self, payload: Buffer, positions: Sequence[int], buffers: Sequence[memoryview]
    ) -> tuple[Any, ...]:
        try:
            args = msgspec.msgpack.decode(payload, type=list[Any])
        except MISFIT as cause:
            raise WireError(f"{self.qualified}: {cause}") from cause
        return put_back(args, positions, buffers, [bytes] * len(args), {})


class Anything(dict[str, Signature]):
    """A table of handlers in which every public name is found."""

    def __init__(self, recording: Recording) -> None:
        super().__init__(_=_Unknown("_", recording))  # so that it is known to be reentrant
        self._recording = recording

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str) or name in HOOKS:
            return False
        return super().__contains__(name) or not name.startswith("_")

    def get(self, name: str, default: Any = None) -> Any:
        if name not in self:
            return default
        if not super().__contains__(name):
            self[name] = _Unknown(name, self._recording)
        return self[name]

    def copy(self) -> Anything:
        return self
