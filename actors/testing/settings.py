"""What a session says of a test that is explored: `actors.testing.plugin` to
`actors.testing.explore`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Settings:
    """Of one test.

    ``runs``: None if that is the test's own affair. ``options``: of `open_virtual_system`.
    ``found``: what is to be said to the session.
    """

    id: str
    seed: int
    runs: int | None
    options: Mapping[str, Any]
    bounds: Mapping[str, float]
    beat_s: float
    expect_s: float
    found: list[str] = field(default_factory=list)
