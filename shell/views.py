"""The tree of places, as text and as JSON.

Invariants
----------
* The controller comes first; siblings stand in order of creation.
* No recursion: a list of 10,000 nodes is as good as a bush.
* A place whose parent is not among the places is not shown; there is none, because a
  remove takes the subtree.
"""

import json
from collections.abc import Sequence

import msgspec

from actors.topology import Id
from shell.commands import CONTROLLER
from shell.tree import Place


class TreeView(msgspec.Struct, frozen=True):
    """A moment of the tree; ``places`` in order of creation."""

    controller_pid: int
    places: Sequence[Place]

    def text(self) -> str:
        """Two blanks per depth, ``ID pid PID STATE``, a guardian that is not the parent."""
        lines = [f"{CONTROLLER} pid {self.controller_pid} ok\n"]
        for depth, place in self._walk():
            if place is not None:
                lines.append(f"{'  ' * depth}{place.id} pid {place.pid} {place.state.value}")
                if place.guardian != place.parent:
                    lines.append(f" guardian {place.guardian}")
                lines.append("\n")
        return "".join(lines)

    def json(self) -> str:
        """Nested objects: id, pid, state, guardian, children."""
        parts = [f'{{"id": {CONTROLLER}, "pid": {self.controller_pid}, "state": "ok"']
        parts.append(', "children": [')
        fresh = True
        for _, place in self._walk():
            if place is None:
                parts.append("]}")
                fresh = False
                continue
            parts.append("" if fresh else ", ")
            parts.append(f'{{"id": {json.dumps(place.id)}, "pid": {place.pid}')
            parts.append(f', "state": {json.dumps(place.state.value)}')
            parts.append(f', "guardian": {json.dumps(place.guardian)}, "children": [')
            fresh = True
        parts.append("]}")
        return "".join(parts)

    def _walk(self) -> list[tuple[int, Place | None]]:
        """Depth first, with a None where a place's children end."""
        children: dict[Id, list[Place]] = {}
        for each in self.places:
            children.setdefault(each.parent, []).append(each)
        walk: list[tuple[int, Place | None]] = []
        ahead: list[tuple[int, Place | None]] = [
            (1, place) for place in reversed(children.get(CONTROLLER, ()))
        ]
        while ahead:
            depth, place = ahead.pop()
            walk.append((depth, place))
            if place is not None:
                ahead.append((depth, None))
                below = children.get(place.id, ())
                ahead += ((depth + 1, child) for child in reversed(below))
        return walk
