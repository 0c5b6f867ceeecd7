"""All items of a stream, for one answer.

Invariants
----------
* At most `MAX_ITEMS`, and no longer than the caller's deadline allows.
* A stream that goes on after that is an error that says so; one that has given nothing by the
  deadline is its caller's to call late.
"""

import math
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import trio

from runtime.errors import WireError

MAX_ITEMS: Final = 1000
SPARE: Final = 0.05
"""The part of the caller's time that is kept for saying that it was not enough."""


async def collect(name: str, stream: AbstractAsyncContextManager[AsyncIterator[Any]]) -> list[Any]:
    """The items, once the stream has ended.

    Raises:
        WireError: it has not.
    """
    found: list[Any] = []
    now, deadline = trio.current_time(), trio.current_effective_deadline()
    enough = deadline if deadline == math.inf else deadline - SPARE * (deadline - now)
    with trio.move_on_at(enough) as patience:
        async with stream as items:
            async for item in items:
                if len(found) == MAX_ITEMS:
                    raise WireError(f"{name} has more than {MAX_ITEMS} items")
                found.append(item)
    if not patience.cancelled_caught:
        return found
    if not found:
        await trio.sleep_until(deadline)
    raise WireError(f"{name} had not ended in time: {len(found)} items so far")
