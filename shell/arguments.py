"""Words of a line to the arguments of a handler or a constructor, by its annotations.

Invariants
----------
* A ``str`` is the word itself, ``bytes`` are its UTF-8; so in a union of scalars with one of
  these.
* A scalar (a number, a bool, an enum's value, a date, a UUID, a decimal, None as ``null``, or
  a union of such) is read leniently: ``5`` is an int, a float or a number of seconds.
* Anything else, and what has no annotation, is read as JSON.
* Words are taken in the order of the parameters. Defaults may be left out, from the last on.
* What does not fit is a `WireError` that names the parameter and the word.

Source: ``msgspec.convert(strict=False)``, but for ``bytes``: there text is base64.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import functools
import inspect
import types
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec

from runtime.errors import WireError
from runtime.messages.signature import Parameters

SCALARS: Final = frozenset(
    {
        int, float, bool, types.NoneType, decimal.Decimal, uuid.UUID,
        datetime.datetime, datetime.date, datetime.time, datetime.timedelta,
    }
)  # fmt: skip
BUFFERS: Final[tuple[Callable[[bytes], Any], ...]] = (bytes, bytearray, memoryview)
BRIEF: Final = 100


def read_arguments(
    name: str, parameters: Parameters | None, words: Sequence[str]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and the keyword-only arguments that ``words`` stand for.

    ``parameters`` None: there are none. ``name`` is what the errors call the function.

    Raises:
        WireError: a word does not fit, or there are too many or too few.
    """
    expected = () if parameters is None else parameters.parameters
    if len(words) > len(expected):
        extra = _brief(words[len(expected)])
        if not expected:
            raise WireError(f"{name} takes no arguments, but was given {extra}")
        most = f"{len(expected)} argument{'s' * (len(expected) > 1)}"
        raise WireError(f"{name} takes at most {most}, but was given {extra} too")
    if parameters is None or not expected:
        return (), {}
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    declared = _declared(parameters.function)
    for parameter, word in zip(expected, words, strict=False):
        hint = parameters.hints.get(parameter, Any)
        try:
            value = read_word(word, hint)
        except (msgspec.DecodeError, ValueError, TypeError, RecursionError) as cause:
            why = "it nests too deeply" if isinstance(cause, RecursionError) else cause
            raise WireError(f"{name}: {parameter}={_brief(word)}: {why}") from cause
        if declared[parameter].kind is inspect.Parameter.KEYWORD_ONLY:
            keywords[parameter] = value
        else:
            positional.append(value)
    missing = [
        each for each in expected[len(words) :] if declared[each].default is inspect.Parameter.empty
    ]
    if missing:
        raise WireError(f"{name} needs {', '.join(missing)}")
    return tuple(positional), keywords


@functools.lru_cache(maxsize=1024)
def _declared(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters


def read_word(word: str, hint: Any) -> Any:
    """What ``word`` means for a parameter that is annotated ``hint``.

    Raises:
        ValueError: it does not fit (msgspec's errors are such).
        TypeError: nothing that is written in a line could be of this type.
        RecursionError: its JSON nests too deeply.
    """
    options = _options(hint)
    bare = [_bare(option) for option in options]
    if not all(option in BUFFERS or option is str or _is_scalar(option) for option in bare):
        return msgspec.json.decode(word.encode(), type=hint)
    if str in bare:
        return word
    for kind in BUFFERS:
        if kind in bare:
            return kind(word.encode())
    return msgspec.convert(word, hint, strict=False)


def _options(hint: Any) -> list[Any]:
    """The members of a union, however it is written."""
    bare = _bare(hint)
    if get_origin(bare) in (Union, types.UnionType):
        return [each for option in get_args(bare) for each in _options(option)]
    return [hint]


def _bare(hint: Any) -> Any:
    """Without what only adds to a type: ``Annotated``, ``NewType``."""
    while True:
        if get_origin(hint) is Annotated:
            hint = get_args(hint)[0]
        elif hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        else:
            return types.NoneType if hint is None else hint


def _is_scalar(hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return True
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return True
    try:
        return hint in SCALARS
    except TypeError:  # an unhashable annotation
        return False


def _brief(word: str) -> str:
    return repr(word if len(word) <= BRIEF else word[:BRIEF] + "...")
