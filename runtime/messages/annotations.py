"""Which annotations can travel.

msgspec takes any class for a type of somebody else's and refuses its values one by one; here the
annotation is refused, unless something that comes out of msgpack can be an instance of it.

Invariants
----------
* Whatever is refused is a `TypeError` that names the type, at compile time.
* The common types cost one look.
"""

from __future__ import annotations

import datetime
from typing import Any

from msgspec import inspect

_PLAIN = frozenset({bool, int, float, str, bytes, bytearray, memoryview, type(None), None})
_DECODED = (bool, int, float, str, bytes, list, dict, datetime.datetime, type(None))
"""What comes out of msgpack where nothing is said."""


def check(hint: Any) -> None:
    """Return if values of this annotation can travel.

    Raises:
        TypeError: they cannot.
    """
    if hint is Any or (isinstance(hint, type) and hint in _PLAIN):
        return
    _check_node(inspect.type_info(hint), set())


def _check_node(node: object, seen: set[int]) -> None:
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, inspect.CustomType):
        if not _possible(node.cls):
            raise TypeError(f"nothing makes a {node.cls.__qualname__} of msgpack")
    elif isinstance(node, inspect.Field):
        _check_node(node.type, seen)
    elif isinstance(node, tuple):
        for each in node:
            _check_node(each, seen)
    elif isinstance(node, inspect.Type):
        for name in node.__struct_fields__:
            _check_node(getattr(node, name), seen)


def _possible(kind: Any) -> bool:
    try:
        return any(issubclass(each, kind) for each in _DECODED)
    except TypeError:  # a Protocol that is not checked at run time
        return False
