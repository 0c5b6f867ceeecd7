"""Short runs of chaos, whose seeds are known to pass, and the tool itself: a fault is found."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runtime.traffic.credit import Window
from runtime.traffic.pair import Outbound
from runtime.traffic.vigil import Vigil
from tests.chaos import Failure, run_real, run_virtual
from tests.chaos_plan import draw


@pytest.mark.parametrize("seed", range(4))
def test_a_virtual_tree_survives_chaos(seed: int) -> None:
    assert run_virtual(f"suite/{seed}") == 250


@pytest.mark.real
def test_a_tree_of_processes_survives_chaos() -> None:
    assert run_real("suite/real", 2.0) > 0


def test_a_seed_gives_the_same_operations_again() -> None:
    assert draw("one", 300) == draw("one", 300)
    assert draw("one", 300) != draw("two", 300)
    assert draw("one", 300)[:200] == draw("one", 200)


def lose_downs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Vigil, "_fallen", lambda *_: None)


def forget_the_undelivered(monkeypatch: pytest.MonkeyPatch) -> None:
    def close(self: Window) -> int:
        self.undelivered -= 1
        return 0

    monkeypatch.setattr(Window, "close", close)


def forget_cancels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Outbound, "cancel", lambda *_: None)


def many(seed: str) -> None:
    for number in range(10):
        run_virtual(f"{seed}/{number}")


@pytest.mark.parametrize(
    "sabotage", [lose_downs, forget_the_undelivered, forget_cancels], ids=lambda each: each.__name__
)
def test_what_is_broken_on_purpose_is_found(
    sabotage: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotage(monkeypatch)
    with pytest.raises(Failure):
        many("sabotage")
