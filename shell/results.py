"""What a handler has answered, as something that JSON can carry.

Invariants
----------
* ``bytes`` are text again, as they were in the line; what is no UTF-8 in them is escaped.
  Inside of other values they are base64, as msgspec has it.
* What is not finite is null, keys are text, a tuple or a set is a list.
"""

import json
from typing import Any

import msgspec


def plain(result: Any) -> Any:
    """The result, of the types that ``json`` knows."""
    kind = type(result)
    if result is None or kind is int or kind is str or kind is bool:
        return result
    if isinstance(result, bytes | bytearray | memoryview):
        return bytes(result).decode(errors="backslashreplace")
    return json.loads(msgspec.json.encode(result))


def as_json(value: object) -> str:
    """JSON as people write it; where it would not be one printable line, in ASCII alone."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value)
