"""What one process watches: the numbers under which its controller tells it of ends.

Invariants
----------
* A number is told of one end, once; then, or once it is given up, nothing comes of it.
* What a cell watches is given up when the cell ends.
* Only the controller's word counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from runtime.messages import envelope as wire

if TYPE_CHECKING:
    from runtime.address import Address
    from runtime.cells.service import Service
    from runtime.traffic.exchange import Exchange
    from runtime.traffic.pair import Peer

News = wire.Fallen | wire.Suspicion


class Vigil:
    """The watches of one process."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._watches: dict[int, tuple[Service | None, Callable[[Any], None]]] = {}
        self._of_cells: dict[Service, set[int]] = {}
        exchange.control[wire.Fallen] = self._fallen
        exchange.control[wire.Suspicion] = self._suspicion

    def __len__(self) -> int:
        return len(self._watches)

    def watch(
        self,
        who: Address,
        hear: Callable[[News], None],
        *,
        cell: Service | None = None,
        suspicions: bool = False,
    ) -> int:
        """Call ``hear`` with the end of ``who``, and with what is suspected of it, if asked for.

        On behalf of ``cell``, or of the process. Returns the watch's number. ``hear`` may be
        called before this returns.
        """
        number = self._exchange.next_id()
        self._watches[number] = cell, hear
        if cell is not None:
            self._of_cells.setdefault(cell, set()).add(number)
        self._say(wire.Monitor(number, who, suspicions))
        return number

    def give_up(self, number: int, cell: Service | None = None) -> None:
        """Hear no more of it. A watch of another cell stays."""
        if number in self._watches and self._watches[number][0] is cell:
            self._forget(number)
            self._say(wire.Demonitor(number))

    def leave(self, cell: Service) -> None:
        """The cell has ended."""
        for number in list(self._of_cells.get(cell, ())):
            self.give_up(number, cell)

    def _say(self, envelope: wire.Envelope) -> None:
        self._exchange.say(self._exchange.controller, envelope)

    def _forget(self, number: int) -> Callable[[Any], None]:
        cell, hear = self._watches.pop(number)
        if cell is not None:
            numbers = self._of_cells[cell]
            numbers.discard(number)
            if not numbers:
                del self._of_cells[cell]
        return hear

    def _fallen(self, peer: Peer, fallen: wire.Fallen, _: Any) -> None:
        if peer is self._exchange.controller and fallen.number in self._watches:
            self._forget(fallen.number)(fallen)

    def _suspicion(self, peer: Peer, suspicion: wire.Suspicion, _: Any) -> None:
        watch = self._watches.get(suspicion.number)
        if peer is self._exchange.controller and watch is not None:
            watch[1](suspicion)
