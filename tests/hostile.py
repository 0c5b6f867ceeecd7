"""Those who are not welcome: ``python -m tests.hostile KIND ENDPOINT SECONDS [FILE]``.

A process of its own, so that it takes nobody's time but its share of the machine. It attacks for
so long and ends by itself. ``FILE``: what a friend once sent, for ``replay``.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec
import trio

from runtime.network.keys import new_keys
from runtime.network.listening import reserve, site_of
from runtime.network.tcp_endpoint import TcpEndpoint, parse_endpoint
from runtime.wires.splitting import PIECE_BYTES
from runtime.wires.zmq_tcp import TcpTransport, public_of

GREETING: Final = b"\xff\0\0\0\0\0\0\0\1\x7f\3\0CURVE".ljust(32, b"\0") + bytes(32)
LONG_MESSAGE, LONG_COMMAND = 2, 6
BLOCK: Final = bytes(65536)

Attack = Callable[[TcpEndpoint], Awaitable[None]]


async def dial(target: TcpEndpoint) -> trio.SocketStream:
    site = target.sites[0]
    return await trio.open_tcp_stream(site.host, site.port)


async def scan(target: TcpEndpoint) -> None:
    await (await dial(target)).aclose()


async def loris(target: TcpEndpoint) -> None:
    async with await dial(target) as stream:
        for byte in GREETING:
            await stream.send_all(bytes([byte]))
            await trio.sleep(0.25)


async def huge(target: TcpEndpoint) -> None:
    """A frame of 1 GB, as a message or a command."""
    async with await dial(target) as stream:
        kind = random.choice([LONG_MESSAGE, LONG_COMMAND])
        await stream.send_all(GREETING + bytes([kind]) + (1 << 30).to_bytes(8, "big"))
        while True:
            await stream.send_all(BLOCK)


async def fat(target: TcpEndpoint) -> None:
    """As much as is taken before a key is asked for, and then nothing."""
    async with await dial(target) as stream:
        head = bytes([LONG_COMMAND]) + PIECE_BYTES.to_bytes(8, "big")
        await stream.send_all(GREETING + head + bytes(PIECE_BYTES - 1))
        await trio.sleep(10)


async def noise(target: TcpEndpoint) -> None:
    async with await dial(target) as stream:
        if random.random() < 0.5:
            await stream.send_all(GREETING)
        while True:
            await stream.send_all(os.urandom(random.choice([1, 100, 10_000])))


async def replay(target: TcpEndpoint) -> None:
    async with await dial(target) as stream:
        await stream.send_all(Path(sys.argv[4]).read_bytes())  # noqa: ASYNC240
        async for _ in stream:
            pass


async def wrong_key(target: TcpEndpoint) -> None:
    """It knows where the node is and what its public key is, and has keys of its own."""
    await _knock(str(target), insecure=False)


async def wrong_listener(target: TcpEndpoint) -> None:
    """It has another idea of the node's public key."""
    changed = msgspec.structs.replace(target, key=public_of(b"x" * 32))
    await _knock(str(changed), insecure=False)


async def no_key(target: TcpEndpoint) -> None:
    await _knock(str(msgspec.structs.replace(target, key=b"")), insecure=True)


async def _knock(endpoint: str, insecure: bool) -> None:
    keys = None if insecure else new_keys()
    public = public_of(keys.own) if keys is not None else b""
    with reserve("127.0.0.1") as reserved:
        own = TcpEndpoint((site_of(reserved),), public, 999)
        async with trio.open_nursery() as nursery:
            transport = TcpTransport(str(own), 999, nursery, 64, keys=keys)
            try:
                for _ in range(20):
                    transport.connect(endpoint)
                    transport.send(endpoint, [b"let me in", b"x" * 1000])
                    await trio.sleep(0.02)
                    transport.disconnect(endpoint)
            finally:
                transport.close()
                nursery.cancel_scope.cancel()


ATTACKS: dict[str, tuple[Attack, int]] = {
    "scan": (scan, 20),
    "loris": (loris, 300),
    "huge": (huge, 8),
    "fat": (fat, 300),
    "noise": (noise, 20),
    "replay": (replay, 5),
    "no key": (no_key, 3),
    "wrong key": (wrong_key, 3),
    "wrong listener": (wrong_listener, 3),
}
"""And by how many at a time."""


async def main(kind: str, endpoint: str, seconds: float) -> None:
    attack, number = ATTACKS[kind]
    target = parse_endpoint(endpoint)

    async def attack_again_and_again() -> None:
        while True:
            try:
                await attack(target)
            except (OSError, trio.BrokenResourceError):
                await trio.sleep(0.01)
            await trio.lowlevel.checkpoint()

    print("ready", flush=True)
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for _ in range(number):
                nursery.start_soon(attack_again_and_again)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], float(sys.argv[3]))
