"""Scenarios as tests: all that were chosen are played at once, at the first that is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
import trio

from actors.testing import lab
from tests import mptcp
from tests.scenario import Scenario
from tests.scenario_run import Outcome, play_all

WHY_NOT = mptcp.missing() or lab.missing("nft", "tc")


MARKS = [
    pytest.mark.scenario,
    pytest.mark.real,
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT),
]


def scenarios(rows: Sequence[Scenario]) -> pytest.MarkDecorator:
    """Of a test that takes ``scenario`` and ``outcome``; the first row is of the core."""
    params = [
        pytest.param(row, id=row.id, marks=[pytest.mark.core] if row is rows[0] else [])
        for row in rows
    ]
    return pytest.mark.parametrize("scenario", params)


_outcomes: dict[int, Outcome] = {}


def _chosen(session: pytest.Session) -> list[Scenario]:
    found: list[Scenario] = []
    for item in session.items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("scenario"):
            row = item.callspec.params["scenario"]
            assert isinstance(row, Scenario)
            found.append(row)
    return found


def outcome_of(scenario: Scenario, session: pytest.Session) -> Outcome:
    if scenario.number not in _outcomes:
        _outcomes.update(trio.run(play_all, _chosen(session)))
    return _outcomes[scenario.number]


def summary() -> str:
    """How many were run, and what was not; what carried them. "" if none was asked for."""
    if not _outcomes:
        return ""
    run = {number: each for number, each in _outcomes.items() if not each.skipped}
    again = [number for number, each in run.items() if each.attempts > 1]
    slowest = max(_outcomes, key=lambda number: _outcomes[number].took_s)
    lines = [
        f"scenarios: {len(run)} run, {len(_outcomes) - len(run)} skipped, "
        f"the slowest, {slowest}, in {_outcomes[slowest].took_s:.0f} s"
        + (f", {again} took more than one attempt" if again else "")
    ]
    links = {number: (each.link,) for number, each in run.items() if each.link}
    lines.append(f"{len(run) - len(links)} over two of our transports, {len(links)} over our links")
    lines += _reasons(links)
    by_hand = {number: each.by_hand for number, each in run.items() if each.by_hand}
    count = len(run) - len(by_hand)
    lines.append(f"{count} by our path manager alone, {len(by_hand)} by its netlink client too")
    return "\n".join(lines + _reasons(by_hand))


def _reasons(found: Mapping[int, Sequence[str]]) -> list[str]:
    by_reason: dict[str, list[int]] = {}
    for number, reasons in sorted(found.items()):
        for reason in reasons:
            by_reason.setdefault(reason, []).append(number)
    return [f"  {reason}: {', '.join(map(str, each))}" for reason, each in by_reason.items()]


def verdict(outcome: Outcome) -> None:
    """Raise what did not hold."""
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    if outcome.error is not None:
        raise outcome.error
