"""Actors with a bug that shows under some orders of messages alone, each with a correct twin."""

from __future__ import annotations

from typing import Any

import trio

from actors import Actor, ActorDeadError, ActorRef, Down, reentrant

# -- a lost reply


class LossyDesk(Actor):
    """Hands out what is delivered. What comes before it is asked for is forgotten."""

    def __init__(self) -> None:
        self.waiting: dict[str, trio.Event] = {}
        self.shelf: set[str] = set()

    @reentrant
    async def collect(self, parcel: str) -> str:
        if parcel not in self.shelf:
            self.waiting[parcel] = trio.Event()
            await self.waiting[parcel].wait()
        return parcel

    @reentrant
    async def deliver(self, parcel: str) -> None:
        if parcel in self.waiting:
            self.waiting[parcel].set()


class Desk(LossyDesk):
    """It has a shelf."""

    @reentrant
    async def deliver(self, parcel: str) -> None:
        self.shelf.add(parcel)
        if parcel in self.waiting:
            self.waiting[parcel].set()


class Postman(Actor):
    """Takes its time."""

    async def bring(self, desk: ActorRef[LossyDesk], parcel: str) -> None:
        await trio.sleep(0.2)
        await desk.tell(LossyDesk.deliver, parcel)


# -- a double restart


class Worker(Actor):
    """Works."""

    async def ping(self) -> None:
        pass


class HastyKeeper(Actor):
    """Keeps one worker. When its Down crosses an answer that is overdue, it starts two."""

    def __init__(self) -> None:
        self.started = 0
        self.lost = 0
        self.worker: ActorRef[Worker] | None = None

    async def on_start(self) -> None:
        await self._start(None)

    async def _start(self, instead_of: ActorRef[Any] | None) -> None:
        self.started += 1
        self.worker = await self.spawn(Worker, name=f"worker{self.started}", restart="temporary")
        self.monitor(self.worker)

    async def on_down(self, down: Down) -> None:
        self.lost += 1
        await self._start(down.ref)

    async def check(self) -> None:
        worker = self.worker
        assert worker is not None
        try:
            with trio.fail_after(1.5):
                await worker.ask(Worker.ping)
        except (ActorDeadError, trio.TooSlowError) as failed:
            if isinstance(failed, trio.TooSlowError):
                await worker.kill()
            await self._start(worker)

    async def crew(self) -> int:
        """How many workers there are."""
        return self.started - self.lost


class Keeper(HastyKeeper):
    """It restarts each worker once."""

    async def _start(self, instead_of: ActorRef[Any] | None) -> None:
        if instead_of == self.worker:
            await super()._start(instead_of)


# -- a stale ref that reaches the next life


class Till(Actor):
    """Its reservations live as long as it does."""

    def __init__(self) -> None:
        self.reserved: set[int] = set()

    async def reserve(self, number: int) -> None:
        self.reserved.add(number)

    async def confirm(self, number: int) -> None:
        self.reserved.remove(number)


class TrustingBuyer(Actor):
    """Keeps a ref that follows the name: what it reserved in one life it confirms in the next."""

    def __init__(self, till: ActorRef[Till]) -> None:
        self.till = till.following()

    async def _life(self) -> ActorRef[Till]:
        return self.till

    async def buy(self, number: int) -> int:
        """How many attempts it took."""
        for attempt in range(1, 100):
            try:
                till = await self._life()
                await till.ask(Till.reserve, number)
                await trio.sleep(0.5)
                await till.ask(Till.confirm, number)
            except ActorDeadError:
                await trio.sleep(0.1)
                continue
            return attempt
        raise RuntimeError("the till dies all the time")


class Buyer(TrustingBuyer):
    """Whoever holds the reservation confirms it, or nobody."""

    async def _life(self) -> ActorRef[Till]:
        found: ActorRef[Till] = await self.system.lookup("till", Till)
        return found


# -- a detector that forgives too early


class Walker(Actor):
    """Says every second that it lives, and when it said so."""

    def __init__(self, watchman: ActorRef[SoftWatchman]) -> None:
        self.watchman = watchman

    async def on_start(self) -> None:
        self.nursery.start_soon(self._walk)

    async def _walk(self) -> None:
        while True:
            await self.watchman.tell(SoftWatchman.hear, trio.current_time())
            await trio.sleep(1)


class SoftWatchman(Actor):
    """Suspects after three seconds of silence. Forgives for whatever comes then."""

    def __init__(self) -> None:
        self.heard_at = trio.current_time()
        self.suspected_at: float | None = None
        self.log: list[str] = []

    async def on_start(self) -> None:
        self.nursery.start_soon(self._watch)

    async def _watch(self) -> None:
        while True:
            await trio.sleep(0.25)
            if self.suspected_at is None and trio.current_time() > self.heard_at + 3:
                self.suspected_at = trio.current_time()
                self.log.append("suspected")

    async def hear(self, said_at: float) -> None:
        if self.suspected_at is not None and self._forgives(said_at, self.suspected_at):
            self.log.append(f"forgiven for a sign of {said_at - self.suspected_at:g} s")
            self.suspected_at = None
        self.heard_at = trio.current_time()

    def _forgives(self, said_at: float, suspected_at: float) -> bool:
        return said_at <= trio.current_time()

    async def report(self) -> list[str]:
        return self.log


class Watchman(SoftWatchman):
    """Forgives for what was said since it suspects."""

    def _forgives(self, said_at: float, suspected_at: float) -> bool:
        return said_at > suspected_at


def forgiven_too_early(log: list[str]) -> list[str]:
    """Forgiven for what was said before the suspicion."""
    return [line for line in log if "of -" in line]
