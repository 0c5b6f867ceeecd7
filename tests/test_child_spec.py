"""An option of a child that makes no sense is refused at once, by its name and value."""

from __future__ import annotations

from typing import Any

import pytest

from actors.child_spec import check


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("restart", "always", "restart is one of permanent, transient, temporary, not 'always'"),
        ("strategy", "one", "strategy is one of one_for_one, one_for_all, rest_for_one, not 'one'"),
        ("snapshot_every_s", "messages",
         "snapshot_every_s is a positive number of seconds, or 'message', not 'messages'"),
        ("snapshot_every_s", 0,
         "snapshot_every_s is a positive number of seconds, or 'message', not 0"),
        ("hang_after_s", "x", "hang_after_s is a positive number of seconds, not 'x'"),
        ("hang_after_s", "message", "hang_after_s is a positive number of seconds, not 'message'"),
        ("start_s", float("inf"), "start_s is a positive number of seconds, not inf"),
        ("lost_after_s", float("nan"), "lost_after_s is a positive number of seconds, not nan"),
        ("mailbox_messages", 0, "mailbox_messages is a positive number, not 0"),
        ("mailbox_bytes", 1.5, "mailbox_bytes is a positive number, not 1.5"),
        ("intensity", 5, "intensity is (restarts, seconds), not 5"),
        ("local", "yes", "local is True or False, not 'yes'"),
        ("local", None, "local is True or False, not None"),
        ("name", "a/b", "the name of a child has no slash: 'a/b'"),
        ("name", "controller", "the name controller is the system's own"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(key: str, value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        check({key: value})
    assert str(caught.value) == says


def test_an_option_that_there_is_not_is_named() -> None:
    with pytest.raises(TypeError, match="a child spec has no 'nam'"):
        check({"nam": "x"})


def test_what_makes_sense_passes() -> None:
    check({"snapshot_every_s": "message", "local": False, "intensity": (3, 60), "name": "a-1"})
