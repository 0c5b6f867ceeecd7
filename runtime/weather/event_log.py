"""What happened, one line each, so that two runs can be compared byte for byte.

Lines of a `runtime.wires.memory` network, instants in seconds of trio's clock:

    INSTANT SOURCE.INCARNATION > TARGET.INCARNATION KIND BYTES CRC32 FATE

where fate is ``passed``, ``late`` (it will come, or its copies), ``dropped``, ``held`` (by a
partition, until that is over) or ``lost`` (by one that keeps nothing); late ones have a second
line, ``came``, and ``vanished`` is what reached a process that is gone. Other lines have words
after the instant.

Invariants
----------
* The last lines are kept, the rest only counted and summed: it is bounded, however long the run.
* The digest is of all lines, kept or not.
"""

from __future__ import annotations

from collections import deque
from hashlib import sha256


class EventLog:
    """``lines``: the last ``keep``. ``count``: how many there were in all.

    Raises:
        ValueError: it would keep nothing.
    """

    def __init__(self, keep: int) -> None:
        if keep < 1:
            raise ValueError(f"a log keeps at least one line, not {keep}")
        self.lines: deque[str] = deque(maxlen=keep)
        self.count = 0
        self._sum = sha256()

    def add(self, now: float, words: str) -> None:
        """Write a line."""
        line = f"{now:016.9f} {words}"
        self.lines.append(line)
        self.count += 1
        self._sum.update(line.encode() + b"\n")

    @property
    def digest(self) -> str:
        """Of all lines so far, in hexadecimal digits."""
        return self._sum.hexdigest()

    def __str__(self) -> str:
        skipped = self.count - len(self.lines)
        return "\n".join((*((f"({skipped} lines before)",) if skipped else ()), *self.lines))
