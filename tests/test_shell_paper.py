"""What was written and not yet read."""

from shell.paper import FULL_BYTES, MAX_NOTICES, Paper


def test_unread_notices_beyond_1000_are_counted_and_summed_up() -> None:
    paper = Paper("{} more\n".format)
    for n in range(MAX_NOTICES + 7):
        paper.notice(f"{n}\n")
    paper.write("answer\n")
    lines = paper.take().splitlines()
    assert lines == [*map(str, range(MAX_NOTICES)), "answer", "7 more"]
    # What was taken last may still be on its way to the reader.
    paper.notice("late\n")
    assert paper.take() == "1 more\n"
    paper.notice("in time\n")
    assert paper.take() == "in time\n"
    assert paper.empty


async def test_answers_wait_for_room_and_notices_do_not() -> None:
    paper = Paper()
    await paper.room()
    paper.write("x" * FULL_BYTES)
    paper.notice("y")
    assert paper.take() == "x" * FULL_BYTES + "y"
    await paper.room()


async def test_a_closed_paper_keeps_nothing_and_holds_up_nobody() -> None:
    paper = Paper("{} more\n".format)
    paper.write("x" * FULL_BYTES)
    paper.close()
    paper.write("x")
    for _ in range(MAX_NOTICES + 1):
        paper.notice("y")
    await paper.room()
    await paper.written()
    assert paper.take() == ""
