"""A class whose hooks could not be called is refused before it runs anywhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest

from actors import Actor
from actors.testing.virtual import VirtualSystem
from runtime.messages.behaviour import handlers_of


async def sleepy(self: Actor, *args: object) -> None: ...


def wakeful(self: Actor, *args: object) -> None: ...


async def lonely(self: Actor) -> None: ...


def short(self: Actor, state: int) -> None: ...


@pytest.mark.parametrize(
    ("name", "hook", "says"),
    [
        ("on_start", wakeful, "wakeful must be an async def: it is a hook of actors"),
        ("on_stop", wakeful, "wakeful must be an async def: it is a hook of actors"),
        ("on_down", wakeful, "wakeful must be an async def: it is a hook of actors"),
        ("snapshot", sleepy, "sleepy must be a plain def: it is a hook of actors"),
        ("restore", sleepy, "sleepy must be a plain def: it is a hook of actors"),
        ("on_stop", lonely, "lonely(self: 'Actor') -> 'None' is called with (self, reason)"),
        ("on_down", lonely, "lonely(self: 'Actor') -> 'None' is called with (self, down)"),
        (
            "restore",
            short,
            "short(self: 'Actor', state: 'int') -> 'None' is called with (self, state, age_s)",
        ),
    ],
)
def test_a_hook_that_cannot_be_called_is_refused(
    name: str, hook: Callable[..., Any], says: str
) -> None:
    with pytest.raises(TypeError) as caught:
        handlers_of(type("Bad", (Actor,), {name: hook}))
    assert str(caught.value) == says


def noted(hook: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(hook)
    def wrapper(*args: Any) -> Any:
        return hook(*args)

    return wrapper


@pytest.mark.parametrize(
    ("name", "hook"),
    [
        ("on_start", lonely),
        ("on_down", sleepy),
        ("on_down", noted(sleepy)),
        ("restore", wakeful),
        ("on_start", staticmethod(lambda: None)),  # nothing is known of what it returns
    ],
)
def test_others_pass(name: str, hook: Any) -> None:
    assert handlers_of(type("Good", (Actor,), {name: hook})) == {}


class Forgetful(Actor):
    def snapshot(self) -> int:
        return 1

    async def restore(self, state: int, age_s: float) -> None: ...  # type: ignore[override]


async def test_it_is_refused_where_it_is_spawned(system: VirtualSystem) -> None:
    with pytest.raises(TypeError, match=r"Forgetful\.restore must be a plain def"):
        await system.spawn(Forgetful, name="forgetful")
    assert await system.tree() == []
