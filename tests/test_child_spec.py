"""An option of a child that makes no sense is refused at once, by its name and value."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from actors.actor import Actor
from actors.child_spec import check, child


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


class Plain(Actor):
    pass


class Worker(Actor):
    def __init__(self, pace: int, *, name: str = "") -> None:
        self.pace = pace


loose: Any = child  # what a type checker would refuse
part: Any = partial


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: loose(dict), "give a class of actors to child, not <class 'dict'>"),
        (lambda: loose("Worker"), "give a class of actors to child, not 'Worker'"),
        (lambda: loose(Plain, 3), "Plain(3): it takes no arguments"),
        (lambda: loose(part(Plain, x=3)), "Plain(x=3): it takes no arguments"),
        (lambda: loose(Worker), "Worker(): missing a required argument: 'pace'"),
        (lambda: loose(Worker, 3, "a"), "Worker(3, 'a'): too many positional arguments"),
        (
            lambda: loose(part(Worker, nam="a"), 3),
            "Worker(3, nam='a'): got an unexpected keyword argument 'nam'",
        ),
    ],
    ids=["no actor", "a name", "none taken", "no keyword", "missing", "too many", "misspelled"],
)
def test_what_no_actor_can_be_made_of_is_refused_where_it_is_written(
    make: Callable[[], object], says: str
) -> None:
    with pytest.raises(TypeError, match=r".") as caught:
        make()
    assert str(caught.value) == says


def test_what_an_actor_can_be_made_of_is_a_child() -> None:
    assert loose(Plain).args == ()
    assert loose(Worker, 3).args == (3,)
    assert loose(part(Worker, 3, name="a")).actor.func is Worker
    assert loose(part(part(Worker, name="a"), name="b"), 3).args == (3,)


def test_what_makes_sense_passes() -> None:
    check({"snapshot_every_s": "message", "local": False, "intensity": (3, 60), "name": "a-1"})
