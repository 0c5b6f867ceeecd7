"""The task that prints notices when they are due.

Invariants
----------
* A change is heard at once, in the caller's task; printing never waits.
* The task sleeps exactly until something is due.
"""

import trio

from actors.control.heartbeat import Change, Heartbeat, Notice
from shell.dialects import Spec
from shell.order import Order
from shell.paper import Sink


class Notices:
    """The notices of one session."""

    def __init__(self, dialect: Spec, order: Order, sink: Sink) -> None:
        self._heartbeat = Heartbeat(roll_call=dialect.roll_call)
        self._dialect = dialect
        self._order = order
        self._sink = sink
        self._changed = trio.Event()

    def order(self, period_s: float) -> None:
        """From now on, report by ``period_s``; 0.0 ends the notices."""
        self._heartbeat.order(period_s, trio.current_time())
        self._changed.set()

    def hear(self, change: Change) -> None:
        """Take note of a change in the tree."""
        self._print(self._heartbeat.hear(change))
        self._changed.set()

    async def run(self) -> None:
        """Print until cancelled."""
        while True:
            self._print(self._heartbeat.due(trio.current_time()))
            with trio.move_on_at(self._heartbeat.next_at()):
                await self._changed.wait()
                self._changed = trio.Event()

    def _print(self, notices: list[Notice]) -> None:
        for notice in sorted(notices, key=lambda notice: self._order.rank(notice.id)):
            if text := self._dialect.notice(notice):
                self._sink.notice(text)
