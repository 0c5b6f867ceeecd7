"""A node that somebody has started by hand, here or on another host, and that joins a system.

It knocks at the controller's address, says what it is, and is told who it is; from then on it is
a node like any other, but that nobody here holds it: no zygote, no pidfd, no status page, no run
folder. Its silence is judged ``cut off``, and after ``lost_after_s`` it is lost.

Invariants
----------
* It ends by itself when the controller has been silent for ``lost_after_s``, however that came;
  time during which it stood still itself does not count. So of a system that is gone nothing stays.
* Each step before that is bounded: `CONNECT_S` to reach the address, `ANSWER_S` for the answer,
  30 s for the welcome. A key that is not taken is told at once.
* To be told its name it listens as somebody else, with a key and a port of that one moment: as
  itself it has one life, one incarnation, one endpoint.
* A signal comes by the link. It says how it ends before it kills itself.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Final

import msgspec
import trio

from runtime.address import CONTROLLER_INCARNATION, Address
from runtime.detection.guard import BEAT_S
from runtime.errors import SpawnError, WireError
from runtime.exits import ExitReason
from runtime.hosts.life import Node
from runtime.hosts.node_process import (
    FAREWELL_S,
    MAX_PEERS,
    Process,
    boot_id,
    clock_offset,
    live_and_leave,
)
from runtime.messages import envelope as wire
from runtime.messages.codec import decode, encode
from runtime.multipath.link_guard import guard_links
from runtime.multipath.link_report import Watchable
from runtime.multipath.path_owner import path_owner
from runtime.network.join_file import Pass
from runtime.network.keys import Keys, new_secret
from runtime.network.listening import site_of, way_to
from runtime.network.tcp_endpoint import Site, TcpEndpoint
from runtime.processes.evidence import see_nothing
from runtime.traffic.exchange import Exchange
from runtime.traffic.pair import Peer
from runtime.wires.net import Kind
from runtime.wires.network_wiring import open_transport, reserve_ports
from runtime.wires.transport import Transport
from runtime.wires.zmq_refusal import Refused
from runtime.wires.zmq_tcp import TcpTransport, public_of

CONNECT_S = 5.0
ANSWER_S = 10.0
_REFUSED: Final[dict[Refused, str]] = {
    "key": "does not take the key: is it that of its present system?",
    "keys": "is not of that kind: one of you has keys, the other has none",
    "language": "does not speak our language: is it a controller that listens there?",
    "hung up": "hangs up: is it a controller that listens there, and the key, or none, that of its"
    " present system?",
}
UNMANAGED: Final = (
    "net.mptcp.path_manager is userspace here, and a node that joins manages no paths:"
    " whoever has set that does, or nobody"
)
_log: Final = logging.getLogger("regrow")
_NOBODY_YET = 1 << 63
"""Incarnations of those who have none yet begin here: no counter gets so far."""


class Wish(msgspec.Struct, frozen=True):
    """Who wants to join whom.

    ``hosts``: where it will listen; () for where the way leads. ``guarded``: its own links are kept
    off dying paths, where there are several.
    """

    site: Site
    given: Pass | None
    entry: str
    args: bytes
    name: str
    stem: str
    hosts: tuple[str, ...] = ()
    lost_after_s: float = 60.0
    kind: Kind = "tcp"
    tos: int = 0
    guarded: bool = True


async def join(wish: Wish, joined: Callable[[str], None] = lambda name: None) -> ExitReason:
    """Be that node until it ends. ``joined`` is told its name, once its actor has started.

    Raises:
        SpawnError: it cannot be: nobody answers, or the controller says why not.
        OSError: it cannot listen where it is to.
    """
    await _knock(wish.site)
    hosts = wish.hosts or (way_to(wish.site),)
    keys = _keys(wish)
    with ExitStack() as held:
        bound = [held.enter_context(each) for each in reserve_ports(wish.kind, hosts)]
        endpoint = _endpoint(wish, bound, keys, 0)
        address, controller = await _ask(wish, hosts, str(endpoint))
        reason: ExitReason | None = None
        try:
            reason = await _live(wish, address, controller, keys, joined)
        except* trio.TooSlowError:
            pass
    if reason is None:
        raise SpawnError(f"{wish.site} has let it in, and does not welcome it")
    return reason


async def _knock(site: Site) -> None:
    """Somebody listens there."""
    try:
        with trio.fail_after(CONNECT_S):
            stream = await trio.open_tcp_stream(site.host, site.port)
    except trio.TooSlowError:
        raise SpawnError(f"{site} does not answer within {CONNECT_S:g} s") from None
    except OSError as error:
        cause = error.__cause__ or error
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        number = cause.errno if isinstance(cause, OSError) else None
        why = os.strerror(number) if number else str(cause)
        raise SpawnError(f"{site} cannot be reached: {why}") from error
    await stream.aclose()


def _keys(wish: Wish) -> Keys | None:
    return Keys(new_secret(), wish.given.member) if wish.given is not None else None


def _endpoint(
    wish: Wish, bound: Sequence[socket.socket], keys: Keys | None, incarnation: int
) -> TcpEndpoint:
    public = public_of(keys.own) if keys is not None else b""
    return TcpEndpoint(tuple(site_of(each) for each in bound), public, incarnation, wish.kind)


async def _ask(wish: Wish, hosts: Sequence[str], endpoint: str) -> tuple[Address, Address]:
    """Who we are, and who our controller is."""
    number = _NOBODY_YET | secrets.randbits(62)
    keys = _keys(wish)
    public = wish.given.controller if wish.given is not None else b""
    controller = str(TcpEndpoint((wish.site,), public, CONTROLLER_INCARNATION, wish.kind))
    answer: wire.Joined | None = None
    refused: Refused | None = None
    async with trio.open_nursery() as nursery:
        with ExitStack() as held:
            bound = [held.enter_context(each) for each in reserve_ports(wish.kind, hosts)]
            own = str(_endpoint(wish, bound, keys, number))
            transport = open_transport(own, number, nursery, MAX_PEERS, keys, wish.tos)
            wire_below = getattr(transport, "inner", transport)
            assert isinstance(wire_below, TcpTransport)
            wire_below.hear_refusal()
            try:
                transport.connect(controller)
                knock = wire.Join(
                    wire.VERSION,
                    own,
                    endpoint,
                    wish.entry,
                    wish.name,
                    wish.stem,
                    wish.args,
                    wish.lost_after_s,
                )
                transport.send(controller, encode(knock))
                with trio.move_on_after(ANSWER_S):
                    answer, refused = await _first(transport, wire_below)
            finally:
                transport.close()
                nursery.cancel_scope.cancel()
    if refused is not None:
        raise SpawnError(f"{wish.site} {_REFUSED[refused]}")
    if answer is None:
        raise SpawnError(
            f"{wish.site} does not answer within {ANSWER_S:g} s: is it a controller that listens "
            "there, and the key that of its present system?"
        )
    if answer.address is None or answer.controller is None:
        raise SpawnError(answer.refusal)
    return answer.address, answer.controller


async def _first(
    transport: Transport, wire_below: TcpTransport
) -> tuple[wire.Joined | None, Refused | None]:
    """What comes first: an answer, or that there will be none."""
    answer: wire.Joined | None = None
    refused: Refused | None = None
    async with trio.open_nursery() as nursery:

        async def hear() -> None:
            nonlocal answer
            answer = await _hear(transport)
            nursery.cancel_scope.cancel()

        nursery.start_soon(hear)
        refused = await wire_below.refused()
        nursery.cancel_scope.cancel()
    return answer, refused


async def _hear(transport: Transport) -> wire.Joined:
    while True:
        message = transport.receive()
        if message is None:
            await transport.wait()
            continue
        try:
            parts = decode(message[1])
        except WireError:
            continue
        for envelope, *_ in parts:
            if isinstance(envelope, wire.Joined):
                return envelope


async def _live(
    wish: Wish,
    address: Address,
    controller: Address,
    keys: Keys | None,
    joined: Callable[[str], None],
) -> ExitReason:
    async with trio.open_nursery() as nursery:
        transport = open_transport(
            address.endpoint, address.incarnation, nursery, MAX_PEERS, keys, wish.tos
        )
        transport.connect(controller.endpoint)
        exchange = Exchange(
            address,
            transport,
            boot_id=boot_id(),
            clock_offset=clock_offset(),
            controller=controller.endpoint,
        )
        node = Node(exchange, Process(), see_nothing)
        signals = _Signals(exchange, node, nursery)
        nursery.start_soon(signals.run)
        nursery.start_soon(_outlive_nobody, node, wish.lost_after_s)
        nursery.start_soon(_tell, node, joined)
        inner = getattr(transport, "inner", transport)
        if wish.kind == "mptcp" and path_owner() == "userspace":
            _log.warning(UNMANAGED)
        if wish.guarded and isinstance(inner, Watchable):
            nursery.start_soon(guard_links, inner)
        reason = await live_and_leave(node)
        nursery.cancel_scope.cancel()
    return reason


async def _tell(node: Node, joined: Callable[[str], None]) -> None:
    await node.up.wait()
    joined(node.address.name)


async def _outlive_nobody(node: Node, lost_after_s: float) -> None:
    """End when the controller has been silent for so long, while we were awake."""
    at, heeded_at, silent_s = trio.current_time(), node.guard.heeded_at, 0.0
    while silent_s < lost_after_s:
        await trio.sleep(BEAT_S)
        now = trio.current_time()
        if node.guard.heeded_at == heeded_at:
            silent_s += min(now - at, 2 * BEAT_S)
        else:
            heeded_at, silent_s = node.guard.heeded_at, 0.0
        at = now
    why = f"the controller has been silent for {lost_after_s:g} s"
    node.stop(ExitReason(kind="lost", message=why))


class _Signals:
    """Those that come by the link, and those of this host."""

    def __init__(self, exchange: Exchange, node: Node, nursery: trio.Nursery) -> None:
        self._exchange = exchange
        self._node = node
        self._nursery = nursery
        exchange.control[wire.Signal] = self._ordered

    async def run(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as heard:
            async for _ in heard:
                self._node.stop()

    def _ordered(self, peer: Peer, order: wire.Signal, _: object) -> None:
        if peer is not self._exchange.controller:
            self._exchange.strays["signal from another"] += 1
        elif order.number == signal.SIGKILL:
            self._nursery.start_soon(self._die)
        elif order.number in signal.valid_signals():
            os.kill(os.getpid(), order.number)

    async def _die(self) -> None:
        controller = self._exchange.controller
        self._exchange.auditing.say_last()
        self._exchange.say(controller, wire.Exiting(ExitReason(kind="killed", signal=9)))
        self._exchange.flush()
        with trio.move_on_after(FAREWELL_S):
            while self._exchange.transport.holds(controller.endpoint):  # noqa: ASYNC110
                await trio.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
