"""What one who joins by hand is called, in a tree whose nodes have numbers."""

from __future__ import annotations

import pytest

from shell.grammar import MAX_ID
from shell.naming import by_number, number_joiner


@pytest.mark.parametrize(
    ("wanted", "taken", "name"),
    [
        ("7", set(), "7"),
        ("7", {"7"}, "7"),  # it is for the controller to say whether that one is dead
        ("0", set(), "0"),
        (str(MAX_ID), set(), str(MAX_ID)),
        ("", set(), "1"),
        ("", {"1", "2", "4", "worker-1"}, "3"),
    ],
)
def test_it_has_the_number_that_it_wants_or_the_lowest_that_is_free(
    wanted: str, taken: set[str], name: str
) -> None:
    assert number_joiner(wanted, taken.__contains__) == name
    assert by_number(name) == int(name)


@pytest.mark.parametrize("wanted", ["far", "07", "-1", "controller", "1/2", str(MAX_ID + 1), "٣"])
def test_a_name_that_the_shell_could_not_say_is_refused(wanted: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        number_joiner(wanted, set[str]().__contains__)
    assert str(caught.value) == (
        f"the nodes of this tree have numbers, 0 to {MAX_ID}: not {wanted!r};"
        " without a name it gets one that is free"
    )
