"""What a supervisor lists as its children is a list of child specs, and told so if it is not."""

from __future__ import annotations

from typing import Any

import pytest

from actors import Actor, SpawnError, Supervisor
from actors.testing.virtual import VirtualSystem


class Lister(Supervisor):
    def __init__(self, what: str) -> None:
        self.what = what

    def children(self) -> Any:
        return {"nothing": None, "a class": [Actor], "text": self.what}[self.what]


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("nothing", r"Lister\.children has returned None, not a list of child\(\.\.\.\)"),
        ("a class", r"Lister\.children has <class 'actors\.actor\.Actor'>: use child\(\.\.\.\)"),
        ("text", r"Lister\.children has 't': use child\(\.\.\.\)"),
    ],
)
async def test_a_list_of_something_else_is_refused(
    system: VirtualSystem, what: str, says: str
) -> None:
    with pytest.raises(SpawnError, match=says):
        await system.spawn(Lister, what)


def test_children_that_would_be_awaited_are_refused_with_the_class() -> None:
    async def children(self: Supervisor) -> list[Any]:
        return []

    with pytest.raises(TypeError, match=r"^Bad\.children must be a plain def$"):
        type("Bad", (Supervisor,), {"children": children})
