"""What the state file is known to hold of a tree, and what it lacks.

The controller's table of places is gone through at every beat: so nobody need remember to say
what has changed, changes of one beat fall together, and every batch leads to the tree as it was
at one instant. 1 us a place.

Invariants
----------
* A place is kept if whoever lives there would live again after a kill (permanent, transient),
  and so are the places above it. It has a name, and so have those above: unnamed children
  belong to one incarnation of their parent.
* A place is kept from its first start on: until then it is nobody's. When somebody has it
  stopped, it and all under it are no longer kept, at once: nothing comes back from half a stop.
* What was sent is sent again until `confirmed`. Nothing is lost by sending twice.
* Pure: no clock, no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from actors.archive.state_file import BLOCK
from actors.archive.stored import Changes, Held, Row, Stored
from actors.supervision.places import Places
from actors.supervision.record import Record
from actors.supervision.supervision import lives_again
from runtime.address import ARCHIVE, CONTROLLER
from runtime.traffic.registrar import Spec


class _Known:
    """A place as the file has it. Values are compared by identity: they are never changed."""

    __slots__ = ("args", "incarnation", "kept", "position", "returns", "spec")

    def __init__(
        self, position: int, incarnation: int, returns: bool, spec: Spec, args: bytes, kept: bytes
    ) -> None:
        self.position = position
        self.incarnation = incarnation
        self.returns = returns
        self.spec = spec
        self.args = args
        self.kept = kept

    def says(self, position: int, incarnation: int, returns: bool, of: Record | _Known) -> bool:
        """Whether its row says all this; of the snapshot it says nothing."""
        return (
            self.spec is of.spec
            and self.incarnation == incarnation
            and self.position == position
            and self.returns == returns
            and self.args is of.args
        )


class Inventory:
    """Of one system. ``mark``: up to which incarnations are reserved."""

    def __init__(self, places: Places, records: Mapping[str, Record], mark: int) -> None:
        self._places = places
        self._records = records
        self._mark = mark
        self._known: dict[str, _Known] = {}
        self._proposed: dict[str, _Known] = {}
        self._proposed_mark = mark
        self._positions: dict[str, int] = {}  # of all places
        self._highest = 0

    def found(self, held: Iterable[Held]) -> None:
        """The file holds these, and the table has taken them over as they are."""
        for each in held:
            place = each.place
            record = self._records[place.name]
            self._highest = self._positions[place.name] = each.position
            self._known[place.name] = _Known(
                each.position, place.incarnation, place.returns,
                record.spec, record.args, record.kept,
            )  # fmt: skip

    def missing(self, last: int) -> Changes | None:
        """What the file lacks now; None if nothing. ``last``: the last incarnation given out."""
        proposed = self._proposed = self._present()
        self._proposed_mark = self._mark
        if last > self._mark - BLOCK // 2:
            self._proposed_mark = last + BLOCK
        known = self._known
        rows = []
        kept = []
        for name, now in proposed.items():
            was = known.get(name)
            if was is now:
                continue
            if was is None or not was.says(now.position, now.incarnation, now.returns, now):
                rows.append(Row(now.position, self._stored(name, now)))
            if now.kept is not (b"" if was is None else was.kept):
                kept.append((name, now.kept))
        gone = tuple(name for name in known if name not in proposed)
        if not (rows or kept or gone) and self._proposed_mark == self._mark:
            return None
        return Changes(self._proposed_mark, tuple(rows), tuple(kept), gone)

    def late(self, records: Iterable[Record]) -> Changes | None:
        """The last snapshots of those that have ended since, and keep their rows."""
        kept = []
        for record in records:
            was = self._known.get(record.name)
            if was is not None and record.kept is not was.kept:
                kept.append((record.name, record.kept))
        return Changes(self._mark, kept=tuple(kept)) if kept else None

    def confirmed(self) -> None:
        """The file has all that was `missing` when that was asked last."""
        self._known = self._proposed
        self._mark = self._proposed_mark

    def _present(self) -> dict[str, _Known]:
        """The places to be kept, in order of creation; what has not changed as it was."""
        records = self._records
        names = self._places.names()
        positions, self._positions = self._positions, {}
        above = {CONTROLLER}
        for name in reversed(names):
            record = records[name]
            if not record.unwanted and (name in above or _returns(record)):
                above.add(record.spec.parent)
        named = {CONTROLLER}
        present: dict[str, _Known] = {}
        position = 0
        for name in names:
            before = position
            position = positions.get(name, 0)
            if position <= before:  # it is new, or was taken down and put up again
                position = self._highest = self._highest + 1
            self._positions[name] = position
            record = records[name]
            spec = record.spec
            life = record.address.incarnation if record.started else record.last_life
            if not life or not spec.name or spec.parent not in named or name == ARCHIVE:
                continue
            if record.unwanted:
                continue
            named.add(name)
            returns = _returns(record)
            if returns or name in above:
                was = self._known.get(name)
                if (
                    was is None
                    or was.kept is not record.kept
                    or not was.says(position, life, returns, record)
                ):
                    was = _Known(position, life, returns, spec, record.args, record.kept)
                present[name] = was
        return present

    def _stored(self, name: str, now: _Known) -> Stored:
        # Neither the environment, which may hold secrets and will have changed by then, nor a
        # token, which means something to one opening only.
        spec = msgspec.structs.replace(now.spec, environ=None, token="")
        return Stored(name, spec.parent, now.incarnation, now.returns, spec, now.args)


def _returns(record: Record) -> bool:
    """Whether a kill here and now would be followed by another life."""
    if record.gone.is_set():
        return lives_again(record.spec.restart, record.known_reason)
    return record.spec.restart != "temporary"
