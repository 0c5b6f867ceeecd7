"""Bytes in any portions to lines of text.

Invariants
----------
* A line ends with LF; a CR before it is dropped; the last one needs no LF.
* Whatever the portions, the lines are the same.
* At most ``LIMIT_BYTES`` + 1 bytes of an unfinished line are kept, however long it is.
* A line that cannot be text is a `BadLine` in its place, never an exception.
"""

from typing import Final

import msgspec

LIMIT_BYTES: Final = 65536


class BadLine(msgspec.Struct, frozen=True):
    """A line that is not text; ``why`` is what to answer."""

    why: str


TOO_LONG: Final = BadLine(f"line is longer than {LIMIT_BYTES} bytes")
NOT_TEXT: Final = BadLine("line is not UTF-8 text")


class Lines:
    """Splits a stream of bytes; one object for each stream."""

    def __init__(self) -> None:
        self._head: list[bytes] = []
        self._head_bytes = 0
        self._skipping = False

    def feed(self, data: bytes) -> list[str | BadLine]:
        """Return the lines that ``data`` completes, without their ends."""
        first, *others = data.split(b"\n")
        if not others:
            self._keep(first)
            return []
        tail = others.pop()
        self._keep(first)
        lines = [self._finish()]
        lines += map(_text, others)
        self._keep(tail)
        return lines

    def end(self) -> list[str | BadLine]:
        """Return the last line if it had no LF: a list of none or one."""
        if not self._head and not self._skipping:
            return []
        return [self._finish()]

    def _keep(self, part: bytes) -> None:
        if not part or self._skipping:
            return
        self._head_bytes += len(part)
        # One more than the limit: the last byte may be a CR.
        if self._head_bytes > LIMIT_BYTES + 1:
            self._skipping = True
            self._head.clear()
        else:
            self._head.append(part)

    def _finish(self) -> str | BadLine:
        line = TOO_LONG if self._skipping else _text(b"".join(self._head))
        self._head.clear()
        self._head_bytes = 0
        self._skipping = False
        return line


def _text(line: bytes) -> str | BadLine:
    if line.endswith(b"\r"):
        line = line[:-1]
    if len(line) > LIMIT_BYTES:
        return TOO_LONG
    if b"\0" in line:
        return NOT_TEXT
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return NOT_TEXT
