"""A node as a process of its own whose clock another process moves: `runtime.lockstep.lockstep`.

As `runtime.hosts.node_process`, but for the clock and the wire.

Invariants
----------
* It follows from before its loop runs: no real time passes on its clock.
"""

from __future__ import annotations

import sys

import msgspec
import trio

from runtime.address import Address
from runtime.exits import ExitReason
from runtime.hosts.life import Boot, Node
from runtime.hosts.node_process import Process, hear_signals, live_and_leave, outlive_nobody
from runtime.lockstep.follower import Follower
from runtime.lockstep.outside import Outside, find_loop
from runtime.processes.evidence import looking_into
from runtime.processes.newborn import CONTROLLER_FD
from runtime.processes.orders import Order
from runtime.processes.run_folder import page_path, raise_open_file_limit
from runtime.processes.status_page import StatusPage
from runtime.traffic.exchange import Exchange
from runtime.virtual_clock import VirtualClock
from runtime.wires.socket_transport import SocketTransport

START = "runtime.lockstep.node:start"


def start(order: Order, folder: str) -> None:
    """Be the node that ``order`` describes. Ends by returning, or by SystemExit."""
    raise_open_file_limit()
    follower = Follower(folder, order.incarnation)
    reason = trio.run(_live, order, folder, follower, clock=follower.clock)
    sys.exit(0 if reason.planned else 1)


async def _live(order: Order, folder: str, follower: Follower) -> ExitReason:
    boot = msgspec.msgpack.decode(order.boot, type=Boot)
    page = StatusPage(page_path(folder, order.incarnation), order.incarnation)
    loop = await find_loop()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outlive_nobody)
        transport = SocketTransport(boot.endpoint, order.incarnation, nursery, follower.late)
        follower.watch(loop[0], Outside(loop, lambda: {CONTROLLER_FD, *transport.descriptors}))
        trio.lowlevel.add_instrument(follower)
        transport.connect(boot.controller.endpoint)
        exchange = Exchange(
            Address(boot.system, order.name, order.incarnation, boot.endpoint),
            transport,
            boot_id=boot.boot_id,
            controller=boot.controller.endpoint,
            simple=True,
        )
        exchange.clock = VirtualClock()
        node = Node(exchange, Process(page), looking_into(folder, trio.current_time))
        nursery.start_soon(hear_signals, node)
        reason = await live_and_leave(node)
        nursery.cancel_scope.cancel()
    return reason
