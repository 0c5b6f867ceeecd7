"""What kind of thing a wire message is, by what a user would miss if it did not come.

A wire message is a batch of envelopes, and whatever befalls it befalls all of them. So its kind is
that of its weightiest envelope: the first that carries a user's message, else the first of control,
else a sign of life. Kinds are the names of envelopes in small letters (``ask``, ``reply``,
``down``, ``start_failed``); runs of them count as what they are made of, traced asks as ``ask``.

Kinds come in groups: ``user`` is what handlers send and get, ``beats`` are the signs of life,
``control`` is the rest: also what the layer below says for itself (`runtime.wires.reliable`), which
is an ``answer``, and what is no batch at all, which is ``noise``.

Invariants
----------
* Total: any frames have exactly one kind, and each kind is in exactly one group.
* Only the head is looked at; payloads are not.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Final, get_args

import msgspec

from runtime.messages import envelope
from runtime.messages.codec import Buffer

ANSWER: Final = "answer"
NOISE: Final = "noise"
_SAME: Final = {"tells": "tell", "asks": "ask", "replies": "reply", "traced": "ask"}


def _spelled(name: str) -> str:
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in name)[1:]


_BY_TAG: Final[dict[int, str]] = {
    each.__struct_config__.tag: _SAME.get(_spelled(each.__name__), _spelled(each.__name__))
    for each in get_args(envelope.type_union)
}
USER: Final = frozenset({"ask", "fail", "item", "reply", "tell"})
BEATS: Final = frozenset({"beat", "heard"})
KINDS: Final = frozenset({*_BY_TAG.values(), ANSWER, NOISE})
GROUPS: Final = {"beats": BEATS, "control": KINDS - USER - BEATS, "user": USER}

_LENGTH: Final = struct.Struct(">I")
_heads: Final = msgspec.msgpack.Decoder(list[msgspec.Raw])


def kind_of(frames: Sequence[Buffer]) -> str:
    """The kind of a wire message."""
    lighter = NOISE
    try:
        batch = memoryview(frames[0])
        if not batch and len(frames) > 1:
            return ANSWER
        for raw in _heads.decode(batch[4 : 4 + _LENGTH.unpack_from(batch)[0]]):
            head = memoryview(raw)
            # The first element of an array is its tag, and tags are small.
            kind = _BY_TAG[head[1] if head[0] & 0xF0 == 0x90 else head[3]]
            if kind in USER:
                return kind
            if lighter is NOISE or (lighter in BEATS and kind not in BEATS):
                lighter = kind
    except (IndexError, KeyError, RecursionError, ValueError, struct.error):
        return NOISE
    return lighter


def kinds_in(words: Iterable[str]) -> frozenset[str]:
    """The kinds that these kinds and groups stand for.

    Raises:
        ValueError: there is no such kind or group.
    """
    found: set[str] = set()
    for word in words:
        if word not in GROUPS and word not in KINDS:
            known = ", ".join((*GROUPS, *sorted(KINDS)))
            raise ValueError(f"no kind of message: {word!r}; there are {known}")
        found |= GROUPS.get(word, {word})
    return frozenset(found)
