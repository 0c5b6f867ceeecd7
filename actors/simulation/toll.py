"""What a guardian's work costs this machine, in processor time.

Real exchanges and a real guard over the memory network: decoding, the guard's table, the
acknowledgement. A socket and a kernel cost more than that, and no simulation knows how much.
"""

from __future__ import annotations

from time import process_time
from typing import Final

import msgspec
import trio

from runtime.address import CONTROLLER, CONTROLLER_INCARNATION, Address
from runtime.detection.guard import Guard
from runtime.detection.watch import Watch
from runtime.messages import envelope as wire
from runtime.messages.codec import encode
from runtime.traffic.exchange import Exchange
from runtime.wires.memory import MemoryNetwork, MemoryTransport

WARDS: Final = 256
ROUNDS: Final = 20
_SYSTEM: Final = "toll"


class Toll(msgspec.Struct, frozen=True):
    """In seconds: to hear a beat and answer it; to check one ward."""

    beat_s: float
    check_s: float


async def measure_toll() -> Toll:
    """Heard, answered and checked `ROUNDS` times, of `WARDS` wards; the best round counts."""
    async with trio.open_nursery() as nursery:
        network = MemoryNetwork(nursery)
        transport = network.join(CONTROLLER_INCARNATION)
        own = Address(_SYSTEM, CONTROLLER, CONTROLLER_INCARNATION, transport.endpoint)
        exchange = Exchange(own, transport, boot_id=_SYSTEM, simple=True)
        guard = Guard(exchange, lambda verdict: None)
        wards = [_Sender(network, number) for number in range(2, WARDS + 2)]
        for ward in wards:
            ward.send(own, wire.Hello(ward.address, _SYSTEM, wire.VERSION))
            guard.guard(1, ward.address, 0)
        exchange.drain()
        rounds = [_round(exchange, own, wards, number) for number in range(1, ROUNDS + 1)]
        for ward in wards:
            ward.transport.close()
        transport.close()
    return Toll(min(rounds), min(_check() for _ in range(ROUNDS)))


class _Sender:
    def __init__(self, network: MemoryNetwork, incarnation: int) -> None:
        self.transport: MemoryTransport = network.join(incarnation)
        endpoint = self.transport.endpoint
        self.address = Address(_SYSTEM, str(incarnation), incarnation, endpoint)

    def send(self, to: Address, envelope: wire.Envelope) -> None:
        self.transport.connect(to.endpoint)
        self.transport.send(to.endpoint, encode(envelope))


def _round(exchange: Exchange, own: Address, wards: list[_Sender], number: int) -> float:
    for ward in wards:
        ward.send(own, wire.Beat(number))
    began = process_time()
    exchange.drain()
    took_s = process_time() - began
    for ward in wards:
        answers = 0
        while ward.transport.receive() is not None:
            answers += 1
        if not answers:
            raise RuntimeError(f"nobody heard the beat of {ward.address.name}: {exchange.strays}")
    return took_s / len(wards)


def _check() -> float:
    watch = Watch(1.0)
    for number in range(WARDS):
        watch.guard(str(number), 2, 0.0)
    began = process_time()
    for beat in range(1, 11):
        watch.check(beat / 10, 0.0)
        watch.quiet(beat / 10)
        watch.next_at(beat / 10)
    return (process_time() - began) / 10 / WARDS
