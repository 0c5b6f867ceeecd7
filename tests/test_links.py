"""Links: what the end of one means to the other."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.actor import Actor
from actors.ref import ActorRef, ref_to
from actors.supervision.links import Links, inherited
from runtime.address import CONTROLLER, Address
from runtime.cells.cell import Cell
from runtime.exits import ExitReason
from runtime.messages import envelope as wire
from tests.small_court import SmallCourt, open_small_court
from tests.small_world import ask, tell


class Fellow(Actor):
    async def tie(self, ref: ActorRef[Actor]) -> None:
        self.link(ref)

    async def fail(self) -> None:
        raise LookupError("no")

    async def leave(self) -> None:
        self.finish()


class Stuck(Fellow):
    """Ends at its next cancellation only."""

    async def hold(self) -> None:
        await trio.sleep_forever()


async def pair_of(court: SmallCourt) -> tuple[Cell, Cell]:
    one = await court.cell(await court.process("a"), "one", Fellow())
    return one, await court.cell(await court.process("b"), "other", Fellow())


async def tie(cell: Cell, who: Address) -> None:
    await ask(cell, cell, Fellow.tie, ref_to(who))
    await wait_all_tasks_blocked()


async def bring_to_end(court: SmallCourt, cell: Cell, way: str) -> None:
    if way == "crashed":
        await tell(cell, cell, Fellow.fail)
    elif way == "normal":
        await tell(cell, cell, Fellow.leave)
    elif way == "killed":
        court.kill(cell.exchange)
    else:
        cell.stop(force=False)
    await trio.sleep(5)


ROWS = {
    "normal": "",
    "shutdown": "shutdown",
    "crashed": "crashed(LinkedExit: linked to NAME, which ended: crashed(LookupError: no))",
    "killed": "crashed(LinkedExit: linked to NAME, which ended: killed(SIGKILL))",
}


@pytest.mark.parametrize(
    ("maker", "when"),
    [("the one that ends", "before"), ("the other", "before"), ("the other", "after")],
)
@pytest.mark.parametrize("way", ROWS)
async def test_the_other_shares_the_fate(
    way: str, maker: str, when: str, autojump_clock: MockClock
) -> None:
    async with open_small_court() as court:
        ends, other = await pair_of(court)
        if when == "after":
            await bring_to_end(court, ends, way)
        if maker == "the one that ends":
            await tie(ends, other.address)
        else:
            await tie(other, ends.address)
        if when == "before":
            await bring_to_end(court, ends, way)
        await trio.sleep(5)
        reason = court.records[other.address.incarnation].reason
        expected = ROWS[way].replace("NAME", "one")
        assert ("" if reason is None else str(reason)) == expected
        assert len(court.fates.links) == 0


async def test_a_chain_of_links_ends_as_a_whole(autojump_clock: MockClock) -> None:
    async with open_small_court() as court:
        process = await court.process("a")
        chain = [await court.cell(process, f"n{i}", Fellow()) for i in range(4)]
        apart = await court.cell(process, "apart", Fellow())
        for one, next_one in pairwise(chain):
            await tie(one, next_one.address)
        await bring_to_end(court, chain[1], "crashed")
        kinds = [court.records[cell.address.incarnation].known_reason.error for cell in chain]
        assert kinds == ["LinkedExit", "LookupError", "LinkedExit", "LinkedExit"]
        assert apart.ending is None


async def test_cells_of_the_controller_are_linked_like_any_other(
    autojump_clock: MockClock,
) -> None:
    async with open_small_court() as court:
        ends = await court.cell(court.controller, "one", Fellow())
        other = await court.cell(court.controller, "other", Fellow())
        await tie(other, ends.address)
        await bring_to_end(court, ends, "crashed")
        assert court.records[other.address.incarnation].known_reason.error == "LinkedExit"


async def test_one_that_is_stuck_in_a_handler_ends_all_the_same(
    autojump_clock: MockClock,
) -> None:
    async with open_small_court() as court:
        ends, _ = await pair_of(court)
        stuck = await court.cell(await court.process("c"), "stuck", Stuck())
        await tie(stuck, ends.address)
        await tell(stuck, stuck, Stuck.hold)
        await bring_to_end(court, ends, "crashed")
        reason = court.records[stuck.address.incarnation].known_reason
        assert reason.error == "LinkedExit"


@pytest.mark.parametrize(
    "who",
    [Address("s", "nobody", 4711, "memory:4711"), Address("other", "one", 3, "memory:3")],
    ids=["an incarnation", "another system"],
)
async def test_a_link_to_one_that_nobody_knows_ends_whoever_makes_it(
    who: Address, autojump_clock: MockClock
) -> None:
    async with open_small_court() as court:
        one, _ = await pair_of(court)
        await tie(one, who)
        await trio.sleep(5)
        reason = court.records[one.address.incarnation].known_reason
        assert reason.message == f"linked to {who.name}, which ended: unknown"


async def test_the_controller_shares_nobodys_fate(autojump_clock: MockClock) -> None:
    async with open_small_court() as court:
        one, other = await pair_of(court)
        await tie(one, Address("s", CONTROLLER, 1, court.controller.address.endpoint))
        await tie(one, one.address)
        assert len(court.fates.links) == 0
        await bring_to_end(court, one, "crashed")
        await tie(other, other.address)
        assert court.names._cell.ending is None


async def test_a_process_links_its_own_cells_only_and_may_undo_it(
    autojump_clock: MockClock,
) -> None:
    async with open_small_court() as court:
        one, other = await pair_of(court)
        liar = await court.process("liar")
        for number in (one.address.incarnation, 0, 1, 4711):
            liar.say(liar.controller, wire.Link(number, other.address))
        await trio.sleep(1)
        assert len(court.fates.links) == 0
        assert court.controller.strays["link of another"] == 4
        await tie(one, other.address)
        undo = wire.Link(one.address.incarnation, other.address, undo=True)
        one.exchange.say(one.exchange.controller, undo)
        await trio.sleep(1)
        assert len(court.fates.links) == 0


# The values.


@pytest.mark.parametrize("kind", ["crashed", "exited", "killed", "lost", "unknown"])
def test_an_unplanned_end_crashes_the_other(kind: str) -> None:
    reason = ExitReason(kind=kind, error="E")  # type: ignore[arg-type]
    fate = inherited("7", reason)
    assert fate is not None
    assert (fate.kind, fate.error) == ("crashed", "LinkedExit")
    assert fate.message == f"linked to 7, which ended: {reason}"


def test_a_planned_end_is_a_planned_end_or_none() -> None:
    assert inherited("7", ExitReason(kind="normal")) is None
    fate = inherited("7", ExitReason(kind="shutdown"))
    assert fate is not None
    assert (fate.kind, fate.message) == ("shutdown", "linked to 7, which ended: shutdown")


def test_a_link_is_mutual_and_there_is_one_of_it() -> None:
    links = Links()
    for one, other in ((1, 2), (2, 1), (1, 3), (4, 4)):
        links.tie(one, other)
    assert len(links) == 2
    assert links.ended(1) == [2, 3]
    assert links.ended(2) == links.ended(3) == links.ended(4) == []
    links.tie(5, 6)
    links.untie(6, 5)
    links.untie(6, 5)
    assert len(links) == 0
