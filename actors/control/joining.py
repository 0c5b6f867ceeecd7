"""Those who join a system by hand: nodes that the controller has not started.

Such a node hangs under the controller, is ``temporary``, and is told apart by ``Spec.joined``. Its
process is somewhere else: all that is known of it comes by its link, its last word included. When
it is killed there, or its host dies, it is cut off after four beats, and lost ``lost_after_s``
after its last one.

Invariants
----------
* Who is refused is told why, and has no name. Who is let in and does not come leaves nothing.
* What it is called is for the roll to say (`Roll.name_of_joiner`), whatever it would like.
* It takes a name that nobody holds, or the place of one dead that hung under the controller.
* SIGKILL is an order by its link. Who does not end by it within `KILL_S` is lost: it may live on,
  is not heard any more, and is told to end when it speaks.
"""

from __future__ import annotations

import math
from functools import partial
from signal import SIGKILL

import msgspec
import trio

from actors.control.nodes import Nodes
from actors.supervision.record import Record
from runtime.address import CONTROLLER, check_name
from runtime.messages import envelope as wire
from runtime.messages.codec import encode
from runtime.network.tcp_endpoint import TcpEndpoint, parse_endpoint
from runtime.processes.orders import Exited
from runtime.traffic.exchange import Exchange
from runtime.traffic.registrar import Spec

KILL_S = 1.0
START_S = 20.0
HEAR_S = 5.0
"""How long an answer may go again."""


class JoinedBody:
    """What is known here of its process: nothing but what its link says."""

    pid = 0
    frozen = False
    held = False
    left = False

    def __init__(
        self, record: Record, exchange: Exchange, nodes: Nodes, tasks: trio.Nursery
    ) -> None:
        self._record = record
        self._exchange = exchange
        self._nodes = nodes
        self._tasks = tasks

    def signal(self, number: int) -> None:
        peer = self._exchange.peer(self._record.address.endpoint)
        self._exchange.say(peer, wire.Signal(number))
        if number == SIGKILL:
            self._tasks.start_soon(self._see_to_it)

    async def _see_to_it(self) -> None:
        if not await self._record.goes_within(KILL_S):
            why = f"it was killed, and has not been heard for {KILL_S:g} s since"
            self._nodes.losing.give_up(self._record, why)

    async def wait_gone(self) -> None:
        """It has said why it ends, or it is lost."""
        async with trio.open_nursery() as nursery:
            for event in (self._record.spoke, self._record.gone):
                nursery.start_soon(_either, event, nursery.cancel_scope)

    async def exited(self) -> Exited:
        return Exited(self._record.incarnation, 0, None)

    def last_lines(self) -> tuple[str, ...]:
        return ()

    def oom(self) -> str:
        return ""

    def close(self) -> None:
        """Nothing holds it."""


async def _either(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


class Joining:
    """Lets them in, after `begin`. ``tasks`` must outlive them."""

    def __init__(self, exchange: Exchange, nodes: Nodes, tasks: trio.Nursery) -> None:
        self._exchange = exchange
        self._nodes = nodes
        self._tasks = tasks
        self._begun = trio.Event()
        exchange.joining = self._knocked

    def begin(self) -> None:
        """All who were here before have their names and places: let others in."""
        self._begun.set()

    def _knocked(self, join: wire.Join) -> None:
        try:
            parse_endpoint(join.answer)
        except ValueError:
            self._exchange.strays["no way back"] += 1
            return
        self._tasks.start_soon(self._let_in, join)

    async def _let_in(self, join: wire.Join) -> None:
        await self._begun.wait()
        async with trio.open_nursery() as nursery:
            try:
                record = self._reserve(join)
            except ValueError as error:
                nursery.start_soon(self._answer, join.answer, wire.Joined(str(error)))
                return
            record.body = JoinedBody(record, self._exchange, self._nodes, self._tasks)
            joined = wire.Joined("", record.address, self._exchange.address)
            nursery.start_soon(self._answer, join.answer, joined)
            owned = False
            try:
                owned = await self._nodes.bring_up(record) is None
            finally:
                if not owned:
                    with trio.CancelScope(shield=True):
                        await self._undo(record)

    async def _undo(self, record: Record) -> None:
        if record.before:  # its place is older
            await self._nodes.scrap(record)
        else:
            record.planned = True
            await self._nodes.undo(record)

    async def _answer(self, endpoint: str, joined: wire.Joined) -> None:
        try:
            self._exchange.tell_stale(endpoint, encode(joined))
        except ValueError:  # one with a key where there are none, or the other way round
            self._exchange.strays["no way back"] += 1
            return
        try:
            await trio.sleep(HEAR_S)
        finally:
            self._exchange.transport.disconnect(endpoint)

    def _reserve(self, join: wire.Join) -> Record:
        """It has a name and a place. `ValueError`: it cannot have them."""
        if join.version != wire.VERSION:
            raise ValueError(f"it speaks version {join.version}, and the system {wire.VERSION}")
        endpoint = parse_endpoint(join.endpoint)
        if endpoint.kind != parse_endpoint(self._exchange.address.endpoint).kind:
            raise ValueError(f"it is on {endpoint.kind}, and the system is not")
        if not 0 < join.lost_after_s < math.inf:
            raise ValueError(f"lost_after_s must be more than 0 seconds, not {join.lost_after_s}")
        spec = Spec(
            entry=join.entry,
            parent=CONTROLLER,
            name=join.name,
            stem=join.stem,
            lost_after_s=join.lost_after_s,
            start_s=START_S,
            joined=True,
        )
        nodes, roll = self._nodes, self._nodes.roll
        name = check_name(roll.name_of_joiner(join.name, check_name(join.stem)))
        if "/" in name:
            raise ValueError(f"not a name for a node: {name!r}")
        where = partial(_listening, endpoint)
        holder = nodes.records.get(name)
        if name not in nodes.places:
            return roll.reserve(name, spec, join.args, where)
        if (
            holder is None
            or nodes.places.parent(name) != CONTROLLER
            or holder.spec.local
            or not holder.ended.is_set()
            or holder.planned
        ):
            raise ValueError(f"the name {name} is taken")
        return roll.renew(holder, spec, join.args, where)


def _listening(endpoint: TcpEndpoint, incarnation: int) -> str:
    return str(msgspec.structs.replace(endpoint, incarnation=incarnation))
