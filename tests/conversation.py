"""A session under test: text in, text out."""

from collections.abc import Sequence

import trio

from actors.topology import topology
from shell.dialects import DIALECTS
from shell.paper import Paper
from shell.session import Session
from tests.fake_tree import FakeTree


class Portions:
    """A source of bytes: each portion at once, then the end of input."""

    def __init__(self, *portions: bytes) -> None:
        self._portions = list(portions)

    async def receive_some(self) -> bytes:
        await trio.lowlevel.checkpoint()
        return self._portions.pop(0) if self._portions else b""


async def converse(
    tree: FakeTree,
    lines: str | Sequence[str],
    *,
    dialect: str = "spec",
    places: str = "tree",
    ordered: bool = True,
    deadline_s: float = 2.0,
    named: bool = False,
) -> str:
    """Everything the session prints for ``lines``, the last answer included."""
    words = DIALECTS[dialect](named=named)
    paper = Paper(words.more_notices)
    session = Session(
        tree,
        topology(places),
        paper,
        dialect=words,
        ordered=ordered,
        deadline_s=deadline_s,
    )
    text = lines if isinstance(lines, str) else "".join(f"{line}\n" for line in lines)
    ended = await session.run(Portions(text.encode()))
    paper.write(session.farewell(ended))
    return paper.take()
