"""A signal is the end of what a process does.

Invariants
----------
* SIGINT, SIGTERM and SIGHUP cancel the work, which may still clean up; the first one counts.
* A SIGHUP that was ignored when we started (nohup) stays ignored.
"""

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import trio

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def until_signal(work: Callable[[], Awaitable[int]]) -> tuple[int, int | None]:
    """The status that ``work`` has given (1 if cut short), and the first signal that came."""
    scope = trio.CancelScope()
    numbers: list[int] = []
    status = 1

    async def hear(signals: AsyncIterator[int]) -> None:
        async for number in signals:
            numbers.append(number)
            scope.cancel()

    wanted = [each for each in SIGNALS if not _ignored(each)]
    with trio.open_signal_receiver(*wanted) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hear, signals)
            with scope:
                status = await work()
            nursery.cancel_scope.cancel()
    return status, numbers[0] if numbers else None


def _ignored(number: signal.Signals) -> bool:
    return number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN
