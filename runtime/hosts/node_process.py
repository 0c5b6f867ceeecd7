"""A node as a process of its own, from the fork to its exit status.

The zygote calls `start` in the new process: it binds its socket and lives its life
(`runtime.hosts.life`).

Invariants
----------
* What outlives the controller ends within milliseconds, and wakes a zygote that is frozen: nobody
  else cleans up.
* The status is 0 for a planned end, else 1.
* SIGTERM ends it as a stop does.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress

import msgspec
import trio

from runtime.address import Address
from runtime.cells import context
from runtime.cells.cell import Cell
from runtime.exits import ExitReason
from runtime.hosts.life import Boot, Node, resolve_behaviour
from runtime.messages.behaviour import Behaviour
from runtime.processes.evidence import looking_into
from runtime.processes.newborn import CONTROLLER_FD
from runtime.processes.orders import Order
from runtime.processes.run_folder import page_path, raise_open_file_limit
from runtime.processes.status_page import StatusPage
from runtime.traffic.exchange import Exchange
from runtime.wires.transport import repeating
from runtime.wires.wiring import open_transport

MAX_PEERS = 4096
FAREWELL_S = 1.0
"""How long the last words of a node may go again over a network that loses them."""
START = "runtime.hosts.node_process:start"
_boots = msgspec.msgpack.Decoder(Boot)  # here: the zygote has made it ready


def boot_id() -> str:
    """The same for all processes that share this machine's CLOCK_MONOTONIC."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def clock_offset() -> float:
    """What to subtract from trio's clock to get CLOCK_MONOTONIC."""
    return trio.current_time() - time.monotonic()


def start(order: Order, folder: str) -> None:
    """Be the node that ``order`` describes. Ends by returning, or by SystemExit."""
    raise_open_file_limit()
    reason = trio.run(_live, order, folder)
    sys.exit(0 if reason.planned else 1)


async def _live(order: Order, folder: str) -> ExitReason:
    boot = _boots.decode(order.boot)
    page = StatusPage(page_path(folder, order.incarnation), order.incarnation)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outlive_nobody)
        transport = open_transport(
            boot.endpoint, order.incarnation, nursery, MAX_PEERS, boot.keys, boot.tos
        )
        transport.connect(boot.controller.endpoint)  # while we build the rest
        exchange = Exchange(
            Address(boot.system, order.name, order.incarnation, boot.endpoint),
            transport,
            boot_id=boot.boot_id,
            clock_offset=clock_offset(),
            controller=boot.controller.endpoint,
        )
        node = Node(exchange, Process(page), looking_into(folder))
        nursery.start_soon(hear_signals, node)
        nursery.start_soon(_tick, page)
        reason = await live_and_leave(node)
        nursery.cancel_scope.cancel()
    return reason


async def live_and_leave(node: Node) -> ExitReason:
    """It has lived, its last words have had a moment to leave, and its sockets are closed."""
    transport, controller = node.exchange.transport, node.exchange.controller.endpoint
    try:
        reason = await node.run()
        node.exchange.flush()
        repeater = repeating(transport)
        if repeater is not None:
            with trio.move_on_after(FAREWELL_S):
                await repeater.farewell(controller)
    finally:
        transport.close(farewell=controller)
    return reason


class Process:
    """This process, as its node sees it. ``page``: None where nobody of this host would read it."""

    def __init__(self, page: StatusPage | None = None) -> None:
        self.page = page

    def leave(self) -> None:
        if self.page is not None:
            self.page.leave()

    def find(self, entry: str) -> type[Behaviour]:
        return resolve_behaviour(entry)

    def settle(self, cell: Cell) -> None:
        context.root.set(cell)

    def print(self, text: str) -> None:
        print(text, file=sys.stderr)


async def outlive_nobody() -> None:
    """End when the controller has."""
    await trio.lowlevel.wait_readable(CONTROLLER_FD)
    with suppress(OSError):
        os.kill(os.getppid(), signal.SIGCONT)  # the zygote, lest it be frozen: it cleans up
    os._exit(1)


async def hear_signals(node: Node) -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            node.stop()


async def _tick(page: StatusPage) -> None:
    while True:
        page.tick()
        await trio.sleep(0.1)
