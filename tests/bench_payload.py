"""Rows: what is large.

A handler asks another node's handler with 8 MiB of ``bytes`` and gets them back. Argument and
result are annotated ``memoryview``: neither side copies what it has received. What it costs to be
given ``bytes`` instead stands below the row.
"""

from __future__ import annotations

from tests.bench_actors import Caller
from tests.bench_calls import open_floor, open_pair, take_turns
from tests.bench_row import Note, Round, Row, at_least

SIZE = 8 * 1024 * 1024
FLOOR = "bench_floors_payload.py"


class Payload(Row):
    """8 MiB there and back, one after the other."""

    name = "an 8 MiB payload echoed"
    floor_name = "pyzmq, send(copy=False), recv(copy=True)"
    unit = "/s"
    must = at_least(0.8)
    aim = at_least(1)

    async def round(self) -> Round:
        async with (
            open_floor(FLOOR, "serve", "ask", SIZE, self.turn_s) as floor,
            open_pair() as (caller, echo),
        ):
            views, bare, copies = await take_turns(
                self.turns,
                lambda: caller.ask(Caller.payloads_per_s, echo, SIZE, self.turn_s, False),
                floor,
                lambda: caller.ask(Caller.payloads_per_s, echo, SIZE, self.turn_s, True),
            )
        return Round(views, bare, {"bytes in the place of memoryview": Note(copies, "/s")})


ROWS: list[type[Row]] = [Payload]
