"""Asking a process what it knows of its network links.

A question ends as `runtime.cells.inquiry` says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from runtime.cells.inquiry import inquire
from runtime.cells.tracing import open_followed
from runtime.messages import envelope as wire
from runtime.multipath.link_report import LinkReport

if TYPE_CHECKING:
    from runtime.address import Address
    from runtime.cells.service import Service


async def ask_links(source: Service, target: Address) -> LinkReport:
    """What the process of ``target`` knows of its links.

    Raises:
        ActorDeadError, UnreachableError: it cannot be had.
    """
    outbound = await open_followed(source, target)
    outbound.check()
    if outbound.local is not None:
        await trio.lowlevel.checkpoint()
        return source.exchange.links.own()
    return (await inquire(outbound, wire.LinksAsked, wire.LinksTold)).report
