"""Orders in flight: who waits for which node, and what each is told.

Invariants
----------
* An ask is answered once, with a node or an error, and is in flight until then or until its
  caller is cancelled.
* It survives the death of one zygote. At the second it is answered `SpawnError`.
"""

import msgspec
import trio

from runtime.errors import SpawnError
from runtime.processes.orders import Fork, Order, encode


class ForkedNode(msgspec.Struct, frozen=True):
    """A process that was just born. The caller closes ``pidfd``."""

    incarnation: int
    pid: int
    pidfd: int


class Ask:
    """One order, encoded, and whoever waits for its node."""

    def __init__(self, order: Order) -> None:
        self.name = order.name
        self.incarnation = order.incarnation
        self.data = encode(Fork(order))
        self.modules = {path.partition(":")[0] for path in (order.start, order.entry)}
        self.retried = False
        self.answer: ForkedNode | Exception | None = None
        self.answered = trio.Event()


class Asks:
    """Those in flight, by incarnation."""

    def __init__(self) -> None:
        self._asks: dict[int, Ask] = {}

    def get(self, incarnation: int) -> Ask | None:
        return self._asks.get(incarnation)

    def all(self) -> list[Ask]:
        return list(self._asks.values())

    def add(self, ask: Ask) -> None:
        self._asks[ask.incarnation] = ask

    def answer(self, ask: Ask, answer: ForkedNode | Exception) -> None:
        """It is in flight no longer, and its caller goes on with this."""
        del self._asks[ask.incarnation]
        ask.answer = answer
        ask.answered.set()

    async def answer_to(self, ask: Ask) -> ForkedNode:
        """The node, or the error that it was answered with, raised.

        Cancellation: it is in flight no longer.
        """
        try:
            await ask.answered.wait()
        except trio.Cancelled:
            if ask.answer is None:
                raise
            # Answered between its cancellation and this task's turn: the caller has the node,
            # and is cancelled at its next checkpoint.
        finally:
            if self._asks.get(ask.incarnation) is ask:
                del self._asks[ask.incarnation]
        assert ask.answer is not None
        if isinstance(ask.answer, Exception):
            raise ask.answer
        return ask.answer

    def survive(self, why: str) -> None:
        """A zygote has died on them."""
        for ask in self.all():
            if ask.retried:
                self.answer(ask, SpawnError(f"{ask.name}: {why}"))
            ask.retried = True

    def blame(self, module: str, why: str) -> None:
        """Nobody who wants this module gets his node."""
        for ask in self.all():
            if module in ask.modules:
                self.answer(ask, SpawnError(f"{ask.name}: {why}"))
