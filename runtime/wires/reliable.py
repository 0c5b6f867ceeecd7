"""What a transport promises, over one that breaks its word.

    transport = Reliable(inner, nursery)

Network transports and the memory network under weather are wrapped in it; ipc, which keeps its
word, is not, and knows nothing of it. Each message travels with one more frame, see
`runtime.wires.packet`; what is lost goes again, see `runtime.wires.resending`.

A *session* is one outgoing connection, from `connect` to `disconnect`: a higher one of the same
process replaces what is known of the last, and of a lower one nothing is heard any more. A link to
a peer that only talks to us is opened for the answers, and closed when it was idle.

Invariants
----------
* Frames arrive as they were given, once, and in order per pair of processes, for as long as a
  session lasts, whatever becomes of packets and connections below.
* What `Reliable.send_once` was given leaves beside all that, at once and once: it may be lost, and
  comes neither twice nor after a later one.
* No frame is copied. They are kept until the peer has them: to a read-only view that was sent
  nobody may write until then, which is longer than until the message has left.
* What it costs: 8 us of CPU a message, both ends together, where each is answered by another (10
  before the steady state had a way of its own); several times that on the clock of a busy machine.
  A batch of many is one message.
* One timer, a task in ``nursery``, runs while something is due, and none otherwise.
* Before it asks what was lost, it reads all that waits; and one that stood still waits a little.
* One record for each process that was ever heard: what it said last must not be heard again.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from typing import Final

import trio

from runtime.errors import WireError
from runtime.messages.codec import Buffer
from runtime.wires import packet as wire
from runtime.wires.packet import Packet
from runtime.wires.resending import Receiving, Sending, Transmission
from runtime.wires.transport import IDLE_S, Message, Transport

_EMPTY: Final = b""


class _Link:
    """What there is with one peer, both ways."""

    __slots__ = ("endpoint", "incarnation", "open", "receiving", "sending", "used_at")

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.incarnation = 0  # of the process that is heard from there
        self.sending: Sending | None = None
        self.receiving: Receiving | None = None
        self.open = False  # below
        self.used_at = 0.0

    @property
    def due(self) -> float:
        """When to look at it again."""
        due = self.sending.due if self.sending is not None else math.inf
        if self.receiving is not None and self.receiving.due > -math.inf:
            due = min(due, self.receiving.due)
        if self.open and self.sending is None:
            due = min(due, self.used_at + IDLE_S)
        return due


class Reliable:
    """One process's access to the wire, through ``inner``. Its timer lives in ``nursery``."""

    def __init__(self, inner: Transport, nursery: trio.Nursery) -> None:
        self.inner = inner
        self.endpoint = inner.endpoint
        self.same_host = inner.same_host
        self.strays: Counter[str] = Counter()
        self._nursery = nursery
        self._links: dict[str, _Link] = {}  # by endpoint
        self._sessions: dict[int, _Link] = {}  # those of ours that are open
        self._heard: dict[int, tuple[_Link, Receiving]] = {}  # by incarnation
        self._last_session = 0
        self._ready: deque[Message] = deque()
        self._urgent: dict[_Link, None] = {}  # to be answered once the inbox is empty
        self._timed: dict[_Link, None] = {}  # with something due
        self._due = math.inf
        self._alarm: trio.CancelScope | None = None
        self._ticks = False
        self._paused = False
        self._closed = False

    # -- the outgoing connections

    def connect(self, endpoint: str) -> None:
        link = self._links.get(endpoint)
        if link is not None and link.sending is not None:
            return
        self.inner.connect(endpoint)
        if link is None:
            link = self._links[endpoint] = _Link(endpoint)
        link.open = True
        self._last_session += 1
        link.sending = Sending(self._last_session)
        self._sessions[self._last_session] = link

    def disconnect(self, endpoint: str) -> None:
        link = self._links.get(endpoint)
        if link is None or link.sending is None:
            return
        if link.receiving is not None and link.receiving.due < math.inf:
            self._answer(link)  # or it asks until its own end
        del self._sessions[link.sending.session]
        link.sending = None
        self._urgent.pop(link, None)
        if link.receiving is None:
            del self._links[endpoint]
        elif len(link.receiving):  # not idle: the peer is given up, and its holes are never filled
            link.receiving = Receiving(link.receiving.session + 1)
            self._heard[link.incarnation] = link, link.receiving
        link.open = False
        self.inner.disconnect(endpoint)

    def holds(self, endpoint: str) -> bool:
        link = self._links.get(endpoint)
        if link is None or link.sending is None:
            return False
        held = len(link.sending) + (len(link.receiving) if link.receiving is not None else 0)
        return held > 0 or self.inner.holds(endpoint)

    def send(self, endpoint: str, frames: Sequence[Buffer]) -> bool:
        link, sending = self._link(endpoint)
        step = sending.post(frames, trio.current_time())
        if step is None:
            return True  # an answer brings it on its way
        taken = self._transmit(link, sending, step)
        if sending.due >= self._due and link in self._timed:
            return taken
        return self._time(link) and taken

    def send_once(self, endpoint: str, frames: Sequence[Buffer]) -> bool:
        """The same for what is of use now or never: it is neither kept nor sent again."""
        link, sending = self._link(endpoint)
        return self._leave(link, wire.FLEETING, 0, sending.next_order(), frames)

    def _link(self, endpoint: str) -> tuple[_Link, Sending]:
        link = self._links.get(endpoint)
        if link is None or link.sending is None:
            raise KeyError(endpoint)
        return link, link.sending

    def _transmit(self, link: _Link, sending: Sending, step: Transmission) -> bool:
        return self._leave(link, wire.NUMBERED, step.number, step.order, step.frames)

    def _leave(
        self, link: _Link, kind: int, number: int, order: int, frames: Sequence[Buffer]
    ) -> bool:
        sending, receiving = link.sending, link.receiving
        heard = upto = latest = above = 0
        if receiving is not None:
            heard, upto = receiving.session, receiving.upto
            latest, above = receiving.latest, receiving.above
            receiving.answered()
        session = sending.session if sending is not None else 0
        endpoint = "" if sending is None or sending.heard else self.endpoint
        header = wire.encode(
            Packet(kind, session, number, order, heard, upto, latest, above, endpoint)
        )
        return self.inner.send(link.endpoint, [*frames, header])

    # -- what arrives

    def receive(self) -> Message | None:
        ready = self._ready
        while not ready:
            message = self.inner.receive()
            if message is None:
                if self._urgent:
                    self._answer_urgent()
                return None
            self._arrived(*message)
        return ready.popleft()

    def _read(self) -> None:
        """Take in all that waits."""
        while (message := self.inner.receive()) is not None:
            self._arrived(*message)
        if self._ready:
            self.inner.interrupt()
        self._answer_urgent()

    def _arrived(self, incarnation: int, frames: Sequence[Buffer]) -> None:
        try:
            packet = wire.decode(frames[-1] if frames else _EMPTY)
        except WireError:
            self.strays["no packet"] += 1
            return
        now = trio.current_time()
        if packet.heard:
            self._answered(packet, now)
        if packet.kind == wire.ANSWER:
            return
        known = self._heard.get(incarnation)
        if known is None or known[1].session < packet.session:
            known = self._begin(incarnation, packet)
        if known is None or known[1].session > packet.session:
            self.strays["another session"] += 1
            return
        link, receiving = known
        if packet.kind == wire.NUMBERED:
            for whole in receiving.take(packet.number, packet.order, frames[:-1], now):
                self._ready.append((incarnation, whole))
        elif packet.kind == wire.PROBE:
            receiving.take_probe(packet.order)
        elif receiving.take_fleeting(packet.order):
            self._ready.append((incarnation, frames[:-1]))
        if link.receiving is receiving:
            if receiving.due == -math.inf:
                self._urgent[link] = None
            elif receiving.due < self._due or link not in self._timed:
                self._time(link)

    def _begin(self, incarnation: int, packet: Packet) -> tuple[_Link, Receiving] | None:
        """A session that was not heard of before."""
        if not incarnation or not packet.session or packet.endpoint in ("", self.endpoint):
            return None
        link = self._links.get(packet.endpoint)
        if link is None:
            link = self._links[packet.endpoint] = _Link(packet.endpoint)
        if link.incarnation > incarnation:
            return None
        link.incarnation = incarnation
        link.receiving = Receiving(packet.session)
        known = self._heard[incarnation] = link, link.receiving
        return known

    def _answered(self, packet: Packet, now: float) -> None:
        link = self._sessions.get(packet.heard)
        if link is None or link.sending is None:
            return  # it is over
        sending = link.sending
        leaving = sending.answer(packet.upto, packet.latest, packet.above, now)
        for step in leaving:
            self._transmit(link, sending, step)
        if leaving or sending.due < self._due:
            self._time(link)

    def _answer_urgent(self) -> None:
        urgent, self._urgent = self._urgent, {}
        for link in urgent:
            if link.receiving is not None and link.receiving.due < math.inf:
                self._answer(link)

    def _answer(self, link: _Link) -> None:
        """Tell the peer what has come, by a packet of its own."""
        link.used_at = trio.current_time()
        if not link.open:
            try:
                self.inner.connect(link.endpoint)
            except ValueError:
                self.strays["no way back"] += 1
                if link.receiving is not None:
                    link.receiving.answered()
                return
            link.open = True
        self._leave(link, wire.ANSWER, 0, 0, (_EMPTY,))
        self._time(link)

    async def wait(self) -> None:
        if self._urgent:
            self._answer_urgent()
        if self._ready:
            await trio.lowlevel.checkpoint()
        else:
            await self.inner.wait()

    def interrupt(self) -> None:
        self.inner.interrupt()

    # -- time

    def pause(self) -> None:
        """Let no timer strike until `resume`, as in a process that was stopped."""
        self._paused = True
        if self._alarm is not None:
            self._alarm.deadline = math.inf

    def resume(self) -> None:
        self._paused = False
        if self._alarm is not None:
            self._alarm.deadline = self._due

    def _time(self, link: _Link) -> bool:
        """Look at it when it is due; False when a task has to run before that is so."""
        due = link.due
        if due == math.inf:
            return True
        self._timed[link] = None
        if due >= self._due or self._closed:
            return True
        self._due = due
        if not self._ticks:
            self._ticks = True
            self._nursery.start_soon(self._keep_time)
        elif self._alarm is not None and not self._paused:
            self._alarm.deadline = due
        return False

    async def _keep_time(self) -> None:
        try:
            while self._timed and not self._closed:
                due = math.inf if self._paused else self._due
                with trio.CancelScope(deadline=due) as self._alarm:
                    await trio.sleep_forever()
                self._alarm = None
                if not self._closed:
                    self._strike(trio.current_time())
        finally:
            self._ticks, self._alarm, self._due = False, None, math.inf

    def _strike(self, now: float) -> None:
        self._read()
        self._due = math.inf
        for link in list(self._timed):
            sending, receiving = link.sending, link.receiving
            if sending is not None and sending.due <= now and (order := sending.late(now)):
                self._probe(link, order)
            if receiving is not None and receiving.due <= now:
                self._answer(link)
            if link.open and sending is None and link.used_at + IDLE_S <= now:
                link.open = False
                self.inner.disconnect(link.endpoint)
            due = link.due
            if due == math.inf:
                self._timed.pop(link, None)
            else:
                self._due = min(self._due, due)

    async def farewell(self, endpoint: str) -> None:
        """Return once all that this peer was sent is known to have arrived, or it is given up.

        For the end of a process: nobody else reads any more, and what arrives is thrown away.
        It lasts as long as the peer is away: the caller bounds it.
        """
        link = self._links.get(endpoint)
        sending = link.sending if link is not None else None
        if link is not None and sending is not None and len(sending):
            self._probe(link, sending.ask(trio.current_time()))
        while self.receive() is not None or self._owes(link, sending):
            if not self._ready and self._owes(link, sending):
                await self.wait()
        await trio.lowlevel.checkpoint()

    def _owes(self, link: _Link | None, sending: Sending | None) -> bool:
        return (
            sending is not None and len(sending) > 0 and link is self._sessions.get(sending.session)
        )

    def _probe(self, link: _Link, order: int) -> None:
        self._leave(link, wire.PROBE, 0, order, (_EMPTY,))

    def stop(self) -> None:
        """Let no timer strike any more."""
        self._closed = True
        if self._alarm is not None:
            self._alarm.cancel()

    def close(self, farewell: str = "") -> None:
        self.stop()
        self._links.clear()
        self._sessions.clear()
        self._heard.clear()
        self._urgent.clear()
        self._timed.clear()
        self._ready.clear()
        self.inner.close(farewell)
