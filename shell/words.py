"""A line to words, with POSIX quotes and comments.

Invariants
----------
* Without a comment the words are those of ``shlex.split(line)``, errors included.
* ``#`` starts a comment only at the start of the line or after a blank, outside
  quotes. (``shlex`` with comments cuts ``a#b`` in two; a shell does not.)
"""

import re
from typing import Final

_PLAIN: Final = re.compile(r"[^'\"\\#]*")
_BLANKS: Final = " \t\r\n"
_BLANK: Final = re.compile(r"[ \t\r\n]+")


def split_words(line: str) -> list[str]:
    """Split ``line``.

    Raises:
        ValueError: a quote is not closed, or a backslash ends the line.
    """
    if _PLAIN.fullmatch(line):
        return [word for word in _BLANK.split(line) if word]
    words: list[str] = []
    at = 0
    while at < len(line):
        if line[at] in _BLANKS:
            at += 1
        elif line[at] == "#":
            break
        else:
            word, at = _word(line, at)
            words.append(word)
    return words


def _word(line: str, at: int) -> tuple[str, int]:
    parts: list[str] = []
    while at < len(line) and line[at] not in _BLANKS:
        char = line[at]
        if char == "'":
            end = line.find("'", at + 1)
            if end < 0:
                raise ValueError("no closing quote: '")
            parts.append(line[at + 1 : end])
            at = end + 1
        elif char == '"':
            part, at = _double_quoted(line, at + 1)
            parts.append(part)
        elif char == "\\":
            if at + 1 == len(line):
                raise ValueError("nothing after the last backslash")
            parts.append(line[at + 1])
            at += 2
        else:
            parts.append(char)
            at += 1
    return "".join(parts), at


def _double_quoted(line: str, at: int) -> tuple[str, int]:
    parts: list[str] = []
    while at < len(line):
        char = line[at]
        if char == '"':
            return "".join(parts), at + 1
        if char == "\\" and line[at + 1 : at + 2] in ('"', "\\"):
            at += 1
            char = line[at]
        parts.append(char)
        at += 1
    raise ValueError('no closing quote: "')
