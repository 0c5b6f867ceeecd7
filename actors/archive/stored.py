"""What a state file holds of a tree, as values: places, their snapshots, and what changes.

Invariants
----------
* Everything is sealed with a checksum before it is stored; what does not fit is refused.
* A parent stands before its children.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import msgspec

from runtime.address import CONTROLLER, check_name
from runtime.traffic.registrar import Spec


class Stored(msgspec.Struct, frozen=True, array_like=True):
    """A place. ``incarnation``: the last that lived there; ``returns``: whether the next is to."""

    name: str
    parent: str
    incarnation: int
    returns: bool
    spec: Spec
    args: bytes


class Row(msgspec.Struct, frozen=True, array_like=True):
    """A place and its turn in the order of creation."""

    position: int
    place: Stored


class Changes(msgspec.Struct, frozen=True, array_like=True):
    """What becomes of the file in one transaction.

    ``mark``: no incarnation above it is given out; ``rows`` are new or other than they were;
    ``kept``: snapshots (empty: none any more), by the names of rows that are there then;
    ``gone``: names.
    """

    mark: int
    rows: tuple[Row, ...] = ()
    kept: tuple[tuple[str, bytes], ...] = ()
    gone: tuple[str, ...] = ()


class Held(msgspec.Struct, frozen=True):
    """A place as it was found, with its last snapshot; empty: none."""

    position: int
    place: Stored
    kept: bytes


class Owner(msgspec.Struct, frozen=True, array_like=True):
    """The system whose state it is, and how often it has been opened."""

    system: str
    opening: int
    mark: int


class Content(msgspec.Struct, frozen=True):
    """All of it; the places in order of creation."""

    owner: Owner
    held: tuple[Held, ...] = ()


def seal(body: bytes) -> bytes:
    """The body with its checksum."""
    return zlib.crc32(body).to_bytes(4, "big") + body


def unseal(sealed: bytes) -> bytes:
    """The body, if it is as it was sealed.

    Raises:
        ValueError: it is not.
    """
    body = sealed[4:]
    if sealed[:4] != zlib.crc32(body).to_bytes(4, "big"):
        raise ValueError("a checksum does not fit")
    return body


def read_owner(sealed: bytes) -> Owner:
    """Raises ValueError if it is none."""
    return msgspec.msgpack.decode(unseal(sealed), type=Owner)


def read_held(name: str, position: int, body: bytes, kept: bytes) -> Held:
    """Raises ValueError, TypeError if it is no place, or another one's."""
    place = msgspec.msgpack.decode(unseal(body), type=Stored)
    if place.name != check_name(name):
        raise ValueError(f"the row of {name} is that of {place.name}")
    return Held(position, place, unseal(kept))


def check_order(held: Sequence[Held]) -> None:
    """Raises ValueError if a place stands before its parent."""
    seen = {CONTROLLER}
    for each in held:
        if each.place.parent not in seen:
            raise ValueError(f"{each.place.name} stands before its parent {each.place.parent}")
        seen.add(each.place.name)
