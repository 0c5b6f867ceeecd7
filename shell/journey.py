"""The stations of a traced message, as text and as JSON.

Invariants
----------
* One line a station, in the order in which they were passed: its name, and milliseconds since
  the start with three digits; behind ``failed`` why. An answer's result is not shown as text.
"""

from collections.abc import Sequence

import msgspec

from actors import Trace
from shell.answers import one_line
from shell.results import as_json, plain


class TraceView(msgspec.Struct, frozen=True):
    """``stations``: (name, seconds since the start). ``error``: why it failed, or empty."""

    stations: Sequence[tuple[str, float]]
    result: object = None
    error: str = ""

    def text(self) -> str:
        lines = [f"{name} {at_s * 1000:.3f}" for name, at_s in self.stations]
        if self.error:
            lines[-1] += f" {one_line(self.error)}"
        return "".join(f"{line}\n" for line in lines)

    def json(self) -> str:
        """An object: ``stations`` (lists of name and milliseconds), and ``result`` or ``error``."""
        stations = [[name, round(at_s * 1000, 3)] for name, at_s in self.stations]
        fields: dict[str, object] = {"stations": stations}
        if self.error:
            fields["error"] = one_line(self.error)
        else:
            fields["result"] = self.result
        return as_json(fields)


def view(traced: Trace) -> TraceView:
    """What the shell shows of a trace."""
    stations = [(each.station, each.at_s) for each in traced.stations]
    if traced.error is not None:
        return TraceView(stations, None, str(traced.error) or type(traced.error).__name__)
    return TraceView(stations, plain(traced.result))
